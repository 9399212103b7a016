"""The histories of the jobs of an event log, read as it grows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from submit import events
from submit.errors import KitError
from submit.events import CLUSTER_REMOVE, CLUSTER_SUBMIT, IMAGE_SIZE, SUBMIT
from submit.job_history import JobHistory, Name

_BLOCK = 4 << 20  # bytes read at once
EARLY_S = 60  # by which the event of a submission may come after the first ones of the job


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
        self._last = 0  # time of the last event
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
            self._at, self._last, self._file = 0, 0, (now.st_dev, now.st_ino)

    def _events(self, file: BinaryIO, length: int) -> Iterator[events.Event]:
        block = _BLOCK
        while True:
            size = min(block, length - self._at)
            file.seek(self._at)
            found, taken = events.parse(file.read(size), IMAGE_SIZE, self._last)
            for event in found:
                self._last = event.timestamp
                yield event
            self._at += taken
            if size < block:
                return
            block = _BLOCK if taken else 2 * block  # an event, or rubbish, longer than a block

    def _take(self, event: events.Event, changed: set[Name]) -> None:
        if event.type == CLUSTER_SUBMIT:
            self.coming.add(event.cluster)
        elif event.type == CLUSTER_REMOVE:
            self.coming.discard(event.cluster)
        if event.proc < 0:
            return
        name = (event.cluster, event.proc)
        changed.add(name)
        job = self.jobs.get(name)
        if event.type == SUBMIT:
            node = events.node(str(event.get("LogNotes", "")))
            if job and job.early and event.timestamp - job.submitted < EARLY_S:
                job.node, job.submitted, job.early = node, min(job.submitted, event.timestamp), False
            else:  # of a number that is given again, the new job counts
                self.jobs[name] = JobHistory(
                    cluster=event.cluster, proc=event.proc, submitted=event.timestamp, node=node
                )
        elif job is None:
            self.jobs[name] = JobHistory(cluster=event.cluster, proc=event.proc, submitted=event.timestamp, early=True)
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
