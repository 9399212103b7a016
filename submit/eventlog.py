"""What a job's event log says happened: where it ran, on which GPU, how long it waited and how it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from submit import events
from submit.errors import KitError
from submit.events import (
    ABORTED,
    CLUSTER_REMOVE,
    CLUSTER_SUBMIT,
    DISCONNECTED,
    EVICTED,
    EXECUTE,
    HELD,
    IMAGE_SIZE,
    RECONNECT_FAILED,
    RECONNECTED,
    RELEASED,
    REMOTE_ERROR,
    SHADOW_EXCEPTION,
    SUBMIT,
    TERMINATED,
    TRANSFER,
)

Name = tuple[int, int]  # cluster, process
# steps of a transfer, FileTransferEvent's Type (condor_event.h)
IN_QUEUED, IN_STARTED, IN_FINISHED, OUT_STARTED, OUT_FINISHED = 1, 2, 3, 5, 6
# why a job left a machine (condor_holdcodes.h); a hold's code, or one of these
VACATE_BASE, REMOVED, CHECKPOINTED = 1000, 1023, 1025
# of the table at the end of a run
RESOURCES = ("Cpus", "Memory", "Disk", "GPUs", "GPUsMemory", "TimeExecute")
_BLOCK = 4 << 20  # bytes read at once


@dataclass(kw_only=True)
class Start:
    """One start of a job on a machine: times in seconds since the epoch, as the log's clock has them.

    Attributes:
        claimed: when the machine began to be its, and took in its files; `time`: when the job itself began.
        until: None while it runs; `why`: what ended it, in HTCondor's words; `code`: with its code and subcode.
        scratch: the job's folder on the machine.
        input_s: of the transfer before it, with the wait for its turn.
        outputs: transfers from the machine home, those of checkpoints among them: when each began and was done.
        gpus: how many were given; `gpu_memory_mb`: of one of them.
        used, asked: what the last event of it says, by the resource's name: `GPUs` on average, `Memory` in MB.
    """

    time: int
    claimed: int = 0
    until: int | None = None
    why: str = ""
    code: tuple[int, int] = (0, 0)
    site: str = ""
    machine: str = ""
    gpu: str = ""
    scratch: str = ""
    input_s: int = 0
    outputs: list[tuple[int, int]] = field(default_factory=list)
    gpus: int = 0
    gpu_memory_mb: int = 0
    used: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> int:
        """Of the machine; 0 while the job is there."""
        return 0 if self.until is None else self.until - self.claimed


@dataclass(kw_only=True)
class JobHistory:
    """One process of a cluster, as far as its log goes.

    `node`: of a DAG, whose job it is. `unstarted`: machines that took in its files and never began it. `reachable`:
    its shadow has not lost the machine, which may be dead long before its state says so. `evictions`: machines that were
    taken away. `held_s`: of holds that are over; `held_at`: since when it is held, if it is.
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
            self._lost(self._claimed or now, "its shadow ended without a word", (0, 0), begins=True)
            self._waiting, self.reachable = False, True
            self.starts.append(
                Start(
                    time=now,
                    claimed=self._claimed or now,
                    site=str(properties.get("GLIDEIN_Site", "")),
                    machine=str(properties.get("Machine", "")),
                    gpu=gpu,
                    gpu_memory_mb=memory,
                    gpus=_whole(properties.get("GPUs", 0)),
                    scratch=str(properties.get("CondorScratchDir", "")),
                    input_s=self._input_s,
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
                code = f"exit code {event.get('ReturnValue')}" if event.get("TerminatedNormally") else "a signal"
                self._end(now, code)
                self.said.append((now, f"ended with {code}, is tried again"))
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

    def _hold_over(self, now: int) -> None:
        if self.held_at is not None:
            self.held_s, self.held_at = self.held_s + now - self.held_at, None

    def _used(self, event: Any) -> None:
        if self.starts and self.starts[-1].until is None:
            for name in RESOURCES:
                named = name.replace("GPUs", "Gpus")  # as some versions write it
                for kept, before, after in ((self.starts[-1].used, "", "Usage"), (self.starts[-1].asked, "Request", "")):
                    value = event.get(f"{before}{name}{after}", event.get(f"{before}{named}{after}"))
                    if value is not None:
                        kept[name] = float(value)

    def _lost(self, now: int, why: str, code: tuple[int, int], begins: bool = False) -> None:
        """The machine is its no more: taken away, or (by the code) given up for a hold, a removal, a checkpoint."""
        taken = code[0] not in (REMOVED, CHECKPOINTED) and not 0 < code[0] < VACATE_BASE or code[1] <= -VACATE_BASE
        if taken and self.starts and self.starts[-1].until is None:
            self.evictions += 1
            self.said.append((now, f"lost its machine: {why}"))
        if not begins:
            self._claimed = self._claimed or self._complained
            self._end(now, why, code)
        elif self.starts and self.starts[-1].until is None:
            self.starts[-1].until, self.starts[-1].why = now, why

    def _transfer(self, step: int, now: int) -> None:
        start = self.starts[-1] if self.starts and self.starts[-1].until is None else None
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

    def _end(self, now: int, why: str, code: tuple[int, int] = (0, 0)) -> None:
        self._waiting = True
        if self.starts and self.starts[-1].until is None:
            self.starts[-1].until, self.starts[-1].why, self.starts[-1].code = now, why, code
        elif self._claimed:
            claimed, came = self._claimed, self._input_s
            self.unstarted.append(Start(time=now, claimed=claimed, until=now, why=why, code=code, input_s=came))
        self._claimed = self._input_s = self._sending = self._complained = 0
        self._queued = False


class Reader:
    """Reads one event log as it grows; nothing stays open between two reads.

    Attributes:
        jobs: the histories, as far as they are read.
        coming: clusters whose jobs are materialised one after the other, and not all there yet.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.jobs: dict[Name, JobHistory] = {}
        self.coming: set[int] = set()
        self._at = 0
        self._file = (0, 0)
        self._seen = (0, 0)  # when it was last written to, and its size, at the last look

    def read(self) -> set[Name]:
        """Take in the events written since the last call; the jobs that they are of. A log that is not there has none.

        A log that was replaced or cut short is read again from its start, and what is not in it any more forgotten.

        Raises:
            KitError: it may not be read.
        """
        changed: set[Name] = set()
        try:
            now = self.log.stat()
            if (now.st_dev, now.st_ino) == self._file and (now.st_mtime_ns, now.st_size) == self._seen:
                return changed
            self._seen = now.st_mtime_ns, now.st_size
            with self.log.open("rb") as file:
                now = os.fstat(file.fileno())
                self._again_where_replaced(file, now, changed)
                for event in self._events(file, now.st_size):
                    self._take(event, changed)
        except FileNotFoundError:
            pass
        except OSError as fault:
            raise KitError(f"{self.log}: {fault.strerror}; want an event log, the file of `log =`") from None
        return changed

    def _again_where_replaced(self, file: BinaryIO, now: os.stat_result, changed: set[Name]) -> None:
        same = (now.st_dev, now.st_ino) == self._file and now.st_size >= self._at
        if same and self._at:
            file.seek(self._at - 4)
            same = file.read(4) == b"...\n"
        if not same:
            changed.update(self.jobs)
            self.jobs.clear()
            self.coming.clear()
            self._at, self._file = 0, (now.st_dev, now.st_ino)

    def _events(self, file: BinaryIO, length: int) -> Iterator[events.Event]:
        block = _BLOCK
        while True:
            size = min(block, length - self._at)
            file.seek(self._at)
            found, taken = events.parse(file.read(size))
            yield from found
            self._at += taken
            if size < block:
                return
            block = _BLOCK if taken else 2 * block  # an event, or rubbish, longer than a block

    def _take(self, event: events.Event, changed: set[Name]) -> None:
        if event.type == CLUSTER_SUBMIT:
            self.coming.add(event.cluster)
        elif event.type == CLUSTER_REMOVE:
            self.coming.discard(event.cluster)
        if event.proc < 0 or event.type == IMAGE_SIZE:
            return
        name = (event.cluster, event.proc)
        changed.add(name)
        if event.type == SUBMIT or name not in self.jobs:  # its start was cut off
            node = str(event.get("LogNotes", "")).removeprefix("DAG Node: ") if event.type == SUBMIT else ""
            self.jobs[name] = JobHistory(cluster=event.cluster, proc=event.proc, submitted=event.timestamp, node=node)
        self.jobs[name].add(event)


def read(log: Path) -> dict[Name, JobHistory]:
    """Every (cluster, proc) of an event log; empty when there is no log yet. Raises KitError as `Reader.read`."""
    reader = Reader(log)
    reader.read()
    return reader.jobs


def in_queue(log: Path) -> list[int]:
    """The clusters of an event log that have jobs in the queue, or to come into it."""
    reader = Reader(log)
    reader.read()
    return sorted(reader.coming | {cluster for (cluster, _), job in reader.jobs.items() if job.ended is None})


def _whole(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) else 0
