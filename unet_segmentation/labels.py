"""Label conventions: what the values in a truth file mean. A class is an index (0 background, 1, 2, ...), a label is
a value in a file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

REGIONS = ("whole", "core", "enhancing")  # from the outside in, the order of every table


@dataclass(frozen=True)
class Convention:
    """One convention.

    Attributes:
        name: as in conventions.toml, and as stored in the model.
        labels: meaning of each label value but 0, which is background everywhere.
        regions: label values that make up each of `REGIONS`.
    """

    name: str
    labels: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]]

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

    def membership(self) -> NDArray[np.float32]:
        """(classes, regions) of 0 and 1: class probabilities times this are region probabilities."""
        return np.array([[value in self.regions[name] for name in REGIONS] for value in self.values], np.float32)

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
        name: Convention(
            name=name,
            labels={int(value): meaning for value, meaning in table["labels"].items()},
            regions={region: tuple(table["regions"][region]) for region in REGIONS},
        )
        for name, table in tomllib.loads(text).items()
    }
