"""The slots of a pool as a table: a snapshot small enough to keep, and fast enough to ask about 20,000 slots.

A column holds each distinct value once and, for each slot, which one it has. GPUs stand inside `AvailableGPUs`, without
their ids: what a job can ask of a GPU is its model, not its number.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submit.errors import KitError, wrong
from submit.runtime.files import write_atomic

FORMAT = "osgdl-slots-1"
_LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=(?!=)\s*(.*?)\s*$")
_NAME = re.compile(r'"(?:\\.|[^"\\])*"|([A-Za-z_]\w*)')
_DEVICE = re.compile(r"(?i)\b(?:id|DeviceUuid|DevicePciBusId)\s*=\s*\"[^\"]*\";?\s*")
_NESTED = re.compile(r"(?i)GPUs_(?:GPU|MIG)_[0-9a-f_]+$")


@dataclass
class Column:
    """The values of one attribute: `values[index[i]]` is the text that slot i has, None where it has none."""

    values: list[str | None] = field(default_factory=list)
    index: list[int] = field(default_factory=list)


class Slots:
    """`count` slots and their attributes; names are looked up without regard to case."""

    def __init__(self, count: int, columns: dict[str, Column]) -> None:
        self.count = count
        self.columns = columns

    @classmethod
    def of_ads(cls, texts: Iterable[str]) -> Slots:
        """From ads as `condor_status -long` prints them, one text each."""
        ads = [_attributes(text) for text in texts]
        names = sorted({name for ad in ads for name in ad})
        columns = {}
        for name in names:
            numbers: dict[str | None, int] = {}
            index = [numbers.setdefault(ad.get(name), len(numbers)) for ad in ads]
            columns[name] = Column(list(numbers), index)
        return cls(len(ads), columns)

    @classmethod
    def read(cls, path: Path) -> Slots:
        """A snapshot, or the output of `condor_status -long` or `-json`, gzipped or not. Raises KitError otherwise."""
        try:
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw).decode("utf-8")
        except (OSError, EOFError, UnicodeDecodeError) as fault:
            raise _unreadable(path, str(getattr(fault, "strerror", None) or "not text")) from None
        if not text.lstrip().startswith(("{", "[")):
            ads = [part for part in re.split(r"\n\s*\n", text) if "=" in part]
            if not ads or not any(_LINE.match(line) for line in ads[0].splitlines()):
                raise _unreadable(path, "no ads")
            return cls.of_ads(ads)
        try:
            data = json.loads(text)
            if isinstance(data, list):
                return cls.of_ads("\n".join(f"{k} = {_literal(v)}" for k, v in ad.items()) for ad in data)
            return cls._of_snapshot(data)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            raise _unreadable(path, f"{type(fault).__name__} {fault}"[:80]) from None

    @classmethod
    def _of_snapshot(cls, data: dict[str, Any]) -> Slots:
        if data.get("format") != FORMAT:
            raise ValueError(f"format {data.get('format')!r}")
        count = int(data["count"])
        if count < 0:
            raise ValueError(f"count {count}")
        columns = {name: Column(values, index) for name, (values, index) in data["columns"].items()}
        for name, column in columns.items():
            if len(column.index) != count or not all(0 <= at < len(column.values) for at in column.index):
                raise ValueError(f"column {name}")
        return cls(count, columns)

    def write(self, path: Path) -> None:
        """A snapshot, gzipped JSON, in one step."""
        columns = {name: [column.values, column.index] for name, column in self.columns.items()}
        data = {"format": FORMAT, "count": self.count, "columns": columns}
        write_atomic(path, gzip.compress(json.dumps(data, separators=(",", ":")).encode(), mtime=0))

    def closure(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are columns, and every column that their values refer to."""
        found: dict[str, None] = {}
        waiting = [name.lower() for name in names]
        while waiting:
            name = waiting.pop()
            if name in self.columns and name not in found:
                found[name] = None
                for value in self.columns[name].values:
                    waiting += [word.lower() for word in _NAME.findall(value or "") if word]
        return sorted(found)

    def groups(self, names: Iterable[str]) -> Iterator[tuple[dict[str, str], int]]:
        """The distinct combinations of these columns' values, each with the set of its slots as a bit mask."""
        columns = {name: self.columns[name] for name in names}
        if not columns:
            yield {}, (1 << self.count) - 1
            return
        members: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for slot, key in enumerate(zip(*(column.index for column in columns.values()), strict=True)):
            members[key].append(slot)
        for key, slots in members.items():
            values = ((name, column.values[at]) for (name, column), at in zip(columns.items(), key, strict=True))
            yield {name: value for name, value in values if value is not None}, _mask(slots, self.count)


def _mask(slots: list[int], count: int) -> int:
    """Bit i is set for each slot i; through bytes, because 20,000 shifts of a long number take a second."""
    data = bytearray(count // 8 + 1)
    for slot in slots:
        data[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(data, "little")


def _attributes(text: str) -> dict[str, str]:
    """The attributes of one ad, names in lower case, GPUs written into AvailableGPUs."""
    ad = {}
    for line in text.split("\n"):
        match = _LINE.match(line)
        if match:
            ad[match.group(1).lower()] = match.group(2)
    devices = {name: _DEVICE.sub("", ad.pop(name)) for name in list(ad) if _NESTED.match(name)}
    if "availablegpus" in ad:
        ad["availablegpus"] = re.sub(
            r"\w+", lambda word: devices.get(word.group().lower(), word.group()), ad["availablegpus"]
        )
    return ad


def _literal(value: Any) -> str:
    """A value of `condor_status -json` as the ClassAd text it stands for: expressions are written /Expr(...)/ there."""
    if isinstance(value, str):
        if value.startswith("/Expr(") and value.endswith(")/"):
            return value[6:-2]
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "[ " + "; ".join(f"{name} = {_literal(inner)}" for name, inner in value.items()) + " ]"
    if isinstance(value, list):
        return "{ " + ", ".join(_literal(inner) for inner in value) + " }"
    return "undefined" if value is None else json.dumps(value)


def _unreadable(path: Path, what: str) -> KitError:
    return KitError(
        wrong(
            "slots",
            str(path),
            what,
            "want a snapshot, or what `condor_status -long` prints",
            "Make one: osgdl match --snapshot FILE",
        )
    )
