"""Folds, parts, and what the trainer said of the data: in shards of their own, views and the manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from submit import dataset_facts, packs
from submit.runtime import manifest
from submit.staged import Options
from tests.submit.dataset_maker import facts, files, held, patients, shards, stage, unpacked, uploaded

CHECKED = Options(shard_bytes=3000)


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the trainer says of `patients`; the real one is in test_staging_refused.py and tests/pool."""
    said = facts()
    monkeypatch.setattr(dataset_facts, "verified", lambda *_: json.loads(json.dumps(said)))
    return said


def test_folds(source: Path, dest: Path, tmp_path: Path, trainer: dict[str, Any]) -> None:
    files(source, {"LICENCE": b"free\n"})
    splits = tmp_path / "splits.json"
    folds = [[f"p{number:03}" for number in range(6) if number % 2 == fold] for fold in (0, 1)]
    splits.write_text(json.dumps({"folds": [{"validation": fold} for fold in folds]}))
    done = stage(source, dest, tmp_path, replace(CHECKED, splits=splits))
    whole = manifest.read(done.manifest)
    assert whole.dataset == trainer and whole.split is None
    for number, out in enumerate(folds):
        rest = folds[1 - number]
        for part, wanted in (("training", rest), ("validation", out)):
            view = manifest.read(done.views[number, part])
            assert view.split == {"training": rest, "validation": out}
            assert view.view == {"of": whole.sha256(), "fold": number, "part": part}
            assert sorted(name for shard in view.shards for name in shard.patients) == wanted
            assert all(shard in whole.shards for shard in view.shards)
            assert any("LICENCE" in shard.files for shard in view.shards)
    assert len(done.views) == 4
    scored = stage(source, dest, tmp_path, replace(CHECKED, splits=splits, scored=True))
    assert set(scored.views) == {(0, "all"), (0, "validation"), (1, "all"), (1, "validation")}
    assert manifest.read(scored.views[0, "all"]).shards == whole.shards
    again = stage(source, dest, tmp_path, replace(CHECKED, splits=splits, scored=True))
    assert again.unchanged and again.views == scored.views
    scored.views[0, "all"].unlink()
    assert not stage(source, dest, tmp_path, replace(CHECKED, splits=splits, scored=True)).unchanged
    splits.write_text(json.dumps({"folds": [{"validation": fold} for fold in folds[::-1]]}))
    assert not stage(source, dest, tmp_path, replace(CHECKED, splits=splits, scored=True)).unchanged


def test_a_new_patient_sends_its_fold_alone(
    source: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, said = tmp_path / "splits.json", facts(count=7, kind="files")
    monkeypatch.setattr(dataset_facts, "verified", lambda *_: said)
    patients(source, 7)
    last = said["patients"].pop("p006")
    shutil.rmtree(source / "p006")
    for new in (False, True):
        if new:
            patients(source, 7)
            said["patients"]["p006"] = last
        folds = [
            [name for number, name in enumerate(sorted(said["patients"])) if number % 2 == fold] for fold in (0, 1)
        ]
        splits.write_text(json.dumps({"folds": [{"validation": fold} for fold in folds]}))
        done = stage(source, dest, tmp_path, Options(splits=splits))
    (name,) = uploaded(done)
    assert manifest.read(done.views[0, "validation"]).shards[0].name == name


def test_parts_of_a_prepared_folder(source: Path, dest: Path, tmp_path: Path) -> None:
    parts = {"training": ["p000", "p001", "p002", "p003"], "validation": ["p004", "p005"]}
    (source / "dataset.json").write_text(json.dumps(facts(kind="prepared", synthetic=True, parts=parts)))
    done = stage(source, dest, tmp_path, CHECKED)
    said = manifest.read(done.manifest)
    assert said.kind == "prepared" and said.synthetic and said.split == parts and not done.views
    assert not any(set(one.patients) & {"p004", "p005"} and set(one.patients) & {"p000"} for one in said.shards)
    assert unpacked(dest, list(shards(done))) == held(source)


def test_hashes_of_the_trainer_are_used(
    source: Path, dest: Path, tmp_path: Path, trainer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[dict[str, str]] = []
    pack = packs.pack

    def packed(*given: Any) -> packs.Packed:
        handed.append(given[3])
        return pack(*given)

    monkeypatch.setattr(packs, "pack", packed)
    said = manifest.read(stage(source, dest, tmp_path, CHECKED).manifest)
    assert set(handed[0]) == set(held(source))
    for shard in said.shards:
        assert {path: file.sha256 for path, file in shard.files.items()} == {
            path: hashlib.sha256(held(source)[path]).hexdigest() for path in shard.files
        }
