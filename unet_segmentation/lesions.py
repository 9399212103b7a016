"""Lesion-wise Dice and HD95 of BraTS 2023: every lesion counts the same, however small.

Rules and numbers as the organisers describe them (https://github.com/rachitsaluja/BraTS-2023-Metrics, @43c9052):

- lesions of the truth are connected components (26 neighbours) of the truth dilated by `dilation` voxels, so that
  crumbs beside a lesion belong to it; their voxels are those of the truth itself;
- a lesion is compared with all components of the prediction that touch its own dilation;
- lesions of the truth of `ignored_mm3` or less are not looked at, and components that touch them are no mistake;
- a missed lesion, and each component that touches no lesion, has Dice 0 and HD95 374 mm;
- a patient's score is the mean over lesions and false components; Dice 1 and HD95 0 where there is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_segmentation import metrics
from unet_segmentation.metrics import Empty, Mask

METRICS = {"lesion_dice": "lesion-wise Dice", "lesion_hd95": "lesion-wise HD95, mm"}
MISSED_MM = 374.0


@dataclass(frozen=True)
class Rules:
    """Of one challenge.

    Attributes:
        dilation: voxels, over 18 neighbours; BraTS has voxels of 1 mm.
        ignored_mm3: the largest lesion of the truth that is not looked at.
    """

    dilation: int = 3
    ignored_mm3: float = 50.0

    @property
    def about(self) -> str:
        """In words, for the reader of a table."""
        return (
            f"BraTS 2023: components of the truth dilated by {self.dilation} voxels (26 neighbours), lesions of "
            f"{self.ignored_mm3:g} mm3 or less not looked at; missed lesions and false components Dice 0, HD95 "
            f"{MISSED_MM:g} mm; mean over them, then over patients"
        )


RULES = {  # glioma stands for Sub-Saharan Africa and paediatric tumours too
    "glioma": Rules(),
    "meningioma": Rules(dilation=1),
    "metastases": Rules(dilation=1, ignored_mm3=2.0),
}


@dataclass(frozen=True)
class Lesions:
    """One region of one patient.

    Attributes:
        dice: of each lesion of the truth that is looked at, 0 to 1; 0 where it is missed.
        hd95: of the same, mm; `MISSED_MM` where it is missed, None if not asked for.
        found: lesions of the truth that a component of the prediction touches.
        missed: lesions that none touches.
        false: components of the prediction that touch no lesion.
        ignored: lesions of the truth too small to be looked at.
    """

    dice: tuple[float, ...]
    hd95: tuple[float, ...] | None
    found: int
    missed: int
    false: int
    ignored: int

    def scores(self, empty: Empty) -> dict[str, float | None]:
        """Each of `METRICS`: means over lesions and false components; what `empty` says for both empty where there is
        neither.
        """
        count = len(self.dice) + self.false
        if not count:
            far = None if self.hd95 is None else empty.both[2]
            return {"lesion_dice": empty.both[0], "lesion_hd95": far}
        far = None if self.hd95 is None else (sum(self.hd95) + MISSED_MM * self.false) / count
        return {"lesion_dice": sum(self.dice) / count, "lesion_hd95": far}


def compare(
    predicted: Mask, truth: Mask, spacing: Sequence[float], rules: Rules = RULES["glioma"], distance: bool = True
) -> Lesions:
    """Compares two masks (x, y, z) lesion by lesion.

    Args:
        predicted: the mask to judge.
        truth: the mask to judge it by.
        spacing: sides of a voxel in mm, in the order of the axes.
        rules: of the challenge.
        distance: HD95 too.
    """
    from scipy import ndimage

    if not predicted.any() and not truth.any():
        return Lesions((), () if distance else None, found=0, missed=0, false=0, ignored=0)
    window = metrics.box(predicted | truth, margin=rules.dilation)
    predicted, truth = predicted[window], truth[window]
    lesions, count = _components(_dilated(truth, rules.dilation))
    lesions[~truth] = 0
    parts, part_count = _components(predicted)
    touched = np.zeros(part_count + 1, np.bool_)
    touched[0] = True  # the background is no component
    volume = float(np.prod(spacing))
    dices: list[float] = []
    distances: list[float] = []
    found = ignored = 0
    for number, place in enumerate(ndimage.find_objects(lesions, count), 1):
        around = _wider(place, rules.dilation, truth.shape)
        lesion = lesions[around] == number
        names = np.unique(parts[around][_dilated(lesion, rules.dilation)])
        names = names[names > 0]
        touched[names] = True
        if int(lesion.sum()) * volume <= rules.ignored_mm3:
            ignored += 1
            continue
        if not names.size:
            dices.append(0.0)
            distances.append(MISSED_MM)
            continue
        found += 1
        matched, whole = np.isin(parts, names), lesions == number
        dices.append(metrics.dice(matched, whole))
        if distance:
            distances.append(metrics.hausdorff(matched, whole, spacing))
    return Lesions(
        dice=tuple(dices),
        hd95=tuple(distances) if distance else None,
        found=found,
        missed=len(dices) - found,
        false=int((~touched).sum()),
        ignored=ignored,
    )


def _components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Numbered connected components, 26 neighbours, and how many there are."""
    from scipy import ndimage

    numbers, count = ndimage.label(mask, np.ones((3, 3, 3), np.bool_))
    return numbers, count


def _dilated(mask: Mask, voxels: int) -> Mask:
    """Wider by so many steps to the 18 neighbours that share a face or an edge."""
    from scipy import ndimage

    if not voxels:
        return mask
    wide: Mask = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2), iterations=voxels)
    return wide


def _wider(place: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, size))
        for side, size in zip(place, shape, strict=True)
    )
