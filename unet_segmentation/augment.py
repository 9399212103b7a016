"""Random variations of one axial slice: one affine resampling (crop, rotation, zoom, shift, mirror) and intensity
changes.

Everything random comes from the generator that is handed in, in a fixed order, so that a generator seeded with (seed,
step) gives the same images after a restart. Ranges follow Dong et al. 2017 (rotation 20 degrees, shift 10 %, zoom 10
%, gamma 0.8 to 1.2) and nnU-Net 2.8 (mirror, scaling, contrast, gamma 0.7 to 1.5, noise); defaults are those that did
best on patients never trained on.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unet_segmentation.config import AugmentConfig


def augment(
    rng: np.random.Generator,
    image: NDArray[np.float16],
    classes: NDArray[np.uint8],
    centre: tuple[float, float],
    patch: int,
    config: AugmentConfig,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A varied patch of a slice.

    Args:
        rng: source of everything random.
        image: (x, y, channel), z-scored in the brain, 0 outside.
        classes: (x, y) class indices.
        centre: pixel (x, y) in the middle of the patch, before the random shift.
        patch: side of the result in pixels.
        config: ranges.

    Returns:
        image (patch, patch, channel) float32, linearly interpolated, and classes (patch, patch), nearest neighbour; 0
        beyond the slice.
    """
    matrix, offset = _affine(rng, centre, patch, config)
    geometry = {"matrix": matrix, "offset": offset, "output_shape": (patch, patch), "mode": "constant", "cval": 0.0}
    varied = np.empty((patch, patch, image.shape[2]), np.float32)
    for channel in range(image.shape[2]):
        ndimage.affine_transform(
            image[..., channel].astype(np.float32), order=1, output=varied[..., channel], **geometry
        )
    target = ndimage.affine_transform(classes, order=0, **geometry)
    inside = (varied != 0).any(axis=2)
    for channel in range(image.shape[2]):
        _vary_intensity(rng, varied[..., channel], inside, config)
    return varied, target


def _affine(
    rng: np.random.Generator, centre: tuple[float, float], patch: int, config: AugmentConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Maps pixels of the patch to pixels of the slice: `slice = matrix @ patch + offset`."""
    angle = math.radians(rng.uniform(-config.rotation, config.rotation))
    zoom = math.exp(rng.uniform(-1, 1) * math.log1p(config.zoom))
    shift = rng.uniform(-config.shift, config.shift, 2) * patch
    mirror = -1.0 if config.flip and rng.random() < 0.5 else 1.0
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = rotation @ np.diag([mirror, 1.0]) / zoom
    offset = np.asarray(centre) + shift - matrix @ np.full(2, (patch - 1) / 2)
    return matrix, offset


def _vary_intensity(
    rng: np.random.Generator, channel: NDArray[np.float32], inside: NDArray[np.bool_], config: AugmentConfig
) -> None:
    """Gamma, contrast, brightness and noise of one modality (x, y), in place, inside the brain only: the background
    stays 0.
    """
    exponent = math.exp(rng.uniform(-1, 1) * math.log1p(config.gamma))
    contrast = 1 + rng.uniform(-config.scale, config.scale)
    brightness = rng.uniform(-config.offset, config.offset)
    sigma = rng.uniform(0, config.noise)
    values = channel[inside]
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if high > low:
        values = ((values - low) / (high - low)) ** np.float32(exponent) * (high - low) + low
    values = values * np.float32(contrast) + np.float32(brightness)
    if sigma:
        values += rng.standard_normal(values.size, np.float32) * np.float32(sigma)
    channel[inside] = values
