"""From a patient's volumes to what the network sees: z-scored inside the brain, cropped to it, 16-bit.

A prepared image is (z, x, y, channel) float16, a slice after the other; the background is exactly 0, the mean of the
brain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_segmentation.labels import Convention
from unet_segmentation.volumes import Volume

MASK_THRESHOLD = 0.5  # masks are stored as 0 and 0.99999997, or as 0 and 255
CLIPPED = (
    10.0  # standard deviations: beyond lie single bright voxels (vessels, artefacts), which float16 would keep too
)


@dataclass(frozen=True)
class Prepared:
    """One patient, ready for the network.

    Attributes:
        name: of the patient.
        images: (z, x, y, channel) float16, z-scored, 0 outside the brain.
        classes: (z, x, y) uint8 class indices, or None where there is no truth.
        box: the brain's bounding box in the file's voxels, a (start, stop) per axis x, y, z.
        shape: of the file, (x, y, z).
    """

    name: str
    images: NDArray[np.float16]
    classes: NDArray[np.uint8] | None
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    shape: tuple[int, int, int]


def brain(images: list[Volume], mask: Volume | None) -> NDArray[np.bool_]:
    """Where the brain is, (x, y, z): the mask file if there is one, else every voxel that is not background in all
    images.

    The background of a skull-stripped image is a constant but not always 0 (the BRATS 2015 sample has about -3): it
    is taken as the value most frequent on the six faces of the volume.
    """
    if mask is not None:
        return mask.values > MASK_THRESHOLD
    found = np.zeros(images[0].values.shape, np.bool_)
    for image in images:
        found |= image.values != background(image.values)
    return found


def background(values: NDArray[np.float32]) -> np.float32:
    """The most frequent value on the six faces of a volume (x, y, z)."""
    faces = [np.take(values, index, axis).ravel() for axis in range(3) for index in (0, -1)]
    found, counts = np.unique(np.concatenate(faces), return_counts=True)
    most: np.float32 = found[np.argmax(counts)]
    return most


def prepare(
    name: str, images: list[Volume], inside: NDArray[np.bool_], truth: Volume | None, convention: Convention
) -> Prepared:
    """Normalises and crops verified volumes.

    Args:
        name: of the patient.
        images: one per channel, all of one shape.
        inside: the brain, (x, y, z), not empty.
        truth: label values of `convention`, or None.
    """
    corners = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple((int(places[0]), int(places[-1]) + 1) for places in corners)
    window = tuple(slice(start, stop) for start, stop in box)
    within = inside[window]
    stacked = np.empty((within.shape[2], within.shape[0], within.shape[1], len(images)), np.float16)
    for channel, image in enumerate(images):
        values = image.values[window]
        sample = values[within].astype(np.float64)
        scaled = np.clip((values - sample.mean()) / max(float(sample.std()), 1e-6), -CLIPPED, CLIPPED)
        stacked[..., channel] = np.where(within, scaled, 0).transpose(2, 0, 1)
    classes = None
    if truth is not None:
        classes = np.ascontiguousarray(convention.encode(np.rint(truth.values[window])).transpose(2, 0, 1))
    return Prepared(name, stacked, classes, box, inside.shape)  # type: ignore[arg-type]


def restore(classes: NDArray[np.uint8], prepared: Prepared) -> NDArray[np.uint8]:
    """Classes (z, x, y) of the cropped volume back in the file's (x, y, z)."""
    whole = np.zeros(prepared.shape, np.uint8)
    whole[tuple(slice(start, stop) for start, stop in prepared.box)] = classes.transpose(1, 2, 0)
    return whole
