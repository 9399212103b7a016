"""Real patients from a folder to the OSDF and from there into jobs: folds, an edit, a stale cache. On the pool."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from submit import osdf_local
from submit.runtime import manifest
from tests.conftest import Condor
from tests.pool.conftest import Job, osgdl, render, submit
from tests.pool.test_trainer import configure
from unet_segmentation import cli as trainer

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("staging")]

DEST = "osdf:///ospool/ap40/data/osgdl-tests/brats"


@pytest.fixture(scope="module")
def project(condor: Condor, image: str, brats2015: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with four real patients beside it, in two folds, staged to the pool's OSDF."""
    folder = render(tmp_path_factory.mktemp("staged"))
    for patient in sorted(brats2015.glob("*/*/")):
        shutil.copytree(patient, folder / "patients" / patient.name)
    shutil.rmtree(osdf_local.origin(DEST), ignore_errors=True)
    configure(folder, "train", steps=20, batch_size=4, patch=64)
    configure(folder, "model", width=4, levels=3)
    split = ["split", "--data", str(folder / "patients"), "--out", str(folder / "splits.json"), "--folds", "2"]
    assert trainer.main(split) == 0
    yield folder
    shutil.rmtree(osdf_local.origin(DEST), ignore_errors=True)


@pytest.fixture(scope="module")
def staged(project: Path) -> dict[str, Any]:
    """What `osgdl stage --json` said."""
    said = osgdl(project, "stage", "patients", DEST, "--local", "--splits", "splits.json", "--json")
    return dict(json.loads(said))


def result(folder: Path, job: Job, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / "results" / f"{job.cluster}.{job.proc}" / name).read_text()))


@pytest.fixture(scope="module")
def folds(condor: Condor, project: Path, staged: dict[str, Any]) -> list[Job]:
    """train.sub as staging left it: a job for each fold."""
    job = submit(condor, project)
    jobs = [replace(job, proc=proc) for proc in (0, 1)]
    for one in jobs:
        history = one.wait("done", "held")
        assert history.exit_code == 0, history
    return jobs


def test_each_fold_gets_its_own_shards_alone(project: Path, staged: dict[str, Any], folds: list[Job]) -> None:
    views = [view for view in staged["views"] if view["part"] == "training"]
    assert [view["fold"] for view in views] == [0, 1]
    sent = []
    for job, view in zip(folds, views, strict=True):
        held = manifest.read(project / view["manifest"])
        assert held.split is not None
        assert set(result(project, job, "dataset.json")["parts"]["training"]) == set(held.split["training"])
        scores = result(project, job, "metrics.json")
        assert scores["provenance"]["manifest_sha256"] == held.sha256() and scores["scored"] == "elsewhere"
        sent.append(set(re.findall(r"/brats/([^,\s]+)", job.ad()["TransferInput"])))
        assert sent[-1] == {shard.name for shard in held.shards}
    assert sent[0] != sent[1]


def test_who_was_held_out_is_scored_by_a_job_of_its_own(
    condor: Condor, project: Path, staged: dict[str, Any], folds: list[Job]
) -> None:
    view = next(view for view in staged["views"] if view["fold"] == 0 and view["part"] == "validation")
    held = manifest.read(project / view["manifest"])
    objects = ",".join(f"{held.at}/{shard.name}" for shard in held.shards)
    model = f"results/{folds[0].cluster}.0/model.keras"
    job = submit(
        condor, project, "predict.sub", f"model={model}", f"data={view['manifest']}", f"data_objects={objects}"
    )
    assert job.wait("done", "held").exit_code == 0
    assert held.split is not None
    found = {path.name for path in (project / "results" / f"{job.cluster}.0").rglob("*.nii.gz")}
    assert all(any(name in one for one in found) for name in held.split["validation"]), found


def test_an_edited_patient_is_one_new_shard(project: Path, staged: dict[str, Any], folds: list[Job]) -> None:
    words = ("stage", "patients", DEST, "--local", "--splits", "splits.json")
    there = {path: path.read_bytes() for path in sorted(osdf_local.origin(DEST).iterdir()) if path.is_file()}
    file = next((project / "patients").glob("*/Flair*.nii.gz"))
    old = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.asarray(old.dataobj) * 1.01, old.affine), file)
    again = json.loads(osgdl(project, *words, "--json"))
    fresh = [one["name"] for one in again["objects"] if one["uploaded"] and "manifest" not in one["name"]]
    assert len(fresh) == 1
    assert {path: path.read_bytes() for path in there} == there, "what old jobs read is untouched"
    osgdl(project, "stage", "verify", staged["manifest"], "--local")
    assert "nothing to do" in osgdl(project, *words)


def test_other_bytes_under_the_name_are_noticed(condor: Condor, project: Path, staged: dict[str, Any]) -> None:
    """One delivery of a cache, as long as the object and not the object: exit code 75, another machine, done."""
    osdf_local.spoil(stale=True, times=1, only="*.tar*")
    try:
        job = submit(condor, project)
        one, other = (replace(job, proc=proc).wait("done", "held") for proc in (0, 1))
    finally:
        osdf_local.clear()
    assert (one.exit_code, other.exit_code) == (0, 0), (one.hold_reason, other.hold_reason)
    assert sorted((len(one.starts), len(other.starts))) == [1, 2]
    ads = [replace(job, proc=proc).ad() for proc in (0, 1)]
    assert sum(bool(ad.get("ChirpOsgdlReturned75")) for ad in ads) == 1
