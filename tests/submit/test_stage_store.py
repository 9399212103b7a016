"""What lies at a place: listed, read back, compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from submit import stage_store, stage_store_table
from submit.errors import StageError
from submit.origin_folder import FolderOrigin
from submit.runtime.manifest import Manifest
from tests.runtime import staged


@pytest.fixture
def place(tmp_path: Path) -> FolderOrigin:
    (tmp_path / "place").mkdir()
    return FolderOrigin(tmp_path / "place", "osdf:///ospool/ap40/data/jane/small")


@pytest.fixture
def manifest(place: FolderOrigin) -> Path:
    return staged.build(place.folder, staged.FILES, 3)


def put(place: FolderOrigin, held: Manifest) -> Path:
    path = place.folder / held.file_name()
    path.write_bytes(held.encoded())
    return path


def test_every_object_is_read_back(place: FolderOrigin, manifest: Path) -> None:
    seen: list[tuple[int, int]] = []
    rows = stage_store.verify(manifest, place, 2, lambda done, total: seen.append((done, total)))
    assert len(rows) == 4 and all(row.ok for row in rows)
    total = sum(row.bytes for row in rows)
    assert seen[0] == (0, total) and seen[-1] == (total, total) and total == sum(place.objects().values())
    assert stage_store_table.verified(rows).startswith("4 objects, 68.9 kB: ")
    assert "every byte is as it was staged" in stage_store_table.verified(rows)
    assert json.loads(stage_store_table.verified(rows, as_json=True))[0]["ok"] is True


def test_each_fault_is_named(place: FolderOrigin, manifest: Path) -> None:
    held = stage_store.read(manifest)
    gone, short, flipped = (place.folder / shard.name for shard in held.shards)
    gone.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    content = bytearray(flipped.read_bytes())
    content[600] ^= 1
    flipped.write_bytes(content)
    rows = {row.name: row for row in stage_store.verify(manifest, place)}
    assert rows[gone.name].what == "not there"
    assert rows[short.name].what == f"{short.stat().st_size:,} bytes, wanted {short.stat().st_size + 1:,}"
    assert rows[flipped.name].what.startswith("its SHA-256 begins with ")
    assert rows[flipped.name].what.endswith(f", wanted {held.shards[2].sha256[:12]}")
    assert rows[manifest.name].ok
    text = stage_store_table.verified(list(rows.values()))
    assert text.endswith("3 of 4 objects are not as they were staged; stage the data again")
    listed = stage_store.listing(place)
    assert listed.manifests[0].missing == (gone.name, short.name)
    assert f"{gone.name}: not there, or not as long" in stage_store_table.listed(listed)


def test_one_that_changes_while_it_is_read_or_cannot_be(
    place: FolderOrigin, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = stage_store.read(manifest)
    longer, folder = (place.folder / shard.name for shard in held.shards[:2])
    there = place.objects()
    longer.write_bytes(longer.read_bytes() + b"x")
    folder.unlink()
    folder.mkdir()
    monkeypatch.setattr(place, "objects", lambda: there)  # the listing was before
    rows = {row.name: row.what for row in stage_store.verify(manifest, place)}
    size = there[longer.name]
    assert rows[longer.name] == f"{size + 1:,} bytes were read, wanted {size:,}"
    assert rows[folder.name].startswith("cannot be read: ") and "Is a directory" in rows[folder.name]


def test_what_ends_the_command_ends_the_threads(place: FolderOrigin, manifest: Path) -> None:
    def bar(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage_store.verify(manifest, place, 1, bar)


def test_no_manifest(tmp_path: Path, place: FolderOrigin) -> None:
    with pytest.raises(
        StageError, match=r"x\.json, wanted NAME-manifest-HASH\.json; a manifest that `osgdl stage` wrote"
    ):
        stage_store.verify(tmp_path / "x.json", place)


def test_a_listing(place: FolderOrigin, manifest: Path) -> None:
    whole = stage_store.read(manifest)
    view = replace(
        whole,
        split={"training": ["p1"], "validation": ["p2"]},
        view={"of": whole.sha256(), "fold": 1, "part": "training"},
        shards=(replace(whole.shards[0], patients=("p1",)), whole.shards[1]),
    )
    put(place, view)
    (place.folder / "small-00aa00aa00aa.tar.zst").write_bytes(bytes(2000))
    (place.folder / "notes.txt").write_text("mine")
    found = stage_store.listing(place)
    assert [row.file for row in found.manifests] == [manifest.name, view.file_name()]
    assert found.unnamed == {"small-00aa00aa00aa.tar.zst": 2000} and found.others == {"notes.txt": 4}
    assert not found.damaged and not any(row.missing for row in found.manifests)
    text = stage_store_table.listed(found)
    assert f"{view.file_name()}  fold 1, training: 1 patients, " in text and "2 shards" in text
    assert "no manifest there names 1 shards, 2.0 kB" in text and "1 other files, 4 bytes" in text
    value = json.loads(stage_store_table.listed(found, as_json=True))
    assert [row["files"] for row in value["manifests"]] == [6, 4] and value["manifests"][1]["view"] == view.view
    assert stage_store.listing(FolderOrigin(place.folder / "none", "osdf:///x")).manifests == ()


def test_what_is_no_manifest_there(place: FolderOrigin, manifest: Path) -> None:
    held = stage_store.read(manifest)
    other = place.folder / manifest.name.replace("small", "large")
    other.write_bytes(manifest.read_bytes())
    (place.folder / f"{manifest.name}.bak").write_bytes(b"x")
    (place.folder / "small-manifest-000000000000.json").write_bytes(held.encoded())
    empty = replace(held, shards=())
    put(place, empty)
    (place.folder / "y-manifest-111111111111.json").write_bytes(b"")
    damaged = stage_store.listing(place).damaged
    assert len(damaged) == 5
    assert damaged[other.name] == "name: small, wanted large, as its file's name says"
    assert damaged[f"{manifest.name}.bak"] == "its name is not NAME-manifest-HASH.json"
    assert damaged["small-manifest-000000000000.json"].endswith("wanted 000000000000, as its name says")
    assert damaged[empty.file_name()] == "shards: [], wanted one or more"
    assert f"{other.name}: damaged: name: small" in stage_store_table.listed(stage_store.listing(place))


def test_what_changed(place: FolderOrigin, manifest: Path) -> None:
    before = stage_store.read(manifest)
    files = {**staged.FILES, "train/p1/seg.nii": b"\3" * 5000, "train/p4/seg.nii": b"new"}
    del files["README"]
    after = stage_store.read(staged.build(place.folder, files, 3, synthetic=True))
    found = stage_store.diff(before, after)
    assert found.added == ("train/p4/seg.nii",) and found.removed == ("README",)
    assert found.changed == ("train/p1/seg.nii",) and found.same == 4 and found.fields == ("synthetic",)
    known = {shard.name for shard in before.shards}
    assert found.shared == sum(shard.name in known for shard in after.shards)
    assert found.travel_bytes == sum(shard.bytes for shard in after.shards if shard.name not in known)
    text = stage_store_table.differing(found)
    assert "+ train/p4/seg.nii\n- README\n* train/p1/seg.nii\n" in text
    assert "1 added, 1 removed, 1 changed, 4 the same" in text and "not the same: synthetic" in text
    assert json.loads(stage_store_table.differing(found, as_json=True))["same"] == 4
    same = stage_store.diff(before, before)
    assert (same.travel_bytes, same.shared, same.same, same.fields) == (0, 3, 6, ())
    # at another place nothing is there yet
    moved = stage_store.diff(before, replace(before, at="osdf:///ospool/ap40/data/joe"))
    assert (moved.travel_bytes, moved.shared, moved.fields) == (before.bytes, 0, ("at",))


def test_a_long_list_is_cut_for_people(place: FolderOrigin, manifest: Path) -> None:
    before = stage_store.read(manifest)
    more = {**staged.FILES, **{f"z/{number:02}": b"z" for number in range(25)}}
    found = stage_store.diff(before, stage_store.read(staged.build(place.folder, more, 3)))
    assert "+ z/19\n+ and 5 more\n" in stage_store_table.differing(found) and len(found.added) == 25
