"""The manifest: what is wrong with it is said by field, and no two files mean the same."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime import manifest
from tests.runtime.test_dataset import GOOD as DATASET

HASH = "0123456789abcdef" * 4
GOOD: dict[str, Any] = {
    "format": 1,
    "name": "brats",
    "at": "osdf:///ospool/ap40/data/jane/brats",
    "kind": "files",
    "synthetic": False,
    "dataset": DATASET,
    "split": {"training": ["p1"], "validation": ["p2"]},
    "view": {"of": HASH, "fold": 0, "part": "all"},
    "privacy": {"checked": True, "findings": 0, "override": None},
    "shards": [
        {
            "name": "brats-0000-0123456789ab.tar",
            "bytes": 10240,
            "sha256": HASH,
            "compression": "none",
            "unpacked_bytes": 7,
            "patients": ["p1"],
            "files": {
                "train/p1/p1_flair.nii.gz": {"bytes": 4, "sha256": HASH},
                "train/p1/ä.txt": {"bytes": 3, "sha256": HASH[::-1]},
            },
        },
        {
            "name": "brats-0001-fedcba987654.tar.zst",
            "bytes": 99,
            "sha256": HASH[::-1],
            "compression": "zstd",
            "unpacked_bytes": 0,
            "patients": [],
            "files": {"LICENCE": {"bytes": 0, "sha256": HASH}},
        },
    ],
}
GONE = object()


def encoded(held: object) -> bytes:
    return (json.dumps(held, indent=1, sort_keys=True) + "\n").encode()


def place(path: str) -> tuple[Any, Any, Any]:
    """A copy of GOOD, and in it the holder and the key of a path of keys."""
    held = copy.deepcopy(GOOD)
    *above, last = path.split(":")
    holder: Any = held
    for key in above:
        holder = holder[int(key) if isinstance(holder, list) else key]
    return held, holder, int(last) if isinstance(holder, list) else last


def changed(path: str, value: object) -> dict[str, Any]:
    held, holder, key = place(path)
    if value is GONE:
        del holder[key]
    else:
        holder[key] = value
    result: dict[str, Any] = held
    return result


def paths(held: object, above: str = "") -> list[str]:
    """Of everything in it."""
    if isinstance(held, dict):
        inner = list(held.items())
    elif isinstance(held, list):
        inner = list(enumerate(held))
    else:
        return []
    found = []
    for key, value in inner:
        here = f"{above}:{key}" if above else str(key)
        found += [here, *paths(value, here)]
    return found


PATHS = paths({key: value for key, value in GOOD.items() if key != "dataset"})  # test_dataset.py has that one


def write(folder: Path, content: bytes, name: str = "brats") -> Path:
    path = folder / f"{name}-manifest-{hashlib.sha256(content).hexdigest()[:12]}.json"
    path.write_bytes(content)
    return path


def test_a_sound_one_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path = write(tmp_path, encoded(GOOD))
    held = manifest.read(path)
    assert held.encoded() == path.read_bytes()
    assert held.as_dict() == GOOD
    assert held.file_name() == path.name
    assert held.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (held.bytes, held.unpacked_bytes) == (10339, 7)
    assert held.shards[0].patients == ("p1",)
    assert held.shards[0].files["train/p1/ä.txt"] == manifest.File(3, HASH[::-1])


@pytest.mark.parametrize("field", ["dataset", "split", "view"])
def test_what_may_be_null(field: str) -> None:
    assert getattr(manifest.parse(encoded(changed(field, None))), field) is None


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format", 2, "format: 2, wanted 1"),
        ("format", True, "format: true, wanted 1"),
        ("format", GONE, "its keys are at, dataset"),
        ("made", "2026", "its keys are at, dataset, format, kind, made"),
        ("name", "", 'name: "", wanted letters, digits and . _ -'),
        ("name", "-x", "name: "),
        ("name", "a" * 65, "name: "),
        ("name", "../x", "name: "),
        ("at", "", 'at: "", wanted a URL or a folder'),
        ("at", 3, "at: 3"),
        ("kind", "images", 'kind: "images", wanted files or prepared'),
        ("synthetic", 0, "synthetic: 0, wanted true or false"),
        ("dataset", {}, "dataset: "),
        ("split", {"training": ["p1"]}, "split: .*, wanted null, or names for training and validation"),
        ("split:training", ["p1", "p1"], "split: "),
        ("split:training", "p1", "split: "),
        ("split:training", [""], "split: "),
        ("split:training", ["p1", "p2"], r'split: \["p2"\], wanted every patient in one part'),
        ("view", {}, "view: {}, wanted null, or of, fold and part"),
        ("view:of", HASH[:-1], "view.of: .*, wanted 64 hexadecimal digits"),
        ("view:of", HASH.upper(), "view.of: "),
        ("view:fold", -1, "view.fold: -1, wanted a number from 0 on"),
        ("view:fold", 1.0, "view.fold: 1.0"),
        ("view:part", "test", 'view.part: "test", wanted training, validation, all'),
        ("privacy", None, "privacy: null, wanted checked, findings and override"),
        ("privacy:checked", "yes", 'privacy.checked: "yes", wanted true or false'),
        ("privacy:findings", -1, "privacy.findings: -1"),
        ("privacy:override", "", 'privacy.override: "", wanted a reason'),
        ("shards", [], r"shards: \[\], wanted one or more"),
        ("shards", {}, "shards: {}, wanted one or more"),
        ("shards:0", "brats", r'shards\[0\]: "brats", wanted bytes, compression, files'),
        ("shards:0:bytes", 1.5, r"shards\[0\].bytes: 1.5, wanted a whole number"),
        ("shards:1:bytes", -1, r"shards\[1\].bytes: -1"),
        ("shards:0:sha256", "0", r"shards\[0\].sha256: "),
        ("shards:0:compression", "gzip", r'shards\[0\].compression: "gzip", wanted none or zstd'),
        ("shards:0:compression", [], r"shards\[0\].compression: \[\], wanted none or zstd"),
        ("shards:0:compression", "zstd", r"shards\[0\].name: .*, wanted NAME-0123456789ab.tar.zst"),
        ("shards:0:name", "brats-0000-1123456789ab.tar", r"shards\[0\].name: "),
        ("shards:0:name", "a/brats-0000-0123456789ab.tar", r"shards\[0\].name: "),
        ("shards:0:name", None, r"shards\[0\].name: null"),
        ("shards:0:patients", [1], r"shards\[0\].patients: \[1\], wanted different names"),
        ("shards:0:files", {}, r"shards\[0\].files: {}, wanted one or more"),
        ("shards:1:files:LICENCE", {"bytes": 0}, r"shards\[1\].files.LICENCE: .*, wanted bytes and sha256"),
        ("shards:1:files:LICENCE:bytes", -1, r"shards\[1\].files.LICENCE: "),
        ("shards:1:files:LICENCE:bytes", True, r"shards\[1\].files.LICENCE: "),
        ("shards:1:files:LICENCE:sha256", "x", r"shards\[1\].files.LICENCE.sha256: "),
        ("shards:1:files:LICENCE:bytes", 1, r"shards\[1\].unpacked_bytes: 0, wanted 1, the files' sum"),
    ],
)
def test_what_is_wrong_is_said(path: str, value: object, said: str) -> None:
    with pytest.raises(manifest.Damaged, match=f"^{said}"):
        manifest.parse(encoded(changed(path, value)))


UNSAFE = [
    *("", ".", "..", "/", "/etc/passwd", "../x", "a/../x", "a/..", "./a", "a/", "a//b", "a/./b"),
    *("a\nb", "a\0b", "\x1b[2J", "a\x7f", "a\u202eb", "\ud800", "x" * 256, "ä" * 128, "x/" * 2048 + "x"),
]


@pytest.mark.parametrize("name", UNSAFE, ids=lambda name: ascii(name)[:20])
def test_paths_that_are_not_safe(name: str) -> None:
    assert not manifest.is_safe(name)
    held = changed("shards:1:files", {name: {"bytes": 0, "sha256": HASH}})
    with pytest.raises(manifest.Damaged, match=r"shards\[1\].files: .*, wanted a relative path without"):
        manifest.parse(encoded(held))


@pytest.mark.parametrize("name", ["a", "..a", "a..", "...", "ä/ö", "a b", "x" * 255, "C:\\a", "~", "-rf"])
def test_paths_that_are(name: str) -> None:
    assert manifest.is_safe(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("train/p1/ä.txt", "a path that no other file has"),
        ("train/p1", "a path that does not lead through the file train/p1"),
        ("train", "a path that does not lead through the file train"),
        ("train/p1/ä.txt/more", "a path that does not lead through the file train/p1/ä.txt"),
    ],
)
def test_paths_in_each_others_way(name: str, said: str) -> None:
    held = changed("shards:1:files", {name: {"bytes": 0, "sha256": HASH}})
    with pytest.raises(manifest.Damaged, match=said):
        manifest.parse(encoded(held))


def test_an_object_twice() -> None:
    held = changed("shards:1", {**GOOD["shards"][0], "files": {"b": {"bytes": 7, "sha256": HASH}}})
    with pytest.raises(manifest.Damaged, match=r"shards: .*, wanted different names"):
        manifest.parse(encoded(held))


def test_a_key_twice() -> None:
    content = encoded(GOOD).replace(b'"kind": "files",', b'"kind": "files", "kind": "prepared",', 1)
    with pytest.raises(manifest.Damaged, match="'kind' twice in one object"):
        manifest.parse(content)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"null", b'"x"', b"[" * 100_000, b"{", encoded(GOOD)[:-3]])
def test_what_is_no_manifest(content: bytes) -> None:
    with pytest.raises(manifest.Damaged, match="no JSON"):
        manifest.parse(content)


@pytest.mark.parametrize("name", ["brats.json", "brats-manifest-.json", "x/../y", "brats-manifest-0123456789AB.json"])
def test_a_name_without_its_hash(tmp_path: Path, name: str) -> None:
    with pytest.raises(manifest.Damaged, match=r"wanted NAME-manifest-HASH.json"):
        manifest.read(tmp_path / name)


def test_a_name_with_another_hash(tmp_path: Path) -> None:
    path = write(tmp_path, encoded(GOOD))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(manifest.Damaged, match=r"its SHA-256 begins with [0-9a-f]{12}, wanted [0-9a-f]{12}, as its"):
        manifest.read(path)


def test_another_sets_name(tmp_path: Path) -> None:
    with pytest.raises(manifest.Damaged, match="name: brats, wanted other, as its file's name says"):
        manifest.read(write(tmp_path, encoded(GOOD), "other"))


def test_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(manifest.Damaged, match=r"cannot be read .No such file"):
        manifest.read(tmp_path / "brats-manifest-0123456789ab.json")
    (tmp_path / "brats-manifest-0123456789ab.json").mkdir()
    with pytest.raises(manifest.Damaged, match=r"cannot be read .Is a directory"):
        manifest.read(tmp_path / "brats-manifest-0123456789ab.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=8) | st.just(HASH),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=500)
@given(path=st.sampled_from(PATHS), value=JSON | st.just(GONE))
def test_another_value_anywhere_is_refused_or_kept(path: str, value: object) -> None:
    """What is read is what was written: no field is lost, none is taken for another one."""
    held = changed(path, value)
    try:
        found = manifest.parse(encoded(held))
    except manifest.Damaged:
        return
    assert found.encoded() == encoded(held)
    assert manifest.parse(found.encoded()) == found


@settings(max_examples=500)
@given(data=st.data())
def test_other_bytes_are_refused_or_mean_what_they_say(data: st.DataObject) -> None:
    content = bytearray(encoded(GOOD))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(manifest.Damaged):
        assert manifest.parse(bytes(content)).as_dict() == json.loads(bytes(content))


@given(st.binary(max_size=200))
def test_noise(content: bytes) -> None:
    with pytest.raises(manifest.Damaged):
        manifest.parse(content)


def test_one_manifest_has_one_form() -> None:
    """Else the same manifest had two hashes, and two names."""
    content = encoded(GOOD)
    with pytest.raises(manifest.Damaged, match="written in another form; wanted keys in order"):
        manifest.parse(json.dumps(json.loads(content), indent=2).encode())
