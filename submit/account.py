"""What one job cost: its stays on machines, where their seconds went, what it used of what it asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from submit import published, slot_time, stays
from submit.job_history import JobHistory
from submit.slot_time import SlotTime, positive
from submit.start import Start
from submit.stays import Stay

PHOTON_NS = "ChirpOsgdlPhotonNs"  # of the preflight of a job for OpenCL: nanoseconds for one of its known photons
WALL = "RemoteWallClockTime"
RESOURCES = ("Cpus", "Memory", "Disk", "GPUs", "GPUsMemory")  # cores, MB, KB, GPUs, MB
# Where the event log says nothing of them
_USED = {"Cpus": "CpusUsage", "Memory": "MemoryUsage", "Disk": "DiskUsage", "GPUs": "GPUsAverageUsage"}
_USED |= {"GPUsMemory": "GPUsMemoryUsage"}
_ASKED = {name: f"Request{name}" for name in RESOURCES[:4]} | {"GPUsMemory": "GPUsMinMemory"}
_MEANS = ("Cpus", "GPUs")  # averages; the others are peaks
ATTRIBUTES = [*slot_time.ATTRIBUTES, *(published.ATTRIBUTES[name] for name in ("rate", "unit", "gpu_use")), PHOTON_NS]
ATTRIBUTES += [WALL, *_USED.values(), *_ASKED.values()]


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
    gpus = int(positive(ad.get("RequestGPUs")) or 0)
    there = stays.of_history(history, now, gpus)
    gpus = max((stay.gpus for stay in there), default=gpus)
    speed, unit = _speed(ad)
    return Account(
        job=f"{history.cluster}.{history.proc}",
        log=log,
        state="failed" if history.state == "done" and history.broke else history.state,
        submitted=history.submitted,
        time=slot_time.of_stays(there, history, ad, now),
        stays=there,
        gpus=gpus,
        wall=None if history.state == "running" else positive(ad.get(WALL)),
        speed=speed,
        unit=unit,
        used=_used(history.starts, ad, gpus),
        asked=_asked(history.starts, ad),
    )


def _speed(ad: Mapping[str, Any]) -> tuple[float, str]:
    said = published.of_ad(ad)
    if said.rate and said.rate > 0:
        return said.rate, f"{said.unit or 'steps'}/s"
    took = positive(ad.get(PHOTON_NS))
    return (1e3 / took, "known photons/µs") if took else (0.0, "")


def _used(starts: list[Start], ad: Mapping[str, Any], gpus: int) -> dict[str, float]:
    found = {}
    for name in RESOURCES:
        known = [(start.used[name], start.seconds) for start in starts if name in start.used]
        if name == "Memory":  # no program takes none: HTCondor could not see it, as in the local pool
            known = [(value, seconds) for value, seconds in known if value]
        whole = sum(seconds for _, seconds in known)
        if name in _MEANS and whole:
            found[name] = sum(value * seconds for value, seconds in known) / whole
        elif known:
            found[name] = max(value for value, _ in known)
        elif value := positive(ad.get(_USED[name])):
            found[name] = value
    said = published.of_ad(ad).gpu_use  # where HTCondor does not measure it
    if "GPUs" not in found and said is not None and gpus:
        found["GPUs"] = said * gpus
    return found


def _asked(starts: list[Start], ad: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name in RESOURCES:
        value = positive(ad.get(_ASKED[name])) or max((start.asked.get(name, 0.0) for start in starts), default=0.0)
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
