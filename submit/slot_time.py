"""Where the seconds of a job went: its event log, and what the job published of itself (submit/runtime/leaving.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from submit import stays
from submit.job_history import JobHistory
from submit.published import number
from submit.runtime import daly
from submit.stays import Stay

CATEGORIES = ("transfer", "preflight", "starting", "useful", "leaving", "running", "lost")
MEANING = {
    "queued": "no machine",
    "held": "on hold",
    "transfer": "files on their way",
    "preflight": "the test of the machine",
    "starting": "from the container to the first step",
    "useful": "work that is in a result or a checkpoint",
    "leaving": "saving, exits with 85, and what follows until the next step",
    "running": "still going on",
    "lost": "came to nothing",
}
# What the job publishes: of work, of one leaving, of one start, of one preflight, in seconds
ATTRIBUTES = ("ChirpOsgdlUseful", "ChirpOsgdlLeave", "ChirpOsgdlStart", "ChirpOsgdlPreflightSeconds")


@dataclass(frozen=True, kw_only=True)
class SlotTime:
    """Seconds: `queued` and `held` without a machine, and of machines by category, each in exactly one:

    transfer   files on their way, before the job starts and when it ends
    preflight  the test of the machine; as long as the job says
    starting   what else comes before the first step; as long as the job says, but no part of what it calls work. A
               stay that was no longer is lost
    useful     work that is in a result or a checkpoint: pieces that came home, as much of them as the job calls work
    leaving    the rest of those pieces, and checkpoints on their way: saving, leaving with 85, coming back
    running    a job's last piece, while it goes on and has said nothing of it
    lost       what came to nothing, by what ended it

    Attributes:
        seconds: of machines, by `CATEGORIES`; `lost`: `seconds["lost"]` by cause (submit/stays.py).
        measured: the job published its work; else all of a piece that came home counts as useful.
        leave_s, start_s: what one leaving and one start cost it, by its own clock.
    """

    queued: float
    held: float
    seconds: Mapping[str, float]
    lost: Mapping[str, float]
    evictions: int
    measured: bool
    leave_s: float | None
    start_s: float | None

    @property
    def slots(self) -> float:
        """Seconds that machines were the job's."""
        return sum(self.seconds.values())

    @property
    def goodput(self) -> float | None:
        """Share of the machines' time that is work in a result or a checkpoint; None where there is none."""
        over = self.slots - self.seconds["running"]
        return self.seconds["useful"] / over if over else None

    @property
    def between_evictions(self) -> float | None:
        """Mean seconds of a machine between two evictions; None where there was none."""
        return self.slots / self.evictions if self.evictions and self.slots else None

    @property
    def interval(self) -> float | None:
        """Seconds of work between two leaves that would have been the best; None where costs or spacing are unknown."""
        spacing = self.between_evictions
        return None if spacing is None or self.leave_s is None else daly.optimal_interval(self.leave_s, spacing)

    @property
    def optimum(self) -> float | None:
        """The goodput that the best interval gives, with the costs measured; None where they are unknown."""
        spacing, interval = self.between_evictions, self.interval
        if spacing is None or interval is None or self.leave_s is None or self.start_s is None:
            return None
        return daly.goodput(interval, self.leave_s, self.start_s, spacing)


def of_job(history: JobHistory, ad: Mapping[str, Any], until: int) -> SlotTime:
    """`ad`: the job's, from the queue or the history. `until`: seconds since the epoch where it has not ended."""
    return of_stays(stays.of_history(history, until), history, ad, until)


def of_stays(there: Iterable[Stay], history: JobHistory, ad: Mapping[str, Any], until: int) -> SlotTime:
    """As `of_job`, from its stays."""
    there = list(there)
    useful_s, leave_s, start_s, test_s = (positive(ad.get(name)) for name in ATTRIBUTES)
    test_s = test_s or 0.0
    seconds, lost = dict.fromkeys(CATEGORIES, 0.0), dict[str, float]()
    kept = going = starts = 0.0
    for stay in there:
        first = stay.kept or stay.tail
        # what the job calls its start begins with the transfer
        before = max(test_s, (start_s or 0.0) - stay.input_s if useful_s is not None else 0.0)
        if not stay.begun or (not stay.kept and (before >= first or stay.cause == stays.MACHINE_BAD)):
            before = 0.0
        before = min(before, first)
        test = min(test_s, before)
        seconds["transfer"] += stay.transfer
        seconds["preflight"] += test
        seconds["starting"] += before - test
        came, tail = (stay.kept - before, stay.tail) if stay.kept else (0.0, stay.tail - before)
        if stay.fate:
            lost[stay.fate] = lost.get(stay.fate, 0.0) + came + stay.saving
        else:
            kept += came
            seconds["leaving"] += stay.saving
            starts += before - test if stay.kept or not stay.over else 0.0
        if stay.over:
            lost[stay.cause] = lost.get(stay.cause, 0.0) + tail
        else:
            going += tail
    if useful_s is not None:  # work is added up, but of its starts a job tells the last: others were shorter
        shorter = min(starts, max(0.0, useful_s - kept - going))
        seconds["starting"] -= shorter
        kept += shorter
    useful = kept if useful_s is None else min(useful_s, kept + going)
    rest = kept + going - useful
    seconds["useful"], seconds["running"] = useful, min(rest, going)  # what a job says of itself is minutes old
    seconds["leaving"] += rest - seconds["running"]
    seconds["lost"] = sum(lost.values())
    span = (until if history.ended is None else history.ended) - history.submitted
    held = history.held_s + (0 if history.held_at is None else max(0, until - history.held_at))
    return SlotTime(
        queued=max(0.0, float(span - held) - sum(stay.seconds for stay in there)),
        held=float(held),
        seconds=seconds,
        lost={cause: value for cause, value in lost.items() if value},
        evictions=sum(stay.cause == stays.MACHINE_LOST for stay in there),
        measured=useful_s is not None,
        leave_s=leave_s,
        start_s=start_s,
    )


def total(parts: Iterable[SlotTime]) -> SlotTime:
    """Of many jobs: sums, and the mean costs."""
    parts = list(parts)

    def mean(name: str) -> float | None:
        values = [value for part in parts if (value := getattr(part, name)) is not None]
        return sum(values) / len(values) if values else None

    lost: dict[str, float] = {}
    for part in parts:
        for cause, seconds in part.lost.items():
            lost[cause] = lost.get(cause, 0.0) + seconds
    return SlotTime(
        queued=sum(part.queued for part in parts),
        held=sum(part.held for part in parts),
        seconds={name: sum(part.seconds[name] for part in parts) for name in CATEGORIES},
        lost=dict(sorted(lost.items(), key=lambda pair: -pair[1])),
        evictions=sum(part.evictions for part in parts),
        measured=all(part.measured for part in parts),
        leave_s=mean("leave_s"),
        start_s=mean("start_s"),
    )


def positive(value: object) -> float | None:
    """A number of an ad that is no time before its beginning; None for all else."""
    found = number(value)
    return None if found is None or found < 0 else found
