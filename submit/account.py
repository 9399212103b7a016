"""What one job cost: every second that a machine was its, in one category, and what made it lose those that it lost.

The pieces come from the event log and from what the job published of itself (submit/runtime/leaving.py, work.py).
HTCondor's own CommittedTime is no help: it is wrong for jobs that leave with exit code 85 (pool.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from submit import slot_time
from submit.eventlog import JobHistory, Start

CATEGORIES = ("transfer", "preflight", "starting", "useful", "leaving", "unmeasured", "lost")
PREFLIGHT = "ChirpOsgdlPreflightSeconds"
# What the job says of its own speed (submit/runtime/progress.py): so many of what it counts, a second
RATE, UNIT = "ChirpOsgdlRate", "ChirpOsgdlUnit"

MACHINE_LOST = "the machine was taken away"
MACHINE_BAD = "the machine could not do it (75)"
WRONG = "wrong data or configuration (65)"
BUG = "a bug: another exit code, or a signal"
TRANSFER = "files did not arrive"
HELD = "held by HTCondor"
REMOVED = "removed"
REDONE = "work done again, and what is in no other category"


@dataclass(frozen=True, kw_only=True)
class Stay:
    """One stay on a machine: seconds since the epoch, and what it came to."""

    begin: int
    end: int
    site: str
    gpu: str
    gpus: int
    cause: str  # what ended it badly; empty: nothing did


@dataclass(frozen=True, kw_only=True)
class Account:
    """One job.

    Attributes:
        seconds: of machines, by `CATEGORIES`; they add up to `slots`.
        lost: `seconds["lost"]` by what made it lose them.
        gpus: how many it had, or asked for.
        measured: it published what was useful; else that is known of a job that ended with 0 alone.
        speed: its own, in `unit`; 0 where it published none.
    """

    job: str
    log: str
    state: str
    submitted: int
    queued: float
    seconds: Mapping[str, float]
    lost: Mapping[str, float]
    stays: tuple[Stay, ...]
    evictions: int
    gpus: int
    measured: bool
    speed: float
    unit: str
    used: Mapping[str, float]
    requested: Mapping[str, float]
    leave_s: float | None
    optimum: float | None

    @property
    def slots(self) -> float:
        """Seconds that machines were its."""
        return sum(self.seconds.values())

    @property
    def gpu_hours(self) -> float:
        return self.slots * self.gpus / 3600


def of_job(history: JobHistory, ad: Mapping[str, Any], log: str, now: int) -> Account:
    """The account of one job. `ad`: its ad from the queue or the history, empty where there is none; `now`: seconds
    since the epoch, until when what still runs is counted.
    """
    time = slot_time.of_job(history, ad, now)
    stays = tuple(_stays(history, now, _number(ad, "RequestGPUs")))
    slots = float(sum(stay.end - stay.begin for stay in stays))
    seconds = _measured(history, ad, time, slots) if time.useful is not None else _unmeasured(history, time, slots, now)
    last = history.starts[-1] if history.starts else None
    return Account(
        job=f"{history.cluster}.{history.proc}",
        log=log,
        state=history.state,
        submitted=history.submitted,
        queued=max(0.0, time.queued - (slots - time.slots)),
        seconds=seconds,
        lost=_causes(stays, seconds["lost"]),
        stays=stays,
        evictions=history.evictions,
        gpus=max((stay.gpus for stay in stays), default=int(_number(ad, "RequestGPUs"))),
        measured=time.useful is not None,
        speed=_number(ad, RATE),
        unit=f"{ad.get(UNIT, '')}/s" if _number(ad, RATE) else "",
        used=_used(last.used if last else {}, ad),
        requested={name: _number(ad, f"Request{name}") for name in ("Cpus", "Memory", "Disk", "GPUs")},
        leave_s=time.leave_s,
        optimum=time.optimum,
    )


def _stays(history: JobHistory, now: int, asked: float) -> list[Stay]:
    stays = []
    for start in sorted((*history.starts, *history.unstarted), key=lambda one: one.claimed):
        end = start.until if start.until is not None else (history.ended or now)
        gpus = start.gpus or int(asked)
        stays.append(
            Stay(
                begin=start.claimed,
                end=max(start.claimed, end),
                site=start.site or "unknown",
                gpu=start.gpu or ("unknown" if gpus else "none"),
                gpus=gpus,
                cause=_cause(history, start),
            )
        )
    return stays


def _cause(history: JobHistory, start: Start) -> str:
    """What ended a stay badly, by what HTCondor's log says of its end; empty where it ended well, or goes on."""
    if any(start is one for one in history.unstarted):
        return TRANSFER
    why, last = start.why, bool(history.starts) and start is history.starts[-1]
    if start.until is None or why == "exit code 85":
        return ""
    if why == "removed":
        return REMOVED
    if last and history.ended is not None and not why:
        return "" if history.exit_code == 0 else BUG
    if why == "exit code 75":
        return MACHINE_BAD
    if re.search(r"\bexit code 65\b", why):
        return WRONG
    if re.match(r"exit code |a signal|osgdl: ", why):
        return BUG
    if last and history.hold_code and why == history.hold_reason:
        return TRANSFER if history.hold_code[0] in (12, 13) else BUG if history.hold_code[0] == 3 else HELD
    return MACHINE_LOST


def _measured(history: JobHistory, ad: Mapping[str, Any], time: slot_time.SlotTime, slots: float) -> dict[str, float]:
    # a machine that took in the files and never began the job is lost, but for the transfer
    transfer = time.transfer + sum(start.input_s for start in history.unstarted)
    # the clock of a log has whole seconds, the job's has not
    useful = min(time.useful or 0.0, max(0.0, slots - transfer))
    starting, leaving = time.starting or 0.0, time.leaving or 0.0
    preflight = min(starting, _number(ad, PREFLIGHT) * len(history.starts))
    return {
        "transfer": transfer,
        "preflight": preflight,
        "starting": starting - preflight,
        "useful": useful,
        "leaving": leaving,
        "unmeasured": 0.0,
        "lost": slots - transfer - starting - useful - leaving,
    }


def _unmeasured(history: JobHistory, time: slot_time.SlotTime, slots: float, now: int) -> dict[str, float]:
    """Of a job that says nothing of itself: its last stay was useful if it ended with 0, and nothing else is known."""
    seconds = dict.fromkeys(CATEGORIES, 0.0)
    seconds["transfer"] = time.transfer + sum(start.input_s for start in history.unstarted)
    rest = slots - seconds["transfer"]
    last = history.starts[-1] if history.starts else None
    if last and (history.exit_code == 0 or last.until is None):
        end = last.until if last.until is not None else now
        good = min(rest, float(max(0, end - last.time - (last.output_s if history.ended is not None else 0))))
        seconds["useful" if history.exit_code == 0 else "unmeasured"] = good
        rest -= good
    seconds["lost"] = rest
    return seconds


def _causes(stays: tuple[Stay, ...], lost: float) -> dict[str, float]:
    """`lost` over what ended stays badly, by their length; what is longer than all of them is work done again."""
    if lost <= 0:
        return {}
    bad: dict[str, float] = {}
    for stay in stays:
        if stay.cause:
            bad[stay.cause] = bad.get(stay.cause, 0.0) + stay.end - stay.begin
    whole = sum(bad.values())
    shares = {cause: lost * part / max(whole, lost) for cause, part in bad.items() if part}
    rest = lost - sum(shares.values())
    return {**shares, **({REDONE: rest} if rest > 1e-6 else {})}


def by_day(stay: Stay) -> dict[str, float]:
    """The stay's seconds by the day, in this machine's time zone."""
    found: dict[str, float] = {}
    at = stay.begin
    while at < stay.end:
        day = datetime.fromtimestamp(at).date()
        midnight = datetime.combine(day + timedelta(days=1), datetime.min.time())  # the next one, of the local time
        until = min(stay.end, int(midnight.timestamp()))
        found[day.isoformat()] = float(until - at)
        at = until
    return found


def _used(last: Mapping[str, float], ad: Mapping[str, Any]) -> dict[str, float]:
    """Cores, MB of memory, KB of disk, GPUs on average: from the log, else from the ad."""
    found = {name: last[name] for name in ("Cpus", "Memory", "Disk", "GPUs") if name in last}
    for name, attribute in (("Memory", "MemoryUsage"), ("Disk", "DiskUsage"), ("GPUs", "GPUsAverageUsage")):
        if name not in found and _number(ad, attribute):
            found[name] = _number(ad, attribute)
    return found


def _number(ad: Mapping[str, Any], name: str) -> float:
    value = ad.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
