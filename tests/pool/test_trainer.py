"""The rendered project's real trainer, in the container, on the pool: wrong data, eviction, both image syntaxes."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from submit import image_build, project
from submit.description import Description
from submit.job_history import JobHistory
from tests.conftest import Condor
from tests.pool.conftest import Job, render, submit
from unet_segmentation import phantom

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("trainer")]

SIZE = (48, 48, 32)


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms to train on and one to score on, in the layout of BraTS 2021."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    phantom.write(folder, phantom.parts(3, "2:1"), 1, "brats2021", SIZE)
    return folder


def first(folder: Path, kind: str) -> Path:
    return sorted(folder.glob(f"train/*/*_{kind}.nii.gz"))[0]


def rewrite(file: Path, change: Callable[[Any], Any]) -> None:
    old = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(change(np.asarray(old.dataobj).copy()), old.affine), file)


def missing_modality(folder: Path) -> str:
    file = first(folder, "t1ce")
    file.unlink()
    return file.name.removesuffix(".nii.gz")


def other_shape(folder: Path) -> str:
    file = first(folder, "t2")
    rewrite(file, lambda values: values[:-1])
    return file.name


def not_a_number(folder: Path) -> str:
    file = first(folder, "flair")

    def poison(values: Any) -> Any:
        values = values.astype("float32")
        values[3, 3, 3] = np.nan
        return values

    rewrite(file, poison)
    return file.name


def truncated(folder: Path) -> str:
    file = first(folder, "t1")
    file.write_bytes(file.read_bytes()[:-2000])
    return file.name


def foreign_label(folder: Path) -> str:
    file = first(folder, "seg")

    def change(values: Any) -> Any:
        values[values == 4] = 9
        return values

    rewrite(file, change)
    return file.name


def empty(folder: Path) -> str:
    shutil.rmtree(folder / "train")
    (folder / "train").mkdir()
    return "train"


FAULTS = (missing_modality, other_shape, not_a_number, truncated, foreign_label, empty)


@pytest.fixture(scope="module")
def faulty(
    condor: Condor, image: str, patients: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Job, str]]:
    """A job for each fault, all queued at once, and the name its hold reason must hold."""
    folder = render(tmp_path_factory.mktemp("faulty"))
    jobs = {}
    for fault in FAULTS:
        shutil.copytree(patients, folder / fault.__name__)
        name = fault(folder / fault.__name__)
        jobs[fault.__name__] = (submit(condor, folder, "train.sub", f"data={fault.__name__}"), name)
    return jobs


@pytest.mark.parametrize("fault", [fault.__name__ for fault in FAULTS])
def test_wrong_data_is_held_with_the_file(faulty: dict[str, tuple[Job, str]], condor: Condor, fault: str) -> None:
    job, name = faulty[fault]
    history = job.wait("held", "done")
    assert history.hold_code == (3, 65), history
    assert history.hold_reason.startswith("osgdl: exit code 65, try 1: ") and name in history.hold_reason
    assert name in condor.run(["condor_q", "-hold", "-wide", str(job.cluster)], cwd=Path("/")).stdout


def trained(folder: Path, job: Job) -> dict[str, Any]:
    file = folder / "results" / f"{job.cluster}.0" / "metrics.json"
    return dict(json.loads(file.read_text()))


def configure(folder: Path, section: str, **values: Any) -> None:
    """Set keys of config.toml's section, as a user would with an editor."""
    file = folder / "config.toml"
    head, mark, tail = file.read_text().partition(f"[{section}]\n")
    assert mark, f"no [{section}] in {file}"
    for key, value in values.items():
        tail = re.sub(rf"(?m)^{key} *=.*\n", "", tail, count=1)
        tail = f"{key} = {value}\n{tail}"
    file.write_text(head + mark + tail)


@pytest.fixture(scope="module")
def small(image: str, patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that trains for half a minute."""
    folder = render(tmp_path_factory.mktemp("small"))
    shutil.copytree(patients, folder / "data")
    configure(folder, "train", steps=60, batch_size=4, patch=32)
    configure(folder, "model", width=4, levels=3)
    return folder


@pytest.fixture(scope="module")
def whole(condor: Condor, small: Path) -> tuple[Job, JobHistory]:
    """The run that nothing disturbs."""
    job = submit(condor, small)
    return job, job.wait("done", "held")


def test_the_results_come_home(whole: tuple[Job, JobHistory], small: Path) -> None:
    job, history = whole
    assert history.exit_code == 0, history
    result = small / "results" / f"{job.cluster}.0"
    metrics = trained(small, job)
    assert metrics["steps"] == 60 and set(metrics["dice"]) and metrics["provenance"]["site"] == history.starts[0].site
    assert "simulated GPU" in metrics["provenance"]["device"]
    for name in ("model.keras", "model.json", "dataset.json", "history.csv", *metrics["pictures"]):
        assert (result / name).stat().st_size, name
    assert list(result.glob("predictions/*.nii.gz"))
    assert not list(small.glob("checkpoint*")), "what is left of a run's checkpoints does not belong into the project"


def test_an_evicted_job_goes_on_elsewhere_bit_for_bit(
    condor: Condor, small: Path, whole: tuple[Job, JobHistory], tmp_path: Path
) -> None:
    folder = tmp_path / "evicted"
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("results", "logs"))
    (folder / "logs").mkdir()
    (folder / "results").mkdir()
    configure(folder, "checkpoint", leave_every_steps=20)
    job = submit(condor, folder)
    deadline = time.monotonic() + 240
    # evicted once it works again after its first exit 85
    while not (job.ad().get("CheckpointNumber", -1) >= 0 and job.ad().get("ChirpOsgdlStep", 0) >= 20):
        assert time.monotonic() < deadline and job.history().state != "held", job.log.read_text()
        time.sleep(0.5)
    assert condor.run(["condor_vacate_job", "-fast", f"{job.cluster}.0"], cwd=folder).returncode == 0
    history = job.wait("done", "held")
    assert history.exit_code == 0 and history.evictions >= 1
    places = [start.site for start in history.starts]
    assert len(places) >= 2 and places[0] != places[-1], places
    assert re.search(r"resumed +at step (20|40) of 60", (folder / "logs" / f"{job.cluster}.0.out").read_text())
    assert trained(folder, job)["weights_sha256"] == trained(small, whole[0])["weights_sha256"]


def test_the_other_image_syntax_runs_too(condor: Condor, image: str, small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "standard"
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("results", "logs"))
    (folder / "logs").mkdir()
    (folder / "results").mkdir()
    configure(folder, "train", steps=4)
    project.use_image(image, [folder / "train.sub"], "container_image")
    description = Description.read(folder / "train.sub")
    assert description.get("container_image") == image and description.get("+SingularityImage") is None
    job = submit(condor, folder)
    assert job.wait("done", "held").exit_code == 0, job.log.read_text()


def test_a_sif_beside_the_submit_file_runs_too(
    request: pytest.FixtureRequest, condor: Condor, image: str, small: Path, tmp_path: Path
) -> None:
    """A file of half a gigabyte, built from the rendered recipe and sent by HTCondor."""
    if not request.config.getoption("--soak"):
        pytest.skip("packing 2 GB takes minutes: make soak (test_pool.py runs a small .sif)")
    folder = tmp_path / "sif"
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("results", "logs"))
    (folder / "logs").mkdir()
    (folder / "results").mkdir()
    configure(folder, "train", steps=4)
    image_build.build(folder / "container.def", str(folder / "unet-v1.sif"), cpu=True, force=False, say=print)
    project.use_image("unet-v1.sif", [folder / "train.sub"])
    assert Description.read(folder / "train.sub").get("container_image") == "unet-v1.sif"
    job = submit(condor, folder)
    assert job.wait("done", "held", seconds=400).exit_code == 0, job.log.read_text()
