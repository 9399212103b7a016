"""The table of faults, and the page that says what came of each."""

from __future__ import annotations

import re

import pytest

from submit import faults
from submit.errors import KitError
from tests import pages


def test_the_table_is_sound() -> None:
    known = faults.load()
    assert len(known) >= 25
    for name, fault in known.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert fault.where and fault.what and re.fullmatch(r"done|\d+/\d+", fault.comes) and fault.seconds >= 0


def test_some_are_chosen_in_the_order_asked() -> None:
    assert [fault.name for fault in faults.chosen("ap-restart, full-disk,")] == ["ap-restart", "full-disk"]
    assert faults.chosen("") == []


def test_a_name_that_is_none() -> None:
    with pytest.raises(KitError, match=r"^faults='flood': no such fault; .*osgdl try --faults list"):
        faults.chosen("full-disk,flood")


def test_a_person_sees_them_all() -> None:
    lines = faults.table().splitlines()
    assert [line.split()[0] for line in lines] == list(faults.load())


def test_the_page_tells_every_fault_and_names_its_tests() -> None:
    rows = pages.named("eviction.md", "What goes wrong, and what comes of it")
    assert len(rows) >= 25 and all(rows)
    assert {name for names in rows for name in names} <= pages.written()
    page = (pages.ROOT / "docs" / "eviction.md").read_text()
    assert [name for name in faults.load() if f"`{name}`" not in page] == []
