"""The folder that a manifest becomes: made once, compared at each start, nothing of the user's lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from submit.runtime import inputs, manifest, unpack
from submit.runtime.exit_codes import BadInput, BadMachine
from tests.runtime import staged

RECORD = ".small-inputs.json"


def shards(path: Path) -> list[Path]:
    return [path.with_name(shard.name) for shard in manifest.read(path).shards]


@pytest.fixture(params=["none", "zstd"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return staged.build(tmp_path, staged.FILES, 3, request.param)


def test_a_manifest_becomes_a_folder(path: Path) -> None:
    given = inputs.opened(path)
    assert given.folder == path.with_name("small") == inputs.folder(path)
    assert staged.contents(given.folder) == staged.FILES
    assert given.manifest == manifest.read(path)
    assert given.manifest_sha256 == given.manifest.sha256()
    names = {path.name, RECORD, "small", *(shard.name for shard in shards(path))}
    assert {place.name for place in path.parent.iterdir()} == names


def test_shards_at_the_sandboxs_top(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`preserve_relative_paths` keeps the manifest's folder; what comes from a URL has none."""
    (path.parent / "staged").mkdir()
    monkeypatch.chdir(path.parent)
    for shard in shards(path)[1:]:
        shard.rename(f"staged/{shard.name}")
    folder = inputs.opened(path.rename(f"staged/{path.name}")).folder
    assert folder == Path("staged/small")
    assert staged.contents(folder) == staged.FILES


def test_a_folder_and_an_archive_have_none(tmp_path: Path) -> None:
    assert inputs.opened(tmp_path) == inputs.Input(tmp_path, None, "")


def test_a_restart_reads_no_file_again(path: Path) -> None:
    inputs.opened(path)
    for shard in shards(path):
        shard.unlink()
    file = path.with_name("small") / "train/p1/seg.nii"
    held = file.stat()
    file.write_bytes(b"\3" * held.st_size)  # the same size and time: trusted, which is the price of a cheap start
    os.utime(file, ns=(held.st_atime_ns, held.st_mtime_ns))
    inputs.opened(path)
    os.utime(file)
    with pytest.raises(BadMachine, match=r"seg.nii: missing, or changed since it was unpacked; its bytes; small-0002-"):
        inputs.opened(path)


def test_a_file_that_was_only_touched_is_right(path: Path) -> None:
    folder = inputs.opened(path).folder
    for shard in shards(path):
        shard.unlink()
    os.utime(folder / "train/p1/seg.nii", (1, 1))
    before = path.with_name(RECORD).read_bytes()
    inputs.opened(path)
    assert path.with_name(RECORD).read_bytes() != before  # and is trusted from now on


def test_what_was_changed_is_unpacked_again(path: Path) -> None:
    folder = inputs.opened(path).folder
    kept = (folder / "train/p1/flair.nii").stat().st_ino
    (folder / "train/p1/seg.nii").write_bytes(b"changed")
    shutil.rmtree(folder / "train/p2")
    (folder / "train/p3/flair.nii").unlink()
    (folder / "train/p3/flair.nii").mkdir()
    assert staged.contents(inputs.opened(path).folder) == staged.FILES
    assert (folder / "train/p1/flair.nii").stat().st_ino == kept
    assert staged.contents(inputs.opened(path).folder) == staged.FILES


def test_a_shard_that_was_changed_too(path: Path) -> None:
    folder = inputs.opened(path).folder
    (folder / "train/p1/seg.nii").write_bytes(b"changed")
    for shard in shards(path):
        shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(BadMachine, match="as the manifest says; a transfer or a cache"):
        inputs.opened(path)


@pytest.mark.parametrize("kind", ["file", "link", "folder behind a link"])
def test_something_that_nobody_staged(path: Path, tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    folder = inputs.opened(path).folder
    if kind == "file":
        (folder / "train/p4").mkdir()
        (folder / "train/p4/flair.nii").write_bytes(b"4")
        said = "train/p4/flair.nii"
    elif kind == "link":
        (folder / "train/p4.nii").symlink_to(path)
        said = "train/p4.nii"
    else:
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        (folder / "train/p1").rename(elsewhere / "p1")
        (folder / "train/p1").symlink_to(elsewhere / "p1")
        said = "train/p1"
    with pytest.raises(BadMachine, match=f"small/{said}: is not in the manifest; nothing beside what was staged"):
        inputs.opened(path)


def test_a_folder_of_the_users(path: Path) -> None:
    mine = path.with_name("small")
    mine.mkdir()
    (mine / "thesis.tex").write_bytes(b"years")
    folder = inputs.opened(path).folder
    assert folder.name == f"small-{manifest.read(path).sha256()[:12]}"
    assert staged.contents(folder) == staged.FILES
    assert staged.contents(mine) == {"thesis.tex": b"years"}
    assert inputs.opened(path).folder == folder  # at the next start too
    assert (path.parent / f".{folder.name}-inputs.json").is_file()


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_both_names_taken(path: Path, kind: str) -> None:
    for name in ("small", f"small-{manifest.read(path).sha256()[:12]}"):
        if kind == "file":
            path.with_name(name).write_bytes(b"mine")
        else:
            path.with_name(name).symlink_to("nowhere")
    with pytest.raises(
        BadInput, match=r"small-[0-9a-f]{12}: is there and is not from this manifest; a free name; move"
    ):
        inputs.opened(path)


def test_two_manifests_of_one_name(tmp_path: Path) -> None:
    """Two folds' views, as a person has them in one folder."""
    one = staged.build(tmp_path, staged.FILES, 2)
    two = staged.build(tmp_path, {"train/p9/flair.nii": b"9"}, 1)
    assert staged.contents(inputs.folder(one)) == staged.FILES
    assert staged.contents(inputs.folder(two)) == {"train/p9/flair.nii": b"9"}
    assert staged.contents(inputs.folder(one)) == staged.FILES


@pytest.mark.parametrize("record", [None, b"", b"{}", b"[]", b'{"format": 1, "files": 3}'])
def test_a_record_that_is_lost(path: Path, record: bytes | None) -> None:
    """The folder is taken if every byte is right; else it is somebody's."""
    folder = inputs.opened(path).folder
    place = path.with_name(RECORD)
    if record is None:
        place.unlink()
    else:
        place.write_bytes(record)
    for shard in shards(path):
        shard.rename(shard.with_suffix(".away"))
    assert inputs.opened(path).folder == folder
    assert json.loads(place.read_bytes())["manifest"] == manifest.read(path).sha256()
    place.unlink()
    (folder / "README").write_bytes(b"mine now")
    for shard in shards(path):
        shard.with_suffix(".away").rename(shard)
    assert inputs.opened(path).folder != folder
    assert (folder / "README").read_bytes() == b"mine now"


def test_a_record_without_its_folder(path: Path) -> None:
    """A kill between writing the one and naming the other."""
    inputs.opened(path).folder.rename(path.with_name(".unpacking-small"))
    assert staged.contents(inputs.opened(path).folder) == staged.FILES
    assert not path.with_name(".unpacking-small").exists()


def test_a_shard_is_missing(path: Path) -> None:
    gone = shards(path)[1]
    gone.unlink()
    said = rf"{gone.name}: missing; every shard that {path.name} lists; .*`osgdl stage use {path.name} FILE.sub`"
    with pytest.raises(BadInput, match=said):
        inputs.opened(path)
    assert not path.with_name("small").exists()


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(map(len, staged.FILES.values()))
    monkeypatch.setattr(unpack, "MARGIN", 10**18)
    said = rf"bytes free on this machine's disk; {10**18 + size:,} to unpack the data; ask for room: request_disk = "
    with pytest.raises(BadMachine, match=said):
        inputs.opened(path)
    assert not path.with_name("small").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"{path.name}: its SHA-256 begins with .*; a manifest as `osgdl stage` wrote"):
        inputs.opened(path)


def test_a_manifest_of_another_name(path: Path) -> None:
    moved = path.rename(path.with_name("brats.json"))
    with pytest.raises(BadInput, match=r"brats.json: brats.json, wanted NAME-manifest-HASH.json; a manifest"):
        inputs.opened(moved)


def _open(path: Path, ready: Barrier) -> None:
    ready.wait()
    inputs.opened(path)


def test_processes_at_once(tmp_path: Path) -> None:
    files = {f"p{number}/flair.nii": bytes(4_000_000) for number in range(10)}
    path = staged.build(tmp_path, files, 2)
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    processes = [context.Process(target=_open, args=(path, ready)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert {place.name for place in tmp_path.iterdir() if place.is_dir()} == {"small"}


def test_a_link_to_the_same_bytes_is_no_file(tmp_path: Path) -> None:
    path = staged.build(tmp_path, {"a": b"../elsewhere"}, 1)
    folder = inputs.opened(path).folder
    (tmp_path / "elsewhere").write_bytes(b"../elsewhere")
    (folder / "a").unlink()
    (folder / "a").symlink_to("../elsewhere")  # as long as the file
    inputs.opened(path)
    assert not (folder / "a").is_symlink()
    assert (folder / "a").read_bytes() == b"../elsewhere"
