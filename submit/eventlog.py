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
IN_STARTED, IN_FINISHED, OUT_STARTED, OUT_FINISHED = 2, 3, 5, 6
# of the table at the end of a run
RESOURCES = ("Cpus", "Memory", "Disk", "GPUs", "GPUsMemory", "TimeExecute")
_BLOCK = 4 << 20  # bytes read at once


@dataclass(kw_only=True)
class Start:
    """One start of a job on a machine: times in seconds since the epoch, as the log's clock has them.

    Attributes:
        claimed: when the machine began to be its, and took in its files; `time`: when the job itself began.
        until: None while it runs; `why`: what ended it, in HTCondor's words.
        scratch: the job's folder on the machine.
        input_s, output_s: of the transfer before it, and of the last one.
        sent: transfers from the machine home, those of checkpoints among them.
        gpus: how many were given.
        used: what the last event of it says was used, by the resource's name: `GPUs` on average, `Memory` in MB.
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
    gpus: int = 0
    used: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> int:
        """Of the machine; 0 while the job is there."""
        return 0 if self.until is None else self.until - self.claimed


@dataclass(kw_only=True)
class JobHistory:
    """One process of a cluster, as far as its log goes.

    `node`: of a DAG, whose job it is. `unstarted`: machines that took in its files and never began it.
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
    unstarted: list[Start] = field(default_factory=list)
    events: int = 0

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
        """Take in the next event of this process (events.Event or htcondor2.JobEvent)."""
        kind, now = int(event.type), int(event.timestamp)
        self.events += 1
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
                    gpus=_whole(properties.get("GPUs", 0)),
                    scratch=str(properties.get("CondorScratchDir", "")),
                    input_s=self._input_s,
                )
            )
            self._claimed = self._input_s = 0
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
            self._end(now, "removed")
            self.said.append((now, "removed"))

    def _used(self, event: Any) -> None:
        if self.starts and self.starts[-1].until is None:
            used = {name: event.get(f"{name}Usage") for name in RESOURCES}
            self.starts[-1].used = {name: float(value) for name, value in used.items() if value is not None}

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
        if self._claimed:
            self.unstarted.append(Start(time=now, claimed=self._claimed, until=now, why=why, input_s=self._input_s))
            self._claimed = self._input_s = 0
        if self.starts and self.starts[-1].until is None:
            self.starts[-1].until, self.starts[-1].why = now, why


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
