"""`osgdl watch` over 5,000 jobs with 150,000 events: the first picture, what it costs from then on, and memory.

    make bench BENCH=watch           python -m benchmarks.watch [--jobs N] [--events N] [--logs N] [--seconds N]

The logs are made by benchmarks/event_logs.py, in five files and once more in as many files as jobs. Measured is the
command itself, a process of its own on a terminal, from its start to the first whole picture; then its processor time
while each second a hundred jobs write an event, and the peak of its memory (VmHWM). Reading the logs alone is
compared with HTCondor's own reader, htcondor2.JobEventLog, from whose events the same histories are made, the best of
three each. Goals: 4 seconds, 5 % of a core, 300 MB, and no slower than with HTCondor's reader.
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
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks import event_logs
from benchmarks.pairs import BUILD
from benchmarks.results import Result, report

COMMAND = "make bench BENCH=watch"
FIRST_S, CORE, MEMORY_MB = 4.0, 0.05, 300.0
A_SECOND = 100  # events, while it is watched
THEIRS = """
import sys, time, htcondor2
from submit.job_history import JobHistory
began = time.perf_counter()
jobs, count = {}, 0
for log in sys.argv[2:]:
    for event in htcondor2.JobEventLog(log).events(stop_after=0):
        count += 1
        name = event.cluster, event.proc
        if event.proc < 0 or event.type == 6:  # of a whole cluster; image size
            continue
        if name not in jobs:
            jobs[name] = JobHistory(cluster=name[0], proc=name[1], submitted=event.timestamp)
        jobs[name].add(event)
print(count, time.perf_counter() - began)
"""
OURS = """
import sys, time, pathlib
from submit.jobs import Jobs
began = time.perf_counter()
jobs = Jobs([pathlib.Path(sys.argv[1])])
jobs.refresh()
print(sum(job.events for job in jobs.histories.values()), time.perf_counter() - began)
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
    while process.poll() is None:
        if select.select([ours], [], [], 0.1)[0]:
            with suppress(OSError):  # the other end is closed
                os.read(ours, 1 << 16)
    os.close(ours)
    return Seen(first, before, used / took, memory, got.count(b" jobs: "))


def reading(code: str, folder: Path, logs: list[Path]) -> tuple[int, float]:
    """Events, and seconds that it takes to read them, in a process of its own."""
    words = [sys.executable, "-c", code, str(folder), *map(str, logs)]
    count, seconds = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
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
            pairs = [(reading(OURS, Path(folder), written), reading(THEIRS, Path(folder), written)) for _ in range(3)]
            (_, fast), (count, slow) = (min(pair[side] for pair in pairs) for side in (0, 1))
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
        results.append(Result(f"{name}: reading", fast, slow, slow / fast, 1.0, "s", COMMAND, about))
    report(*results)


if __name__ == "__main__":
    main()
