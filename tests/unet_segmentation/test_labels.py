from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmentation.labels import REGIONS, conventions
from unet_segmentation.layouts import layouts


def test_the_published_conventions() -> None:
    old, new = conventions()["brats2013-2015"], conventions()["brats2017-2021"]
    assert old.values == (0, 1, 2, 3, 4) and new.values == (0, 1, 2, 4)
    assert old.regions == {"whole": (1, 2, 3, 4), "core": (1, 3, 4), "enhancing": (4,)}
    assert new.regions == {"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)}
    assert new.membership().tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert "2 = oedema" in new.describe() and "core = 1+4" in new.describe()


@pytest.mark.parametrize("name", conventions())
def test_regions_lie_inside_each_other(name: str) -> None:
    regions = conventions()[name].regions
    assert set(regions["enhancing"]) < set(regions["core"]) < set(regions["whole"]) == set(conventions()[name].labels)


@given(st.sampled_from(sorted(conventions())), st.data())
def test_classes_and_labels_are_the_same_thing(name: str, data: st.DataObject) -> None:
    convention = conventions()[name]
    labels = np.array(data.draw(st.lists(st.sampled_from(convention.values), max_size=20)), np.float32)
    classes = convention.encode(labels)
    assert (convention.decode(classes) == labels).all()
    regions = np.eye(len(convention.values), dtype=np.float32)[classes] @ convention.membership()
    for index, region in enumerate(REGIONS):
        assert (regions[:, index].astype(bool) == convention.region(labels, region)).all()


def test_every_layout_has_a_known_convention() -> None:
    assert {layout.convention.name for layout in layouts().values()} <= set(conventions())
