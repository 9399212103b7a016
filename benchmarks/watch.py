"""`osgdl watch` over 5,000 jobs with 150,000 events: the first picture, what it costs from then on, and memory.

    make bench BENCH=watch           python -m benchmarks.watch [--jobs N] [--events N] [--logs N] [--seconds N]

The logs are made by benchmarks/event_logs.py, in five files and once more in as many files as jobs. Measured is the
command itself, a process of its own on a terminal, from its start to the first whole picture; then its processor time
while each second a hundred jobs write an event, and the peak of its memory (VmHWM). The peer is the time that
HTCondor's own reader, htcondor2.JobEventLog, takes to read the same logs and show nothing. Goals: 4 seconds, 5 % of a
core, 300 MB, and no slower than HTCondor's reader alone.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks import event_logs
from benchmarks.pairs import BUILD
from benchmarks.results import Result, report

COMMAND = "make bench BENCH=watch"
FIRST_S, CORE, MEMORY_MB = 4.0, 0.05, 300.0
A_SECOND = 100  # events, while it is watched
READ = """
import sys, time, htcondor2
began = time.perf_counter()
count = sum(1 for log in sys.argv[1:] for event in htcondor2.JobEventLog(log).events(stop_after=0))
print(count, time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Seen:
    """Seconds to the first picture, and of processor time; share of a core from then on; peak of memory in MB; pictures
    drawn.
    """

    first_s: float
    first_cpu_s: float
    core: float
    memory_mb: float
    pictures: int


def ticks(pid: int) -> float:
    """Seconds of processor time of a process and of those that it waited for (proc(5), utime to cstime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """VmHWM."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def write_on(logs: list[Path], stop: threading.Event) -> None:
    """Each second a hundred jobs report their size."""
    chance = random.Random(1)
    while not stop.wait(1.0):
        when = datetime.now().replace(microsecond=0).isoformat(" ")
        for _ in range(A_SECOND):
            log = chance.choice(logs)
            with log.open("a") as file:
                file.write(f"006 ({int(log.stem):03}.000.000) {when} Image size of job updated: 1\n...\n")


def watched(folder: Path, logs: list[Path], seconds: float) -> Seen:
    """The command on a terminal of 120 columns and 50 lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "submit", "watch", str(folder)],
        stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    stop = threading.Event()
    writer = threading.Thread(target=write_on, args=(logs, stop))
    got, first, before, since, until = b"", 0.0, 0.0, 0.0, float("inf")
    while time.perf_counter() < until:
        if select.select([ours], [], [], 0.02)[0]:
            got += os.read(ours, 1 << 16)
        if not first and b"taken away" in got and b"osgdl explain" in got:
            first = time.perf_counter() - began
            before, since, until = ticks(process.pid), time.perf_counter(), time.perf_counter() + seconds
            writer.start()
    used, took, memory = ticks(process.pid) - before, time.perf_counter() - since, peak_mb(process.pid)
    stop.set()
    writer.join()
    process.send_signal(signal.SIGINT)
    os.close(ours)
    process.wait(20)
    return Seen(first, before, used / took, memory, got.count(b" jobs: "))


def peer(logs: list[Path]) -> tuple[int, float]:
    """Events, and seconds that HTCondor's reader takes."""
    done = subprocess.run([sys.executable, "-c", READ, *map(str, logs)], capture_output=True, text=True, check=True)
    count, seconds = done.stdout.split()
    return int(count), float(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--logs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="of watching")
    options = parser.parse_args()
    os.environ["OSGDL_POOL"] = "none-such"  # no queue is asked: it is not part of what is measured
    results = []
    BUILD.mkdir(parents=True, exist_ok=True)
    for logs in (options.logs, options.jobs):
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            # the generator's idle and removed jobs have few events
            written = event_logs.write(Path(folder) / "logs", options.jobs, int(options.events * 1.06), logs)
            count, reading = peer(written)
            seen = watched(Path(folder), written, options.seconds)
        about = {"jobs": options.jobs, "events": count, "logs": logs}
        name = f"osgdl watch, {options.jobs} jobs in {logs} logs"
        for what, ours, limit, unit in (
            ("first picture", seen.first_s, FIRST_S, "s"),
            ("updates", seen.core, CORE, "of a core"),
            ("memory", seen.memory_mb, MEMORY_MB, "MB"),
        ):
            details = {**about, "first_cpu_s": round(seen.first_cpu_s, 2), "pictures": seen.pictures}
            results.append(Result(f"{name}: {what}", ours, limit, limit / ours, 1.0, unit, COMMAND, details))
        against = f"{name}: first picture against HTCondor's reader alone"
        results.append(Result(against, seen.first_s, reading, reading / seen.first_s, 1.0, "s", COMMAND, about))
    report(*results)


if __name__ == "__main__":
    main()
