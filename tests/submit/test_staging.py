"""Staging from a folder into a folder: what lies there afterwards, what a change sends, and what a second run does."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from submit import packs, staging
from submit.runtime import manifest
from submit.staged import Options
from tests.submit.dataset_maker import (
    UNCHECKED,
    content,
    files,
    held,
    is_itself,
    patients,
    shards,
    stage,
    unpacked,
    uploaded,
)

SMALL = Options(verify=False, shard_bytes=3000)


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that staging packs, sampled or looked into, by name."""
    seen: list[str] = []
    look, chunks = staging.privacy.examine, packs._chunks

    def examine(root: Path, some: list[Path], *rest: Any) -> Any:
        seen.extend(file.name for file in some)
        return look(root, some, *rest)

    def read(member: packs.Member) -> Iterator[bytes]:
        seen.append(member.source.name)
        return chunks(member)

    monkeypatch.setattr(staging.privacy, "examine", examine)
    monkeypatch.setattr(packs, "_chunks", read)
    return seen


def test_what_lies_there(source: Path, dest: Path, tmp_path: Path) -> None:
    files(source, {"LICENCE": b"free\n", "zeros/z.raw": bytes(3_000_000)})
    done = stage(source, dest, tmp_path, SMALL)
    said = manifest.read(done.manifest)
    assert done.manifest.parent == tmp_path / "staged" and not done.unchanged and not done.findings
    assert (said.name, said.at, said.kind, said.dataset, said.split, said.view) == (
        "brats", str(dest), "files", None, None, None
    )  # fmt: skip
    assert said.privacy == {"checked": True, "findings": 0, "override": None}
    assert unpacked(dest, [shard.name for shard in said.shards]) == held(source)
    assert (dest / done.manifest.name).read_bytes() == done.manifest.read_bytes()
    assert {path.name: path.stat().st_size for path in dest.iterdir()} == {one.name: one.bytes for one in done.objects}
    assert all(is_itself(path) for path in dest.iterdir()) and all(one.uploaded for one in done.objects)
    assert [one.name.endswith(".tar.zst") for one in said.shards] == ["zeros/z.raw" in one.files for one in said.shards]
    for shard in said.shards:
        for path, file in shard.files.items():
            assert file == manifest.File(len(held(source)[path]), hashlib.sha256(held(source)[path]).hexdigest())


def test_the_same_anywhere(source: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other times, another order on disk, another cache, another number of threads: the same manifest."""
    first = stage(source, dest, tmp_path, SMALL)
    there = tmp_path / "elsewhere/brats"
    for path, some in sorted(held(source).items(), reverse=True):
        files(there, {path: some})
    monkeypatch.setenv("OSGDL_CACHE", str(tmp_path / "other cache"))
    again = stage(there, dest, tmp_path / "elsewhere", replace(SMALL, workers=5))
    assert again.manifest.name == first.manifest.name and not any(one.uploaded for one in again.objects)
    assert not again.unchanged


def test_a_second_run_does_nothing(source: Path, dest: Path, tmp_path: Path, opened: list[str]) -> None:
    first = stage(source, dest, tmp_path, SMALL)
    before = {path: path.stat() for path in [*dest.iterdir(), first.manifest]}
    assert opened
    opened.clear()
    (dest / f".osgdl-{'0' * 16}.lock").touch()  # of a run that was killed when all was put
    again = stage(source, dest, tmp_path, replace(SMALL, workers=1))
    assert again.unchanged and not opened
    assert again.manifest == first.manifest
    assert [replace(one, uploaded=True) for one in again.objects] == first.objects
    assert not any(one.uploaded for one in again.objects)
    assert {path: path.stat() for path in [*dest.iterdir(), first.manifest]} == before


def edited(source: Path) -> None:
    (source / "p002/p002_t1.raw").write_bytes(content("edited", 1000))


def added(source: Path) -> None:
    files(source, {"p002/p002_seg.raw": 10})


def removed(source: Path) -> None:
    (source / "p002/p002_t1.raw").unlink()


def renamed(source: Path) -> None:
    (source / "p002/p002_t1.raw").rename(source / "p002/p002_t2.raw")


@pytest.mark.parametrize("change", [edited, added, removed, renamed])
def test_only_its_shard_travels(
    source: Path, dest: Path, tmp_path: Path, change: Callable[[Path], None], opened: list[str]
) -> None:
    options = replace(SMALL, shard_bytes=2000)
    first = stage(source, dest, tmp_path, options)
    before, kept = shards(first), {path.name: path.read_bytes() for path in dest.iterdir()}
    assert len(before) > 2
    change(source)
    opened.clear()
    again = stage(source, dest, tmp_path, options)
    (new,) = uploaded(again)
    (old,) = set(before) - set(shards(again))
    assert any("p002" in path for path in before[old]) and set(shards(again)) - set(before) == {new}
    assert {path.name: path.read_bytes() for path in dest.iterdir() if path.name in kept} == kept  # nothing replaced
    packed = opened[len(held(source)) :]  # after the gate, which looks at all
    assert sorted(packed) == sorted(Path(path).name for path in shards(again)[new])
    assert unpacked(dest, list(shards(again))) == held(source)


def test_a_file_that_was_touched_sends_nothing(source: Path, dest: Path, tmp_path: Path) -> None:
    first = stage(source, dest, tmp_path, SMALL)
    os.utime(source / "p002/p002_t1.raw", (1, 1))
    again = stage(source, dest, tmp_path, SMALL)
    assert again.manifest == first.manifest and not again.unchanged and not any(one.uploaded for one in again.objects)


def test_what_was_lost_comes_back(source: Path, dest: Path, tmp_path: Path, cache: Path) -> None:
    first = stage(source, dest, tmp_path, SMALL)
    there = {path.name: path.read_bytes() for path in dest.iterdir()}
    for name, some in there.items():
        (dest / name).unlink()
        again = stage(source, dest, tmp_path, SMALL)
        assert not again.unchanged and [one.name for one in again.objects if one.uploaded] == [name]
        assert (dest / name).read_bytes() == some
    for damage in (lambda: first.manifest.unlink(), lambda: first.manifest.write_bytes(b"{}")):
        damage()
        assert not stage(source, dest, tmp_path, SMALL).unchanged
        assert manifest.read(first.manifest).file_name() == first.manifest.name
    shutil.rmtree(tmp_path / "staged")
    shutil.rmtree(cache)
    assert not any(one.uploaded for one in stage(source, dest, tmp_path, SMALL).objects)
    assert stage(source, dest, tmp_path, SMALL).unchanged


def test_a_damaged_ledger(source: Path, dest: Path, tmp_path: Path, cache: Path) -> None:
    """Whatever it holds, it costs time alone."""
    first = stage(source, dest, tmp_path, SMALL)
    (ledger,) = (cache / "staging").iterdir()
    whole = ledger.read_bytes()
    damaged = [whole[:cut] for cut in range(0, len(whole), len(whole) // 20)]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), len(whole) // 20)]
    damaged += [b"\xff\x00", b'{"format": 1}', b"\n[]\n" + whole, whole + b'\n0123456789abcdef ["step", 1, 2]']
    for some in damaged:
        ledger.write_bytes(some)
        again = stage(source, dest, tmp_path, SMALL)
        assert again.manifest == first.manifest and not any(one.uploaded for one in again.objects)
        assert stage(source, dest, tmp_path, SMALL).unchanged


def test_other_wishes_are_not_unchanged(source: Path, dest: Path, tmp_path: Path) -> None:
    first = stage(source, dest, tmp_path, SMALL)
    for options in (replace(SMALL, compression="zstd"), replace(SMALL, name="other"), UNCHECKED):
        again = stage(source, dest, tmp_path, options)
        assert not again.unchanged and again.manifest != first.manifest
    back = stage(source, dest, tmp_path, SMALL)
    assert back.manifest == first.manifest and not any(one.uploaded for one in back.objects)


def test_two_runs_at_once(source: Path, dest: Path, tmp_path: Path) -> None:
    """Of the same data into the same place, and of other data into it: each ends with what it would have alone."""
    other = patients(tmp_path / "other", 9)
    sources = [source, source, other, source, other]
    with ThreadPoolExecutor(len(sources)) as pool:
        running = [pool.submit(stage, one, dest, tmp_path, SMALL) for one in sources]
        done = [one.result() for one in running]
    for one, said in zip(sources, done, strict=True):
        assert unpacked(dest, list(shards(said))) == held(one)
    assert all(is_itself(path) for path in dest.iterdir())
    assert sum(one.uploaded for said in done for one in said.objects) == len(list(dest.iterdir()))
    assert [said.unchanged for said in done].count(False) == 2


def test_empty_files_alone(dest: Path, tmp_path: Path) -> None:
    source = files(tmp_path / "nothing", {f"p{number}/{'n' * 120}é": b"" for number in range(50)})
    assert unpacked(dest, list(shards(stage(source, dest, tmp_path, SMALL)))) == held(source)
