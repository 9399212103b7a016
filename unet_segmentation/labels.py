"""Label conventions: what the values in a truth file mean. A class is an index (0 background, 1, 2, ...), a label is
a value in a file, a region is a set of labels that is scored as one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput

HIGHEST = 255  # label value: predictions are written as bytes
NAME_CHARACTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"  # of regions: they name CSV columns
)


@dataclass(frozen=True)
class Convention:
    """One convention.

    Attributes:
        name: as in conventions.toml, and as stored in the model.
        labels: meaning of each label value but 0, which is background everywhere.
        regions: label values of each region, from the outside in.
        paint: the label value that a voxel gets that is in a region and in no later one.
    """

    name: str
    labels: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]]
    paint: Mapping[str, int]

    @property
    def values(self) -> tuple[int, ...]:
        """The label value of each class: (0, 1, 2, 4) for BraTS 2021."""
        return (0, *sorted(self.labels))

    def encode(self, labels: NDArray[Any]) -> NDArray[np.uint8]:
        """Label values to classes, any shape. The values must have been verified."""
        table = np.zeros(max(self.values) + 1, np.uint8)
        table[list(self.values)] = np.arange(len(self.values))
        classes: NDArray[np.uint8] = table[labels.astype(np.intp)]
        return classes

    def decode(self, classes: NDArray[Any]) -> NDArray[np.uint8]:
        """Classes to label values, any shape."""
        labels: NDArray[np.uint8] = np.array(self.values, np.uint8)[classes]
        return labels

    def region(self, labels: NDArray[Any], name: str) -> NDArray[np.bool_]:
        """Where the label values belong to a region, any shape."""
        return np.isin(labels, self.regions[name])

    def membership(self, names: Sequence[str] | None = None) -> NDArray[np.float32]:
        """(classes, regions) of 0 and 1, for the regions named or all: one-hot classes times this are region masks."""
        wanted = tuple(self.regions) if names is None else names
        return np.array([[value in self.regions[name] for name in wanted] for value in self.values], np.float32)

    def painted(self, masks: NDArray[np.bool_], names: Sequence[str]) -> NDArray[np.uint8]:
        """Region masks (..., region) to label values (...): each region's paint, inner regions over outer ones,
        whatever the order of `names`.
        """
        labels = np.zeros(masks.shape[:-1], np.uint8)
        for name in self.regions:
            if name in names:
                labels[masks[..., list(names).index(name)]] = self.paint[name]
        return labels

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, all that there is to know."""
        return {
            "name": self.name,
            "labels": {str(value): meaning for value, meaning in self.labels.items()},
            "regions": {name: list(values) for name, values in self.regions.items()},
            "paint": dict(self.paint),
        }

    @classmethod
    def from_dict(cls, held: Any, where: str = "convention") -> Convention:
        """The convention that `as_dict` or a TOML table holds; `paint` may be left out where only one value can be
        meant.

        Args:
            held: a mapping of `name`, `labels`, `regions` and `paint`.
            where: what to name in messages.

        Raises:
            BadInput: a field that is missing, unknown or makes no sense.
        """
        example = 'labels = { 1 = "kidney", 2 = "tumour" }, regions = { organ = [1, 2], tumour = [2] }'
        if not isinstance(held, Mapping):
            raise BadInput(where, repr(held), "a table", f"write for example {example}")
        unknown = sorted(map(str, set(held) - {"name", "labels", "regions", "paint"}))
        if unknown:
            raise BadInput(f"{where}.{unknown[0]}", "not a key", "name, labels, regions, paint", "remove it")
        name = held.get("name", "")
        if not isinstance(name, str) or not name:
            raise BadInput(f"{where}.name", repr(name), "a text", 'write for example name = "kidney"')
        labels = _labels(held.get("labels"), f"{where}.labels")
        regions = _regions(held.get("regions"), labels, f"{where}.regions")
        paint = _paint(held.get("paint", {}), regions, f"{where}.paint")
        convention = cls(name, labels, regions, paint)
        convention._check_nesting(where)
        return convention

    def _check_nesting(self, where: str) -> None:
        """Every label's regions must come back when the masks of its regions are painted: else what the network finds
        could not be written down.
        """
        for value in self.labels:
            inside = {name for name, values in self.regions.items() if value in values}
            painted = self.painted(np.array([name in inside for name in self.regions]), tuple(self.regions))
            back = {name for name, values in self.regions.items() if int(painted) in values}
            if back != inside:
                raise BadInput(
                    f"{where}.regions",
                    f"label {value} is in {' and '.join(sorted(inside))} and would be written as {painted}",
                    "regions from the outside in; those that share a label lie one inside the other",
                    "put the larger region first, or change paint",
                )

    def describe(self) -> str:
        """One line for people: `brats2017-2021: 1 = ..., 2 = oedema, 4 = enhancing tumour; core = 1+4`."""
        meanings = ", ".join(f"{value} = {meaning}" for value, meaning in self.labels.items())
        regions = ", ".join(f"{name} = {'+'.join(map(str, values))}" for name, values in self.regions.items())
        return f"{self.name}: {meanings}; {regions}"


@cache
def conventions() -> Mapping[str, Convention]:
    """All conventions of conventions.toml by name."""
    text = resources.files(__package__).joinpath("conventions.toml").read_text(encoding="utf-8")
    return {
        name: Convention.from_dict({"name": name, **table}, f"conventions.toml: {name}")
        for name, table in tomllib.loads(text).items()
    }


def _labels(held: Any, where: str) -> dict[int, str]:
    wanted = f'label values from 1 to {HIGHEST} and what they mean, such as {{ 1 = "tumour" }}'
    if not isinstance(held, Mapping) or not held:
        raise BadInput(where, "missing" if held is None else repr(held), wanted, "add it")
    labels = {}
    for key, meaning in held.items():
        text = str(key)
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= HIGHEST and str(int(text)) == text):
            raise BadInput(where, f"label {text!r}", wanted, "correct it; 0 is background and needs no entry")
        if not isinstance(meaning, str) or not meaning.strip():
            raise BadInput(where, f"{text} = {meaning!r}", wanted, "say in a word what it is")
        labels[int(text)] = meaning
    return labels


def _regions(held: Any, labels: Mapping[int, str], where: str) -> dict[str, tuple[int, ...]]:
    wanted = "names of regions and their label values, such as { whole = [1, 2], core = [2] }"
    if not isinstance(held, Mapping) or not held:
        raise BadInput(where, "missing" if held is None else repr(held), wanted, "add it")
    regions = {}
    for name, values in held.items():
        if not isinstance(name, str) or not name or set(name) - set(NAME_CHARACTERS):
            raise BadInput(where, f"region {name!r}", "letters, digits, - and _", "rename it")
        if not isinstance(values, (list, tuple)) or not values or not all(type(value) is int for value in values):
            raise BadInput(f"{where}.{name}", repr(values), "a list of label values such as [1, 2]", "correct it")
        strange = [value for value in values if value not in labels]
        if strange or len(set(values)) < len(values):
            fault = f"{strange[0]}, which is no label" if strange else f"{list(values)}, a value twice"
            raise BadInput(f"{where}.{name}", fault, f"some of {', '.join(map(str, labels))}", "correct it")
        regions[name] = tuple(values)
    return regions


def _paint(held: Any, regions: Mapping[str, tuple[int, ...]], where: str) -> dict[str, int]:
    if not isinstance(held, Mapping):
        raise BadInput(where, repr(held), "a label value for each region", "write for example { core = 1 }")
    unknown = [name for name in held if name not in regions]
    if unknown:
        raise BadInput(f"{where}.{unknown[0]}", "not a region", f"some of {', '.join(regions)}", "remove it")
    paint = {}
    names = list(regions)
    for index, (name, values) in enumerate(regions.items()):
        inner = {value for later in names[index + 1 :] for value in regions[later]}
        own = [value for value in values if value not in inner] or list(values)
        value = held.get(name, own[0] if len(own) == 1 else None)
        if type(value) is not int or value not in values:
            said = "missing" if value is None else repr(value)
            wanted = f"one of {', '.join(map(str, own))}: what a voxel of {name} becomes that is in no inner region"
            raise BadInput(f"{where}.{name}", said, wanted, f"write for example paint = {{ {name} = {own[0]} }}")
        paint[name] = value
    return paint
