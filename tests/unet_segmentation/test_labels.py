from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime.exit_codes import BadInput
from unet_segmentation.labels import Convention, conventions
from unet_segmentation.layouts import layouts


def test_the_published_conventions() -> None:
    known = conventions()
    assert {name: convention.values for name, convention in known.items()} == {
        "brats2013-2015": (0, 1, 2, 3, 4),
        "brats2017-2021": (0, 1, 2, 4),
        "brats2023": (0, 1, 2, 3),
        "brats2024": (0, 1, 2, 3, 4),
        "msd-task01": (0, 1, 2, 3),
    }
    assert known["brats2013-2015"].regions == {"whole": (1, 2, 3, 4), "core": (1, 3, 4), "enhancing": (4,)}
    assert known["brats2017-2021"].regions == {"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)}
    assert known["brats2023"].regions == {"whole": (1, 2, 3), "core": (1, 3), "enhancing": (3,)}
    assert known["brats2024"].regions == {"whole": (1, 2, 3), "core": (1, 3), "enhancing": (3,), "cavity": (4,)}
    assert known["msd-task01"].regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    new = known["brats2017-2021"]
    assert new.membership().tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert new.membership(["enhancing", "whole"]).tolist() == [[0, 0], [0, 1], [0, 1], [1, 1]]
    assert "2 = oedema" in new.describe() and "core = 1+4" in new.describe()


def test_oedema_is_never_core() -> None:
    for convention in conventions().values():
        oedema = next(value for value, meaning in convention.labels.items() if meaning.startswith("oedema"))
        assert oedema not in convention.regions["core"] and convention.paint["whole"] == oedema


@pytest.mark.parametrize("name", conventions())
def test_regions_lie_inside_each_other(name: str) -> None:
    convention = conventions()[name]
    regions = convention.regions
    assert set(regions["enhancing"]) < set(regions["core"]) < set(regions["whole"])
    assert {value for values in regions.values() for value in values} == set(convention.labels)
    assert list(regions)[:3] == ["whole", "core", "enhancing"]


@settings(deadline=None)
@given(st.sampled_from(sorted(conventions())), st.data())
def test_classes_and_labels_are_the_same_thing(name: str, data: st.DataObject) -> None:
    convention = conventions()[name]
    labels = np.array(data.draw(st.lists(st.sampled_from(convention.values), max_size=20)), np.float32)
    classes = convention.encode(labels)
    assert (convention.decode(classes) == labels).all()
    regions = np.eye(len(convention.values), dtype=np.float32)[classes] @ convention.membership()
    for index, region in enumerate(convention.regions):
        assert (regions[:, index].astype(bool) == convention.region(labels, region)).all()


@settings(deadline=None)
@given(st.sampled_from(sorted(conventions())), st.data())
def test_painting_the_regions_of_labels_brings_the_regions_back(name: str, data: st.DataObject) -> None:
    convention = conventions()[name]
    labels = np.array(data.draw(st.lists(st.sampled_from(convention.values), max_size=20)), np.uint8)
    names = data.draw(st.permutations(list(convention.regions)))
    painted = convention.painted(np.stack([convention.region(labels, region) for region in names], -1), names)
    assert painted.dtype == np.uint8 and set(painted.tolist()) <= set(convention.values)
    for region in names:
        assert (convention.region(painted, region) == convention.region(labels, region)).all()


def test_inner_regions_are_painted_over_outer_ones_wherever_they_lie() -> None:
    convention = conventions()["brats2017-2021"]
    masks = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]], bool)
    assert convention.painted(masks, ("whole", "core", "enhancing")).tolist() == [2, 1, 4, 1, 0]
    assert convention.painted(masks[:, :1], ("whole",)).tolist() == [2, 2, 0, 0, 0]
    assert conventions()["brats2024"].painted(np.array([[1, 0], [1, 1]], bool), ("whole", "cavity")).tolist() == [2, 4]


@pytest.mark.parametrize("name", conventions())
def test_a_convention_survives_json(name: str) -> None:
    convention = conventions()[name]
    assert Convention.from_dict(json.loads(json.dumps(convention.as_dict()))) == convention


def test_every_layout_has_a_known_convention() -> None:
    assert {layout.convention.name for layout in layouts().values()} == set(conventions())


def kidney(**changes: Any) -> dict[str, Any]:
    held = {
        "name": "kidney",
        "labels": {"1": "kidney", "2": "tumour", "3": "cyst"},
        "regions": {"organ": [1, 2, 3], "mass": [2, 3], "cyst": [3]},
    }
    return {key: value for key, value in {**held, **changes}.items() if value is not None}


def test_another_organ() -> None:
    convention = Convention.from_dict(kidney())
    assert convention.paint == {"organ": 1, "mass": 2, "cyst": 3}
    assert convention.values == (0, 1, 2, 3)
    sides = Convention.from_dict(kidney(regions={"left": [1], "right": [2]}))  # no nesting, and 3 is left out
    assert sides.painted(np.array([[True, False], [False, True]]), ("left", "right")).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([], r"convention: \[\]; a table; write for example labels"),
        (kidney(name=None), "convention.name: ''; a text"),
        (kidney(colour=1), "convention.colour: not a key; name, labels, regions, paint"),
        (kidney(labels=None), "convention.labels: missing; label values from 1 to 255"),
        (kidney(labels={}), r"convention.labels: \{\}; label values"),
        (kidney(labels={"0": "air"}), "convention.labels: label '0'; .* 0 is background"),
        (kidney(labels={"256": "x"}), "convention.labels: label '256'"),
        (kidney(labels={"1.5": "x"}), "convention.labels: label '1.5'"),
        (kidney(labels={"01": "x"}), "convention.labels: label '01'"),
        (kidney(labels={"1": ""}), "convention.labels: 1 = ''"),
        (kidney(regions=None), "convention.regions: missing; names of regions"),
        (kidney(regions={"a b": [1]}), "convention.regions: region 'a b'; letters, digits"),
        (kidney(regions={"a": []}), r"convention.regions.a: \[\]; a list of label values"),
        (kidney(regions={"a": [True]}), r"convention.regions.a: \[True\]; a list"),
        (kidney(regions={"a": [4]}), "convention.regions.a: 4, which is no label; some of 1, 2, 3"),
        (kidney(regions={"a": [1, 1]}), r"convention.regions.a: \[1, 1\], a value twice"),
        (kidney(regions={"a": [1, 2]}), "convention.paint.a: missing; one of 1, 2: what a voxel of a becomes"),
        (kidney(paint=[]), r"convention.paint: \[\]; a label value for each region"),
        (kidney(paint={"b": 1}), "convention.paint.b: not a region; some of organ, mass, cyst"),
        (kidney(paint={"mass": 1}), "convention.paint.mass: 1; one of 2: "),
        (
            kidney(regions={"cyst": [3], "organ": [1, 3]}, paint={"organ": 1}),
            "convention.regions: label 3 is in cyst and organ and would be written as 1; regions from the outside in",
        ),
        (
            kidney(regions={"a": [1, 2], "b": [2, 3]}, paint={"b": 3}),
            "label 2 is in a and b and would be written as 3; .* those that share a label lie one inside the other",
        ),
    ],
)
def test_a_convention_that_makes_no_sense(held: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Convention.from_dict(held)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
LABELS = st.dictionaries(st.integers(-1, 300).map(str) | st.text(max_size=3), st.text(max_size=3), max_size=4)
REGIONS = st.dictionaries(st.sampled_from(["a", "b", "c", " "]), st.lists(st.integers(0, 4), max_size=4), max_size=3)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.just("x") | JSON,
            "labels": st.just({"1": "x", "2": "y", "3": "z"}) | LABELS | JSON,
            "regions": REGIONS | JSON,
            "paint": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 4)) | JSON,
        },
    )
    | JSON
)
def test_whatever_is_given_is_a_convention_or_refused(held: Any) -> None:
    try:
        convention = Convention.from_dict(held)
    except BadInput:
        return
    labels = np.array(convention.values, np.uint8)
    names = tuple(convention.regions)
    painted = convention.painted(np.stack([convention.region(labels, name) for name in names], -1), names)
    for name in names:
        assert (convention.region(painted, name) == convention.region(labels, name)).all()
