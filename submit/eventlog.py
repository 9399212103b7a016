"""What a job's event log says happened: where it ran, on which GPU, how long it waited and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Event numbers (HTCondor manual, "Job Event Log Codes")
SUBMIT, EXECUTE, EVICTED, TERMINATED, ABORTED, HELD, RELEASED = 0, 1, 4, 5, 9, 12, 13


@dataclass(kw_only=True)
class Start:
    """One start of a job on a machine: times in seconds since the epoch, as the log's clock has them."""

    time: int
    site: str = ""
    machine: str = ""
    gpu: str = ""


@dataclass(kw_only=True)
class JobHistory:
    """One process of a cluster, as far as its log goes."""

    cluster: int
    proc: int
    submitted: int
    starts: list[Start] = field(default_factory=list)
    ended: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    hold_reason: str = ""
    hold_code: tuple[int, int] | None = None
    evictions: int = 0
    removed: bool = False

    @property
    def state(self) -> str:
        """`idle`, `running`, `held`, `removed` or `done`."""
        if self.ended is not None:
            return "removed" if self.removed else "done"
        if self.hold_code:
            return "held"
        return "running" if self.starts and not self._waiting else "idle"

    _waiting: bool = False

    def add(self, event: Any) -> None:
        """Take in the next event of this process (htcondor2.JobEvent)."""
        kind = int(event.type)
        if kind == EXECUTE:
            properties = event.get("ExecuteProps") or {}
            self._waiting = False
            self.starts.append(
                Start(
                    time=int(event.timestamp),
                    site=str(properties.get("GLIDEIN_Site", "")),
                    machine=str(properties.get("Machine", "")),
                    gpu=str(properties.get("GPUs_DeviceName", "")),
                )
            )
        elif kind == EVICTED:
            self._waiting = True
            self.evictions += 1
        elif kind == HELD:
            self._waiting = True
            self.hold_reason = str(event.get("HoldReason", ""))
            self.hold_code = (int(event.get("HoldReasonCode", 0)), int(event.get("HoldReasonSubCode", 0)))
        elif kind == RELEASED:
            self.hold_code = None
        elif kind == TERMINATED:
            self.ended = int(event.timestamp)
            if event.get("TerminatedNormally"):
                self.exit_code = int(event["ReturnValue"])
            else:
                self.signal = int(event.get("TerminatedBySignal", 0))
        elif kind == ABORTED:
            self.ended, self.removed = int(event.timestamp), True


def read(log: Path) -> dict[tuple[int, int], JobHistory]:
    """Every (cluster, proc) of an event log; empty when there is no log yet."""
    if not log.exists():
        return {}
    import htcondor2

    jobs: dict[tuple[int, int], JobHistory] = {}
    for event in htcondor2.JobEventLog(str(log)).events(stop_after=0):
        name = (int(event.cluster), int(event.proc))
        if int(event.type) == SUBMIT:
            jobs[name] = JobHistory(cluster=name[0], proc=name[1], submitted=int(event.timestamp))
        elif name in jobs:
            jobs[name].add(event)
    return jobs
