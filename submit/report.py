"""Where the hours of a folder's jobs went: queue, transfer, preflight, work, checkpoints; what was lost, by cause."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from submit import account, ads, jobs, report_advice, slot_time
from submit.account import Account
from submit.errors import KitError
from submit.report_advice import Advice
from submit.slot_time import SlotTime

VERSION = 1  # of the JSON
KEYS = {"gpu": "model", "site": "site", "day": "day"}  # what GPU-hours are counted by
# `account.RESOURCES` for a person: word, and how many of its unit one is
WORDS = {"Cpus": ("cores", 1), "Memory": ("memory, GB", 1024), "Disk": ("disk, GB", 1 << 20), "GPUs": ("GPUs busy", 1)}
WORDS |= {"GPUsMemory": ("GPU memory, GB", 1024)}


class Hours(NamedTuple):
    """GPU-hours; `lost`: those of them that came to nothing."""

    whole: float
    lost: float


class Speed(NamedTuple):
    """Of a GPU model: the median of what jobs measured there; `hours`: its GPU-hours in those of the reference."""

    median: float
    unit: str
    hours: float


class Use(NamedTuple):
    """Of one resource: means over the machines' time, and the most of any job."""

    asked: float
    used: float
    most_asked: float
    most_used: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """Accounts of jobs and their sums. `of`: names of the places looked at; `now`: seconds since the epoch."""

    of: tuple[str, ...]
    now: int
    accounts: tuple[Account, ...]

    @cached_property
    def time(self) -> SlotTime:
        """Of all jobs together."""
        return slot_time.total(one.time for one in self.accounts)

    @property
    def states(self) -> dict[str, int]:
        found: dict[str, int] = defaultdict(int)
        for one in self.accounts:
            found[one.state] += 1
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    @property
    def wall(self) -> tuple[float, float] | None:
        """Seconds of the jobs that do not run now: HTCondor's RemoteWallClockTime, and what their event logs say; None
        where no ad has it.
        """
        known = [(one.wall, one.slots) for one in self.accounts if one.wall is not None]
        return (sum(wall for wall, _ in known), sum(slots for _, slots in known)) if known else None

    @cached_property
    def gpu_hours(self) -> dict[str, dict[str, Hours]]:
        """By `KEYS`: of each GPU model, site and day; days in order, else the most first."""
        found: dict[str, dict[str, list[float]]] = {key: defaultdict(lambda: [0.0, 0.0]) for key in KEYS}
        for one in self.accounts:
            for stay in (stay for stay in one.stays if stay.gpus):
                lost = stay.lost / stay.seconds if stay.seconds else 0.0
                days = [("day", day, seconds) for day, seconds in account.by_day(stay).items()]
                whole = float(stay.seconds)
                for key, name, seconds in (("gpu", stay.gpu, whole), ("site", stay.site, whole), *days):
                    found[key][name][0] += seconds * stay.gpus / 3600
                    found[key][name][1] += seconds * stay.gpus / 3600 * lost
        return {
            key: {
                name: Hours(*hours)
                for name, hours in sorted(named.items(), key=lambda pair: pair[0] if key == "day" else -pair[1][0])
                if hours[0]
            }
            for key, named in found.items()
        }

    @cached_property
    def speeds(self) -> dict[str, Speed]:
        """By GPU model. A job counts where it was last; the reference is the model that did most."""
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for one in self.accounts:
            if one.speed and one.stays:
                found[(one.stays[-1].gpu, one.unit)].append(one.speed)
        hours = {gpu: all_.whole for gpu, all_ in self.gpu_hours["gpu"].items()}
        if not found:
            return {}
        reference, unit = max(found, key=lambda key: (hours.get(key[0], 0.0), key))
        base = median(found[reference, unit])
        return {
            gpu: Speed(median(values), unit, hours.get(gpu, 0.0) * median(values) / base)
            for (gpu, its), values in sorted(found.items(), key=lambda pair: -median(pair[1]))
            if its == unit
        }

    @cached_property
    def uses(self) -> dict[str, Use]:
        """By `account.RESOURCES`, of jobs of which request and use are known."""
        found = {}
        for name in account.RESOURCES:
            known = [(one.asked[name], one.used[name], one.slots) for one in self.accounts if _both(one, name)]
            if whole := sum(slots for _, _, slots in known):
                asked = sum(asked * slots for asked, _, slots in known) / whole
                used = sum(used * slots for _, used, slots in known) / whole
                found[name] = Use(asked, used, max(one[0] for one in known), max(one[1] for one in known))
        return found

    @cached_property
    def advice(self) -> list[Advice]:
        """What to change, the most hours first."""
        return report_advice.advice(self.accounts)

    def as_dict(self) -> dict[str, Any]:
        """The object of `osgdl report --json`; seconds unless a name says hours."""
        whole = self.time
        return {
            "version": VERSION,
            "of": list(self.of),
            "now": self.now,
            "jobs": len(self.accounts),
            "states": self.states,
            "queued_s": round(whole.queued, 1),
            "held_s": round(whole.held, 1),
            "slot_s": round(whole.slots, 1),
            "wall_s": None if self.wall is None else {"htcondor": self.wall[0], "logs": self.wall[1]},
            "seconds": _rounded(whole.seconds),
            "lost": _rounded(whole.lost),
            "goodput": None if whole.goodput is None else round(whole.goodput, 4),
            "evictions": whole.evictions,
            "gpu_hours": {
                key: {
                    name: {"hours": round(hours.whole, 4), "lost": round(hours.lost, 4)} for name, hours in by.items()
                }
                for key, by in self.gpu_hours.items()
            },
            "speeds": {
                gpu: {"median": round(one.median, 3), "unit": one.unit, "normalised_gpu_hours": round(one.hours, 4)}
                for gpu, one in self.speeds.items()
            },
            "used": {name: _rounded(use._asdict(), 3) for name, use in self.uses.items()},
            "advice": [one.as_dict() for one in self.advice],
            "by_job": [row(one) for one in self.accounts],
        }


def row(one: Account) -> dict[str, Any]:
    """A job as a row of the CSV and the JSON."""
    last = one.stays[-1] if one.stays else None
    return {
        "job": one.job,
        "log": one.log,
        "state": one.state,
        "submitted": one.submitted,
        "queued_s": round(one.time.queued, 1),
        "held_s": round(one.time.held, 1),
        "slot_s": round(one.slots, 1),
        "wall_s": one.wall,
        **{f"{name}_s": round(seconds, 1) for name, seconds in one.time.seconds.items()},
        "lost_to": "; ".join(one.time.lost),
        "measured": one.time.measured,
        "stays": len(one.stays),
        "evictions": one.time.evictions,
        "gpus": one.gpus,
        "gpu_hours": round(one.gpu_hours, 4),
        "site": last.site if last else "",
        "gpu": last.gpu if last else "",
        "speed": round(one.speed, 3),
        "speed_unit": one.unit,
        **{
            f"{name.lower()}_{which}": round(values[name], 3) if name in values else None
            for name in account.RESOURCES
            for which, values in (("asked", one.asked), ("used", one.used))
        },
    }


def of_places(
    places: Sequence[Path],
    local: bool = False,
    saved: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """The report on the jobs whose event logs lie in `places`, which are folders or logs.

    Args:
        local: ask the local pool, though HTCondor is installed here.
        saved: what `condor_history -json` printed, instead of asking.

    Raises:
        KitError: no such place, or no job in it.
    """
    found = jobs.Jobs(places)
    found.refresh()
    if not found.histories:
        raise KitError(
            f"{', '.join(map(str, places))}: no job in it; want a project's folder, with an event log in logs/, or an "
            "event log. Submit one: osgdl submit train.sub"
        )
    if found.hidden:
        say(
            f"{len(found.hidden)} numbers are of two queues: of each the newest job alone is counted; name the logs of "
            "one queue: osgdl report logs/12.log"
        )
    since = min(history.submitted for history in found.histories.values())
    clusters = {cluster for cluster, _ in found.histories}
    known = ads.read(saved) if saved else ads.ask(clusters, account.ATTRIBUTES, since, local)
    missing = sum(name not in known for name in found.histories)
    if missing:
        say(
            f"no ad of {missing} of {len(found.histories)} jobs, from queue or history: of these the event log alone "
            "speaks, and all of a piece of work that came home counts as useful"
        )
    now = int(time.time())
    accounts = tuple(
        account.of_job(history, known.get(name, {}), found.logs[name].name, now)
        for name, history in sorted(found.histories.items())
    )
    return Report(of=tuple(place.resolve().name for place in places), now=now, accounts=accounts)


def _both(one: Account, name: str) -> bool:
    return name in one.asked and name in one.used


def _rounded(values: Mapping[str, float], digits: int = 1) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}
