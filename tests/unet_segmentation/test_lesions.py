"""Lesion-wise scores: worked by hand, and against the rules written out once more, slowly, over sets of voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unet_segmentation import lesions, metrics
from unet_segmentation.lesions import RULES, Rules, compare
from unet_segmentation.metrics import EMPTY

Mask = NDArray[np.bool_]
Voxel = tuple[int, ...]
BRATS, IGNORE = EMPTY["brats2023"], EMPTY["ignore"]
MM = (1.0, 1.0, 1.0)


def volume(*cubes: tuple[int, int, int, int], size: int = 40) -> Mask:
    """Cubes (x, y, z of a corner, side) in a volume."""
    mask = np.zeros((size,) * 3, bool)
    for x, y, z, side in cubes:
        mask[x : x + side, y : y + side, z : z + side] = True
    return mask


def test_by_hand() -> None:
    truth = volume((2, 2, 2, 5), (20, 20, 20, 4), (30, 2, 2, 3))  # 125, 64 and 27 mm3
    # the first moved by 1, the second missed, one beside the third, which is too small to count, and a false one
    predicted = volume((3, 2, 2, 5), (34, 2, 2, 2), (30, 30, 30, 2))
    found = compare(predicted, truth, MM)
    assert (found.found, found.missed, found.false, found.ignored) == (1, 1, 1, 1)
    assert found.dice == (2 * 4 * 25 / 250, 0.0)  # 4 of 5 layers of 25 in common
    assert found.hd95 == (1.0, 374.0)
    assert found.scores(BRATS) == pytest.approx({"lesion_dice": 0.8 / 3, "lesion_hd95": (1 + 374 + 374) / 3})
    # metastases: dilation 1 and 2 mm3: the third counts, and what lies 2 voxels beside it touches it no more
    small = compare(predicted, truth, MM, RULES["metastases"])
    assert (small.found, small.missed, small.false, small.ignored) == (1, 2, 2, 0)


@pytest.mark.parametrize(("gap", "count"), [(6, 1), (7, 2)])
def test_crumbs_beside_a_lesion_belong_to_it(gap: int, count: int) -> None:
    """3 voxels from either side meet across a gap of 6, where they touch, and not across 7."""
    truth = volume((2, 10, 10, 5), (7 + gap, 10, 10, 4))
    assert len(compare(truth, truth, MM).dice) == count


def test_corners_join_a_component() -> None:
    truth, predicted = volume((2, 2, 2, 5)), volume((2, 2, 2, 5), (30, 30, 30, 2), (32, 32, 32, 2))
    assert compare(predicted, truth, MM).false == 1


@pytest.mark.parametrize(("beside", "false"), [((3, 3, 0), 0), ((3, 3, 1), 1), ((3, 0, 0), 0), ((4, 0, 0), 1)])
def test_what_touches_a_lesion(beside: Voxel, false: int) -> None:
    """Three steps over faces and edges reach 3 voxels along an axis and 6 over all of them."""
    truth = volume((10, 10, 10, 5))
    predicted = np.zeros_like(truth)
    predicted[tuple(14 + step for step in beside)] = True
    assert compare(predicted, truth, MM).false == false


def test_one_component_over_two_lesions() -> None:
    """It is compared with each of them whole: Dice 2 * 125 / (125 + 500) twice."""
    truth = volume((2, 10, 10, 5), (17, 10, 10, 5))
    predicted = np.zeros_like(truth)
    predicted[2:22, 10:15, 10:15] = True
    found = compare(predicted, truth, MM)
    assert found.dice == (250 / 625, 250 / 625) and found.false == 0


def test_voxels_have_a_volume() -> None:
    truth = volume((10, 10, 10, 3))  # 27 voxels
    assert compare(truth, truth, MM).ignored == 1
    assert compare(truth, truth, (1, 1, 2)).ignored == 0
    assert compare(truth, truth, (1, 1, 50 / 27)).ignored == 1  # 50 mm3 exactly


def test_empty() -> None:
    none, some, small = volume(), volume((2, 2, 2, 5)), volume((2, 2, 2, 2))
    assert compare(none, none, MM).scores(BRATS) == {"lesion_dice": 1, "lesion_hd95": 0}
    assert compare(none, none, MM).scores(IGNORE) == {"lesion_dice": None, "lesion_hd95": None}
    assert compare(none, some, MM).scores(BRATS) == {"lesion_dice": 0, "lesion_hd95": 374}
    assert compare(some, none, MM).scores(IGNORE) == {"lesion_dice": 0, "lesion_hd95": 374}
    assert compare(small, small, MM).scores(BRATS) == {"lesion_dice": 1, "lesion_hd95": 0}  # nothing to look at
    assert compare(none, none, MM, distance=False).scores(BRATS) == {"lesion_dice": 1, "lesion_hd95": None}
    assert compare(some, some, MM, distance=False).scores(BRATS) == {"lesion_dice": 1, "lesion_hd95": None}


def around(voxel: Voxel, reach: int, edges: int) -> set[Voxel]:
    """Voxels at most `reach` away along each axis and `edges` over all axes."""
    steps = itertools.product(range(-reach, reach + 1), repeat=3)
    return {tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in steps if sum(map(abs, step)) <= edges}


def components(voxels: set[Voxel]) -> list[set[Voxel]]:
    left, found = set(voxels), []
    while left:
        grown = todo = {left.pop()}
        while todo:
            todo = set().union(*(around(voxel, 1, 3) for voxel in todo)) & left
            left -= todo
            grown = grown | todo
        found.append(grown)
    return found


def wide(voxels: set[Voxel], rules: Rules) -> set[Voxel]:
    """n steps to 18 neighbours reach n along an axis and 2n over all of them."""
    return set().union(*(around(voxel, rules.dilation, 2 * rules.dilation) for voxel in voxels))


VOXELS = st.sets(st.tuples(st.integers(0, 8), st.integers(0, 6), st.integers(0, 4)), max_size=24)


def mask_of(voxels: set[Voxel]) -> Mask:
    mask = np.zeros((9, 7, 5), bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


@settings(deadline=None)
@given(VOXELS, VOXELS)
def test_against_the_rules_over_sets(here: set[Voxel], there: set[Voxel]) -> None:
    rules = Rules(dilation=1, ignored_mm3=1)
    parts = components(here)
    touched: set[int] = set()
    dices, ignored = [], 0
    for lesion in (one & there for one in components(wide(there, rules))):
        matched = {number for number, part in enumerate(parts) if part & wide(lesion, rules)}
        touched |= matched
        if len(lesion) <= 1:
            ignored += 1
            continue
        union = set().union(*(parts[number] for number in matched))
        dices.append(2 * len(union & lesion) / (len(union) + len(lesion)))
    found = compare(mask_of(here), mask_of(there), MM, rules)
    assert sorted(found.dice) == pytest.approx(sorted(dices))
    assert (found.false, found.ignored) == (len(parts) - len(touched), ignored)


def test_one_lesion_is_the_whole() -> None:
    rng = np.random.default_rng(1)
    truth = volume((8, 8, 8, 12))
    predicted = truth & (rng.random(truth.shape) < 0.9)
    predicted[7, 8:20, 8:20] = True
    found, plain = compare(predicted, truth, MM), metrics.measure(predicted, truth, MM)
    assert found.dice == (plain.scores(BRATS)["dice"],) and found.hd95 == (plain.hd95,) and not found.false


def test_rules_in_words() -> None:
    assert "dilated by 3 voxels" in RULES["glioma"].about and "2 mm3 or less" in RULES["metastases"].about
    assert EMPTY["brats2023"].one[2] == lesions.MISSED_MM
