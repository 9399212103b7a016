"""The trials of a sweep: a space of settings, all of its grid or so many drawn from it, and their text for a submit
file.

    [train]
    learning_rate = { from = 1e-4, to = 1e-2, log = true }
    batch_size = [4, 8, 16]
    [model]
    width = { from = 8, to = 64 }

A list is for a grid and for drawing, a range is for drawing alone; whole ends make whole numbers.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit.errors import KitError, wrong

MOST = 1_000_000  # jobs of one submit file
TRIES = 50  # draws for each trial, while they repeat what was drawn
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_FORM = "a list such as [1, 2], or { from = 1e-4, to = 1e-2, log = true }, is wanted"

Trial = tuple[str, ...]  # of each key of the space its value, as TOML


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole where both ends are; evenly on a logarithmic scale or not."""

    low: float
    high: float
    log: bool

    @property
    def whole(self) -> bool:
        """Whether its numbers are."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def drawn(self, source: random.Random) -> float:
        """One of them."""
        whole = self.whole
        if whole and not self.log:
            return source.randint(int(self.low), int(self.high))
        if not self.log:
            return source.uniform(self.low, self.high)
        ends = (self.low - 0.5, self.high + 0.5) if whole else (self.low, self.high)
        value = math.exp(source.uniform(math.log(ends[0]), math.log(ends[1])))
        inside = min(max(value, self.low), self.high)
        return round(inside) if whole else inside


Space = dict[str, "list[Any] | Range"]  # by section.key


def read(path: Path) -> Space:
    """The space of a TOML file.

    Raises:
        KitError: it is none.
    """
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise KitError(
            f"{path}: {fault.strerror}; a TOML file of settings is wanted. See osgdl sweep --help."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise KitError(f"{path}: not TOML ({fault}); sections of lists and ranges are wanted. Edit it.") from None
    space: Space = {}
    for section, keys in held.items():
        if not isinstance(keys, dict) or not _KEY.fullmatch(section):
            raise KitError(f"{path}: {section}: no section; [train] and the like are wanted. Move it into one.")
        for key, value in keys.items():
            name = f"{section}.{key}"
            if not _KEY.fullmatch(key):
                raise KitError(f"{path}: {name!r}: no key of a configuration; {_FORM}. Rename it.")
            space[name] = _values(f"{path}: {name}", value)
    if not space:
        raise KitError(f"{path}: empty; sections of lists and ranges are wanted. See osgdl sweep --help.")
    return space


def _values(where: str, value: Any) -> list[Any] | Range:
    if isinstance(value, list) and value:
        texts = [text(where, one) for one in value]
        if len(set(texts)) < len(texts):
            raise KitError(f"{where}: a value is there twice; different ones are wanted. Take one out.")
        return value
    if isinstance(value, dict) and {"from", "to"} <= set(value) <= {"from", "to", "log"}:
        low, high, log = value["from"], value["to"], value.get("log", False)
        numbers = all(type(end) in (int, float) and math.isfinite(end) for end in (low, high))
        if numbers and low < high and type(log) is bool and (low > 0 or not log):
            return Range(low, high, log)
        raise KitError(f"{where}: from {low} to {high}; from below to, above 0 where log = true, is wanted. Edit it.")
    raise KitError(f"{where}: {value!r}; {_FORM}. Edit it.")


def grid(space: Space) -> list[Trial]:
    """Every combination, the last key turning fastest.

    Raises:
        KitError: the space has a range, or too many combinations.
    """
    for name, values in space.items():
        if isinstance(values, Range):
            raise KitError(f"{name}: a range; a grid wants a list. Write the values, or draw: --random 100.")
    lists = [[text(name, value) for value in values] for name, values in space.items() if isinstance(values, list)]
    count = math.prod(map(len, lists))
    if count > MOST:
        raise KitError(wrong("--grid", count, "too many trials", f"up to {MOST:,}", "Draw some of them: --random 1000"))
    return list(itertools.product(*lists))


def drawn(space: Space, count: int, seed: int) -> list[Trial]:
    """So many different trials; a larger `count` begins with the same ones.

    Raises:
        KitError: `count` is none, or the space has fewer.
    """
    if not 1 <= count <= MOST:
        raise KitError(wrong("--random", count, "no such number of trials", f"1 to {MOST:,}", "E.g. --random 100"))
    source, found = random.Random(seed), dict[Trial, None]()  # noqa: S311 (nothing secret)
    texts = {name: [text(name, one) for one in values] for name, values in space.items() if isinstance(values, list)}
    for _ in range(TRIES * count):
        trial = tuple(
            repr(values.drawn(source)) if isinstance(values, Range) else source.choice(texts[name])
            for name, values in space.items()
        )
        found[trial] = None
        if len(found) == count:
            return list(found)
    said = f"{len(found)} different trials found"
    raise KitError(wrong("--random", count, said, "fewer trials, or a larger space", "Take all of a grid: --grid"))


def text(where: str, value: Any) -> str:
    """A value as TOML that `--set section.key=` takes.

    Raises:
        KitError: a submit file cannot hold it.
    """
    if isinstance(value, str):
        bare = _WORD.fullmatch(value) and value not in ("true", "false", "inf", "nan")
        shown = value if bare else json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        shown = str(value).lower()
    elif isinstance(value, int | float):
        shown = repr(value)
    elif isinstance(value, list):
        inner = [json.dumps(one, ensure_ascii=False) if isinstance(one, str) else text(where, one) for one in value]
        shown = f"[{', '.join(inner)}]"
    else:
        raise KitError(f"{where}: {value!r}; a number, a text, true, false or a list of them is wanted. Edit it.")
    if "$" in shown or not shown.isascii() or not shown.isprintable():
        raise KitError(f"{where}: {shown!a}; a submit file takes plain ASCII without $. Edit it.")
    return shown


def quoted(words: Iterable[str]) -> str:
    """Words as one part of HTCondor's `arguments = "..."`, each as it stands."""
    return " ".join("'" + word.replace("'", "''").replace('"', '""') + "'" for word in words)


def settings(keys: Sequence[str], trial: Trial) -> list[str]:
    """`section.key=value` of each key."""
    return [f"{key}={value}" for key, value in zip(keys, trial, strict=True)]
