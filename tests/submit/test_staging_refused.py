"""Every reason why data do not travel: said in one line, and nothing of them lies at the destination."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from submit import dataset_facts, packs, staging, trainer
from submit.errors import StageError
from submit.origin import Room
from submit.origin_folder import FolderOrigin
from submit.runtime import manifest
from submit.staged import Options, check
from tests.submit.dataset_maker import UNCHECKED, facts, files, patients, shards, stage, uploaded

ROOT = Path(__file__).parents[2]
SMALL = replace(UNCHECKED, shard_bytes=3000)


pytestmark = pytest.mark.usefixtures("cache")


def refused(source: Path, dest: Path, words: str, options: Options = SMALL, lines: int = 1) -> str:
    """Stages, and looks whether it is refused in these words, with nothing left behind."""
    before = set(dest.iterdir()) if dest.is_dir() else set()
    with pytest.raises(StageError, match=words) as caught:
        stage(source, dest, dest.parent, options)
    assert str(caught.value).count("\n") < lines
    assert (set(dest.iterdir()) if dest.is_dir() else set()) == before
    assert not (dest.parent / "staged").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(name="a b"), "--name='a b': no name of objects; 1 to 64 letters, digits and . _ - are wanted"),
        (Options(name="n" * 65), "no name of objects"),
        (Options(compression="lzma"), "--compression='lzma': unknown; one of auto, none, zstd is wanted"),
        (Options(workers=0), "--workers=0: no such number; 1 to 64"),
        (Options(workers=65), "no such number"),
    ],
)
def test_options(options: Options, words: str) -> None:
    with pytest.raises(StageError, match=words):
        check(options)


def test_names_of_folders(tmp_path: Path, dest: Path) -> None:
    refused(
        patients(tmp_path / "Ä patients"), dest, "SOURCE='Ä patients': its name cannot be that of .* Add --name NAME"
    )
    refused(patients(tmp_path / "MRN-0012345"), dest, "SOURCE: the folder's name looks as if it identified a person")
    stage(tmp_path / "MRN-0012345", dest, tmp_path, replace(SMALL, name="brats"))


def test_no_folder(tmp_path: Path, dest: Path) -> None:
    refused(tmp_path / "Ä nowhere", dest, "no such folder; the folder of a data set is wanted")


@pytest.mark.parametrize("inside", [".", "staged", "deep/below"])
def test_a_destination_in_the_source(source: Path, tmp_path: Path, inside: str) -> None:
    """What is staged would be data the next time."""
    (tmp_path / "link").symlink_to(source)
    for place in (source / inside, tmp_path / "link" / inside):
        with pytest.raises(StageError, match="which staging writes to, lies in it; the data alone are wanted"):
            stage(source, place, tmp_path, SMALL)
    assert len(list(source.iterdir())) == 6


def test_a_project_in_the_source(source: Path, dest: Path) -> None:
    with pytest.raises(StageError, match="brats/staged, which staging writes to, lies in it"):
        stage(source, dest, source, SMALL)


def test_a_source_in_the_destination(dest: Path, tmp_path: Path) -> None:
    """A person's folder of the OSDF may hold the images too; objects lie beside them."""
    source = patients(dest / "images")
    stage(source, dest, tmp_path, SMALL)
    assert stage(source, dest, tmp_path, SMALL).unchanged


def test_what_identifies(source: Path, dest: Path, tmp_path: Path) -> None:
    files(source, {"p001/notes.json": b'{"PatientName": "Smith^John"}'})
    said = refused(source, dest, "Nothing was sent", lines=8)
    assert "p001/notes.json" in said and "Smith" not in said
    named = replace(SMALL, reason="Mrs. Jane Smith, born 1.2.1950, agreed")
    refused(source, dest, "^reason: looks as if it identified a person; .* Word it otherwise", named)
    done = stage(source, dest, tmp_path, replace(SMALL, reason="the name is made up"))
    said_there = manifest.read(done.manifest).privacy
    assert said_there["override"] == "the name is made up" and said_there["findings"] == 1
    assert any("p001/notes.json" in line for line in done.findings)
    again = stage(source, dest, tmp_path, replace(SMALL, reason="the name is made up"))
    assert again.unchanged and again.findings == done.findings
    with pytest.raises(StageError, match="Nothing was sent"):  # nobody says so this time
        stage(source, dest, tmp_path, SMALL)
    (source / "p001/notes.json").unlink()
    clean = manifest.read(stage(source, dest, tmp_path, replace(SMALL, reason="not needed")).manifest)
    assert clean.privacy == {"checked": True, "findings": 0, "override": None}


def test_no_room(tmp_path: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known before the first byte is read: the file is sparse, of 4 TB."""
    source = tmp_path / "large"
    source.mkdir()
    with (source / "volume.raw").open("wb") as file:
        file.truncate(4 * 10**12)
    monkeypatch.setattr(packs, "pack", lambda *_: pytest.fail("packed"))
    refused(source, dest, r"origin: room for .* \(what is free on the disk of .*\), 4.0 TB are wanted. Remove what")

    class Silent(FolderOrigin):
        """As the OSDF through Pelican: nobody knows what fits, and shards are built on another disk."""

        def room(self) -> Room:
            return Room(None, None, "nobody knows")

    with pytest.raises(
        StageError, match=r"origin: .* free, 4.0 TB are wanted to build shards in; make room, set TMPDIR"
    ):
        staging.stage(source, Silent(dest, str(dest)), tmp_path, UNCHECKED, print, lambda title: None)
    assert not [path for path in dest.iterdir() if not path.name.startswith(".")]


def test_what_lies_in_the_way(source: Path, dest: Path, tmp_path: Path) -> None:
    names = list(shards(stage(source, dest, tmp_path, SMALL)))
    (dest / names[1]).write_bytes(b"another size")
    with pytest.raises(StageError, match=f"{names[1]}: holds 12 bytes; .* were to be put there, and nothing is ever"):
        stage(source, dest, tmp_path, SMALL)
    assert (dest / names[1]).read_bytes() == b"another size"
    (dest / names[1]).unlink()
    (dest / names[1]).mkdir()
    with pytest.raises(StageError, match="holds something that is no file"):
        stage(source, dest, tmp_path, SMALL)


def test_a_file_that_changes_while_it_is_packed(
    source: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same size, so that packing itself sees nothing."""
    file, pack, before = source / "p002/p002_t1.raw", packs.pack, (source / "p002/p002_t1.raw").read_bytes()

    def packed(members: Any, *rest: Any) -> packs.Packed:
        if file in [member.source for member in members]:
            file.write_bytes(bytes(len(before)))
        return pack(members, *rest)

    monkeypatch.setattr(packs, "pack", packed)
    words = "brats: files of .*p002.* changed while they were packed; .* nobody writes to"
    with pytest.raises(StageError, match=words):
        stage(source, dest, tmp_path, SMALL)
    assert not list(dest.glob("*manifest*"))
    monkeypatch.undo()
    monkeypatch.setenv("OSGDL_CACHE", str(tmp_path / "cache"))
    assert uploaded(stage(source, dest, tmp_path, SMALL))


def test_one_failure_ends_the_others(source: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody goes on packing for hours; what was put counts the next time."""
    packed, pack, lock = [], packs.pack, threading.Lock()

    def counted(members: Any, *rest: Any) -> packs.Packed:
        with lock:
            packed.append(members[0].path)
            if len(packed) == 2:
                raise OSError(28, "No space left on device")
        return pack(members, *rest)

    monkeypatch.setattr(packs, "pack", counted)
    many = patients(tmp_path / "many", 60)
    with pytest.raises(StageError, match=r"\.spool: No space left on device; room to build a shard in is wanted"):
        stage(many, dest, tmp_path, replace(SMALL, shard_bytes=1000))
    assert len(packed) < 6
    monkeypatch.setattr(packs, "pack", pack)
    there = len(list(dest.glob("*.tar")))
    done = stage(many, dest, tmp_path, replace(SMALL, shard_bytes=1000))
    assert len(uploaded(done)) == len(shards(done)) - there


def test_ctrl_c_ends_at_once(dest: Path, tmp_path: Path) -> None:
    """Not after the shard of gigabytes that a thread is at."""
    source = tmp_path / "large"
    source.mkdir()
    for number in range(3):
        with (source / f"{number}.raw").open("wb") as file:
            file.truncate(6 * 10**9)
    code = (
        "import sys; from pathlib import Path; from tests.submit.dataset_maker import stage, Options\n"
        "stage(*map(Path, sys.argv[1:4]), Options(verify=False, compression='zstd'))"
    )
    command = [sys.executable, "-c", code, str(source), str(dest), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
        while not (spools := list(dest.glob(".*.spool/*"))) or not spools[0].stat().st_size:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        began = time.monotonic()
        child.wait(60)
        assert time.monotonic() - began < 2 and child.stderr and "KeyboardInterrupt" in child.stderr.read()
    assert not list(dest.iterdir())


SPLITS: list[tuple[object, str]] = [
    ("nothing", r"splits='.*splits.json': no folds \(.*\). Write it again: python -m unet_segmentation split"),
    ({"folds": [{"validation": ["p000"]}]}, "no folds .not of the form"),
    ({"folds": [{"validation": []}, {"validation": ["p000"]}]}, "no folds .not of the form"),
    ({"folds": [{"validation": [1]}, {"validation": ["p000"]}]}, "no folds .not of the form"),
    ({"folds": [{"validation": ["p000"]}, {"validation": ["p009"]}]}, "p009 is not in the data; every patient in one"),
    ({"folds": [{"validation": ["p000"]}, {"validation": ["p000"]}]}, "p000 is more than once; every patient in one"),
    ({"folds": [{"validation": ["p000"]}, {"validation": ["p002"]}]}, "p001 is in no fold; every patient in one"),
]


@pytest.mark.parametrize(("held", "words"), SPLITS)
def test_splits_that_do_not_fit(
    source: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: object, words: str
) -> None:
    monkeypatch.setattr(dataset_facts, "verified", lambda *_: facts())
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps(held) if held != "nothing" else "nothing")
    refused(source, dest, words, Options(splits=splits))


def test_splits_without_patients_or_a_file(
    source: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = tmp_path / "splits.json"
    refused(source, dest, "nobody said who the patients are; leave --no-verify out", replace(SMALL, splits=splits))
    monkeypatch.setattr(dataset_facts, "verified", lambda *_: facts())
    refused(source, dest, "no folds .*No such file", Options(splits=splits))


def test_a_folder_that_says_it_is_prepared(source: Path, dest: Path) -> None:
    (source / "dataset.json").write_text('{"kind": "prepared"}')
    refused(source, dest, "dataset.json: format: null, wanted 1. Write it again: python -m unet_segmentation verify")
    (source / "dataset.json").write_text(json.dumps(facts(kind="prepared")))
    (source / "p003/p003_t1.raw").unlink()
    refused(source, dest, "p003/p003_t1.raw: not there, and dataset.json has it; prepare it again")


def test_no_trainer(source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.importlib.util, "find_spec", lambda name: None)
    words = "no unet_segmentation in it; a project's folder is wanted\\. .* --no-verify"
    refused(source, dest, words, Options())


def test_data_that_change_while_they_are_checked(source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def verified(*_: Any) -> dict[str, Any]:
        os.utime(source / "p000/p000_t1.raw")
        return facts()

    monkeypatch.setattr(dataset_facts, "verified", verified)
    refused(source, dest, "brats: changed while it was checked; a data set that nobody writes to is wanted", Options())
