from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_segmentation.augment import augment
from unet_segmentation.config import AugmentConfig, TrainConfig
from unet_segmentation.pipeline import Batches
from unet_segmentation.prepare import Prepared

STILL = AugmentConfig(flip=False, rotation=0, shift=0, zoom=0, scale=0, offset=0, gamma=0, noise=0)


def patient(name: str, tumour: bool = True, size: tuple[int, int] = (40, 50)) -> Prepared:
    rng = np.random.default_rng(len(name))
    images = rng.normal(size=(6, *size, 2)).astype(np.float16)
    classes = np.zeros((6, *size), np.uint8)
    if tumour:
        classes[2:4, 10:20, 12:24] = 2
        classes[3, 13:17, 15:20] = 3
    return Prepared(name, images, classes, ((0, size[0]), (0, size[1]), (0, 6)), (*size, 6))


def batches(seed: int = 1, **changes: float) -> Batches:
    train = TrainConfig(seed=seed, batch_size=5, patch=32, **changes)  # type: ignore[arg-type]
    return Batches([patient("a"), patient("bb", tumour=False)], train, AugmentConfig())


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    one, other = batches()[7], batches()[7]
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
    assert (batches()[8][0] != one[0]).any() and (batches(seed=2)[7][0] != one[0]).any()


def test_shapes_and_types() -> None:
    images, classes = batches()[0]
    assert (images.shape, images.dtype) == ((5, 32, 32, 2), np.float32)
    assert (classes.shape, classes.dtype) == ((5, 32, 32), np.int32)


def test_made_ahead_they_come_in_order() -> None:
    made = batches()
    for step, (images, _) in enumerate(made.between(3, 12), 3):
        assert (images == made[step][0]).all()
    assert list(made.between(4, 4)) == []
    assert len(list(made.between(4, 5))) == 1


def test_left_early_nothing_hangs() -> None:
    for _ in batches().between(0, 10**6):
        break


def test_a_fault_in_a_thread_is_raised_where_the_batch_is_wanted() -> None:
    nothing = Prepared("p", np.zeros((1, 8, 8, 1), np.float16), None, ((0, 8), (0, 8), (0, 1)), (8, 8, 1))
    with pytest.raises(ValueError, match="p: no truth"):
        next(Batches([nothing], TrainConfig(), AugmentConfig()).between(0, 1))


def test_foreground_is_oversampled_and_patients_are_even() -> None:
    made = Batches(
        [patient("a"), patient("bb", tumour=False)], TrainConfig(batch_size=400, patch=32, foreground=1.0), STILL
    )
    shares = (made[0][1] > 0).any(axis=(1, 2)).mean()
    assert 0.4 < shares < 0.6  # patient a always, patient bb never
    plain = Batches([patient("a")], TrainConfig(batch_size=400, patch=32, foreground=0.0), STILL)
    assert 0.15 < (plain[0][1] > 0).any(axis=(1, 2)).mean() < 0.5  # two slices of six


def test_patients_of_a_batch_are_named() -> None:
    assert batches().patients_of(0) == ["a", "bb"]
    assert batches().slices == 12


def test_no_variation_is_a_plain_crop() -> None:
    source = patient("a")
    assert source.classes is not None
    image, classes = augment(np.random.default_rng(1), source.images[3], source.classes[3], (19.5, 24.5), 32, STILL)
    assert np.allclose(image, source.images[3, 4:36, 9:41].astype(np.float32), atol=1e-3)
    assert (classes == source.classes[3, 4:36, 9:41]).all()


def test_a_mirror_moves_image_and_labels_together() -> None:
    source = patient("a")
    assert source.classes is not None
    mirror = AugmentConfig(flip=True, rotation=0, shift=0, zoom=0, scale=0, offset=0, gamma=0, noise=0)
    seen = set()
    for seed in range(8):
        image, classes = augment(
            np.random.default_rng(seed), source.images[3], source.classes[3], (19.5, 24.5), 32, mirror
        )
        plain = (classes == source.classes[3, 4:36, 9:41]).all()
        crop = source.images[3, 4:36, 9:41].astype(np.float32)
        assert np.allclose(image, crop if plain else crop[::-1], atol=1e-3)
        assert plain or (classes == source.classes[3, 4:36, 9:41][::-1]).all()
        seen.add(bool(plain))
    assert seen == {True, False}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(16, 70))
def test_labels_stay_labels_and_the_background_stays_zero(seed: int, patch: int) -> None:
    source = patient("a")
    assert source.classes is not None
    image, classes = augment(
        np.random.default_rng(seed), source.images[3], source.classes[3], (20.0, 25.0), patch, AugmentConfig()
    )
    assert set(np.unique(classes)) <= {0, 2, 3}
    assert np.isfinite(image).all()
    empty = np.zeros((40, 50, 2), np.float16)
    assert not augment(np.random.default_rng(seed), empty, source.classes[3], (20.0, 25.0), patch, AugmentConfig())[
        0
    ].any()
