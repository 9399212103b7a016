"""Reads the ad files HTCondor leaves beside a job: `_CONDOR_MACHINE_AD` and `_CONDOR_JOB_AD`, in the old `Name =
value` syntax.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Union

Value = Union[str, int, float, bool]

_LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=(?!=)\s*(.*?)\s*")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_REAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.?[0-9]+)([eE][-+]?[0-9]+)?")


class Expression(str):
    """A value that is neither a string, a number nor a truth value, as its text: `{ 1,2 }`, `undefined`, `[
    Capability = 9.0 ]`.
    """


class Ad(Mapping[str, Value]):
    """A flat ad. Names are looked up without regard to case, as everywhere in HTCondor."""

    def __init__(self, items: Mapping[str, Value]) -> None:
        self._items = dict(items)
        self._names = {name.lower(): name for name in items}

    def __getitem__(self, name: str) -> Value:
        return self._items[self._names[name.lower()]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def text(self, name: str, default: str = "") -> str:
        """The attribute if it is a string, else `default` (an undefined attribute is an `Expression`, not a string)."""
        value = self.get(name)
        return value if isinstance(value, str) and not isinstance(value, Expression) else default

    def number(self, name: str, default: float = 0.0) -> float:
        """The attribute if it is a number, else `default`."""
        value = self.get(name)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def parse(text: str) -> Ad:
    """The ad in `text`; lines that are no assignment are skipped, of two assignments the last one counts, as in
    HTCondor.
    """
    items: dict[str, Value] = {}
    names: dict[str, str] = {}
    for line in text.split("\n"):  # not splitlines(): a string may hold U+2028 or a form feed
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match:
            name, value = match.groups()
            items.pop(names.get(name.lower(), ""), None)
            names[name.lower()] = name
            items[name] = _value(value)
    return Ad(items)


def read(variable: str) -> Ad:
    """The ad in the file named by an environment variable; an empty ad outside a job or if the file cannot be read."""
    path = os.environ.get(variable)
    if not path:
        return Ad({})
    try:
        return parse(Path(path).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return Ad({})


def machine_ad() -> Ad:
    """The ad of the slot this job runs in; empty outside a job."""
    return read("_CONDOR_MACHINE_AD")


def job_ad() -> Ad:
    """The ad of this job as it was when the job started; empty outside a job."""
    return read("_CONDOR_JOB_AD")


def _value(text: str) -> Value:
    if len(text) >= 2 and text[0] == text[-1] == '"' and not re.search(r'(?<!\\)"', text[1:-1]):
        return text[1:-1].replace('\\"', '"')  # in the old syntax a backslash escapes the quote and nothing else
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        return float(text)
    return Expression(text)
