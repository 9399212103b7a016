"""Whether a tumour's labels look like what their convention says. Doubts, not faults: a real tumour may be an
exception; when most patients of a data set raise the same one, the convention is another.

Enhancing tumour takes up contrast and is bright on T1c, tumour and oedema are bright on FLAIR, and oedema lies around
the core (Menze et al., IEEE TMI 34(10), 2015, section II), so that the core lies deeper in the tumour.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unet_segmentation import prepare
from unet_segmentation.labels import Convention
from unet_segmentation.volumes import Volume

OUTSIDE = 0.01  # share of the tumour outside the brain that a rough brain mask explains
QUESTION = "do the labels mean what"
TUMOUR = ("whole", "core", "enhancing")
COARSE = (slice(None, None, 2),) * 3  # every eighth voxel is enough for the median of the brain


def doubts(
    images: Mapping[str, Volume], inside: NDArray[np.bool_], truth: NDArray[np.float32], convention: Convention
) -> list[str]:
    """What is strange about one patient's labels, a line each.

    Args:
        images: verified volumes by modality; `t1c` and `flair` are looked at.
        inside: the brain, (x, y, z).
        truth: verified label values, (x, y, z), not all of them 0.
        convention: of them; regions called whole, core and enhancing are taken for those of a tumour.
    """
    box = tuple(slice(*ends) for ends in prepare.bounding_box(truth != 0))
    labels = np.rint(truth[box]).astype(np.uint8)
    regions = {name: convention.region(labels, name) for name in convention.regions}
    found = [f"no voxel of region {name}" for name, where in regions.items() if not where.any()]
    outside = float(np.mean(~inside[box][labels > 0]))
    if outside > OUTSIDE:
        found.append(f"{outside:.0%} of the labelled voxels lie outside of the brain")
    whole, core, enhancing = (regions.get(name, np.zeros(labels.shape, np.bool_)) for name in TUMOUR)
    strange = []
    if "flair" in images:
        around = inside[COARSE] & ~_placed(whole, box, inside.shape)[COARSE]
        flair = images["flair"].values
        strange.append(_darker("the tumour", "the brain around it", "flair", flair[box][whole], flair[COARSE][around]))
    if "t1c" in images:
        t1c = images["t1c"].values[box]
        rest = t1c[whole & ~enhancing]
        strange.append(_darker("enhancing tumour", "the rest of the tumour", "t1c", t1c[enhancing], rest))
    if core.any() and (whole & ~core).any():
        labelled = np.pad(labels > 0, 1)  # a resection cavity, which is no tumour, lies in its middle too
        depth = ndimage.distance_transform_cdt(labelled, "chessboard")[1:-1, 1:-1, 1:-1]
        deep, shallow = float(depth[core].mean()), float(depth[whole & ~core].mean())
        if deep < shallow:
            strange.append(f"the core lies {deep:.1f} voxels deep in the tumour, the rest of it {shallow:.1f}")
    return found + [f"{line}; {QUESTION} {convention.name} says?" for line in strange if line]


def _darker(name: str, other: str, modality: str, values: NDArray[np.float32], others: NDArray[np.float32]) -> str:
    """What to say if values that should be brighter are not; else nothing."""
    if not values.size or not others.size:
        return ""
    ours, theirs = float(np.median(values)), float(np.median(others))
    return "" if ours > theirs else f"{name} is not brighter than {other} on {modality} ({ours:.4g}, {theirs:.4g})"


def _placed(part: NDArray[np.bool_], box: tuple[slice, ...], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    whole = np.zeros(shape, np.bool_)
    whole[box] = part
    return whole
