"""What to change about jobs, in order of the GPU-hours that it would have saved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from submit import account
from submit.account import Account

LITTLE_GPU = 0.5  # average use of a GPU below which the job leaves it waiting
LONG_TRANSFER = 0.1  # share of the machines' time
WORTH = 0.01  # share of all GPU-hours below which nothing is said
SPARE = 1.25  # of memory above the most that was used


@dataclass(frozen=True)
class Advice:
    """`hours` of GPUs (of machines, where a job has none) that it would have saved; `what` was seen; `do`: the edit or
    the command.
    """

    hours: float
    what: str
    do: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "hours": round(self.hours, 3)}


def advice(accounts: Sequence[Account]) -> list[Advice]:
    """The most hours first; what saves no GPU-hours but time in the queue comes last."""
    whole = sum(_hours(one, one.slots) for one in accounts)
    found = [*_lost(accounts), *_leaving(accounts), *_transfer(accounts, whole), *_idle_gpus(accounts)]
    worth = [one for one in found if one.hours >= max(WORTH * whole, 1e-3)]
    return sorted(worth, key=lambda one: -one.hours) + _memory(accounts)


def _hours(one: Account, seconds: float) -> float:
    return seconds * max(1, one.gpus) / 3600


def _lost(accounts: Sequence[Account]) -> list[Advice]:
    by_cause: dict[str, float] = defaultdict(float)
    sites: dict[str, int] = defaultdict(int)
    for one in accounts:
        for cause, seconds in one.lost.items():
            by_cause[cause] += _hours(one, seconds)
        for stay in one.stays:
            sites[stay.site] += stay.cause == account.MACHINE_BAD
    worst = max(sites, key=lambda site: sites[site], default="")
    do = {
        account.BUG: "osgdl explain says which; run it first where it costs nothing: osgdl try FILE.sub",
        account.WRONG: "osgdl explain names the file; look at all data first: python -m unet_segmentation verify",
        account.HELD: "osgdl explain says which limit; raise that request line",
        account.TRANSFER: "osgdl explain names the file; data on the OSDF come by caches: osgdl stage plan",
        account.REMOVED: "let a job leave with 85 before you remove it: condor_rm loses what was not sent home",
        account.MACHINE_BAD: f"most at {worst}; keep away from it: requirements = (GLIDEIN_Site =!= {_quoted(worst)})",
    }
    return [
        Advice(hours, f"{hours:.1f} h went to: {cause}", do[cause]) for cause, hours in by_cause.items() if cause in do
    ]


def _leaving(accounts: Sequence[Account]) -> list[Advice]:
    """Evictions: what the best interval between two leaves would have saved, from the jobs' own measured costs."""
    lost = sum(_hours(one, one.lost.get(account.MACHINE_LOST, 0.0)) for one in accounts)
    known = [one for one in accounts if one.optimum is not None and one.evictions]
    saved = sum(_hours(one, max(0.0, (one.optimum or 0.0) * one.slots - one.seconds["useful"])) for one in known)
    stays = sum(one.evictions for one in accounts)
    if not stays:
        return []
    minutes = sum(one.slots for one in accounts) / stays / 60
    seen = f"{lost:.1f} h went to {stays} evictions, one in {minutes:.0f} min of a machine"
    silent = [one for one in accounts if one.evictions and not one.measured]
    if silent:
        saved += sum(_hours(one, one.lost.get(account.MACHINE_LOST, 0.0)) for one in silent)
        return [
            Advice(saved, f"{seen}; {len(silent)} of the jobs say nothing of a checkpoint", "docs/your-own-script.md")
        ]
    return [Advice(saved, seen, f"in config.toml, [checkpoint]: evicted_every_minutes = {minutes:.0f}")]


def _transfer(accounts: Sequence[Account], whole: float) -> list[Advice]:
    hours = sum(_hours(one, one.seconds["transfer"]) for one in accounts)
    if not whole or hours < LONG_TRANSFER * whole:
        return []
    said = f"{hours:.1f} h, {hours / whole:.0%} of the machines' time, went to files on their way"
    return [Advice(hours, said, "send what the trainer reads, packed, by the OSDF: osgdl stage plan")]


def _idle_gpus(accounts: Sequence[Account]) -> list[Advice]:
    idle, jobs = 0.0, 0
    for one in accounts:
        use = one.used.get("GPUs")
        if use is not None and one.gpus and use / one.gpus < LITTLE_GPU:
            idle += one.gpu_hours * (1 - use / one.gpus)
            jobs += 1
    said = f"in {jobs} jobs the GPUs were busy less than {LITTLE_GPU:.0%} of the time"
    return [Advice(idle, said, "fewer GPUs a job, a larger batch, or prepared data: docs/scaling.md")] if jobs else []


def _memory(accounts: Sequence[Account]) -> list[Advice]:
    """Asking for less is matched sooner; it saves no GPU-hours."""
    known = [one for one in accounts if one.used.get("Memory") and one.requested["Memory"]]
    if not known:
        return []
    most, asked = max(one.used["Memory"] for one in known), max(one.requested["Memory"] for one in known)
    if most * 2 > asked:
        return []
    said = f"no job used more than {most:.0f} MB of memory, and they ask for {asked:.0f}"
    return [Advice(0.0, said, f"request_memory = {max(1, round(most * SPARE / 1024))}GB: more machines would do")]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
