"""Scores of a whole patient volume, never of slices: a mean over slices counts empty ones.

A region that nobody marked has no Dice (0/0), and a distance to nothing is no number. What is written instead decides
rankings (LGG patients have no enhancing tumour), so it is a named convention, `EMPTY`, told with every number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

METRICS = {"dice": "Dice", "sensitivity": "sensitivity", "specificity": "specificity", "hd95": "HD95, mm"}
PERCENTILE = 95.0
RESAMPLES = 2000  # Efron and Tibshirani, An Introduction to the Bootstrap (1993), 13.3: at least 1000 for intervals
SEED = 20170511  # of the resamples: the same scores give the same interval


@dataclass(frozen=True)
class Empty:
    """What counts where a region is empty; None: not counted.

    Attributes:
        name: for the command line and the results.
        about: in words, for the reader of a table.
        both: (Dice, sensitivity, HD95 in mm) where truth and prediction are empty.
        one: the same where only one of the two is; its Dice is 0 by definition.
    """

    name: str
    about: str
    both: tuple[float | None, float | None, float | None]
    one: tuple[float, float | None, float | None]


EMPTY = {
    rule.name: rule
    for rule in (
        Empty(
            "brats2023",
            "BraTS 2023: truth and prediction empty: Dice 1, sensitivity 1, HD95 0 mm; one of them empty: Dice 0, "
            "sensitivity 0, HD95 374 mm",
            (1.0, 1.0, 0.0),
            (0.0, 0.0, 374.0),
        ),
        # the diagonal of the 240 x 240 x 155 mm volume, sqrt(2 * 240^2 + 155^2) = 373.13
        Empty(
            "brats2020",
            "the portals until BraTS 2022: as BraTS 2023, but HD95 373.13 mm where one is empty",
            (1.0, 1.0, 0.0),
            (0.0, 0.0, 373.13),
        ),
        Empty(
            "ignore",
            "truth and prediction empty: not counted; one of them empty: Dice 0, HD95 not counted; sensitivity is not "
            "counted where the truth is empty",
            (None, None, None),
            (0.0, None, None),
        ),
    )
}


@dataclass(frozen=True)
class Measured:
    """What two masks of one shape have in common, before any convention for empty ones.

    Attributes:
        both: voxels in both.
        predicted: voxels in the prediction.
        truth: voxels in the truth.
        voxels: in all.
        hd95: mm; None where a mask is empty or it was not asked for.
    """

    both: int
    predicted: int
    truth: int
    voxels: int
    hd95: float | None

    def scores(self, empty: Empty) -> dict[str, float | None]:
        """Each of `METRICS` (HD95 where measured): Dice (1945), sensitivity TP / (TP + FN), specificity TN / (TN + FP),
        0 to 1, None where not counted.
        """
        outside = self.voxels - self.truth
        false = self.predicted - self.both
        total = self.predicted + self.truth
        none = total == 0
        at_fault = empty.both if none else empty.one
        return {
            "dice": 2 * self.both / total if total else empty.both[0],
            "sensitivity": self.both / self.truth if self.truth else at_fault[1],
            "specificity": (outside - false) / outside if outside else None,
            "hd95": self.hd95 if self.predicted and self.truth else at_fault[2],
        }


def measure(predicted: Mask, truth: Mask, spacing: Sequence[float], distance: bool = True) -> Measured:
    """Compares two masks of one shape (x, y, z).

    Args:
        predicted: the mask to judge.
        truth: the mask to judge it by.
        spacing: sides of a voxel in mm, in the order of the axes.
        distance: HD95 too, which takes most of the time.
    """
    window = box(predicted | truth)
    inner, outer = predicted[window], truth[window]
    sizes = int(inner.sum()), int(outer.sum())
    far = hausdorff(inner, outer, spacing) if distance and all(sizes) else None
    return Measured(int((inner & outer).sum()), *sizes, predicted.size, far)


def dice(predicted: Mask, truth: Mask) -> float:
    """Dice (1945) of two masks of any one shape, 0 to 1: twice the overlap over the sum of sizes. Both empty: 1; one
    empty: 0.
    """
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def hausdorff(predicted: Mask, truth: Mask, spacing: Sequence[float], percentile: float = PERCENTILE) -> float:
    """Distance in mm between the surfaces of two masks that are not empty: the larger one of two percentiles, that of
    the distances from each surface voxel of one mask to the nearest of the other, and the reverse; between two order
    statistics it is interpolated linearly. With percentile 100 this is the Hausdorff distance of the surfaces.

    The definition is that of Maier-Hein et al., Metrics reloaded (Nature Methods 21, 2024) and of MONAI. Others pool
    both sets of distances before the percentile, or weigh each by its piece of surface (the BraTS portal): their values
    differ by fractions of a voxel.

    Args:
        predicted: (x, y, z), or any other number of axes.
        truth: of the same shape.
        spacing: sides of a voxel in mm, in the order of the axes.
        percentile: 0 to 100.
    """
    from scipy import ndimage

    window = box(predicted | truth)
    one, other = surface(predicted[window]), surface(truth[window])
    sides = tuple(float(side) for side in spacing)
    there = ndimage.distance_transform_edt(~other, sampling=sides)[one]
    back = ndimage.distance_transform_edt(~one, sampling=sides)[other]
    return float(max(np.percentile(there, percentile), np.percentile(back, percentile)))


def surface(mask: Mask) -> Mask:
    """Voxels of the mask with a face to the outside, which begins at the volume's edge."""
    from scipy import ndimage

    inside: Mask = mask & ~ndimage.binary_erosion(mask)
    return inside


def box(mask: Mask, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box around a mask, wider by a margin where the volume goes on; empty for an empty mask."""
    slices = []
    for axis in range(mask.ndim):
        places = np.flatnonzero(mask.any(axis=tuple(set(range(mask.ndim)) - {axis})))
        slices.append(slice(max(int(places[0]) - margin, 0), int(places[-1]) + 1 + margin) if places.size else slice(0))
    return tuple(slices)


# Over patients

Rows = Mapping[str, Mapping[str, float | None]]  # patient -> column -> score


def summarise(rows: Rows, resamples: int = RESAMPLES) -> dict[str, dict[str, float | int | None]]:
    """Mean over the patients of each column, with its 95% bootstrap interval (percentile; Efron 1979) and the number
    of patients that count; None where none does, and no interval for fewer than two.

    The patients are drawn once for all columns, so that intervals of regions and metrics belong together.
    """
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    values = np.array([[_number(row.get(name)) for name in columns] for row in rows.values()], np.float64)
    values = values.reshape(len(rows), len(columns))
    counted = np.isfinite(values)
    low, high = _interval(values, resamples)
    table: dict[str, dict[str, float | int | None]] = {}
    for index, name in enumerate(columns):
        n = int(counted[:, index].sum())
        mean = float(values[counted[:, index], index].mean()) if n else None
        ends = (float(low[index]), float(high[index])) if n > 1 else (None, None)
        table[name] = {"mean": _rounded(mean), "low": _rounded(ends[0]), "high": _rounded(ends[1]), "n": n}
    return table


def paired(rows: Rows, others: Rows, resamples: int = RESAMPLES) -> dict[str, dict[str, float | int | None]]:
    """As `summarise`, of the differences `rows` minus `others` of the patients and columns that both have: far sharper
    than two intervals side by side, because a hard patient is hard for both.
    """
    differences: dict[str, dict[str, float | None]] = {}
    for patient in [name for name in rows if name in others]:
        one, other = rows[patient], others[patient]
        differences[patient] = {name: _minus(one[name], other[name]) for name in one if name in other}
    return summarise(differences, resamples)


def over_regions(rows: Rows) -> dict[str, float | None]:
    """Each patient's mean over the columns that count."""
    kept = {name: [value for value in row.values() if value is not None] for name, row in rows.items()}
    return {name: _rounded(float(np.mean(values))) if values else None for name, values in kept.items()}


def _interval(values: NDArray[np.float64], resamples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """2.5th and 97.5th percentile of the resampled means of each column of (patients, columns); NaN is not counted."""
    patients, columns = values.shape
    if patients < 2:
        return np.full(columns, np.nan), np.full(columns, np.nan)
    # how often each patient is drawn: (resamples, patients), instead of the drawn values themselves
    draws = np.random.default_rng(SEED).multinomial(patients, np.full(patients, 1 / patients), resamples)
    drawn = draws.astype(np.float64)
    known = np.isfinite(values)
    counts = drawn @ known
    means = np.divide(drawn @ np.where(known, values, 0), counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    ends = np.full((2, columns), np.nan)
    for index in range(columns):
        found = means[np.isfinite(means[:, index]), index]
        if found.size:
            ends[:, index] = np.percentile(found, (2.5, 97.5))
    return ends[0], ends[1]


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
