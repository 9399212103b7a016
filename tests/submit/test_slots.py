"""The table of slots: what goes in comes out, and bad files are refused in one line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.errors import KitError
from submit.slots import Slots

ADS = [
    'Name = "a"\nCpus = 8\nAvailableGPUs = { GPUs_GPU_00aa }\n'
    'GPUs_GPU_00aa = [ Id = "GPU-00aa"; Capability = 8.0; DeviceName = "A100"; DeviceUuid = "00aa" ]\n'
    "Start = Cpus > Spare\nSpare = 1",
    'Name = "b"\nCpus = 4',
]


def test_gpus_lose_their_ids_and_keep_their_properties() -> None:
    slots = Slots.of_ads(ADS)
    (first, _), (second, _) = slots.groups(["availablegpus"])
    assert first["availablegpus"] == '{ [ Capability = 8.0; DeviceName = "A100"; ] }' or (
        "Capability = 8.0" in first["availablegpus"] and "00aa" not in first["availablegpus"]
    )
    assert second == {}


def test_a_snapshot_comes_back_as_it_was(tmp_path: Path) -> None:
    slots = Slots.of_ads(ADS)
    slots.write(tmp_path / "slots.json.gz")
    again = Slots.read(tmp_path / "slots.json.gz")
    assert (again.count, again.columns) == (slots.count, slots.columns)


def test_condor_status_long_and_json_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("\n\n".join(ADS))
    (tmp_path / "json").write_text(json.dumps([{"Name": "a", "Cpus": 8, "Start": "/Expr(Cpus > 1)/"}, {"Name": "b"}]))
    assert Slots.read(tmp_path / "long").columns == Slots.of_ads(ADS).columns
    assert Slots.read(tmp_path / "json").columns["start"].values == ["Cpus > 1", None]


def test_the_closure_follows_what_values_refer_to() -> None:
    assert Slots.of_ads(ADS).closure(["START", "nosuch"]) == ["cpus", "spare", "start"]


@given(st.lists(st.sampled_from(["1", "2", '"x"']), max_size=40))
def test_groups_part_the_slots(values: list[str]) -> None:
    slots = Slots.of_ads([f"A = {value}" for value in values])
    masks = [members for _, members in slots.groups(slots.columns)]
    assert sum(members.bit_count() for members in masks) == len(values)
    for value in set(values):
        (members,) = [members for ad, members in slots.groups(["a"]) if ad["a"] == value]
        assert [bool(members >> at & 1) for at in range(len(values))] == [other == value for other in values]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"{}",
        b"[1]",
        b"[" * 100_000,
        b"\xff\xfe",
        gzip.compress(b"{}", mtime=0)[:-4],
        json.dumps({"format": "osgdl-slots-1", "count": 2, "columns": {"a": [["1"], [0, 1]]}}).encode(),
        json.dumps({"format": "osgdl-slots-1", "count": -1, "columns": {}}).encode(),
        json.dumps({"format": "osgdl-slots-2", "count": 0, "columns": {}}).encode(),
    ],
    ids=["empty", "text", "object", "list", "deep", "bytes", "cut", "index", "count", "format"],
)
def test_what_is_no_snapshot_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "slots"
    file.write_bytes(content)
    with pytest.raises(KitError, match=r"slots='.*'?: .*; want a snapshot.*osgdl match --snapshot") as refused:
        Slots.read(file)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="No such file"):
        Slots.read(tmp_path / "none.json")
