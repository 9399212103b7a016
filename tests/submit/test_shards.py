"""What travels together, and that an edit or a new patient leaves all other shards as they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit import shards
from submit.packs import Member
from submit.shards import Planned, Unit

SHARD = 1000


class Seen(NamedTuple):
    """A shard as it matters: another set of these is another object."""

    paths: tuple[tuple[str, int], ...]


def member(path: str, size: int = 100) -> Member:
    return Member(path, Path("/data") / path, size)


def unit(name: str, size: int = 100, group: str = "") -> Unit:
    return Unit(name, (member(f"{name}/image", size),), group)


def seen(planned: Sequence[Planned]) -> set[Seen]:
    return {Seen(tuple((one.path, one.bytes) for one in shard.members)) for shard in planned}


UNITS = st.lists(
    st.builds(unit, st.integers(0, 10_000).map(lambda number: f"p{number}"), st.integers(0, 3 * SHARD)),
    min_size=1,
    max_size=120,
    unique_by=lambda one: one.name,
)


@given(UNITS, st.randoms(use_true_random=False))
def test_every_unit_is_in_one_shard_whatever_their_order(units: list[Unit], chance: object) -> None:
    planned = shards.plan(units, SHARD)
    assert sorted(name for shard in planned for name in shard.patients) == sorted(one.name for one in units)
    for shard in planned:
        assert shard.bytes <= shards.MOST * SHARD or len(shard.units) == 1
    chance.shuffle(units)  # type: ignore[attr-defined]
    assert shards.plan(units, SHARD) == planned


@given(UNITS, st.data())
def test_an_edit_changes_its_own_shard(units: list[Unit], data: st.DataObject) -> None:
    """One is new, or two where the shard was cut; joined with others' it takes these along."""
    at = data.draw(st.integers(0, len(units) - 1))
    edited = [*units[:at], unit(units[at].name, data.draw(st.integers(0, 3 * SHARD))), *units[at + 1 :]]
    before, after = shards.plan(units, SHARD), shards.plan(edited, SHARD)
    fresh, lost = seen(after) - seen(before), seen(before) - seen(after)
    larger = edited[at].bytes > units[at].bytes
    around = {path for one in (lost if larger else fresh) for path, _ in one.paths}
    # what changed lies in one run of patients: the one that was cut, or that was joined
    assert around == {path for one in (fresh if larger else lost) for path, _ in one.paths}
    assert not fresh if edited[at].bytes == units[at].bytes else f"{units[at].name}/image" in around


@given(UNITS, st.integers(0, shards.MOST * SHARD))
def test_an_edit_that_cuts_and_joins_nothing_gives_one_shard(units: list[Unit], size: int) -> None:
    edited = [unit(units[0].name, size), *units[1:]]
    before, after = shards.plan(units, SHARD), shards.plan(edited, SHARD)
    if [one.patients for one in before] == [one.patients for one in after]:
        assert len(seen(after) - seen(before)) == (size != units[0].bytes)


def test_500_patients() -> None:
    """Of much the same size, as they come: how large shards are, and how many an edit or a new patient changes."""
    units = [unit(f"BraTS2021_{number:05}", 90 + number % 20) for number in range(500)]
    before = seen(shards.plan(units, SHARD))
    sizes = [sum(size for _, size in one.paths) for one in before]
    assert 0.7 * SHARD < sum(sizes) / len(sizes) < 1.6 * SHARD and max(sizes) <= shards.MOST * SHARD
    edits, news = [], []
    for number, one in enumerate(units):
        edited = [*units[:number], unit(one.name, one.bytes + 1), *units[number + 1 :]]
        edits.append(len(seen(shards.plan(edited, SHARD)) - before))
        news.append(len(seen(shards.plan([*units, unit(f"{one.name}_new")], SHARD)) - before))
    assert max(edits) <= 2 and sum(edits) < 1.02 * len(edits)
    assert max(news) <= 6 and sum(news) < 1.3 * len(news)
    each, new = sum(edits) / len(edits), sum(news) / len(news)
    print(f"\n{len(before)} shards of 500 patients; an edit changes {each:.2f}, a new one {new:.2f}")


def test_a_new_size_of_all_changes_no_border_far_away() -> None:
    """A rule that counts patients to a shard would move every border here."""
    units = [unit(f"p{number:04}", 140) for number in range(400)]
    larger = [*units, *(unit(f"q{number:04}", 30) for number in range(400))]
    before, after = seen(shards.plan(units, SHARD)), seen(shards.plan(larger, SHARD))
    assert len(before - after) <= 3


@settings(max_examples=50)
@given(UNITS, st.data())
def test_folds_never_share_a_shard(units: list[Unit], data: st.DataObject) -> None:
    folds = data.draw(st.lists(st.sampled_from(["", "fold 0", "fold 1"]), min_size=len(units), max_size=len(units)))
    some = [Unit(one.name, one.members, fold) for one, fold in zip(units, folds, strict=True)]
    nobodys = [Unit(path, (member(path),), patient=False) for path in ("LICENCE", "grades.csv")]
    planned = shards.plan([*some, *nobodys], SHARD)
    assert all(len({one.group for one in shard.units}) == 1 for shard in planned)
    assert [shard.members for shard in planned if not shard.patients] == [[member("LICENCE"), member("grades.csv")]]


def test_whose_a_file_is() -> None:
    paths = ["LICENCE", "p1/flair", "p1/notes.txt", "p1/raw/deep/x", "p2/flair", "both/p1_t1", "both/p2_t1", "both/x"]
    patients = {"p1": ["p1/flair", "both/p1_t1"], "p2": ["p2/flair", "both/p2_t1"]}
    units = shards.of_patients(map(member, paths), patients, {"p1": "fold 1"})
    assert [(one.name, one.group, one.patient, [held.path for held in one.members]) for one in units] == [
        ("p1", "fold 1", True, ["p1/flair", "p1/notes.txt", "p1/raw/deep/x", "both/p1_t1"]),
        ("p2", "", True, ["p2/flair", "both/p2_t1"]),
        ("LICENCE", "", False, ["LICENCE"]),
        ("both/x", "", False, ["both/x"]),
    ]


def test_a_file_where_nobody_is() -> None:
    units = shards.of_patients(map(member, ["p1/flair", "docs/deep/x"]), {"p1": ["p1/flair"]}, {})
    assert [one.patient for one in units] == [True, False]


def test_what_is_nobodys_is_cut_too() -> None:
    units = shards.of_patients([member(f"atlas/{number}", 900) for number in range(20)], {"p1": ["p1"]}, {})
    planned = shards.plan(units, SHARD)
    assert len(planned) >= 10 and all(shard.bytes <= shards.MOST * SHARD and not shard.patients for shard in planned)


@pytest.mark.parametrize(("size", "names"), [(100, ["flat", "x"]), (900, ["flat/0", "flat/1", "flat/2", "x"])])
def test_folders_where_nobody_said_who_is_who(size: int, names: list[str]) -> None:
    """One too large for a shard is files."""
    units = shards.of_folders([*(member(f"flat/{number}", size) for number in range(3)), member("x")], SHARD)
    assert [one.name for one in units] == names
