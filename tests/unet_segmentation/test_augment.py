"""The variations on the device, against scipy and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from unet_segmentation import augment, backend
from unet_segmentation.config import AugmentConfig, TrainConfig, load

STILL = AugmentConfig(flip=False, rotation=0, shift=0, zoom=0, scale=0, offset=0, gamma=0, noise=0)
RNG = np.random.default_rng(1)
IMAGE = RNG.normal(size=(40, 50, 2)).astype(np.float16)
CLASSES = np.zeros((40, 50, 1), np.uint8)
CLASSES[10:20, 12:24] = 2
CLASSES[13:17, 15:20] = 3


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    backend.devices(TrainConfig(precision="float32"))


def framed(images: list[Any], classes: list[Any]) -> dict[str, Any]:
    """As `pipeline.Batches` makes them: a pixel of zeros around each slice."""
    frame = ((0, 0), (1, 1), (1, 1), (0, 0))
    return {"images": np.pad(np.stack(images), frame), "classes": np.pad(np.stack(classes), frame)}


def varied(
    config: AugmentConfig, seed: int = 1, patch: int = 32, image: NDArray[np.float16] = IMAGE, **changed: Any
) -> tuple[NDArray[np.float32], NDArray[np.uint8], dict[str, Any]]:
    drawn = {**augment.draw(np.random.default_rng(seed), (19.5, 24.5), patch, 2, config), **changed}
    batch = {**framed([image], [CLASSES]), **{name: value[None] for name, value in drawn.items()}}
    images, classes = augment.vary(batch, patch, 2)
    return np.asarray(images)[0], np.asarray(classes)[0], drawn


def test_no_variation_is_a_plain_crop() -> None:
    image, classes, _ = varied(STILL)
    assert np.allclose(image, IMAGE[4:36, 9:41].astype(np.float32), atol=1e-4)
    assert (classes == CLASSES[4:36, 9:41]).all()


@pytest.mark.parametrize(
    ("flips", "axes"), [({"flip": True}, {(), (0,)}), ({"flip_vertical": True}, {(), (1,)})], ids=["x", "y"]
)
def test_a_mirror_moves_image_and_labels_together(flips: dict[str, bool], axes: set[tuple[int, ...]]) -> None:
    config = AugmentConfig(**{**vars(STILL), **flips})
    seen = set()
    for seed in range(8):
        image, classes, _ = varied(config, seed)
        axis = next(a for a in axes if (classes == np.flip(CLASSES[4:36, 9:41], a)).all())
        assert np.allclose(image, np.flip(IMAGE[4:36, 9:41].astype(np.float32), axis), atol=1e-4)
        seen.add(axis)
    assert seen == axes


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([16, 33, 70]))  # each is compiled
def test_the_resampling_is_scipys(seed: int, patch: int) -> None:
    """Any rotation, zoom, shear, shift and mirror: linear for images, nearest for labels, 0 beyond the slice."""
    config = AugmentConfig(**{**vars(STILL), "flip": True, "rotation": 40, "shift": 0.2, "zoom": 0.3, "shear": 0.2})
    image, classes, drawn = varied(config, seed, patch)
    where: dict[str, Any] = {"matrix": drawn["matrix"][:, :2], "offset": drawn["matrix"][:, 2]}
    for channel in range(2):
        # a frame of zeros: scipy's own border is constant only beyond the outermost pixel's centre, ours fades to 0
        padded = np.pad(IMAGE[..., channel].astype(np.float64), 2)
        wanted = ndimage.affine_transform(
            padded, where["matrix"], where["offset"] + 2, output_shape=(patch, patch), order=1, cval=0.0
        )
        assert np.allclose(image[..., channel], wanted, atol=2e-3)
    wanted = ndimage.affine_transform(
        np.pad(CLASSES[..., 0], 2), where["matrix"], where["offset"] + 2, output_shape=(patch, patch), order=0, cval=0
    )
    assert (classes[..., 0] != wanted).mean() < 0.01  # ties at half a pixel


def test_an_elastic_displacement_has_the_size_asked_for() -> None:
    """Of Dong et al.: standard deviation 4.9 pixels. A ramp as image shows where each pixel came from."""
    config = AugmentConfig(**{**vars(STILL), "elastic": 4.0, "elastic_scale": 24.0})
    ramp = np.stack(np.meshgrid(np.arange(40), np.arange(50), indexing="ij"), -1).astype(np.float16)
    still = varied(STILL, image=ramp)[0]
    moved = np.stack([varied(config, seed, image=ramp)[0] - still for seed in range(40)])[:, 12:20, 12:20]
    assert 2.0 < moved.std() < 5.0
    assert np.abs(np.diff(moved, axis=1)).max() < 2.0  # smooth


def test_intensities_by_hand() -> None:
    """exponent 2, contrast 3, brightness 0.5 on the first modality; the second is dropped."""
    intensity = np.array([[2, 1], [3, 0], [0.5, 0], [0, 0]], np.float32)
    image, _, _ = varied(STILL, intensity=intensity)
    crop = IMAGE[4:36, 9:41].astype(np.float32)
    inside = (crop != 0).any(-1)
    low, high = crop[..., 0][inside].min(), crop[..., 0][inside].max()
    wanted = (((crop[..., 0] - low) / (high - low)) ** 2 * (high - low) + low) * 3 + 0.5
    assert np.allclose(image[..., 0], np.where(inside, wanted, 0), atol=1e-3)
    assert not image[..., 1].any()


def test_noise_is_normal_and_differs_between_modalities() -> None:
    flat = np.full((40, 50, 2), 1, np.float16)
    intensity = np.array([[1, 1], [0, 0], [1, 1], [0.5, 0.25]], np.float32)
    image, _, _ = varied(STILL, image=flat, intensity=intensity)
    assert image.mean(axis=(0, 1)) == pytest.approx([1, 1], abs=0.06)
    assert image.std(axis=(0, 1)) == pytest.approx([0.5, 0.25], rel=0.1)
    assert abs(np.corrcoef(image[..., 0].ravel(), image[..., 1].ravel())[0, 1]) < 0.1


def test_modalities_are_dropped_as_often_as_asked() -> None:
    config = AugmentConfig(drop_modality=0.5)
    draws = [augment.draw(np.random.default_rng(seed), (20, 20), 32, 2, config)["intensity"] for seed in range(200)]
    dropped = [int((drawn[1] == 0).sum()) for drawn in draws]
    assert 70 < sum(dropped) < 130 and max(dropped) == 1
    assert all((drawn[1:, drawn[1] == 0] == 0).all() for drawn in draws)
    alone = augment.draw(np.random.default_rng(1), (20, 20), 32, 1, AugmentConfig(drop_modality=1.0))
    assert alone["intensity"][1].all()  # the only modality is never dropped


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(16, 70))
def test_labels_stay_labels_and_the_background_stays_zero(seed: int, patch: int) -> None:
    config = load("dong2017").augment if seed % 2 else AugmentConfig()
    image, classes, _ = varied(config, seed, patch)
    assert set(np.unique(classes)) <= {0, 2, 3}
    assert np.isfinite(image).all()
    assert not varied(config, seed, patch, image=np.zeros_like(IMAGE))[0].any()


def test_each_image_of_a_batch_is_varied_alone() -> None:
    """Splitting a batch over devices must not change it."""
    draws = [augment.draw(np.random.default_rng(seed), (19.5, 24.5), 32, 2, AugmentConfig()) for seed in range(3)]
    batch = {name: np.stack([drawn[name] for drawn in draws]) for name in draws[0]}
    together = augment.vary({**framed([IMAGE] * 3, [CLASSES] * 3), **batch}, 32, 2)
    for index, drawn in enumerate(draws):
        alone = varied(AugmentConfig(), **drawn)
        assert np.allclose(np.asarray(together[0])[index], alone[0], atol=1e-5)
        assert (np.asarray(together[1])[index] == alone[1]).all()
