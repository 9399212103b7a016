"""DAGMan on the tests' pool, and clusters that are materialised one job after the other."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from submit import eventlog
from tests.conftest import Condor
from tests.pool.conftest import Job


def run_dag(condor: Condor, folder: Path, name: str = "folds.dag", seconds: float = 240) -> str:
    """Runs a workflow to its end; what DAGMan wrote into its own log this time."""
    out = folder / f"{name}.dagman.out"
    before = len(out.read_text()) if out.exists() else 0
    done = condor.run(["condor_submit_dag", name], cwd=folder)
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + seconds
    while not out.exists() or "EXITING WITH STATUS" not in (said := out.read_text()[before:]):
        assert time.monotonic() < deadline, out.read_text()[-3000:]
        time.sleep(0.5)
    return said


def done(job: Job, count: int, seconds: float = 240) -> None:
    """Waits until so many jobs of a cluster are done, with exit code 0, and none is left in the queue."""
    deadline = time.monotonic() + seconds
    while not all((job.cluster, proc) in eventlog.read(job.log) for proc in range(count)):
        assert time.monotonic() < deadline, job.log.read_text()
        time.sleep(0.5)
    for proc in range(count):
        assert replace(job, proc=proc).wait("done", "held").exit_code == 0, job.log.read_text()
    while job.cluster in eventlog.in_queue(job.log):
        assert time.monotonic() < deadline, job.log.read_text()
        time.sleep(0.5)
