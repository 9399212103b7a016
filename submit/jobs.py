"""The jobs of a folder: the event logs that lie there, whoever submitted them, and what these say of each job."""

from __future__ import annotations

import glob
import multiprocessing
import os
import re
import signal
import stat
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from pathlib import Path

from submit import runs
from submit.description import Description
from submit.errors import KitError
from submit.eventlog import Reader
from submit.job_history import JobHistory, Name

LOOK_AGAIN_S = 10.0  # for new logs
SAME_S = 60  # between two submissions of one number, and it is of two queues
LONG_BYTES = 8 << 20  # half a second of reading, more than two processes cost
_MACRO = re.compile(r"\$+\w*\((?:[^()]|\([^()]*\))*\)")
_EVENT = re.compile(rb"\d{3} \(\d+\.-?\d+\.-?\d+\) ")
DAGMAN_LOG = ".dagman.log"  # of condor_dagman itself, which is a job, and none that computes


class Jobs:
    """The jobs of folders and event logs, kept up to date by `refresh`.

    Args:
        places: folders, whose logs are `*.log` and `logs/*.log`, what their submit files name as `log`, and what the
            record of runs names; or event logs.

    Attributes:
        histories: of each job. One that two logs have (its own and DAGMan's) is taken from that which says more.
        logs: the log of each job.
        managers: condor_dagman of each workflow of a folder: a job that computes nothing, and makes others.
        hidden: jobs whose number another queue gave too, to a job that is looked at in their place.

    Raises:
        KitError: a place is neither; or, by `refresh`, a log may not be read.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        for place in places:
            if not _is_there(place):
                raise KitError(f"{place}: not there; want a project's folder or an event log. Name one")
            if not place.is_dir() and not is_event_log(place):
                raise KitError(
                    f"{place}: no event log; want what `log =` of a submit file names, as text (not log_xml). "
                    "Name its folder to find them"
                )
        self.places = list(places)
        self.histories: dict[Name, JobHistory] = {}
        self.logs: dict[Name, Path] = {}
        self.managers: dict[Name, JobHistory] = {}
        self.hidden: set[Name] = set()
        self._readers: dict[Path, Reader] = {}
        self._of_managers: dict[Path, Reader] = {}
        self._having: dict[Name, list[Reader]] = {}
        self._looked = -LOOK_AGAIN_S

    @property
    def coming(self) -> set[int]:
        """Clusters whose jobs are materialised one after the other, and not all there yet."""
        return {cluster for reader in self._readers.values() for cluster in reader.coming}

    def refresh(self) -> set[Name]:
        """Reads what was written since the last call; the jobs of which something changed, those gone among them."""
        if time.monotonic() - self._looked >= LOOK_AGAIN_S:
            self._looked = time.monotonic()
            for log in logs(self.places, self._readers.keys()):
                self._readers[log] = Reader(log)
            for log in (log for place in self.places for log in place.glob(f"*{DAGMAN_LOG}")):
                self._of_managers.setdefault(log, Reader(log))
        for reader in self._of_managers.values():
            for name in reader.read():
                self.managers.pop(name, None)
        for reader in self._of_managers.values():
            self.managers |= reader.jobs
            self.logs |= dict.fromkeys(reader.jobs, reader.log)
        changed: set[Name] = set()
        for reader, names in zip(self._readers.values(), self._read(), strict=True):
            for name in names:
                changed.add(name)
                self._choose(name, reader)
        return changed

    def stopped(self) -> list[Name]:
        """Workflows that are held, were removed or did not end well: of each, its last manager."""
        last = [max(reader.jobs) for reader in self._of_managers.values() if reader.jobs]
        return [name for name in last if (job := self.managers[name]).state == "held" or job.removed or job.broke]

    def _read(self) -> list[set[Name]]:
        """What changed in each log. Long ones that nobody has read yet are shared out among two processes: a person
        waits for the first picture.
        """
        unread = [log for log, reader in self._readers.items() if not reader.jobs]
        if len(unread) > 1 and len(os.sched_getaffinity(0)) > 1 and _bytes(unread) > LONG_BYTES:
            with multiprocessing.get_context("fork").Pool(2, _as_child) as two:
                self._readers.update(zip(unread, two.map(_first, unread, max(1, len(unread) // 64)), strict=True))
                two.close()
                two.join()
            fresh = set(unread)
            return [set(one.jobs) if log in fresh else one.read() for log, one in self._readers.items()]
        return [reader.read() for reader in self._readers.values()]

    def _choose(self, name: Name, reader: Reader) -> None:
        """The log that says most of a job, now that `reader` has news of it."""
        having = self._having.setdefault(name, [])
        if (name in reader.jobs) != (reader in having):
            having.remove(reader) if reader in having else having.append(reader)
        if having:
            best = max(having, key=lambda one: (one.jobs[name].submitted, one.jobs[name].events))
            self.histories[name], self.logs[name] = best.jobs[name], best.log
            others = [one.jobs[name].submitted for one in having if not one.jobs[name].early]
            self.hidden.discard(name)
            if any(best.jobs[name].submitted - other > SAME_S for other in others):
                self.hidden.add(name)
        else:
            for kept in (self._having, self.histories, self.logs):
                kept.pop(name, None)


def _as_child() -> None:
    """Ctrl-C is answered by the parent alone, and its handlers are not the child's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _first(log: Path) -> Reader:
    reader = Reader(log)
    reader.read()
    return reader


def _bytes(files: Sequence[Path]) -> int:
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size
    return total


def logs(places: Sequence[Path], known: Set[Path] = frozenset()) -> list[Path]:
    """The event logs of these places, each once, but those known; a log that is not written yet is none."""
    found: dict[Path, None] = {}
    for place in places:
        for log in [place.resolve()] if place.is_file() else _of_folder(place.resolve()):
            if log not in known and log not in found and is_event_log(log):
                found[log] = None
    return list(found)


def _of_folder(folder: Path) -> Iterator[Path]:
    patterns = ["*.log", "logs/*.log", *(glob.escape(run.log) for run in runs.read(folder) if run.log)]
    for file in sorted(folder.glob("*.sub")):
        with suppress(KitError):
            written = Description.read(file)
            if log := written.get("log"):
                below = written.get("initialdir") or written.get("initial_dir") or ""
                patterns.append(os.path.join(_pattern(below), _pattern(log)))  # noqa: PTH118 - a pattern
    for pattern in dict.fromkeys(patterns):
        for name in sorted(glob.glob(os.path.join(glob.escape(str(folder)), pattern))):  # noqa: PTH118, PTH207 - may be absolute
            if not name.endswith(DAGMAN_LOG):
                yield Path(os.path.normpath(name))


def _pattern(text: str) -> str:
    """Of the names that it stands for, whatever its macros are."""
    return "*".join(glob.escape(part) for part in _MACRO.split(text))


def _is_there(path: Path) -> bool:
    """Raises KitError where nobody may know."""
    try:
        return path.exists()
    except OSError as fault:
        raise KitError(f"{path}: {fault.strerror}; want a project's folder or an event log. Name one") from None


def is_event_log(path: Path) -> bool:
    """Whether it begins like one; an empty file may become one.

    Raises:
        KitError: it may not be read. Whatever it says would be left out in silence.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would be waited for
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return False
            head = os.read(descriptor, 200)
        finally:
            os.close(descriptor)
    except PermissionError as fault:
        raise KitError(
            f"{path}: {fault.strerror}; want an event log that you may read. Ask whoever owns it, or name other logs"
        ) from None
    except OSError:
        return False
    return not head or bool(_EVENT.search(head))
