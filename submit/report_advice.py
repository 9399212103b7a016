"""What to change about jobs, in order of the GPU-hours that it would have saved."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from submit import slot_time, stays
from submit.account import Account
from submit.units import span

LITTLE_GPU = 0.5  # average use of a GPU below which the job leaves it waiting
NO_GPU = 0.02  # and below which it does not use it
MUCH = 0.1  # share of the machines' time that may go into transfer, starting, leaving
WORTH = 0.01  # share of all GPU-hours below which nothing is said
SPARE = 1.25  # of memory and disk above the most that was used
LONG_ENOUGH_S = 600  # of machines: what a shorter job used is hardly measured
LONG_QUEUE = 4  # times as long in the queue as on machines


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
    """The most hours first; what saves no GPU-hours but waiting comes last."""
    whole = sum(_hours(one, one.slots) for one in accounts)
    found = [*_lost(accounts), *_evicted(accounts), *_overhead(accounts, whole), *_idle_gpus(accounts)]
    worth = [one for one in found if one.hours >= max(WORTH * whole, 1e-3)]
    return [*sorted(worth, key=lambda one: -one.hours), *_waiting(accounts), *_spare(accounts)]


def _hours(one: Account, seconds: float) -> float:
    return seconds * max(1, one.gpus) / 3600


def _lost(accounts: Sequence[Account]) -> Iterator[Advice]:
    hours: dict[str, float] = defaultdict(float)
    bad: dict[str, float] = defaultdict(float)
    for one in accounts:
        for cause, seconds in one.time.lost.items():
            hours[cause] += _hours(one, seconds)
        for stay in one.stays:
            if stay.cause == stays.MACHINE_BAD:
                bad[stay.site] += stay.seconds
    worst = max(bad, key=lambda site: bad[site], default="")
    do = {
        stays.BUG: "osgdl explain says which; run it first where it costs nothing: osgdl try FILE.sub",
        stays.WRONG: "osgdl explain names the file or the line; look at all before: osgdl check FILE.sub",
        stays.HELD: "osgdl explain says which limit; raise that request line",
        stays.TRANSFER: "osgdl explain names the file; large data come by the OSDF's caches: osgdl stage",
        stays.NOT_STARTED: "osgdl explain says which image or program; osgdl check FILE.sub looks for it before",
        stays.TAKEN_OUT: "only a job that leaves with 0 sends its results: condor_rm loses the rest",
        stays.MACHINE_BAD: f"most of it at {worst}: +UNDESIRED_Sites = {_quoted(worst)}",
    }
    for cause, value in hours.items():
        if cause in do:
            yield Advice(value, f"lost to: {cause}", do[cause])


def _evicted(accounts: Sequence[Account]) -> Iterator[Advice]:
    """What the best interval between two leaves would have saved, from the jobs' own measured costs."""
    hit = [one for one in accounts if one.time.evictions]
    if not hit:
        return
    count = sum(one.time.evictions for one in hit)
    lost = sum(_hours(one, one.time.lost.get(stays.MACHINE_LOST, 0.0)) for one in hit)
    minutes = sum(one.slots for one in accounts) / count / 60
    seen = f"{span(lost * 3600)} went to {_many(count, 'eviction')}, one in {minutes:.0f} min of machines"
    never = [one for one in hit if not one.time.measured and not any(stay.saving for stay in one.stays)]
    if never:
        saved = sum(_hours(one, one.time.lost.get(stays.MACHINE_LOST, 0.0)) for one in never)
        script = "save and leave with 85 now and then: docs/your-own-script.md"
        yield Advice(saved, f"{seen}; {_many(len(never), 'job')} among them never sent a checkpoint home", script)
    saved = sum(_hours(one, _could_be(one)) for one in hit if one not in never)
    edit = f"config.toml, [checkpoint]: evicted_every_minutes = {max(1, minutes):.0f}"
    yield Advice(saved, f"{seen}; leaving as often as loses least would have kept this much", edit)


def _could_be(one: Account) -> float:
    """Seconds of work more, had it left as often as loses least; at most what evictions and leaving took."""
    time = one.time
    if time.optimum is None:
        return 0.0
    more = time.optimum * (one.slots - time.seconds["running"]) - time.seconds["useful"]
    return min(max(0.0, more), time.lost.get(stays.MACHINE_LOST, 0.0) + time.seconds["leaving"])


def _overhead(accounts: Sequence[Account], whole: float) -> Iterator[Advice]:
    parts = {
        name: sum(_hours(one, one.time.seconds[name]) for one in accounts) for name in slot_time.CATEGORIES if whole
    }
    parts["starting"] = parts.get("starting", 0.0) + parts.get("preflight", 0.0)
    do = {
        "transfer": ("files on their way", "send what the trainer reads, packed, by the OSDF: osgdl stage"),
        "starting": ("starts, before a first step", "give a job more to do: fewer and longer jobs start less often"),
        "leaving": ("leaving with 85 and coming back", "config.toml, [checkpoint]: a larger evicted_every_minutes"),
    }
    for name, (what, edit) in do.items():
        if parts.get(name, 0.0) > MUCH * whole:
            hours = parts[name] - MUCH * whole
            yield Advice(
                hours, f"{span(parts[name] * 3600)}, {parts[name] / whole:.0%} of the machines' time: {what}", edit
            )


def _idle_gpus(accounts: Sequence[Account]) -> Iterator[Advice]:
    use = {id(one): one.used["GPUs"] / one.gpus for one in accounts if one.gpus and "GPUs" in one.used}
    never = [one for one in accounts if use.get(id(one), 1.0) < NO_GPU]
    little = [one for one in accounts if NO_GPU <= use.get(id(one), 1.0) < LITTLE_GPU]
    if never:
        yield Advice(
            sum(_hours(one, _kept(one)) for one in never),
            f"{_many(len(never), 'job')} asked for a GPU and did not use it",
            "leave request_gpus out, or see why the framework does not find it: osgdl check FILE.sub",
        )
    if little:
        yield Advice(
            sum(_hours(one, _kept(one)) * (1 - use[id(one)]) for one in little),
            f"in {_many(len(little), 'job')} the GPUs were busy less than {LITTLE_GPU:.0%} of the time",
            "fewer GPUs a job, a larger batch, or prepared data: docs/scaling.md",
        )


def _kept(one: Account) -> float:
    """What is lost is spoken of elsewhere."""
    return one.slots - one.time.seconds["lost"]


def _waiting(accounts: Sequence[Account]) -> Iterator[Advice]:
    """What costs no GPU-hours, but days."""
    held = [one for one in accounts if one.state == "held"]
    if held:
        yield Advice(0.0, f"{_many(len(held), 'job')} on hold, until somebody acts", "osgdl explain")
    queued, slots = sum(one.time.queued for one in accounts), sum(one.slots for one in accounts)
    if queued > LONG_QUEUE * slots > 0:
        said = f"jobs waited {span(queued)} in the queue, {queued / slots:.0f} times what they had machines"
        yield Advice(0.0, said, "osgdl match FILE.sub shows which line of the request costs most machines")


def _spare(accounts: Sequence[Account]) -> Iterator[Advice]:
    """Requests of which less than half was used; asking for less is matched sooner."""
    for name, unit, word in (("Memory", 1024, "GB of memory"), ("Disk", 1 << 20, "GB of disk"), ("Cpus", 1, "cores")):
        known = [
            (one.used[name], one.asked[name])
            for one in accounts
            if name in one.used and name in one.asked and one.slots >= LONG_ENOUGH_S
        ]
        if not known:
            continue
        used, asked = max(use for use, _ in known) / unit, max(asked for _, asked in known) / unit
        enough = math.ceil(used * SPARE) if unit > 1 else math.ceil(used)
        if max(1, enough) * 2 <= asked:
            said = f"no job used more than {used:.1f} {word}, and they ask for {asked:.0f}"
            edit = f"request_{name.lower()} = {max(1, enough)}{'GB' if unit > 1 else ''}"
            yield Advice(0.0, said, f"{edit}: more machines would do")


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
