"""Where the hours of a folder's jobs went: queue, transfer, preflight, work, checkpoints; what was lost, by cause."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from submit import account, ads, jobs, report_advice
from submit.account import CATEGORIES, Account
from submit.errors import KitError
from submit.report_advice import Advice

VERSION = 1  # of the JSON
ATTRIBUTES = (
    "ChirpOsgdlUseful",
    "ChirpOsgdlLeave",
    "ChirpOsgdlStart",
    account.PREFLIGHT,
    account.RATE,
    account.UNIT,
    "CheckpointNumber",
    "RemoteWallClockTime",
    "RequestCpus",
    "RequestMemory",
    "RequestDisk",
    "RequestGPUs",
    "MemoryUsage",
    "DiskUsage",
    "GPUsAverageUsage",
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Accounts of jobs and their sums. `of`: the places looked at; `now`: seconds since the epoch."""

    of: tuple[str, ...]
    now: int
    accounts: tuple[Account, ...]
    wall: Mapping[str, float]  # RemoteWallClockTime by job, where HTCondor gave it

    @property
    def seconds(self) -> dict[str, float]:
        """Of machines, by category."""
        return {name: sum(one.seconds[name] for one in self.accounts) for name in CATEGORIES}

    @property
    def slots(self) -> float:
        return sum(self.seconds.values())

    @property
    def queued(self) -> float:
        return sum(one.queued for one in self.accounts)

    @property
    def goodput(self) -> float | None:
        """Share of the machines' time that is work in a result, of the jobs of which that is known."""
        slots = self.slots - self.seconds["unmeasured"]
        return self.seconds["useful"] / slots if slots else None

    @property
    def lost(self) -> dict[str, float]:
        """Seconds by cause, the most first."""
        return _sums(one.lost for one in self.accounts)

    @property
    def states(self) -> dict[str, int]:
        found: dict[str, int] = defaultdict(int)
        for one in self.accounts:
            found[one.state] += 1
        return dict(found)

    def gpu_hours(self, key: str) -> dict[str, float]:
        """GPU-hours by `gpu`, `site` or `day`; days in order, else the most first."""
        found: dict[str, float] = defaultdict(float)
        for one in self.accounts:
            for stay in one.stays:
                if key == "day":
                    for day, seconds in account.by_day(stay).items():
                        found[day] += seconds * stay.gpus / 3600
                else:
                    found[getattr(stay, key)] += (stay.end - stay.begin) * stay.gpus / 3600
        named = {name: hours for name, hours in found.items() if hours}
        return dict(sorted(named.items()) if key == "day" else sorted(named.items(), key=lambda pair: -pair[1]))

    def bad_stays(self, key: str) -> dict[str, tuple[int, int]]:
        """By `gpu` or `site`: stays that ended badly, and all."""
        found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for one in self.accounts:
            for stay in one.stays:
                found[getattr(stay, key)][0] += bool(stay.cause)
                found[getattr(stay, key)][1] += 1
        return {name: (bad, every) for name, (bad, every) in found.items()}

    @property
    def speeds(self) -> dict[str, tuple[float, str, float]]:
        """By GPU model: the median of the speeds that jobs measured there, its unit, and the model's GPU-hours in
        hours of the model that did most: hours that can be compared. A job counts where it was last.
        """
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for one in self.accounts:
            if one.speed and one.stays:
                found[(one.stays[-1].gpu, one.unit)].append(one.speed)
        if not found:
            return {}
        hours = self.gpu_hours("gpu")
        most = max(found, key=lambda key: hours.get(key[0], 0.0))
        return {
            gpu: (median(values), unit, hours.get(gpu, 0.0) * median(values) / median(found[most]))
            for (gpu, unit), values in found.items()
            if unit == most[1]
        }

    @property
    def advice(self) -> list[Advice]:
        """What to change, the most hours first."""
        return report_advice.advice(self.accounts)

    def as_dict(self) -> dict[str, Any]:
        """The object of `osgdl report --json`; seconds unless a name says hours."""
        return {
            "version": VERSION,
            "of": list(self.of),
            "now": self.now,
            "jobs": len(self.accounts),
            "states": self.states,
            "queued_s": round(self.queued, 1),
            "slot_s": round(self.slots, 1),
            "seconds": _rounded(self.seconds),
            "lost": _rounded(self.lost),
            "goodput": None if self.goodput is None else round(self.goodput, 4),
            "evictions": sum(one.evictions for one in self.accounts),
            "gpu_hours": {key: _rounded(self.gpu_hours(key), 4) for key in ("gpu", "site", "day")},
            "speeds": {
                gpu: {"median": round(speed, 3), "unit": unit, "normalised_gpu_hours": round(hours, 4)}
                for gpu, (speed, unit, hours) in self.speeds.items()
            },
            "advice": [one.as_dict() for one in self.advice],
            "by_job": [row(one) for one in self.accounts],
        }


def row(one: Account) -> dict[str, Any]:
    """A job as a row of the CSV and the JSON."""
    return {
        "job": one.job,
        "log": one.log,
        "state": one.state,
        "submitted": one.submitted,
        "queued_s": round(one.queued, 1),
        "slot_s": round(one.slots, 1),
        **{f"{name}_s": round(one.seconds[name], 1) for name in CATEGORIES},
        "lost_to": "; ".join(one.lost),
        "stays": len(one.stays),
        "evictions": one.evictions,
        "gpus": one.gpus,
        "gpu_hours": round(one.gpu_hours, 4),
        "site": one.stays[-1].site if one.stays else "",
        "gpu": one.stays[-1].gpu if one.stays else "",
        "speed": round(one.speed, 3),
        "speed_unit": one.unit,
        **{f"{name.lower()}_used": round(one.used.get(name, 0.0), 3) for name in ("Cpus", "Memory", "Disk", "GPUs")},
        **{f"{name.lower()}_asked": one.requested[name] for name in ("Cpus", "Memory", "Disk", "GPUs")},
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
    known = ads.read(saved) if saved else ads.ask({name[0] for name in found.histories}, ATTRIBUTES, local)
    if not known:
        say(
            "no HTCondor answered: what jobs published of their work is unknown, and counts only of those that ended "
            "with 0"
        )
    now = int(time.time())
    accounts = tuple(
        account.of_job(history, known.get(name, {}), found.logs[name].name, now)
        for name, history in sorted(found.histories.items())
    )
    wall = {
        f"{name[0]}.{name[1]}": float(ad["RemoteWallClockTime"])
        for name, ad in known.items()
        if name in found.histories and isinstance(ad.get("RemoteWallClockTime"), (int, float))
    }
    return Report(of=tuple(map(str, places)), now=now, accounts=accounts, wall=wall)


def _sums(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for part in parts:
        for name, value in part.items():
            found[name] += value
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _rounded(values: Mapping[str, float], digits: int = 1) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}
