"""From networks to masks: slices or windows of one prepared patient through one network or several, averaged. NumPy
and SciPy only; a network is a function of arrays.

2-D networks see whole axial slices, or patches of them; 3-D networks see blocks. Patches and blocks are taken as a
sliding window whose results are blended with Gaussian weights, as nnU-Net does: Isensee et al., Nature Methods 18
(2021) 203, and its supplementary notes: half a window from one to the next, sigma of 1/8 of the window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from submit.runtime.exit_codes import BadInput
from unet_segmentation.prepare import Prepared

SLICES = 16  # in a forward pass of a 2-D network: memory stays small on any machine
BLOCKS = 2  # the same of a 3-D network: a block of 128 x 128 x 128 is as large as 128 patches of 128 x 128
SIGMA = 1 / 8  # of the window's side
THRESHOLD = 0.5  # of a region's probability

About = Mapping[str, Any]
Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
# what may differ between the models of an ensemble: how they look at the patient
GEOMETRY = ("context", "dimensions", "patch", "depth", "multiple", "whole_slices")


@dataclass(frozen=True)
class Options:
    """How to segment, whatever the model.

    Attributes:
        flips: average with the result for the image mirrored left to right.
        thresholds: region to the probability above which a voxel belongs to it; 0.5 where a region is not named.
        smallest_mm3: connected components (26 neighbours) of a region below this volume in mm3 are removed; 0 keeps
            all.
        overlap: share of a window that the next one covers again, 0 or more and below 1.

    Raises:
        BadInput: a value out of its range.
    """

    flips: bool = True
    thresholds: Mapping[str, float] = field(default_factory=dict)
    smallest_mm3: float = 0
    overlap: float = 0.5

    def __post_init__(self) -> None:
        for region, value in self.thresholds.items():
            if not 0 < value < 1:
                raise BadInput("--threshold", f"{region}={value:g}", "between 0 and 1", f"--threshold {region}=0.5")
        if not (self.smallest_mm3 >= 0 and math.isfinite(self.smallest_mm3)):
            raise BadInput("--smallest", f"{self.smallest_mm3:g}", "mm3, 0 or more", "--smallest 50")
        if not 0 <= self.overlap < 1:
            raise BadInput("--overlap", f"{self.overlap:g}", "0 or more, below 1", "--overlap 0.5")

    def require(self, regions: Sequence[str]) -> None:
        """Refuses thresholds of regions that the model does not have.

        Raises:
            BadInput: there is one.
        """
        for region in self.thresholds:
            if region not in regions:
                raise BadInput(
                    "--threshold",
                    region,
                    f"a region of the model: {', '.join(regions)}",
                    f"--threshold {regions[0]}=0.5",
                )


def thresholds(words: Sequence[str]) -> dict[str, float]:
    """`["enhancing=0.4"]` to `{"enhancing": 0.4}`.

    Raises:
        BadInput: not of that form.
    """
    found = {}
    for word in words:
        region, _, value = word.partition("=")
        try:
            found[region] = float(value)
        except ValueError as fault:
            raise BadInput("--threshold", repr(word), "REGION=PROBABILITY", "--threshold enhancing=0.4") from fault
    return found


def probabilities(
    forwards: Sequence[Forward], prepared: Prepared, about: About | Sequence[About], options: Options
) -> NDArray[np.float16]:
    """Probability of each region, (z, x, y, region), in the cropped space of `prepared`; the mean over networks and
    flips.

    Args:
        forwards: one network or several: images to probabilities, (n, x, y, channel) to (n, x, y, region), in 3-D
            (n, z, x, y, channel) to (n, z, x, y, region).
        prepared: the patient.
        about: the models' description, one for all or one each.
        options: flips and overlap.
    """
    abouts = [about] * len(forwards) if isinstance(about, Mapping) else list(about)
    groups: dict[tuple[Any, ...], list[Forward]] = {}
    looks: dict[tuple[Any, ...], About] = {}
    for forward, one in zip(forwards, abouts, strict=True):
        look = (*(one[key] for key in GEOMETRY), _mirrors(one))
        groups.setdefault(look, []).append(forward)
        looks[look] = one
    if len(groups) == 1:
        return _group(forwards, prepared, abouts[0], options)
    mean = np.zeros((*prepared.images.shape[:3], len(abouts[0]["regions"])), np.float32)
    for look, members in groups.items():
        mean += _group(members, prepared, looks[look], options) * np.float32(len(members) / len(forwards))
    return mean.astype(np.float16)


def masks(
    probabilities: NDArray[np.float16], about: About, options: Options, spacing: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Where each region is, (z, x, y, region): above its threshold, without components that are too small.

    Regions are judged one by one; `Convention.painted` nests them: where enhancing tumour is removed, the tumour core
    around it stays.

    Args:
        probabilities: (z, x, y, region).
        about: names the regions.
        options: thresholds and smallest_mm3.
        spacing: of the voxels in mm.
    """
    found = np.empty(probabilities.shape, np.bool_)
    for index, region in enumerate(about["regions"]):
        inside = probabilities[..., index] > options.thresholds.get(region, THRESHOLD)
        if options.smallest_mm3 > 0:
            parts, _ = ndimage.label(inside, np.ones((3, 3, 3)))
            large = np.bincount(parts.ravel()) * math.prod(spacing) >= options.smallest_mm3
            large[0] = False  # the background
            inside = large[parts]
        found[..., index] = inside
    return found


def stacked(images: NDArray[Any], first: int, count: int, context: int) -> NDArray[np.float32]:
    """Slices `first` ... `first + count - 1` of (z, x, y, modality) with their neighbours as further channels: (count,
    x, y, modality * (2 * context + 1)), the lowest neighbour's modalities first; 0 beyond the volume.
    """
    low, high = first - context, first + count + context
    block = np.zeros((high - low, *images.shape[1:]), np.float32)
    inside = slice(max(low, 0), min(high, len(images)))
    block[inside.start - low : inside.stop - low] = images[inside]
    return np.concatenate([block[shift : shift + count] for shift in range(2 * context + 1)], axis=-1)


def starts(size: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along an axis of `size` voxels, at least one window long: evenly spread, from one end to the
    other, each at most (1 - overlap) of a window after the one before, or one voxel.
    """
    step = max(window * (1 - overlap), 1)
    gaps = math.ceil((size - window) / step)
    return [index * (size - window) // gaps for index in range(gaps + 1)] if gaps else [0]


def gaussian(window: Sequence[int]) -> NDArray[np.float32]:
    """Weights of a window's voxels, greatest (1) in the middle, above 0 everywhere: the network knows least about its
    edges.
    """
    weights = np.ones((), np.float32)
    for side in window:
        away = (np.arange(side) - (side - 1) / 2) / (side * SIGMA)
        weights = weights[..., None] * np.exp(-0.5 * away**2).astype(np.float32)
    return weights


def _group(forwards: Sequence[Forward], prepared: Prepared, about: About, options: Options) -> NDArray[np.float16]:
    """`probabilities` of networks that look at the patient in the same way."""
    flips = options.flips and _mirrors(about)
    if about["dimensions"] == 3:
        return _blocks(_averaged(forwards, 2 if flips else None), prepared.images, about, options)
    return _slices(_averaged(forwards, 1 if flips else None), prepared.images, about, options)


def _mirrors(about: About) -> bool:
    """A network that never saw a mirror image has no second opinion to give."""
    return bool(about.get("config", {}).get("augment", {}).get("flip", True))


def _averaged(forwards: Sequence[Forward], mirrored: int | None) -> Forward:
    """The mean over networks and, where `mirrored` is the axis from left to right, over both orientations: the brain
    is nearly symmetric, so its mirror image is a second opinion.
    """

    def mean(images: NDArray[np.float32]) -> NDArray[np.float32]:
        flipped = None if mirrored is None else np.ascontiguousarray(np.flip(images, mirrored))
        total = np.zeros((), np.float32)
        for forward in forwards:
            total = total + forward(images)
            if flipped is not None and mirrored is not None:
                total += np.flip(forward(flipped), mirrored)
        total /= len(forwards) * (1 if flipped is None else 2)
        return total

    return mean


def _slices(forward: Forward, images: NDArray[np.float16], about: About, options: Options) -> NDArray[np.float16]:
    """A 2-D network over all slices, SLICES at a time; only these are in float32."""
    depth, *sides = images.shape[:3]
    if about["whole_slices"]:
        window = [-(-side // about["multiple"]) * about["multiple"] for side in sides]
    else:
        window = [about["patch"]] * 2
    corners, weights, total = _windows(sides, window, options.overlap)
    result = np.empty((*images.shape[:3], len(about["regions"])), np.float16)
    for first in range(0, depth, SLICES):
        part = stacked(images, first, min(SLICES, depth - first), about["context"])
        summed = np.zeros((len(part), *total.shape, result.shape[-1]), np.float32)
        for x, y in corners:
            place = (slice(None), slice(x, x + window[0]), slice(y, y + window[1]))
            summed[place] += forward(_filled(part[place], (len(part), *window))) * weights[..., None]
        summed /= total[..., None]
        result[first : first + len(part)] = summed[:, : sides[0], : sides[1]]
    return result


def _blocks(forward: Forward, images: NDArray[np.float16], about: About, options: Options) -> NDArray[np.float16]:
    """A 3-D network over all blocks, BLOCKS at a time; what is summed is the size of the patient."""
    sides = images.shape[:3]
    window = (about["depth"], about["patch"], about["patch"])
    corners, weights, total = _windows(sides, window, options.overlap)
    places = [tuple(slice(at, at + side) for at, side in zip(corner, window, strict=True)) for corner in corners]
    summed = np.zeros((*total.shape, len(about["regions"])), np.float32)
    for batch in _batches(places, BLOCKS):
        blocks = np.stack([_filled(images[place], window) for place in batch])
        for place, found in zip(batch, forward(blocks), strict=True):
            summed[place] += found * weights[..., None]
    summed /= total[..., None]
    return summed[tuple(slice(side) for side in sides)].astype(np.float16)


def _windows(
    sides: Sequence[int], window: Sequence[int], overlap: float
) -> tuple[list[tuple[int, ...]], NDArray[np.float32], NDArray[np.float32]]:
    """Corners of all windows, the weights in one, and their sum over all at each voxel of the volume; the volume is as
    large as the window at least.
    """
    size = [max(pair) for pair in zip(sides, window, strict=True)]
    axes = [starts(length, side, overlap) for length, side in zip(size, window, strict=True)]
    corners = list(itertools.product(*axes))
    weights = gaussian(window) if len(corners) > 1 else np.ones(tuple(window), np.float32)
    total = np.zeros(size, np.float32)
    for corner in corners:
        total[tuple(slice(at, at + side) for at, side in zip(corner, window, strict=True))] += weights
    return corners, weights, total


def _filled(part: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float32]:
    """`part` (..., channel) in a float32 array of `shape` with 0, the background, behind its ends."""
    whole = np.zeros((*shape, part.shape[-1]), np.float32)
    whole[tuple(slice(side) for side in part.shape[:-1])] = part
    return whole


def _batches(places: list[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(places), size):
        yield places[first : first + size]
