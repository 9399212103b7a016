"""Why a job finds no slot: how many slots each clause of its request leaves, evaluated by HTCondor's own ClassAds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
    """One condition of a job's request and how many slots meet it."""

    text: str
    slots: int


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


def clauses(job_text: str, slot_texts: list[str]) -> tuple[list[Clause], int]:
    """How many of the slots meet each clause of the job's Requirements and RequireGPUs, and how many meet all of them.

    `job_text`, `slot_texts`: ads as `condor_q -long`, `condor_submit -dry-run` and `condor_status -long` print them.
    """
    import classad2
    import htcondor2  # noqa: F401 - before classad2: without it the first countMatches is an error for ever

    job = classad2.parseOne(job_text, classad2.ParserType.Old)
    slots = [classad2.parseOne(text, classad2.ParserType.Old) for text in slot_texts]
    together = sum(bool(slot.matches(job)) for slot in slots)
    texts: list[tuple[str, str]] = []
    for clause in split(_value(job, "Requirements")):
        if _EACH_GPU.match(clause) and "RequireGPUs" in job:
            for bound in split(_value(job, "RequireGPUs")):
                counted = f"countMatches({bound}, TARGET.AvailableGPUs) >= RequestGPUs"
                texts.append((_with_value(bound, job), counted))
        else:
            texts.append((_with_value(clause, job), clause))
    rows = []
    for shown, clause in texts:
        job["Requirements"] = classad2.ExprTree(clause)
        # a.matches(b) evaluates b's Requirements
        rows.append(Clause(shown, sum(bool(slot.matches(job)) for slot in slots)))
    return rows, together


def _value(ad: Any, name: str) -> str:
    return str(ad.lookup(name)) if name in ad else ""


def _with_value(clause: str, job: Any) -> str:
    """The clause as the user knows it: the submit command's name before it, the job's own figures in it."""
    names = [name for name in _COMMANDS if name in job and re.search(rf"\b{name}\b", clause)]
    for name in names:
        clause = re.sub(rf"\b{name}\b", str(job.eval(name)), clause)
    return f"{' and '.join(_COMMANDS[name] for name in names)}: {clause}" if names else clause
