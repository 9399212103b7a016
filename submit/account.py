"""What one job cost: its stays on machines, where their seconds went, what it used of what it asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from submit import slot_time, stays
from submit.eventlog import JobHistory
from submit.slot_time import SlotTime, number
from submit.start import Start
from submit.stays import Stay

# What the job says of its own speed (submit/runtime/progress.py): so many of what it counts, a second; and the
# preflight of a job for OpenCL, by known photons: nanoseconds for one
RATE, UNIT, PHOTON_NS = "ChirpOsgdlRate", "ChirpOsgdlUnit", "ChirpOsgdlPhotonNs"
WALL = "RemoteWallClockTime"
RESOURCES = ("Cpus", "Memory", "Disk", "GPUs", "GPUsMemory")  # cores, MB, KB, GPUs, MB
# Where the event log says nothing of them
_USED = {"Cpus": "CpusUsage", "Memory": "MemoryUsage", "Disk": "DiskUsage", "GPUs": "GPUsAverageUsage"}
_USED |= {"GPUsMemory": "GPUsMemoryUsage"}
_ASKED = {name: f"Request{name}" for name in RESOURCES[:4]} | {"GPUsMemory": "GPUsMinMemory"}
_MEANS = ("Cpus", "GPUs")  # averages; the others are peaks
ATTRIBUTES = [slot_time.USEFUL, slot_time.LEAVE, slot_time.START, slot_time.PREFLIGHT, RATE, UNIT, PHOTON_NS, WALL]
ATTRIBUTES += [*_USED.values(), *_ASKED.values()]


@dataclass(frozen=True, kw_only=True)
class Account:
    """One job.

    Attributes:
        log: its event log's name.
        wall: RemoteWallClockTime, HTCondor's own count of machines' seconds; None where unknown, or while it runs.
        speed: its own, in `unit`; 0 where it published none.
        used, asked: by `RESOURCES`, as far as known: a mean of cores and GPUs, else the most.
    """

    job: str
    log: str
    state: str
    submitted: int
    time: SlotTime
    stays: tuple[Stay, ...]
    gpus: int
    wall: float | None
    speed: float
    unit: str
    used: Mapping[str, float]
    asked: Mapping[str, float]

    @property
    def slots(self) -> float:
        """Seconds that machines were its."""
        return self.time.slots

    @property
    def gpu_hours(self) -> float:
        return self.slots * self.gpus / 3600


def of_job(history: JobHistory, ad: Mapping[str, Any], log: str, now: int) -> Account:
    """The account of one job. `ad`: its ad from the queue or the history, empty where there is none; `now`: seconds
    since the epoch, until when what still runs is counted.
    """
    there = stays.of_history(history, now, int(number(ad, "RequestGPUs") or 0))
    speed, unit = _speed(ad)
    return Account(
        job=f"{history.cluster}.{history.proc}",
        log=log,
        state=history.state,
        submitted=history.submitted,
        time=slot_time.of_stays(there, history, ad, now),
        stays=there,
        gpus=max((stay.gpus for stay in there), default=int(number(ad, "RequestGPUs") or 0)),
        wall=None if history.state == "running" else number(ad, WALL),
        speed=speed,
        unit=unit,
        used=_used(history.starts, ad),
        asked=_asked(history.starts, ad),
    )


def _speed(ad: Mapping[str, Any]) -> tuple[float, str]:
    if rate := number(ad, RATE):
        return rate, f"{ad.get(UNIT, 'steps')}/s"
    took = number(ad, PHOTON_NS)
    return (1e3 / took, "known photons/µs") if took else (0.0, "")


def _used(starts: list[Start], ad: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name in RESOURCES:
        known = [(start.used[name], start.seconds) for start in starts if name in start.used]
        whole = sum(seconds for _, seconds in known)
        if name in _MEANS and whole:
            found[name] = sum(value * seconds for value, seconds in known) / whole
        elif known:
            found[name] = max(value for value, _ in known)
        elif value := number(ad, _USED[name]):
            found[name] = value
    return found


def _asked(starts: list[Start], ad: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name in RESOURCES:
        value = number(ad, _ASKED[name]) or max((start.asked.get(name, 0.0) for start in starts), default=0.0)
        if value:
            found[name] = value
    return found


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
