"""From a patient's volumes to what the network sees: z-scored inside the brain, cropped to it, 16-bit.

A prepared image is (z, x, y, channel) float16, a slice after the other; the background is exactly 0, the mean of the
brain. Nothing here touches a disk: `cache` keeps what is made here.

Volumes lie in memory as in their files, x fastest. Their transposes (z, y, x) are contiguous, and only those are
worked on: the same sums along the other axes take five times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_segmentation import fingerprint
from unet_segmentation.labels import Convention
from unet_segmentation.volumes import Volume

MASK_THRESHOLD = 0.5  # masks are stored as 0 and 0.99999997, or as 0 and 255
CLIPPED = (
    10.0  # standard deviations: beyond lie single bright voxels (vessels, artefacts), which the network need not see
)
SMALLEST_STD = 1e-6  # of an image's own unit: below, it has no contrast to scale
PLACES = 10_000  # of each class, enough to draw from for a whole training; a tumour has about 100,000 voxels
PLACES_SEED = 0  # the same patient gives the same places on every machine

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """One patient, ready for the network. The arrays may be memory-mapped: read-only, and read where they are touched.

    Attributes:
        name: of the patient.
        images: (z, x, y, channel) float16, z-scored, 0 outside the brain.
        classes: (z, x, y) uint8 class indices, or None where there is no truth.
        box: the brain's bounding box in the file's voxels, a (start, stop) per axis x, y, z.
        shape: of the file, (x, y, z).
        spacing: of the voxels in mm, (x, y, z).
        places: for each class above 0 that occurs, where: (n, 3) uint16 of (z, x, y) in the arrays above, sorted, at
            most PLACES of them, drawn evenly.
        intensities: of each channel, the grey values inside the brain before the z-score, as from
            `fingerprint.intensities`; empty where nobody asked.
    """

    name: str
    images: NDArray[np.float16]
    classes: NDArray[np.uint8] | None
    box: Box
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    places: Mapping[int, NDArray[np.uint16]] = field(default_factory=dict)
    intensities: tuple[Mapping[str, Any], ...] = ()


def brain(images: Sequence[Volume], mask: Volume | None) -> NDArray[np.bool_]:
    """Where the brain is, (x, y, z): the mask file if there is one, else every voxel that is not background in all
    images.

    The background of a skull-stripped image is a constant but not always 0 (the BRATS 2015 sample has about -3): it
    is taken as the value most frequent on the six faces of the volume.
    """
    if mask is not None:
        return mask.values > MASK_THRESHOLD
    found: NDArray[np.bool_] = images[0].values != background(images[0].values)
    for image in images[1:]:
        found |= image.values != background(image.values)
    return found


def background(values: NDArray[np.float32]) -> np.float32:
    """The most frequent value on the six faces of a volume (x, y, z)."""
    ends = (0, -1)
    faces = [face.ravel() for end in ends for face in (values[end], values[:, end], values[:, :, end])]
    flat = np.concatenate(faces)
    corner: np.float32 = flat[0]
    if 2 * np.count_nonzero(flat == corner) > flat.size:  # nearly always, and without sorting
        return corner
    found, counts = np.unique(flat, return_counts=True)
    most: np.float32 = found[np.argmax(counts)]
    return most


def prepare(
    name: str, images: Sequence[Volume], inside: NDArray[np.bool_], truth: Volume | None, convention: Convention
) -> Prepared:
    """Normalises and crops verified volumes.

    Args:
        name: of the patient.
        images: one per channel, all of one shape.
        inside: the brain, (x, y, z), not empty.
        truth: label values of `convention`, or None.
    """
    box = bounding_box(inside)
    within = _cropped(inside, box)
    stacked = np.zeros((*within.shape, len(images)), np.float16)
    intensities = []
    for channel, image in enumerate(images):
        sample = _cropped(image.values, box)[within]
        centred = sample.astype(np.float64)
        mean = float(centred.mean())
        centred -= mean
        scaled = centred.astype(np.float32)  # processors turn float32 into float16, and nothing else
        std = float(np.sqrt(np.square(centred, out=centred).mean()))  # not a dot product: BLAS would start threads
        intensities.append(fingerprint.intensities(sample, mean, std))
        scaled /= np.float32(max(std, SMALLEST_STD))
        np.clip(scaled, -CLIPPED, CLIPPED, out=scaled)
        stacked[..., channel][within] = scaled.astype(np.float16)
    classes = None if truth is None else _classes(_cropped(truth.values, box), convention)
    return Prepared(
        name=name,
        images=stacked,
        classes=classes,
        box=box,
        shape=(inside.shape[0], inside.shape[1], inside.shape[2]),
        spacing=spacing(images[0].affine),
        places={} if classes is None else places(classes),
        intensities=tuple(intensities),
    )


def bounding_box(inside: NDArray[np.bool_]) -> Box:
    """The smallest box that holds every voxel of a mask (x, y, z), which must not be empty."""
    across = inside.T
    flat = np.asarray(across.any(axis=0))  # (y, x)
    extents = (np.flatnonzero(side) for side in (flat.any(axis=0), flat.any(axis=1), across.any(axis=(1, 2))))
    x, y, z = ((int(found[0]), int(found[-1]) + 1) for found in extents)
    return x, y, z


def spacing(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Millimetres from voxel to voxel along x, y, z: the lengths of the affine's columns, to a nanometre (headers hold
    float32).
    """
    x, y, z = (round(float(length), 6) for length in np.linalg.norm(affine[:3, :3], axis=0))
    return x, y, z


def places(classes: NDArray[np.uint8]) -> dict[int, NDArray[np.uint16]]:
    """For each class above 0 in (z, x, y): at most PLACES of its voxels, (n, 3) uint16, sorted."""
    flat = classes.ravel()
    marked = np.flatnonzero(flat != 0)  # ten times as fast as without the comparison
    values = flat[marked]
    chance = np.random.default_rng(PLACES_SEED)
    found = {}
    for value in np.flatnonzero(np.bincount(values, minlength=1)).tolist():
        where = marked[values == value]
        if where.size > PLACES:
            where = np.sort(chance.choice(where, PLACES, replace=False, shuffle=False))
        found[value] = np.stack(np.unravel_index(where, classes.shape), axis=-1).astype(np.uint16)
    return found


def restore(classes: NDArray[np.uint8], prepared: Prepared) -> NDArray[np.uint8]:
    """Classes (z, x, y) of the cropped volume back in the file's (x, y, z)."""
    whole = np.zeros(prepared.shape, np.uint8)
    whole[tuple(slice(start, stop) for start, stop in prepared.box)] = classes.transpose(1, 2, 0)
    return whole


def _cropped(values: NDArray[Any], box: Box) -> NDArray[Any]:
    """What of a volume (x, y, z) is in the box, as a copy (z, x, y)."""
    x, y, z = (slice(start, stop) for start, stop in box)
    return np.ascontiguousarray(values[x, y, z].transpose(2, 0, 1))


def _classes(labels: NDArray[np.float32], convention: Convention) -> NDArray[np.uint8]:
    """Classes of label values (z, x, y); only the few voxels that are not background are looked up."""
    flat = labels.ravel()
    marked = np.flatnonzero(flat != 0)
    classes = np.zeros(labels.shape, np.uint8)
    classes.ravel()[marked] = convention.encode(np.rint(flat[marked]))
    return classes
