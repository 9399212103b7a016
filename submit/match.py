"""Which slots would take a job, and what each clause of its request costs, evaluated by HTCondor's own ClassAds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from submit.errors import KitError, wrong
from submit.slots import Slots

# evaluated as clauses of their own: inside Requirements they hide behind one countMatches(MY.RequireGPUs, ...)
_EACH_GPU = re.compile(r"countMatches\(\s*MY\.RequireGPUs\s*,", re.IGNORECASE)

# what the user wrote, for the attribute that HTCondor made of it
_COMMANDS = {
    "GPUsMinCapability": "gpus_minimum_capability",
    "GPUsMaxCapability": "gpus_maximum_capability",
    "GPUsMinMemory": "gpus_minimum_memory",
    "GPUsMinRuntime": "gpus_minimum_runtime",
    "RequestGPUs": "request_gpus",
    "RequestCpus": "request_cpus",
    "RequestMemory": "request_memory",
    "RequestDisk": "request_disk",
}


@dataclass(frozen=True)
class Clause:
    """One condition of a job's request.

    Attributes:
        text: as the user knows it, the submit command's name before it.
        alone: slots that meet it.
        survivors: slots that meet it and every clause before it.
        gain_if_dropped: slots that would take the job besides, were it not for this clause.
        relaxed: for a bound, the nearest value that would win slots, and how many.
    """

    text: str
    alone: int
    survivors: int
    gain_if_dropped: int
    relaxed: tuple[float, int] | None = None


@dataclass(frozen=True)
class Match:
    """A job against the slots of a pool. `by_site` and `by_gpu`: matching slots, and matching GPUs by their model.
    `no_gpu_free`: it asks for one, and no slot has one to give, so what would fit cannot be seen.
    """

    slots: int
    matching_slots: int
    matching_gpus: int
    clauses: list[Clause]
    by_site: dict[str, int]
    by_gpu: dict[str, int]
    no_gpu_free: bool


def split(expression: str) -> list[str]:
    """The conditions that `&&` joins at the top of an expression, outer brackets taken off, in order."""
    parts: list[str] = []
    start = 0
    for position, operator in _operators(expression):
        if operator != "&&":  # `||` and `?` bind less: the whole is one condition
            parts, start = [], 0
            break
        parts.append(expression[start:position])
        start = position + 2
    parts.append(expression[start:])
    if len(parts) > 1:
        return [clause for part in parts for clause in split(part)]
    only = expression.strip()
    if only.startswith("(") and only.endswith(")") and _balanced(only[1:-1]):
        return split(only[1:-1])
    return [only] if only else []


def _operators(expression: str) -> Iterator[tuple[int, str]]:
    """Position and name of each `&&`, `||` and `?` that stands in no brackets and no string."""
    for position, letter, depth in _letters(expression):
        if depth == 0:
            if expression.startswith(("&&", "||"), position):
                yield position, expression[position : position + 2]
            elif letter == "?" and expression[position - 1 : position] != "=":  # not that of =?=
                yield position, letter


def _letters(expression: str) -> Iterator[tuple[int, str, int]]:
    """(position, letter, depth of brackets) for each letter outside of strings."""
    depth, quoted, escaped = 0, False, False
    for position, letter in enumerate(expression):
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
            continue
        quoted = letter == '"'
        depth -= letter in ")]}"
        yield position, letter, depth
        depth += letter in "([{"


def _balanced(text: str) -> bool:
    return all(depth >= 0 for _, _, depth in _letters(text))


# the slot's own terms, which the negotiator asks as well
OWN_TERMS = "the slot's own terms (START)"
_BOUND = re.compile(r"(?:TARGET\.)?(\w+)\s*(>=|<=|>|<)\s*(?:MY\.)?([\w.]+)")


def match(job_text: str, slots: Slots) -> Match:
    """Evaluates the job's Requirements and RequireGPUs, clause by clause, and each slot's own.

    `job_text`: an ad as `condor_q -long` and `condor_submit -dry-run` print it.
    """
    return _Evaluation(job_text, slots).result()


class _Evaluation:
    """One job against one table of slots. A set of slots is a number whose bit i stands for slot i."""

    def __init__(self, job_text: str, slots: Slots) -> None:
        import classad2
        import htcondor2  # noqa: F401 - before classad2: without it the first countMatches is an error for ever

        self.classad = classad2
        self.slots = slots
        self.job = classad2.parseOne(job_text, classad2.ParserType.Old)
        self.bounds = split(_value(self.job, "RequireGPUs"))
        self.parsed: dict[str, Any] = {}

    def result(self) -> Match:
        conditions = split(_value(self.job, "Requirements"))
        gpu = next((text for text in conditions if _EACH_GPU.match(text) and self.bounds), None)
        sets = {text: self.meets(text) for text in conditions}
        own = self.accepts()
        matching = (1 << self.slots.count) - 1 if self.slots.count else 0
        for members in (*sets.values(), own):
            matching &= members
        rows: list[tuple[str, int, int, tuple[float, int] | None]] = []
        for text, members in sets.items():
            others = own
            for other in sets:
                if other != text:
                    others &= sets[other]
            if text != gpu:
                rows.append(
                    (_with_value(text, self.job), members, others & ~members, self.relaxed(text, others & ~members))
                )
                continue
            for bound in self.bounds:
                without = self.meets(self.each_gpu([other for other in self.bounds if other is not bound]))
                gain = others & without & ~members
                rows.append(
                    (_with_value(bound, self.job), self.meets(self.each_gpu([bound])), gain, self.relaxed(bound, gain))
                )
        others = (1 << self.slots.count) - 1
        for members in sets.values():
            others &= members
        rows.append((OWN_TERMS, own, others & ~own, None))
        clauses, left = [], (1 << self.slots.count) - 1
        for text, members, gain, relaxed in rows:
            left &= members
            clauses.append(Clause(text, members.bit_count(), left.bit_count(), gain.bit_count(), relaxed))
        gpus = self.matching_gpus(matching)
        sites = Counter({site: (members & matching).bit_count() for site, members in self.by("glidein_site")})
        no_gpu = bool(self.job.get("RequestGPUs")) and not any(ads for ads, _ in self.devices)
        taken = matching.bit_count()
        return Match(self.slots.count, taken, gpus.total(), clauses, _ranked(sites), _ranked(gpus), no_gpu)

    def each_gpu(self, bounds: list[str]) -> str:
        """The clause that as many GPUs as asked for meet these bounds, each all of them."""
        met = " && ".join(f"({bound})" for bound in bounds) or "true"
        return f"countMatches({met}, TARGET.AvailableGPUs) >= RequestGPUs"

    def meets(self, clause: str) -> int:
        """The slots that meet a clause of the job's."""
        expression = self.classad.ExprTree(clause)
        asked = [name.removeprefix("TARGET.").split(".")[0] for name in self.job.externalRefs(expression)]
        self.job["Requirements"] = expression
        found = 0
        for values, members in self.slots.groups(self.slots.closure(asked)):
            # a.matches(b) evaluates b's Requirements
            if self.slot(values).matches(self.job):
                found |= members
        return found

    def accepts(self) -> int:
        """The slots whose own Requirements this job meets; one that has none takes every job."""
        found = 0
        for values, members in self.slots.groups(self.slots.closure(["requirements"])):
            if "requirements" not in values or self.job.matches(self.slot(values)):
                found |= members
        return found

    def slot(self, values: dict[str, str]) -> Any:
        """The ad of these attributes. Each distinct value is parsed once: 20,000 slots have few, but numbers."""
        ad = self.classad.ClassAd()
        for name, text in values.items():
            if text.isdecimal():
                ad[name] = int(text)
                continue
            value = self.parsed.get(text)
            if value is None:
                value = self.parsed[text] = self.expression(name, text)
            ad[name] = value
        return ad

    def expression(self, name: str, text: str) -> Any:
        """Raises KitError where the slots' table holds what is no expression."""
        try:
            return self.classad.ExprTree(text)
        except self.classad.ClassAdException:
            what = wrong(
                name, text, "no ClassAd expression", "want what condor_status prints", "Take the snapshot again"
            )
            raise KitError(f"slots: {what}") from None

    def by(self, name: str) -> Iterator[tuple[str, int]]:
        """Each value of a text attribute and its slots."""
        for values, members in self.slots.groups([name] if name in self.slots.columns else []):
            yield values.get(name, "unknown").strip('"'), members

    @cached_property
    def devices(self) -> list[tuple[list[Any], int]]:
        """The GPUs of the slots, as ads, and which slots have them."""
        name = "availablegpus"
        if name not in self.slots.columns:
            return []
        listed = []
        for values, members in self.slots.groups([name]):
            ads = self.slot(values).eval(name) if name in values else []
            listed.append(
                ([ad for ad in ads if isinstance(ad, self.classad.ClassAd)] if isinstance(ads, list) else [], members)
            )
        return listed

    def matching_gpus(self, matching: int) -> Counter[str]:
        """The GPUs of the matching slots that meet the bounds, by model."""
        counted: Counter[str] = Counter()
        if not self.job.get("RequestGPUs"):
            return counted
        bound = self.classad.ExprTree("countMatches(MY.RequireGPUs, TARGET.AvailableGPUs) >= 1")
        for ads, members in self.devices:
            slots = (members & matching).bit_count()
            for ad in ads if slots else ():
                one = self.slot({"availablegpus": "{ " + " ".join(str(ad).split()) + " }"})
                self.job["Requirements"] = bound
                if not self.bounds or one.matches(self.job):
                    counted[str(ad.get("DeviceName", "unknown"))] += slots
        return counted

    def relaxed(self, clause: str, lost: int) -> tuple[float, int] | None:
        """For `ATTRIBUTE >= BOUND`: the value nearest to the bound among the slots that it alone loses, and how many
        have at least that.
        """
        found = _BOUND.fullmatch(clause.strip())
        if not found or not lost:
            return None
        name, more = found.group(1), found.group(2) in (">=", ">")
        best = max if more else min
        reached: Counter[float] = Counter()
        if name.lower() in self.slots.columns:
            for values, members in self.slots.groups([name.lower()]):
                value = self.slot(values).eval(name) if values else None
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    reached[value] += (members & lost).bit_count()
        else:
            for ads, members in self.devices:
                numbers = [ad[name] for ad in ads if isinstance(ad.get(name), (int, float))]
                if numbers:
                    reached[best(numbers)] += (members & lost).bit_count()
        reached = +reached
        if not reached:
            return None
        nearest = best(reached)
        return float(nearest), reached[nearest]


def _ranked(counted: Counter[str]) -> dict[str, int]:
    return {name: number for name, number in sorted(counted.items(), key=lambda item: (-item[1], item[0])) if number}


def _value(ad: Any, name: str) -> str:
    return str(ad.lookup(name)) if name in ad else ""


def _with_value(clause: str, job: Any) -> str:
    """The clause as the user knows it: the submit command's name before it, the job's own figures in it."""
    names = [name for name in _COMMANDS if name in job and re.search(rf"\b{name}\b", clause)]
    for name in names:
        clause = re.sub(rf"\b{name}\b", str(job.eval(name)), clause)
    return f"{' and '.join(_COMMANDS[name] for name in names)}: {clause}" if names else clause
