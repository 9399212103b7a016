"""What a job's event log says happened: where it ran, on which GPU, how long it waited and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Event numbers (HTCondor manual, "Job Event Log Codes")
SUBMIT, EXECUTE, EVICTED, TERMINATED, ABORTED, HELD, RELEASED = 0, 1, 4, 5, 9, 12, 13
SHADOW_EXCEPTION, REMOTE_ERROR, DISCONNECTED, RECONNECTED, RECONNECT_FAILED, TRANSFER = 7, 21, 22, 23, 24, 40
# steps of a transfer, FileTransferEvent's Type (condor_event.h)
IN_STARTED, IN_FINISHED, OUT_STARTED, OUT_FINISHED = 2, 3, 5, 6
CLUSTER_SUBMIT, CLUSTER_REMOVE = 35, 36  # of jobs that are materialised one after the other


@dataclass(kw_only=True)
class Start:
    """One start of a job on a machine: times in seconds since the epoch, as the log's clock has them.

    Attributes:
        claimed: when the machine began to be its, and took in its files; `time`: when the job itself began.
        until: None while it runs; `why`: what ended it, in HTCondor's words.
        scratch: the job's folder on the machine.
        input_s, output_s: of the transfer before it, and of the last one.
        sent: transfers from the machine home, those of checkpoints among them.
    """

    time: int
    claimed: int = 0
    until: int | None = None
    why: str = ""
    site: str = ""
    machine: str = ""
    gpu: str = ""
    scratch: str = ""
    input_s: int = 0
    output_s: int = 0
    sent: int = 0

    @property
    def seconds(self) -> int:
        """Of the machine; 0 while the job is there."""
        return 0 if self.until is None else self.until - self.claimed


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
    said: list[tuple[int, str]] = field(default_factory=list)  # what happened, when, for a person

    @property
    def state(self) -> str:
        """`idle`, `running`, `held`, `removed` or `done`."""
        if self.ended is not None:
            return "removed" if self.removed else "done"
        if self.hold_code:
            return "held"
        return "running" if self.starts and not self._waiting else "idle"

    _waiting: bool = False
    _claimed: int = 0
    _input_s: int = 0
    _sending: int = 0

    def add(self, event: Any) -> None:
        """Take in the next event of this process (htcondor2.JobEvent)."""
        kind, now = int(event.type), int(event.timestamp)
        if kind == EXECUTE:
            properties = event.get("ExecuteProps") or {}
            self._lost(self._claimed or now, "its shadow ended without a word")
            self._waiting = False
            self.starts.append(
                Start(
                    time=now,
                    claimed=self._claimed or now,
                    site=str(properties.get("GLIDEIN_Site", "")),
                    machine=str(properties.get("Machine", "")),
                    gpu=str(properties.get("GPUs_DeviceName", "")),
                    scratch=str(properties.get("CondorScratchDir", "")),
                    input_s=self._input_s,
                )
            )
            self._claimed = self._input_s = 0
            self.said.append((now, f"starts at {self.starts[-1].site or self.starts[-1].machine or 'a machine'}"))
        elif kind == TRANSFER:
            self._transfer(int(event.get("Type", 0)), now)
        elif kind in (EVICTED, SHADOW_EXCEPTION, RECONNECT_FAILED):
            again = bool(event.get("TerminatedAndRequeued"))  # it ended by itself, and is tried once more
            if again:
                code = f"exit code {event.get('ReturnValue')}" if event.get("TerminatedNormally") else "a signal"
                self._end(now, code)
                self.said.append((now, f"ended with {code}, is tried again"))
            else:
                self._lost(now, str(event.get("Reason") or event.get("Message") or "no reason given"))
                self._waiting = True
        elif kind == HELD:
            self.hold_reason = str(event.get("HoldReason", ""))
            self.hold_code = (int(event.get("HoldReasonCode", 0)), int(event.get("HoldReasonSubCode", 0)))
            self._end(now, self.hold_reason)
            self.said.append((now, f"held: {self.hold_reason}"))
        elif kind == RELEASED:
            self.hold_code = None
            self.said.append((now, "released"))
        elif kind in (DISCONNECTED, RECONNECTED):
            self.said.append((now, "out of reach" if kind == DISCONNECTED else "within reach again, still running"))
        elif kind == REMOTE_ERROR:
            self.said.append((now, f"an error there: {event.get('ErrorMsg', '')}"))
        elif kind == TERMINATED:
            self.ended = now
            if event.get("TerminatedNormally"):
                self.exit_code = int(event["ReturnValue"])
            else:
                self.signal = int(event.get("TerminatedBySignal", 0))
            self._end(now, "")
            how = f"exit code {self.exit_code}" if self.signal is None else f"signal {self.signal}"
            self.said.append((now, f"done, {how}"))
        elif kind == ABORTED:
            self.ended, self.removed = now, True
            self._end(now, "removed")
            self.said.append((now, "removed"))

    def _lost(self, now: int, why: str) -> None:
        if self.starts and self.starts[-1].until is None:
            self.evictions += 1
            self._end(now, why)
            self.said.append((now, f"lost its machine: {why}"))

    def _transfer(self, step: int, now: int) -> None:
        if step == IN_STARTED:
            self._claimed = now
        elif step == IN_FINISHED and self._claimed:
            self._input_s = now - self._claimed
        elif step == OUT_STARTED:
            self._sending = now
        elif step == OUT_FINISHED and self._sending and self.starts:
            self.starts[-1].output_s = now - self._sending
            self.starts[-1].sent += 1

    def _end(self, now: int, why: str) -> None:
        self._waiting = True
        if self.starts and self.starts[-1].until is None:
            self.starts[-1].until, self.starts[-1].why = now, why


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


def in_queue(log: Path) -> list[int]:
    """The clusters of an event log that have jobs in the queue, or to come into it."""
    if not log.exists():
        return []
    import htcondor2

    left: dict[int, set[int]] = {}
    for event in htcondor2.JobEventLog(str(log)).events(stop_after=0):
        kind, cluster, proc = int(event.type), int(event.cluster), int(event.proc)
        if kind in (SUBMIT, CLUSTER_SUBMIT):
            left.setdefault(cluster, set()).add(proc)  # -1 stands for those to come
        elif kind in (TERMINATED, ABORTED, CLUSTER_REMOVE):
            left.get(cluster, set()).discard(proc)
    return sorted(cluster for cluster, procs in left.items() if procs)
