"""`osgdl report` on 5,000 jobs with 150,000 events: seconds, memory, and the size of its page.

    make bench BENCH=report          python -m benchmarks.report [--jobs N] [--events N] [--logs N]

The logs are made by benchmarks/event_logs.py; nine jobs of ten have an ad, as condor_history prints it. Measured is the
command itself, a process of its own that writes page, CSV and JSON. The limits were set: 15 s and 3 MB. Beside it
stands the time that HTCondor's own reader, htcondor2.JobEventLog, takes to read the same logs and say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import event_logs
from benchmarks.pairs import BUILD
from benchmarks.results import Result, report
from benchmarks.watch import THEIRS, reading

COMMAND = "make bench BENCH=report"
LIMIT_S, PAGE_MB = 15.0, 3.0


def ads(jobs: int, logs: int) -> list[dict[str, object]]:
    """Of nine jobs of ten, what they published and what they asked for."""
    names = [
        (101 + log, proc)
        for log in range(logs)
        for proc in range(jobs * (log + 1) // logs - jobs * log // logs)
        if proc % 10
    ]
    told = {"ChirpOsgdlUseful": 5000.0, "ChirpOsgdlLeave": 9.0, "ChirpOsgdlStart": 50.0, "ChirpOsgdlRate": 80.0}
    told |= {"ChirpOsgdlPreflightSeconds": 4.0, "RemoteWallClockTime": 9000.0, "RequestGPUs": 1}
    return [{"ClusterId": cluster, "ProcId": proc, "ChirpOsgdlUnit": "images", **told} for cluster, proc in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--logs", type=int, default=5)
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as name:
        folder = Path(name)
        # the generator's idle and removed jobs have few events
        logs = event_logs.write(folder / "logs", options.jobs, int(options.events * 1.06), options.logs)
        count, theirs = reading(THEIRS, folder, logs)
        saved, page, table = folder / "ads.json", folder / "r.html", folder / "r.csv"
        saved.write_text(json.dumps(ads(options.jobs, options.logs)))
        words = ["report", str(folder), "--ads", str(saved), "--html", str(page), "--csv", str(table), "--json"]
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "submit", *words], capture_output=True, text=True, check=True)
        took = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        megabytes = page.stat().st_size / 1e6
        rows = len(table.read_text().splitlines()) - 1
    said = json.loads(done.stdout)
    if not said["jobs"] == rows == options.jobs or abs(sum(said["seconds"].values()) - said["slot_s"]) > 1:
        raise SystemExit(f"{said['jobs']} jobs, {rows} rows, {said['seconds']}, {said['slot_s']}")
    about = {"jobs": options.jobs, "events": count, "logs": options.logs, "memory_mb": round(used.ru_maxrss / 1024)}
    about |= {"load": round(os.getloadavg()[0], 1), "htcondor2_reads_s": round(theirs, 2)}
    name = f"osgdl report, {options.jobs} jobs"
    report(
        Result(f"{name}: page, CSV and JSON", took, LIMIT_S, LIMIT_S / took, 1.0, "s", COMMAND, about),
        Result(f"{name}: size of the page", megabytes, PAGE_MB, PAGE_MB / megabytes, 1.0, "MB", COMMAND, about),
    )


if __name__ == "__main__":
    main()
