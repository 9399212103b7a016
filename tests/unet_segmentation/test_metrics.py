"""Scores against values worked by hand, against SimpleITK and, where it is installed, against MONAI."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from unet_segmentation import metrics
from unet_segmentation.metrics import EMPTY, measure

Mask = NDArray[np.bool_]
MASK = arrays.arrays(np.bool_, (6, 5, 4))
SPACING = st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 3.7])] * 3)
BRATS, OLD, IGNORE = EMPTY["brats2023"], EMPTY["brats2020"], EMPTY["ignore"]


def line(*voxels: int, length: int = 12) -> Mask:
    """A volume of one row along x."""
    mask = np.zeros((length, 1, 1), bool)
    mask[list(voxels)] = True
    return mask


# By hand


def test_overlap_by_hand() -> None:
    # truth 4 voxels, prediction 5, 3 common, 12 in all: Dice 6/9, sensitivity 3/4, specificity (8 - 2)/8
    found = measure(line(2, 3, 4, 8, 9), line(1, 2, 3, 4), (1, 1, 1)).scores(BRATS)
    assert found["dice"] == pytest.approx(6 / 9)
    assert found["sensitivity"] == pytest.approx(3 / 4)
    assert found["specificity"] == pytest.approx(6 / 8)


@pytest.mark.parametrize(
    ("predicted", "truth", "spacing", "wanted"),
    [
        ((0,), (0,), (1, 1, 1), 0),
        ((0,), (5,), (2, 1, 1), 10),  # 5 voxels of 2 mm, and the same back
        # from the prediction 0 and 5 voxels, from the truth 0: the 95th percentile of {0, 10 mm} is 0.95 * 10
        ((0, 5), (0,), (2, 1, 1), 9.5),
        ((0,), (0, 5), (2, 1, 1), 9.5),  # the same the other way round: the larger direction counts
        # from the prediction 1, 0, 0, 0 (voxels 1 to 4 in a row are all surface), from the truth 0, 0, 0, 4:
        # the 95th percentile of {0, 0, 0, 4} lies at place 0.95 * 3 = 2.85: 0.85 * 4
        ((1, 2, 3, 4), (2, 3, 4, 8), (1, 1, 1), 3.4),
    ],
    ids=["same", "apart", "false", "missed", "both"],
)
def test_hd95_by_hand(
    predicted: tuple[int, ...], truth: tuple[int, ...], spacing: tuple[float, float, float], wanted: float
) -> None:
    assert measure(line(*predicted), line(*truth), spacing).hd95 == pytest.approx(wanted)


def test_hd95_of_boxes_by_hand() -> None:
    """A box and the same box 2 voxels higher along z, of 3 mm: the nearest surface of most voxels is 1 to 2 voxels
    away; that of the end faces 6 mm. 5 x 5 x 5: the surface has 98 voxels, 25 of them (a quarter) at the end.
    """
    truth = np.zeros((9, 9, 12), bool)
    truth[2:7, 2:7, 2:7] = True
    assert metrics.surface(truth).sum() == 5**3 - 3**3 == 98
    assert measure(np.roll(truth, 2, axis=2), truth, (1, 1, 3)).hd95 == 6


def test_surface_at_the_edge_of_the_volume() -> None:
    """A mask that fills the volume ends where the volume does."""
    full = np.ones((4, 4, 4), bool)
    assert metrics.surface(full).sum() == 4**3 - 2**3


def test_empty_regions() -> None:
    none, some = line(), line(1, 2)
    both, missed, false = (measure(*masks, (1, 1, 1)) for masks in ((none, none), (none, some), (some, none)))
    assert both.scores(BRATS) == {"dice": 1, "sensitivity": 1, "specificity": 1, "hd95": 0}
    assert missed.scores(BRATS) == {"dice": 0, "sensitivity": 0, "specificity": 1, "hd95": 374}
    assert false.scores(BRATS) == {"dice": 0, "sensitivity": 0, "specificity": 10 / 12, "hd95": 374}
    assert missed.scores(OLD)["hd95"] == false.scores(OLD)["hd95"] == 373.13
    assert both.scores(OLD) == both.scores(BRATS)
    assert both.scores(IGNORE) == {"dice": None, "sensitivity": None, "specificity": 1, "hd95": None}
    assert missed.scores(IGNORE) == {"dice": 0, "sensitivity": 0, "specificity": 1, "hd95": None}
    assert false.scores(IGNORE) == {"dice": 0, "sensitivity": None, "specificity": 10 / 12, "hd95": None}
    assert metrics.dice(none, none) == 1 and metrics.dice(none, some) == metrics.dice(some, none) == 0


def test_the_older_penalty_is_the_diagonal_of_the_volume() -> None:
    assert OLD.one[2] == round(math.hypot(240, 240, 155), 2)


def test_nothing_outside_the_truth() -> None:
    full = np.ones((2, 2, 2), bool)
    assert measure(full, full, (1, 1, 1)).scores(BRATS)["specificity"] is None


def test_distance_only_where_asked() -> None:
    assert measure(line(1), line(4), (1, 1, 1), distance=False).hd95 is None


# Against others


@given(MASK, MASK)
def test_dice_is_symmetric_and_the_harmonic_mean_of_precision_and_recall(one: Mask, other: Mask) -> None:
    value = metrics.dice(one, other)
    assert 0 <= value <= 1 and value == metrics.dice(other, one)
    assert metrics.dice(one, one) == 1
    common = (one & other).sum()
    if common:
        precision, recall = common / one.sum(), common / other.sum()
        assert value == pytest.approx(2 * precision * recall / (precision + recall))


@settings(deadline=None)
@given(MASK, MASK, SPACING)
def test_against_simpleitk(predicted: Mask, truth: Mask, spacing: tuple[float, float, float]) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK (pip install '.[dev]') is the independent implementation")

    def image(mask: Mask, margin: int = 0) -> object:
        made = sitk.GetImageFromArray(np.pad(mask, margin).astype(np.uint8))
        made.SetSpacing(spacing[::-1])  # its axes are z, y, x
        return made

    predicted, truth = predicted.copy(), truth.copy()
    predicted[2, 2, 2] = truth[3, 2, 1] = True  # its measures are not defined for empty masks
    found = measure(predicted, truth, spacing)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(image(predicted), image(truth))
    scores = found.scores(BRATS)
    assert scores["dice"] == pytest.approx(overlap.GetDiceCoefficient())
    assert scores["sensitivity"] == pytest.approx(1 - overlap.GetFalseNegativeError())

    # surfaces: its contour of a mask in a frame of background; and distances from its own distance map
    surfaces = [sitk.BinaryContour(image(mask, 1), fullyConnected=False) for mask in (predicted, truth)]
    masks = [sitk.GetArrayFromImage(one).astype(bool) for one in surfaces]
    assert (masks[0][1:-1, 1:-1, 1:-1] == metrics.surface(predicted)).all()
    maps = [
        sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(s, squaredDistance=False, useImageSpacing=True))
        for s in surfaces
    ]
    directed = [np.percentile(np.abs(maps[1 - k][masks[k]]), 95) for k in (0, 1)]
    assert found.hd95 == pytest.approx(max(directed), abs=1e-4)
    # at percentile 100 it is the Hausdorff distance of the surfaces
    whole = sitk.HausdorffDistanceImageFilter()
    whole.Execute(*surfaces)
    assert metrics.hausdorff(predicted, truth, spacing, 100) == pytest.approx(whole.GetHausdorffDistance(), abs=1e-4)


@pytest.mark.slow  # to import
def test_against_monai() -> None:
    reason = "MONAI (pip install '.[bench]') is a second independent implementation"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monai = pytest.importorskip("monai.metrics", reason=reason)
        import torch

        rng = np.random.default_rng(1)
        for number in range(8):
            spacing = tuple(rng.choice([0.5, 1, 2.5], 3).tolist())
            masks = []
            for _ in range(2):
                centre, radius = rng.uniform(8, 14, 3), rng.uniform(3, 8)
                grid = np.stack(np.meshgrid(*[np.arange(22)] * 3, indexing="ij"), -1)
                masks.append(np.linalg.norm(grid - centre, axis=-1) + rng.normal(0, 0.7, grid.shape[:3]) < radius)
            found = measure(*masks, spacing)
            tensors = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in masks]
            dice = monai.compute_dice(*tensors, include_background=True)
            far = monai.compute_hausdorff_distance(
                *tensors, include_background=True, percentile=95, spacing=list(spacing)
            )
            assert found.scores(BRATS)["dice"] == pytest.approx(float(dice), abs=1e-5), number
            assert found.hd95 == pytest.approx(float(far), abs=1e-4), number


# Over patients


def test_means_by_hand() -> None:
    rows = {"a": {"whole": 0.5, "core": 1.0}, "b": {"whole": 1.0, "core": None}, "c": {"whole": 0.9, "core": None}}
    table = metrics.summarise(rows)
    assert (table["whole"]["mean"], table["whole"]["n"]) == (0.8, 3)
    assert table["core"] == {"mean": 1.0, "low": None, "high": None, "n": 1}
    # the interval of three patients ends at means of resamples: all a is drawn 1 in 27 times (3.7 %, above 2.5 %),
    # all b as often
    assert (table["whole"]["low"], table["whole"]["high"]) == (0.5, 1.0)
    assert metrics.summarise({}) == {}
    assert metrics.summarise({"a": {"core": None}}) == {"core": {"mean": None, "low": None, "high": None, "n": 0}}


def test_intervals_cover_the_true_mean() -> None:
    """Of 200 samples of 30 scores about 95 % have the true mean inside; a percentile bootstrap misses a few more."""
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        rows = {str(number): {"x": value} for number, value in enumerate(rng.normal(0.8, 0.1, 30).tolist())}
        cell = metrics.summarise(rows, resamples=500)["x"]
        inside += cell["low"] <= 0.8 <= cell["high"]  # type: ignore[operator]
    assert 0.88 <= inside / 200 <= 0.99


@given(st.dictionaries(st.text("abc", max_size=3), st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=12))
def test_an_interval_is_the_same_each_time_and_holds_the_mean(values: dict[str, float | None]) -> None:
    rows = {name: {"x": value} for name, value in values.items()}
    cell = metrics.summarise(rows)["x"]
    assert cell == metrics.summarise(rows)["x"]
    counted = [value for value in values.values() if value is not None]
    assert cell["n"] == len(counted)
    if len(counted) > 1:
        assert min(counted) - 1e-6 <= cell["low"] <= cell["high"] <= max(counted) + 1e-6  # type: ignore[operator]


def test_paired_differences_are_sharper() -> None:
    hard = np.random.default_rng(2).uniform(0.1, 0.9, 40)
    one = {str(number): {"x": value + 0.01 + 0.001 * (number % 3)} for number, value in enumerate(hard.tolist())}
    other = {str(number): {"x": value, "y": 0.5} for number, value in enumerate(hard.tolist())}
    del other["0"]
    cell = metrics.paired(one, other)["x"]
    assert cell["n"] == 39 and cell["mean"] == pytest.approx(0.011, abs=1e-3)
    assert 0.010 < cell["low"] < cell["high"] < 0.012  # type: ignore[operator]
    apart = metrics.summarise(one)["x"]
    assert apart["high"] - apart["low"] > 0.1  # type: ignore[operator]
    assert metrics.paired({"a": {"x": None}}, {"a": {"x": 1.0}})["x"]["n"] == 0


def test_over_regions() -> None:
    rows = {"a": {"whole": 0.5, "core": None}, "b": {"whole": None}, "c": {"whole": 1.0, "core": 0.0}}
    assert metrics.over_regions(rows) == {"a": 0.5, "b": None, "c": 0.5}


def test_box() -> None:
    mask = np.zeros((5, 6), bool)
    assert mask[metrics.box(mask)].size == 0
    mask[1, 2] = mask[4, 2] = True
    assert metrics.box(mask) == (slice(1, 5), slice(2, 3))
    assert mask[metrics.box(mask, 2)].shape == (5, 5)
