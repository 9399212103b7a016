"""What became of one job: where it ran, on which GPU, how long it waited and how it ended."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from submit import events
from submit.events import (
    ABORTED,
    DISCONNECTED,
    EVICTED,
    EXECUTE,
    HELD,
    RECONNECT_FAILED,
    RECONNECTED,
    RELEASED,
    REMOTE_ERROR,
    SHADOW_EXCEPTION,
    TERMINATED,
    TRANSFER,
)
from submit.start import REMOVED, Start

Name = tuple[int, int]  # cluster, process
# steps of a transfer, FileTransferEvent's Type (condor_event.h)
IN_QUEUED, IN_STARTED, IN_FINISHED, OUT_STARTED, OUT_FINISHED = 1, 2, 3, 5, 6


@dataclass(kw_only=True)
class JobHistory:
    """One process of a cluster, as far as its log goes.

    `node`: of a DAG, whose job it is. `unstarted`: machines that took in its files and never began it. `reachable`:
    its shadow has not lost the machine, which may be dead long before its state says so. `evictions`: machines that
    were taken away. `held_s`: of holds that are over; `held_at`: since when it is held, if it is. `early`: the log has
    no submission of it, or not yet.
    """

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
    node: str = ""
    reachable: bool = True
    unstarted: list[Start] = field(default_factory=list)
    events: int = 0
    held_s: int = 0
    held_at: int | None = None
    early: bool = False

    @property
    def state(self) -> str:
        """`idle`, `running`, `held`, `removed` or `done`."""
        if self.ended is not None:
            return "removed" if self.removed else "done"
        if self.hold_code:
            return "held"
        return "running" if self.starts and not self._waiting else "idle"

    @property
    def broke(self) -> bool:
        """Whether its program ended otherwise than with 0."""
        return self.signal is not None or bool(self.exit_code)

    _waiting: bool = False
    _claimed: int = 0
    _input_s: int = 0
    _queued: bool = False
    _sending: int = 0
    _complained: int = 0  # a starter, of which the log says nothing else

    def add(self, event: Any) -> None:
        """Take in the next event of this process (events.Event or htcondor2.JobEvent)."""
        kind, now = int(event.type), int(event.timestamp)
        self.events += 1
        if kind == EXECUTE:
            properties = event.get("ExecuteProps") or {}
            gpu, memory = events.gpu(properties)
            claimed, came = self._claimed or now, self._input_s
            if self._here:
                self._lost(claimed, "its shadow ended without a word", (0, 0))
            self._waiting, self.reachable = False, True
            self.starts.append(
                Start(
                    time=now,
                    claimed=claimed,
                    site=str(properties.get("GLIDEIN_Site", "")),
                    machine=str(properties.get("Machine", "")),
                    gpu=gpu,
                    gpu_memory_mb=memory,
                    gpus=_whole(properties.get("GPUs", 0)),
                    scratch=str(properties.get("CondorScratchDir", "")),
                    input_s=came,
                )
            )
            self._claimed = self._input_s = self._complained = 0
            self.said.append((now, f"starts at {self.starts[-1].site or self.starts[-1].machine or 'a machine'}"))
        elif kind == TRANSFER:
            self._transfer(int(event.get("Type", 0)), now)
        elif kind in (EVICTED, SHADOW_EXCEPTION, RECONNECT_FAILED):
            self._used(event)
            again = bool(event.get("TerminatedAndRequeued"))  # it ended by itself, and is tried once more
            if again:
                how = f"exit code {event.get('ReturnValue')}" if event.get("TerminatedNormally") else "a signal"
                self._end(now, how)
                self.said.append((now, f"ended with {how}, is tried again"))
            else:
                code = int(event.get("ReasonCode", 0)), int(event.get("ReasonSubCode", 0))
                self._lost(now, str(event.get("Reason") or event.get("Message") or "no reason given"), code)
                self._waiting = True
        elif kind == HELD:
            self.hold_reason = str(event.get("HoldReason", ""))
            self.hold_code = (int(event.get("HoldReasonCode", 0)), int(event.get("HoldReasonSubCode", 0)))
            self._end(now, self.hold_reason, self.hold_code)
            self.held_at = now
            self.said.append((now, f"held: {self.hold_reason}"))
        elif kind == RELEASED:
            self.hold_code = None
            self._hold_over(now)
            self.said.append((now, "released"))
        elif kind in (DISCONNECTED, RECONNECTED):
            self.reachable = kind == RECONNECTED
            self.said.append((now, "out of reach" if kind == DISCONNECTED else "within reach again, still running"))
        elif kind == REMOTE_ERROR:
            self._complained = now
            self.said.append((now, f"an error there: {event.get('ErrorMsg', '')}"))
        elif kind == TERMINATED:
            self.ended = now
            self._used(event)
            if event.get("TerminatedNormally"):
                self.exit_code = int(event["ReturnValue"])
            else:
                self.signal = int(event.get("TerminatedBySignal", 0))
            self._end(now, "")
            how = f"exit code {self.exit_code}" if self.signal is None else f"signal {self.signal}"
            self.said.append((now, f"done, {how}"))
        elif kind == ABORTED:
            self.ended, self.removed = now, True
            self._end(now, "removed", (REMOVED, 0))
            self._hold_over(now)
            self.said.append((now, "removed"))

    @property
    def _here(self) -> Start | None:
        """The start that goes on."""
        return self.starts[-1] if self.starts and self.starts[-1].until is None else None

    def _hold_over(self, now: int) -> None:
        if self.held_at is not None:
            self.held_s, self.held_at = self.held_s + max(0, now - self.held_at), None

    def _used(self, event: Any) -> None:
        if start := self._here:
            start.used, start.asked = events.resources(event)

    def _lost(self, now: int, why: str, code: tuple[int, int]) -> None:
        """The machine is its no more: taken away, or given up for a hold, a removal, a checkpoint."""
        start = self._here
        self._claimed = self._claimed or self._complained
        self._end(now, why, code)
        if start and start.taken:
            self.evictions += 1
            self.said.append((now, f"lost its machine: {why}"))

    def _transfer(self, step: int, now: int) -> None:
        start = self._here
        if step in (IN_QUEUED, IN_STARTED):
            self._claimed = self._claimed if self._queued else now
            self._queued = step == IN_QUEUED
        elif step == IN_FINISHED and self._claimed:
            self._input_s = now - self._claimed
        elif step == IN_FINISHED and start and not start.outputs:  # the log has the two the other way round
            start.input_s = now - start.claimed
        elif step == OUT_STARTED:
            self._sending = now
        elif step == OUT_FINISHED and self._sending and start:
            start.outputs.append((self._sending, now))
            self._sending = 0

    def _end(self, now: int, why: str, code: tuple[int, int] | None = None) -> None:
        self._waiting = True
        if start := self._here:
            start.until, start.why, start.code = now, why, code
        elif self._claimed:
            claimed, came = self._claimed, self._input_s
            self.unstarted.append(Start(time=now, claimed=claimed, until=now, why=why, code=code, input_s=came))
        self._claimed = self._input_s = self._sending = self._complained = 0
        self._queued = False


def _whole(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and 0 <= value < math.inf else 0
