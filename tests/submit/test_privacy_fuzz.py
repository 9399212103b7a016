"""Whatever lies in a file, the gate ends with findings, never with a traceback, and says nothing of what it read."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from submit import privacy
from submit.privacy_words import judge, masked

from .carriers import dicom, mha, nifti, sidecar

NAMES = ["a.nii", "a.nii.gz", "a.hdr", "a.img", "a.mha", "a.mhd", "a.json", "a.csv", "a.tsv", "a.txt", "a.dcm", "a",
         "a.nrrd", "a.xlsx", "a.npy", "a.npz", "a.json.gz"]  # fmt: skip
WHOLE = {
    "a.nii": nifti(extensions=((2, b"\x10\0\x10\0PN\4\0A^B "), (6, b"x"))),
    "a2.nii": nifti(version=2, order=">", extensions=((4, b"<a/>"),)),
    "a.nii.gz": gzip.compress(nifti(descrip=b"FSL")),
    "a.mha": mha("Comment = x\n"),
    "a.dcm": dicom(),
    "a.json": sidecar(more=[{"a": {}}]),
}
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def look(folder: Path, name: str, content: bytes) -> list[privacy.Finding]:
    for old in folder.iterdir():
        old.unlink()
    (folder / name).write_bytes(content)
    findings = privacy.examine(folder, [Path(name)])
    privacy.describe(findings)
    return findings


@pytest.mark.parametrize("name", NAMES)
@SLOW
@given(content=st.binary(max_size=800))
def test_random_bytes(name: str, content: bytes, tmp_path: Path) -> None:
    look(tmp_path, name, content)


@pytest.mark.parametrize("name", WHOLE)
@SLOW
@given(data=st.data())
def test_torn_and_turned(name: str, data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(WHOLE[name])
    end = data.draw(st.integers(0, len(content)))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, min(700, len(content) - 1)))] = data.draw(st.integers(0, 255))
    look(tmp_path, name, bytes(content[:end]))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.mha", "a.json", "a.dcm", "a.nrrd", "a.xlsx"])
def test_what_cannot_be_read_stops_the_staging(name: str, tmp_path: Path) -> None:
    for content in (b"", b"\x93\xff no such thing", b"\x1f\x8b\x08\0torn"):
        found = look(tmp_path, name, content)
        assert any(one.what == privacy.UNREADABLE and one.serious for one in found)


def test_deep_json_and_pipes(tmp_path: Path) -> None:
    assert look(tmp_path, "a.json", b'{"a":' * 300 + b"1" + b"}" * 300)[0].serious
    assert look(tmp_path, "a.json", b"[" * 100_000)[0].what == privacy.UNREADABLE
    os.mkfifo(tmp_path / "pipe.nii")
    assert privacy.examine(tmp_path, [Path("pipe.nii")])[0].what == privacy.UNREADABLE


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["all", "name", "header", "prose"]))
def test_places_lie_in_the_text(text: str, place: str) -> None:
    hits = judge(text, place)
    assert all(0 <= hit.start < hit.end <= len(text) for hit in hits)
    shown = masked(text, hits)
    assert len(shown) == len(text) and shown.isprintable()


def test_a_long_text_is_looked_at_to_its_end() -> None:
    hits = judge("x " * 540_000 + "mrn123456")
    assert [hit.what for hit in hits] == ["a record number"]


@pytest.mark.parametrize("piece", ["x ", "a", "a.", "1.", "1-", "^", "0123456789", "John ", "a@", "[a"])
def test_no_text_takes_for_ever(piece: str) -> None:
    begun = time.monotonic()
    judge(piece * (200_000 // len(piece)), "name")
    assert time.monotonic() - begun < 10
