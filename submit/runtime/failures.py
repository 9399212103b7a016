"""The table of how GPU jobs fail: what was printed or returned, whose fault it is, what mends it.

    failures.matches("CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error")[0].failure.verdict   # "machine"

The rows come from `submit/data/failures.toml`, whose head explains their fields; here they are read from
`failures.json`, which travels with the job. A row with a condition counts only where the facts that it asks for are
known and hold: the same line can have other causes on another GPU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional

TABLE = Path(__file__).with_name("failures.json")

MACHINE = "machine"  # another machine may do: exit code 75
REQUEST = "request"  # the request or the image is wrong on every machine: 65
WARNING = "warning"  # said, and the job goes on

LONGEST_LINE = 4000  # characters of a line that are looked at: progress bars write megabytes into one

Facts = Mapping[str, float]


@dataclass(frozen=True)
class Failure:
    """One row of the table; its fields are explained at the head of `submit/data/failures.toml`."""

    id: str
    verdict: str
    diagnosis: str
    fix: str
    pattern: str = ""
    cuda_result: tuple[int, ...] = ()
    nvml_result: tuple[int, ...] = ()
    check: bool = False
    condition: Mapping[str, float] = field(default_factory=dict)
    where: str = "GPU"
    wanted: str = "a GPU that works"
    sources: tuple[str, ...] = ()
    confidence: str = ""
    certain: bool = True
    fault: str = ""

    def applies(self, facts: Facts) -> bool:
        """True if there is no condition or every fact that it asks for is known and holds."""
        for name, bound in self.condition.items():
            fact, _, kind = name.rpartition("_")
            value = facts.get(fact)
            if value is None:
                return False
            if (kind == "min" and value < bound) or (kind == "max" and value > bound):
                return False
            if kind == "below" and value >= bound:
                return False
        return True


@dataclass(frozen=True)
class Match:
    """A row and where its pattern was found: line number from 1, and the line itself, stripped."""

    failure: Failure
    line: int
    text: str


@lru_cache(maxsize=1)
def table() -> tuple[Failure, ...]:
    """Every row, in the table's order, which is the order of precedence."""
    return tuple(_failure(row) for row in json.loads(TABLE.read_text(encoding="utf-8"))["failure"])


@lru_cache(maxsize=1)
def sources() -> Mapping[str, str]:
    """What the keys in `Failure.sources` stand for."""
    named: Mapping[str, str] = json.loads(TABLE.read_text(encoding="utf-8"))["sources"]
    return named


def matches(text: str, facts: Optional[Facts] = None) -> list[Match]:
    """The rows whose pattern is in `text`, the most telling one first, each with the first line that has it.

    Args:
        text: an exception's message or the whole stderr of a job.
        facts: what is known of the GPU (`capability`, `runtime`, `memory_mb`); rows whose condition is not met are
            left out, and with None, which means that nothing is to be known, so are all rows with a condition.
    """
    found: dict[str, Match] = {}
    patterns = _patterns()
    for number, line in enumerate(text.split("\n"), start=1):
        line = line[:LONGEST_LINE]
        if not _any().search(line):
            continue
        for failure, pattern in patterns:
            if failure.id not in found and pattern.search(line) and failure.applies(facts or {}):
                found[failure.id] = Match(failure, number, line.strip())
    return [found[failure.id] for failure, _ in patterns if failure.id in found]


def by_cuda_result(code: int) -> Failure:
    """The row of a result code of the CUDA driver API; `cuda-other` for one that no row names."""
    return next((row for row in table() if code in row.cuda_result), by_check("cuda-other"))


def by_nvml_result(code: int) -> Optional[Failure]:
    """The row of a result code of NVML, or None: most of them only say that something is not supported."""
    return next((row for row in table() if code in row.nvml_result), None)


def by_check(name: str) -> Failure:
    """The row with this id.

    Raises:
        KeyError: there is none.
    """
    for row in table():
        if row.id == name:
            return row
    raise KeyError(name)


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[Failure, re.Pattern[str]]]:
    return [(row, re.compile(row.pattern)) for row in table() if row.pattern]


@lru_cache(maxsize=1)
def _any() -> re.Pattern[str]:
    """One pattern for all, because nearly every line of a log matches none."""
    return re.compile("|".join(f"(?:{row.pattern})" for row in table() if row.pattern))


def _failure(row: Mapping[str, Any]) -> Failure:
    return Failure(**dict(_frozen(row)))


def _frozen(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        yield name, tuple(value) if isinstance(value, list) else value
