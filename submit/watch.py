"""Many jobs at a glance: their states, sites and GPUs, what went wrong, how far they are; kept up to date from logs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from submit import schedd
from submit.errors import KitError
from submit.explain_waiting import IDLE_LONG_S
from submit.job_history import Name
from submit.jobs import DAGMAN_LOG, Jobs
from submit.watch_job import ACTIVE, RUNNING, STATES, TAKEN, Line, line, why_held
from submit.watch_queue import Queue

# A cluster of which nothing is in the queue is shown for a day after its end, by the newest event that there is
RECENT_S = 86_400
# A transfer that failed (HoldReasonCode 12, 13) is released by the templates' periodic_release after 10 minutes
TRANSFER_HOLDS = (12, 13)
RELEASED_AFTER_S = 900
SUBMITTED_ON_HOLD = (15, 16)  # HoldReasonCode of holds that the event log says nothing of
EXAMPLES = 3  # jobs named of each trouble
UNWELL = ("held", "failed", "removed")
_SEVERITY = {"held": 0, "failed": 1, "idle": 2}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Jobs that are held, failed or wait for long, by their cause: words and mend are those of the newest of them."""

    state: str
    cause: str
    count: int
    words: str
    mend: str
    jobs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A site: jobs that run there now, starts that ended, starts whose machine was taken away, models of GPUs."""

    site: str
    running: int
    ended: int
    taken: int
    gpus: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """How things stand.

    Attributes:
        counts: jobs by state; `coming`: clusters of which jobs are to be materialised.
        older: clusters that are over for long, and not counted.
        gpu_hours: of all starts, until now.
        evictions: machines that were taken away.
        lines: of every job, those that run first.
        over: nothing runs, waits or comes; what is held stays held.
    """

    time: float
    counts: dict[str, int]
    coming: int
    older: int
    gpu_hours: float
    evictions: int
    places: tuple[Place, ...]
    troubles: tuple[Trouble, ...]
    lines: tuple[Line, ...]
    over: bool
    queue: str = ""

    @property
    def total(self) -> int:
        """Jobs that are counted."""
        return sum(self.counts.values())

    @property
    def failed(self) -> bool:
        """Whether one did not end well."""
        return any(self.counts.get(state) for state in UNWELL)

    def as_dict(self, lines: Sequence[Line] | None = None) -> dict[str, Any]:
        """For `--json`; `lines`: these jobs alone."""
        return {
            "time": int(self.time),
            "counts": self.counts,
            "coming": self.coming,
            "older": self.older,
            "gpu_hours": round(self.gpu_hours, 3),
            "evictions": self.evictions,
            "over": self.over,
            "queue": self.queue,
            "sites": [vars(place) for place in self.places],
            "troubles": [vars(trouble) for trouble in self.troubles],
            "jobs": [one.as_dict() for one in (self.lines if lines is None else lines)],
        }


class Watch:
    """The jobs of folders and event logs.

    Args:
        places: as for `Jobs`.
        local: the local pool's queue, though HTCondor is installed here.
        everything: clusters that are over for long too.

    Raises:
        KitError: a place is none; or, by `picture`, there is no job.
    """

    def __init__(self, places: Sequence[Path], local: bool = False, everything: bool = False) -> None:
        self._jobs = Jobs(places)
        self.queue = Queue(local)
        self._everything = everything
        self._lines: dict[Name, Line] = {}
        self.changed: set[Name] = set()

    def picture(self, ask: bool = True) -> Picture:
        """Reads what is new in the logs; `ask`: and the queue, in the background, where it is time.

        `changed` then holds the jobs of which something is new.
        """
        self.changed = self._jobs.refresh()
        for name in self.changed:
            if name in self._jobs.histories:
                self._lines[name] = line(self._jobs.histories[name])
            else:
                self._lines.pop(name, None)
        managing = {name: job.state for name, job in self._jobs.managers.items() if job.state in ACTIVE}
        stopped = [replace(line(self._jobs.managers[name]), node=self._workflow(name)) for name in self._jobs.stopped()]
        if any(one.state in UNWELL for one in self._lines.values()):  # which is why a workflow ended
            stopped = [one for one in stopped if one.state == "held"]
        if not self._lines and not managing and not stopped:
            where = ", ".join(str(place) for place in self._jobs.places)
            raise KitError(
                f"{where}: no job in its event logs; want one that was submitted. Submit one (osgdl submit train.sub), "
                "or name the folder of one that was"
            )
        if ask:
            states = {**managing, **{name: one.state for name, one in self._lines.items()}}
            self.queue.look(*([name for name, one in states.items() if one == state] for state in ACTIVE))
        return self._picture(time.time(), [name for name in managing if not self.queue.lost(name)], stopped)

    def _workflow(self, manager: Name) -> str:
        return self._jobs.logs[manager].name.removesuffix(DAGMAN_LOG)

    def _picture(self, now: float, managing: Sequence[Name], stopped: Sequence[Line]) -> Picture:
        """`managing`: workflows that go on, whose next jobs are not in the queue yet; `stopped`: those that do not."""
        coming = self._jobs.coming
        shown = self._shown(coming, stopped)
        lines = [self._as_queued(one) for one in self._lines.values() if one.name[0] in shown]
        lines += [self._as_queued(one) for one in stopped if one.name[0] in shown]
        counted = Counter(one.state for one in lines)
        counts = {state: counted[state] for state in STATES if counted[state]}
        return Picture(
            time=now,
            counts=counts,
            coming=len(coming & shown),
            older=len({name[0] for name in self._lines} - shown),
            gpu_hours=sum(one.gpu_s + one.gpus_now * max(0.0, now - one.here) for one in lines) / 3600,
            evictions=sum(one.evictions for one in lines),
            places=_places(lines),
            troubles=_troubles(lines, now),
            lines=tuple(sorted(lines, key=_order)),
            over=not (managing or coming & shown or any(self._goes_on(one, now) for one in lines)),
            queue=self._queue_said(),
        )

    def _as_queued(self, one: Line) -> Line:
        """With what the queue knows and the log does not."""
        if one.state == "running" and (said := self.queue.published.get(one.name)):
            return replace(one, published=said)
        hold = self.queue.held.get(one.name)
        if one.state == "idle" and hold and hold[0] in SUBMITTED_ON_HOLD:
            one = replace(one, state="held", hold_code=hold[0], why=why_held(one.job, *hold))
        if one.state == "held" and hold and self.queue.is_local:
            cause, words, mend = one.why
            return replace(one, why=(cause, words, schedd.in_local_pool(mend)))
        return one

    def _shown(self, coming: set[int], stopped: Sequence[Line]) -> set[int]:
        """The clusters that are looked at."""
        last: dict[int, int] = {}
        active: set[int] = set(coming)
        for one in (*self._lines.values(), *stopped):
            cluster = one.name[0]
            last[cluster] = max(last.get(cluster, 0), one.last)
            if one.state in ACTIVE or one.state == "held":
                active.add(cluster)
        horizon = 0 if self._everything else max(last.values(), default=0) - RECENT_S
        return {cluster for cluster, at in last.items() if cluster in active or at >= horizon}

    def _goes_on(self, one: Line, now: float) -> bool:
        if one.state == "held":
            by_itself = one.hold_code in TRANSFER_HOLDS
            return by_itself and now - one.since < RELEASED_AFTER_S
        return one.state in ACTIVE and not self.queue.lost(one.name)

    def _queue_said(self) -> str:
        if self.queue.trouble:
            return f"no news from the queue: {self.queue.trouble}"
        if hidden := len(self._jobs.hidden & self._lines.keys()):
            return f"{hidden} numbers are of two queues: of each the newest job is shown; name one log to see its own"
        lost = sum(self.queue.lost(name) for name in self._lines)
        return f"{lost} jobs run by their logs and are not in the queue" if lost else ""


def _order(one: Line) -> tuple[int, float, Name]:
    """Those that run first, the furthest first; what is over by its end, newest first."""
    share = one.published.share if one.published else None
    key = -(share or 0.0) if one.state == "running" else one.since if one.state in ACTIVE else -one.since
    return STATES.index(one.state), key, one.name


def _places(lines: Iterable[Line]) -> tuple[Place, ...]:
    counts: dict[str, Counter[str]] = {}
    gpus: dict[str, Counter[str]] = {}
    for one in lines:
        for site, gpu, what in one.places:
            counts.setdefault(site, Counter())[what] += 1
            gpus.setdefault(site, Counter())[gpu] += 1
    found = [
        Place(
            site=site or "unknown",
            running=count[RUNNING],
            ended=count.total() - count[RUNNING] - count[TAKEN],
            taken=count[TAKEN],
            gpus=tuple(gpu for gpu, _ in gpus[site].most_common() if gpu),
        )
        for site, count in counts.items()
    ]
    return tuple(sorted(found, key=lambda place: (-place.running, -place.ended - place.taken, place.site)))


def _troubles(lines: Iterable[Line], now: float) -> tuple[Trouble, ...]:
    by: dict[tuple[str, str], list[Line]] = {}
    for one in lines:
        if one.why[0]:
            by.setdefault((one.state, one.why[0]), []).append(one)
        elif one.state == "idle" and now - one.since > IDLE_LONG_S:
            by.setdefault((one.state, "idle-long"), []).append(one)
    found = []
    for (state, cause), those in by.items():
        those.sort(key=lambda one: (-one.since, one.name))
        _, words, mend = those[0].why
        found.append(
            Trouble(
                state=state,
                cause=cause,
                count=len(those),
                words=words or f"waiting for more than {IDLE_LONG_S // 3600:.0f} h",
                mend=mend or f"osgdl explain {those[0].job}",
                jobs=tuple(one.job for one in those[:EXAMPLES]),
            )
        )
    return tuple(sorted(found, key=lambda trouble: (_SEVERITY[trouble.state], -trouble.count, trouble.cause)))
