"""Networks are pure functions here, so that what must come out is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime.exit_codes import BadInput
from unet_segmentation import segment
from unet_segmentation.labels import conventions
from unet_segmentation.prepare import Prepared
from unet_segmentation.segment import Options

BRATS = conventions()["brats2017-2021"]
REGIONS = ["whole", "core", "enhancing"]
WHOLE = {
    "regions": REGIONS,
    "context": 0,
    "dimensions": 2,
    "patch": 8,
    "depth": 1,
    "multiple": 8,
    "whole_slices": True,
}
PATCHES = {**WHOLE, "whole_slices": False}
BLOCKS = {**PATCHES, "dimensions": 3, "depth": 4}
NO_FLIPS = Options(flips=False)
FLOAT16 = 2**-11 * 1.5  # half a step below 1, and the float32 sums before


def patient(images: np.ndarray) -> Prepared:
    """Images (z, x, y, channel) as a patient whose crop is the whole file."""
    depth, width, height = images.shape[:3]
    fields: dict[str, Any] = {
        "name": "p",
        "images": images.astype(np.float16),
        "classes": None,
        "box": ((0, width), (0, height), (0, depth)),
        "shape": (width, height, depth),
        "spacing": (1.0, 1.0, 1.0),
        "places": {},
    }
    return Prepared(**{name: value for name, value in fields.items() if name in Prepared.__dataclass_fields__})


def maps(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """As many channels as regions, values as a sigmoid gives them."""
    return np.random.default_rng(seed).random((*shape, len(REGIONS))).astype(np.float16)


def identity(images: np.ndarray) -> np.ndarray:
    return images[..., : len(REGIONS)]


def places(images: np.ndarray) -> np.ndarray:
    """A network that knows left from right: a ramp along x of what it is shown."""
    ramp = np.linspace(0, 1, images.shape[-3], dtype=np.float32)[:, None, None]
    return np.broadcast_to(ramp, (*images.shape[:-1], len(REGIONS)))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([WHOLE, PATCHES, BLOCKS]),
    st.tuples(st.integers(1, 20), st.integers(1, 21), st.integers(1, 21)),
    st.integers(1, 9),
    st.integers(1, 5),
    st.sampled_from([0, 0.25, 0.5, 0.8]),
    st.booleans(),
)
def test_the_identity_comes_back(
    about: dict[str, Any], shape: tuple[int, int, int], patch: int, depth: int, overlap: float, flips: bool
) -> None:
    """Padding, windows, weights, mirroring and cropping leave each voxel where it was."""
    images = maps(shape)
    about = {**about, "patch": patch, "depth": depth}
    found = segment.probabilities([identity], patient(images), about, Options(flips=flips, overlap=overlap))
    assert found.dtype == np.float16 and found.shape == images.shape
    assert np.abs(found.astype(float) - images).max() < FLOAT16


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(1, 160), st.floats(0, 0.99))
def test_windows_reach_from_end_to_end(size: int, window: int, overlap: float) -> None:
    size = max(size, window)
    found = segment.starts(size, window, overlap)
    assert found[0] == 0 and found[-1] == size - window
    gaps = np.diff(found)
    assert (gaps >= 1).all() and (gaps <= max(np.ceil(window * (1 - overlap)), 1)).all()


@pytest.mark.parametrize("window", [(1,), (2, 3), (128, 128), (128, 128, 128), (4, 160, 192)])
def test_weights_are_never_zero(window: tuple[int, ...]) -> None:
    weights = segment.gaussian(window)
    assert weights.shape == window and weights.dtype == np.float32
    assert weights.min() > np.finfo(np.float32).tiny / np.finfo(np.float32).eps  # products stay normal numbers
    assert weights.max() <= 1 and (weights == weights[tuple(slice(None, None, -1) for _ in window)]).all()


def test_weights_are_those_of_a_gaussian() -> None:
    """A window of 129: sigma is 129 / 8 = 16.125 voxels."""
    weights = segment.gaussian((129,))
    assert weights[64] == 1
    assert weights[64 + 16] / weights[64] == pytest.approx(np.exp(-0.5 * (16 / 16.125) ** 2), rel=1e-6)


def test_overlapping_windows_are_blended_by_their_weights() -> None:
    """Two windows of 8 over 12 voxels; a network that says how often it was called is worth its weight at each."""
    calls = []

    def counting(images: np.ndarray) -> np.ndarray:
        calls.append(images.shape)
        return np.full((*images.shape[:-1], 3), float(len(calls) == 2), np.float32)

    found = segment.probabilities([counting], patient(maps((1, 12, 8))), PATCHES, NO_FLIPS)
    assert calls == [(1, 8, 8, 3)] * 2
    first, second = segment.gaussian((8,)), segment.gaussian((8,))
    wanted = np.concatenate([np.zeros(4), second[:4] / (first[4:] + second[:4]), np.ones(4)])
    assert np.abs(found[0, :, 3, 1] - wanted).max() < 1e-3


def test_a_forward_pass_is_small_and_fits_the_network() -> None:
    for about, wanted in ((WHOLE, (16, 16, 24, 3)), (PATCHES, (16, 8, 8, 3)), (BLOCKS, (2, 4, 8, 8, 3))):
        seen = []

        def forward(images: np.ndarray, seen: list[tuple[int, ...]] = seen) -> np.ndarray:
            seen.append(images.shape)
            assert images.dtype == np.float32
            return identity(images)

        segment.probabilities([forward], patient(maps((19, 15, 20))), about, NO_FLIPS)
        assert max(seen) == wanted
        assert all(shape[1:] == wanted[1:] and shape[0] <= wanted[0] for shape in seen)


@pytest.mark.parametrize("about", [WHOLE, PATCHES, BLOCKS], ids=["slices", "patches", "blocks"])
def test_flips_mirror_left_and_right_and_are_undone(about: dict[str, Any]) -> None:
    """The ramp and its mirror image: 0.5 everywhere. Along z and y nothing is mirrored: the identity of another axis
    stays.
    """
    shape = (4, 8, 8)
    found = segment.probabilities([places], patient(maps(shape)), about, Options())
    assert np.allclose(found, 0.5, atol=1e-3)
    alone = segment.probabilities([places], patient(maps(shape)), about, NO_FLIPS)
    assert np.allclose(alone[0, :, 0, 0], np.linspace(0, 1, 8), atol=1e-3)

    def along_y(images: np.ndarray) -> np.ndarray:
        return np.swapaxes(places(np.swapaxes(images, -2, -3)), -2, -3)

    still = segment.probabilities([along_y], patient(maps(shape)), about, Options())
    assert np.allclose(still[0, 0, :, 0], np.linspace(0, 1, 8), atol=1e-3)

    # nor is one that never saw a mirror image, alone or beside one that did
    unmirrored = {**about, "config": {"augment": {"flip": False}}}
    found = segment.probabilities([places], patient(maps(shape)), unmirrored, Options())
    assert np.allclose(found, alone, atol=1e-3)
    both = segment.probabilities([places] * 2, patient(maps(shape)), [about, unmirrored], Options())
    assert np.allclose(both, (np.float32(0.5) + alone) / 2, atol=2e-3)


def constant(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: np.full((*images.shape[:-1], 3), value, np.float32)


@pytest.mark.parametrize("about", [WHOLE, PATCHES, BLOCKS], ids=["slices", "patches", "blocks"])
def test_an_ensemble_is_the_mean(about: dict[str, Any]) -> None:
    found = segment.probabilities([constant(0.2), constant(0.9), identity], patient(maps((5, 9, 9))), about, Options())
    assert np.abs(found.astype(float) - (1.1 + maps((5, 9, 9)).astype(float)) / 3).max() < 2 * FLOAT16


def test_an_ensemble_of_models_that_look_in_different_ways() -> None:
    """Two 2-D models and a 3-D one: each counts once."""
    abouts = [WHOLE, BLOCKS, WHOLE]
    found = segment.probabilities(
        [constant(0.3), constant(0.9), constant(0.6)], patient(maps((5, 9, 9))), abouts, Options()
    )
    assert np.allclose(found, 0.6, atol=1e-3)


def test_neighbouring_slices_are_channels_and_zero_beyond_the_ends() -> None:
    images = np.arange(1, 21, dtype=np.float16)[:, None, None, None] * np.array([1, 100], np.float16)
    images = np.broadcast_to(images, (20, 3, 2, 2))
    found = segment.stacked(images, 0, 20, 2)
    assert found.shape == (20, 3, 2, 10) and found.dtype == np.float32
    below = [0, 0, 0, 0, 1, 100, 2, 200, 3, 300]
    assert found[0, 0, 0].tolist() == below and found[19, 2, 1].tolist() == [18, 1800, 19, 1900, 20, 2000, 0, 0, 0, 0]
    assert found[7, 1, 1].tolist() == [6, 600, 7, 700, 8, 800, 9, 900, 10, 1000]


@pytest.mark.parametrize("first", [0, 3, 16])
def test_slabs_have_the_neighbours_of_the_whole(first: int) -> None:
    images = maps((20, 3, 3))
    assert (segment.stacked(images, first, 4, 1) == segment.stacked(images, 0, 20, 1)[first : first + 4]).all()
    assert segment.stacked(images[:1], 0, 1, 3).shape == (1, 3, 3, 21)


def test_context_reaches_the_network() -> None:
    """A network that answers with the slice above: everything moves down by one, and the last slice is empty."""
    images = maps((18, 5, 6))
    about = {**WHOLE, "context": 1}
    found = segment.probabilities([lambda seen: seen[..., 6:9]], patient(images), about, Options())
    assert np.abs(found[:-1].astype(float) - images[1:]).max() < FLOAT16 and not found[-1].any()


def test_thresholds_are_each_region_s_own() -> None:
    values = np.array([[[[0.5, 0.5, 0.45], [0.51, 0.3, 0.39]]]], np.float16)
    found = segment.masks(values, WHOLE, Options(thresholds={"enhancing": 0.4, "core": 0.2}), (1, 1, 1))
    assert found.tolist() == [[[[False, True, True], [True, True, False]]]]


def balls() -> np.ndarray:
    """Regions of probability 1: a core in it, and in the core enhancing spots of 8 and of 2 voxels."""
    values = np.zeros((12, 12, 12, 3), np.float16)
    values[1:9, 1:9, 1:9, 0] = 1
    values[2:8, 2:8, 2:8, 1] = 1
    values[2:4, 2:4, 2:4, 2] = 1
    values[6, 6, 6:8, 2] = 1
    return values


def test_small_components_fall_back_to_the_region_around_them() -> None:
    spacing = (0.5, 1.0, 4.0)  # a voxel is 2 mm3: the spots have 16 and 4 mm3
    for smallest, left in ((0, 10), (4, 10), (4.01, 8), (16, 8), (16.1, 0)):
        found = segment.masks(balls(), WHOLE, Options(smallest_mm3=smallest), spacing)
        assert found[..., 2].sum() == left
        assert found[..., 1].sum() == 6**3 and found[..., 0].sum() == 8**3
        labels = BRATS.painted(found, REGIONS)
        assert (labels == 4).sum() == left and (labels == 1).sum() == 6**3 - left
        assert labels[0, 0, 0] == 0 and (labels == 2).sum() == 8**3 - 6**3


def test_corners_connect() -> None:
    values = np.zeros((4, 4, 4, 3), np.float16)
    values[0, 0, 0] = values[1, 1, 1] = values[2, 2, 2] = 1
    assert segment.masks(values, WHOLE, Options(smallest_mm3=3), (1, 1, 1)).sum() == 9
    values[1, 1, 1] = 0
    assert not segment.masks(values, WHOLE, Options(smallest_mm3=3), (1, 1, 1)).any()
    assert not segment.masks(values * 0, WHOLE, Options(smallest_mm3=3), (1, 1, 1)).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Options(thresholds={"core": 1}), "--threshold: core=1; between 0 and 1; --threshold core=0.5"),
        (lambda: Options(thresholds={"core": float("nan")}), "--threshold: core=nan; between 0 and 1"),
        (lambda: Options(smallest_mm3=-1), "--smallest: -1; mm3, 0 or more; --smallest 50"),
        (lambda: Options(smallest_mm3=float("inf")), "--smallest: inf; mm3"),
        (lambda: Options(overlap=1), "--overlap: 1; 0 or more, below 1; --overlap 0.5"),
        (lambda: Options(overlap=float("nan")), "--overlap: nan"),
        (lambda: segment.thresholds(["core"]), "--threshold: 'core'; REGION=PROBABILITY; --threshold enhancing=0.4"),
        (lambda: segment.thresholds(["core=high"]), "--threshold: 'core=high'; REGION=PROBABILITY"),
        (
            lambda: Options(thresholds={"tumor": 0.4}).require(REGIONS),
            "--threshold: tumor; a region of the model: whole, core, enhancing; --threshold whole=0.5",
        ),
    ],
)
def test_options_out_of_range(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_thresholds_are_read() -> None:
    assert segment.thresholds(["core=0.4", "enhancing=.3"]) == {"core": 0.4, "enhancing": 0.3}
