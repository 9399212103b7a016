"""What earlier jobs of a project tell about the next ones: how fast data came, how often a job started, how long it
trained.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from submit import events

TRANSFER = 40  # HTCondor manual, "Job Event Log Codes"
_STARTED, _FINISHED = 2, 3  # its Type, of input
# The log has whole seconds: below this many in all they say little
_LEAST = 10
_LOOPBACK = ("<127.", "<[::1]")  # the local pool: another machine's disk, not the OSPool's network


def logs(project: Path) -> list[Path]:
    """The event logs of a project's jobs."""
    return sorted(project.glob("logs/*.log"))


def observed_speed(files: Iterable[Path], local: bool = False) -> float | None:
    """Bytes a second at which input reached jobs, whatever way it came; None where the logs have less than 10 s of it.

    HTCondor counts what plugins fetched from the OSDF too (seen in 25.14).

    Args:
        local: of the local pool's jobs; else of all others.
    """
    received, seconds = 0.0, 0
    for file in files:
        for count, took in _inputs(file, local):
            received += count
            seconds += took
    return received / seconds if seconds >= _LEAST and received else None


def _inputs(file: Path, local: bool) -> Iterator[tuple[float, int]]:
    """Bytes and seconds of each start whose end the log has."""
    began: dict[tuple[int, int], int] = {}
    took: dict[tuple[int, int], int] = {}
    for event in _events(file):
        job, kind = (int(event.cluster), int(event.proc)), int(event.type)
        if kind == TRANSFER and event.get("Type") == _STARTED:
            took.pop(job, None)
            if str(event.get("Host", "")).startswith(_LOOPBACK) == local:
                began[job] = int(event.timestamp)
        elif kind == TRANSFER and event.get("Type") == _FINISHED and job in began:
            took[job] = int(event.timestamp) - began.pop(job)
        elif kind in (events.EVICTED, events.TERMINATED) and job in took:
            yield float(event.get("ReceivedBytes") or 0), took.pop(job)


def observed_starts(files: Iterable[Path], local: bool = False) -> float | None:
    """How often a job that is done started, on average; None where none is."""
    counts = []
    for file in files:
        starts: dict[tuple[int, int], int] = {}
        for event in _events(file):
            job, kind = (int(event.cluster), int(event.proc)), int(event.type)
            if kind == events.EXECUTE and str(event.get("ExecuteHost", "")).startswith(_LOOPBACK) == local:
                starts[job] = starts.get(job, 0) + 1
            elif kind == events.TERMINATED and job in starts:
                counts.append(starts[job])
    return sum(counts) / len(counts) if counts else None


def _events(file: Path) -> Iterator[Any]:
    """None of a file that is no event log; those before the first damage of one that is."""
    import htcondor2

    try:
        yield from htcondor2.JobEventLog(str(file)).events(stop_after=0)
    except (htcondor2.HTCondorException, OSError):
        return


def training_seconds(project: Path) -> tuple[float, Path] | None:
    """How long the newest finished training took, and where that stands; None where there is none on a real GPU."""
    found = []
    for path in project.glob("results/*/metrics.json"):
        try:
            held = json.loads(path.read_bytes())
            seconds, device = held["training_s"], str(held["provenance"]["device"])
            if device.startswith("gpu") and type(seconds) in (int, float) and 0 < seconds < float("inf"):
                found.append((path.stat().st_mtime_ns, float(seconds), path))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # another program's
    return max(found)[1:] if found else None
