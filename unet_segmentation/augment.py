"""Random variations of training images, on the device that trains: one resampling (crop, rotation, zoom, shear, shift,
mirror, elastic) and intensity changes.

What is random is drawn on the host by `draw`, a few numbers an image, from a generator seeded with (seed, step);
`vary` is a pure function of these numbers and the images, in `keras.ops`, compiled into the training step. So a
restarted run sees the images it would have seen, and a batch may be split over devices.

Ranges follow Dong et al. 2017 (rotation 20 degrees, shift 10 %, shear 20 %, zoom 10 %, gamma 0.8 to 1.2, elastic) and
nnU-Net 2.8 (mirror, scaling, contrast, gamma 0.7 to 1.5, noise); defaults are those that did best on patients never
trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_segmentation.config import AugmentConfig

NOISE_BANK = 1 << 18  # normal numbers that noise is cut from, at a random place: far cheaper than new ones

Draw = dict[str, NDArray[Any]]


def draw(
    rng: np.random.Generator, centre: tuple[float, float], patch: int, channels: int, config: AugmentConfig
) -> Draw:
    """Everything random about one image.

    Args:
        rng: source of everything random; always the same number of calls for one configuration.
        centre: pixel (x, y) of the slice in the middle of the patch, before the random shift.
        patch: side of the result in pixels.
        channels: number of modalities.
        config: ranges.

    Returns:
        matrix: (2, 3) float32, from pixels of the patch to pixels of the slice: `matrix @ (x, y, 1)`.
        intensity: (4, channels) float32: exponent, contrast (0 where the modality is dropped), brightness, sigma.
        noise: () int32, place in the noise bank.
        elastic: (g, g, 2) float32 displacements at control points in pixels; only where asked for.
    """
    angle = math.radians(rng.uniform(-config.rotation, config.rotation))
    zoom = math.exp(rng.uniform(-1, 1) * math.log1p(config.zoom))
    shear = rng.uniform(-config.shear, config.shear)
    shift = rng.uniform(-config.shift, config.shift, 2) * patch
    mirror = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    mirror = np.where((config.flip, config.flip_vertical), mirror, 1.0)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = rotation @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(mirror) / zoom
    offset = np.asarray(centre) + shift - matrix @ np.full(2, (patch - 1) / 2)
    exponent = np.exp(rng.uniform(-1, 1, channels) * math.log1p(config.gamma))
    contrast = 1 + rng.uniform(-config.scale, config.scale, channels)
    brightness = rng.uniform(-config.offset, config.offset, channels)
    sigma = rng.uniform(0, config.noise, channels)
    kept = np.ones(channels)
    if rng.random() < config.drop_modality and channels > 1:
        kept[rng.integers(channels)] = 0
    drawn: Draw = {
        "matrix": np.column_stack([matrix, offset]).astype(np.float32),
        "intensity": np.stack([exponent, contrast * kept, brightness * kept, sigma * kept]).astype(np.float32),
        "noise": np.int32(rng.integers(NOISE_BANK)),  # type: ignore[dict-item]
    }
    if config.elastic:
        points = control_points(patch, config)
        drawn["elastic"] = (rng.standard_normal((points, points, 2)) * config.elastic).astype(np.float32)
    return drawn


def control_points(patch: int, config: AugmentConfig) -> int:
    """Along each side: one every `elastic_scale` pixels or so, two at least."""
    return max(2, round(patch / config.elastic_scale))


def vary(batch: Mapping[str, Any], patch: int, channels: int) -> tuple[Any, Any]:
    """Varied patches and their classes.

    Args:
        batch: images (batch, x, y, slices * channels) float16, z-scored in the brain and 0 outside, and classes
            (batch, x, y, n) uint8, both with a frame of zeros one pixel wide; and the stacked numbers of `draw`.
        patch: side of the result in pixels.
        channels: number of modalities.

    Returns:
        images (batch, patch, patch, slices * channels) float32, linearly interpolated; classes
        (batch, patch, patch, n) uint8, nearest neighbour; 0 beyond the slice.
    """
    from keras import ops

    pixels = ops.arange(patch * patch)
    x, y = ops.cast(pixels // patch, "float32"), ops.cast(pixels % patch, "float32")
    matrix = batch["matrix"]
    places = [matrix[:, axis, :1] * x + matrix[:, axis, 1:2] * y + matrix[:, axis, 2:] for axis in (0, 1)]
    if "elastic" in batch:
        field = ops.image.resize(batch["elastic"], (patch, patch), interpolation="bicubic", data_format="channels_last")
        places = [place + ops.reshape(field[..., axis], (-1, patch * patch)) for axis, place in enumerate(places)]
    size, width, height, planes = ops.shape(batch["images"])
    # beyond the slice is on its frame, which is 0
    x, y = ops.clip(places[0] + 1, 0, width - 1), ops.clip(places[1] + 1, 0, height - 1)
    images = _linear(ops.cast(batch["images"], "float32"), x, y)
    # from here each plane's pixels in one row: what is the same for a plane is then cheap to apply
    images = ops.reshape(images, (size, planes // channels, channels, patch * patch))
    images = _vary_intensity(images, batch["intensity"], batch["noise"])
    images = ops.transpose(ops.reshape(images, (size, planes, patch, patch)), (0, 2, 3, 1))
    classes = _take(batch["classes"], ops.floor(x + 0.5), ops.floor(y + 0.5))
    return images, ops.reshape(classes, (size, patch, patch, -1))


def _linear(images: Any, x: Any, y: Any) -> Any:
    """images (batch, x, y, n) at places (batch, pixels) inside: (batch, n, pixels)."""
    from keras import ops

    width, height, count = ops.shape(images)[1:]
    left, low = ops.minimum(ops.floor(x), width - 2), ops.minimum(ops.floor(y), height - 2)
    # two pixels that lie side by side are one row: taking rows is what costs
    pairs = ops.concatenate([images[:, :, :-1], images[:, :, 1:]], axis=-1)
    first, second = (ops.transpose(_take(pairs, column, low), (0, 2, 1)) for column in (left, left + 1))
    share_x, share_y = (x - left)[:, None], (y - low)[:, None]
    rows = first + (second - first) * share_x
    return rows[:, :count] + (rows[:, count:] - rows[:, :count]) * share_y


def _take(images: Any, x: Any, y: Any) -> Any:
    """images (batch, x, y, n) at whole places (batch, pixels): (batch, pixels, n)."""
    from keras import ops

    size, width, height, count = ops.shape(images)
    first = ops.arange(size, dtype="int32")[:, None] * (width * height)
    rows = first + ops.cast(x, "int32") * height + ops.cast(y, "int32")
    return ops.take(ops.reshape(images, (size * width * height, count)), rows, axis=0)


def _vary_intensity(images: Any, intensity: Any, noise: Any) -> Any:
    """Gamma, contrast, brightness and noise of each modality, inside the brain only: the background stays 0.

    images (batch, slice, channel, pixels), intensity and noise as of `draw`, stacked.
    """
    from keras import ops

    size, slices, channels, pixels = ops.shape(images)
    inside = ops.any(images != 0, axis=2, keepdims=True)
    exponent, contrast, brightness, sigma = (intensity[:, row, None, :, None] for row in range(4))
    far = 1e4  # beyond any value: images are clipped at 10 standard deviations
    low = ops.min(ops.where(inside, images, far), axis=(1, 3), keepdims=True)
    high = ops.max(ops.where(inside, images, -far), axis=(1, 3), keepdims=True)
    span = ops.maximum(high - low, 1e-6)
    share = ops.clip((images - low) / span, 1e-6, 1.0)
    varied = ops.exp(ops.log(share) * exponent) * (span * contrast) + (low * contrast + brightness)
    # each modality its own stretch of the bank
    first = noise[:, None] + ops.arange(channels, dtype="int32") * (NOISE_BANK // channels)
    place = (first[:, :, None] + ops.arange(slices * pixels, dtype="int32")) % NOISE_BANK
    cut = ops.take(ops.convert_to_tensor(_noise_bank()), place, axis=0)
    cut = ops.transpose(ops.reshape(cut, (size, channels, slices, pixels)), (0, 2, 1, 3))
    return ops.where(inside, varied + cut * sigma, 0.0)


@cache
def _noise_bank() -> NDArray[np.float32]:
    """Normal numbers, always the same."""
    return np.random.default_rng(0).standard_normal(NOISE_BANK, np.float32)
