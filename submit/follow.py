"""Follows one job of the local pool until it ends, is held, or turns out to match no slot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit import eventlog, match, pool
from submit.errors import NoMatch, PoolError
from submit.job_history import JobHistory
from submit.slots import Slots

# How long a job may stay idle before its request is looked at
IDLE_SECONDS = 60
# What the job publishes of its own progress, by chirp (submit/runtime/progress.py)
_PROGRESS = ("ChirpOsgdlEpoch", "ChirpOsgdlStep", "ChirpOsgdlSteps", "ChirpOsgdlLoss")


@dataclass(frozen=True)
class Progress:
    """What the job last said of itself; None where it has said nothing yet."""

    step: int | None = None
    steps: int | None = None
    loss: float | None = None


def submit(submit_file: Path, *arguments: str) -> int:
    """`condor_submit` in the pool as its user; returns the cluster. Raises PoolError with HTCondor's own words."""
    done = pool.run(["condor_submit", "-terse", *arguments, submit_file.name], cwd=submit_file.parent)
    if done.returncode:
        raise PoolError(
            f"{submit_file}: condor_submit refused it: {' '.join((done.stderr + done.stdout).split())[-400:]}"
        )
    return int(done.stdout.split(".")[0])


def first_ad(submit_file: Path, *arguments: str) -> dict[str, Any]:
    """The ad of the first job that `submit` would queue; attributes whose value shows only at a machine are left out.

    Raises PoolError with HTCondor's own words.
    """
    import htcondor2  # noqa: F401 - before classad2: match.py
    import classad2  # isort: skip

    command = ["condor_submit", "-dry-run", "-", *arguments, submit_file.name]
    done = pool.run(command, cwd=submit_file.parent)
    ads = [text for text in done.stdout.split("\n\n") if "ClusterId" in text]
    if done.returncode or not ads:
        raise PoolError(
            f"{submit_file}: condor_submit refused it: {' '.join((done.stderr + done.stdout).split())[-400:]}"
        )
    lines = [line for line in ads[0].splitlines() if "=" in line]
    ad = classad2.parseOne("\n".join(lines), classad2.ParserType.Old)
    values = {name: ad.eval(name) for name in ad}
    return {name: value for name, value in values.items() if isinstance(value, (str, int, float, bool))}


def progress(cluster: int) -> Progress:
    """The progress that the job of `cluster` published in its ad."""
    done = pool.run(["condor_q", str(cluster), "-json", "-attributes", ",".join(_PROGRESS)], cwd=Path("/"))
    ads = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else []
    ad = ads[0] if ads else {}
    return Progress(step=ad.get("ChirpOsgdlStep"), steps=ad.get("ChirpOsgdlSteps"), loss=ad.get("ChirpOsgdlLoss"))


def follow(log: Path, cluster: int, show: Callable[[JobHistory, Progress], None]) -> JobHistory:
    """Call `show` about once a second until the first job of `cluster` is done, removed or held; returns its history.

    Raises NoMatch when it has been idle for a minute and no slot of the pool meets its request: it names the clause.
    """
    idle_since = time.monotonic()
    reader = eventlog.Reader(log)
    while True:
        reader.read()
        history = reader.jobs.get((cluster, 0))
        if history:
            show(history, progress(cluster) if history.state == "running" else Progress())
            if history.state in ("done", "removed", "held"):
                return history
            if history.state == "running":
                idle_since = time.monotonic()
        if time.monotonic() - idle_since > IDLE_SECONDS:
            if why := why_idle(cluster):
                raise NoMatch(f"{why}. Still queued: osgdl pool exec -- condor_rm {cluster}")
            idle_since = time.monotonic()
        time.sleep(1)


def why_idle(cluster: int) -> str:
    """Why no slot of the pool takes the first job of `cluster`; empty: one would, it waits for its turn."""
    job = pool.run(["condor_q", str(cluster), "-long"], cwd=Path("/")).stdout.strip()
    slots = pool.run(["condor_status", "-long", "-constraint", "PartitionableSlot"], cwd=Path("/")).stdout.strip()
    if not job or not slots:
        return ""
    found = match.match(job.split("\n\n")[0], Slots.of_ads(slots.split("\n\n")))
    if found.matching_slots:
        return ""
    none = [clause.text for clause in found.clauses if clause.alone == 0]
    fewest = min(found.clauses, key=lambda clause: clause.alone)
    why = (
        f"no slot meets `{'`, `'.join(none)}`"
        if none
        else f"no slot meets all clauses; the rarest is `{fewest.text}` ({fewest.alone})"
    )
    return (
        f"job {cluster}: idle for {IDLE_SECONDS} s, and of {found.slots} sites {why}. "
        f"Relax that line of the submit file; what there is: osgdl pool status"
    )
