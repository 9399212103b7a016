"""What condor_submit makes of every project: the job ad, and no warning."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import classad2
import htcondor2  # noqa: F401  (before classad2 is used: countMatches is defined by it)
import pytest

from submit import images, stage_lines
from tests.conftest import Condor
from tests.submit import manifests
from tests.templates.conftest import SUBMIT_FILES, label, render, work_of

pytestmark = [pytest.mark.pool, pytest.mark.xdist_group("dry-run")]  # the matrix is rendered once

# least and greatest capability, least runtime (docs/compatibility.md)
BOUNDS = {
    "tensorflow-2.21": (6.0, 9.0, 12000),
    "tensorflow-2.17": (6.0, 9.0, 12000),
    "keras": (6.0, 9.0, 12000),
    "pytorch": (7.0, 12.1, 12000),
    "jax": (5.2, 12.1, 12000),
    "opencl": (3.5, None, 11000),
}

# one call for many projects: `dry run FOLDER...` leaves an ad and what was printed beside each submit file
SCRIPT = """
for folder in "$@"; do
    cd "$folder" || exit 1
    for name in *.sub; do
        name=${name%.sub}
        [ "$name" = evaluate ] && continue
        condor_submit -dry-run $name.ad $name.sub > $name.out 2> $name.err
        echo $? > $name.rc
    done
done
"""


def dry_run(condor: Condor, folders: list[Path]) -> None:
    done = condor.run(["sh", "-c", SCRIPT, "dry-run", *map(str, folders)], cwd=folders[0])
    assert done.returncode == 0, done.stderr


def ad(folder: Path, name: str = "train") -> Any:
    """The ad of the first job; the submit file was taken without a word on stderr."""
    assert (folder / f"{name}.err").read_text() == ""
    assert (folder / f"{name}.rc").read_text() == "0\n"
    assert "WARNING" not in (folder / f"{name}.out").read_text()
    # the others' ads, below it, hold what differs
    return classad2.parseOne((folder / f"{name}.ad").read_text().strip().split("\n\n")[0])


@pytest.fixture(scope="session")
def dry(
    rendered: list[tuple[dict[str, str], Path]], condor: Condor, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[dict[str, str], Path]]:
    """Copies of the matrix, each with its ads beside the submit files."""
    folder = tmp_path_factory.mktemp("dry")
    copies = [
        (given, Path(shutil.copytree(made, folder / str(number)))) for number, (given, made) in enumerate(rendered)
    ]
    dry_run(condor, [copy for _, copy in copies])
    return copies


def test_the_whole_matrix_without_a_warning(template: str, dry: list[tuple[dict[str, str], Path]]) -> None:
    for _, folder in dry:
        for name in SUBMIT_FILES[template]:
            ad(folder, name)


def test_the_request(template: str, dry: list[tuple[dict[str, str], Path]]) -> None:
    photons = template == "photon-propagation"
    for given, folder in dry:
        for name in SUBMIT_FILES[template]:
            job, gpus = ad(folder, name), int(given["gpus"])
            assert job["ProjectName"] == "My_OSPool_Project"
            assert job["ShouldTransferFiles"] == "YES"
            # an image without CUDA's libraries needs no room to speak of
            small = photons or given["image"].startswith("/cvmfs")
            assert job["RequestDisk"] == (10 if small else 25) * 1024 * 1024
            if name == "merge":
                assert "RequestGPUs" not in job and "GPUsMinCapability" not in job
                continue
            assert job["RequestGPUs"] == gpus
            found = (job["GPUsMinCapability"], job.get("GPUsMaxCapability"), job["GPUsMinRuntime"])
            assert found == BOUNDS[given.get("framework", "opencl")]
            assert job["GPUsMinMemory"] == (2048 if photons else 10240)
            assert job["RequestMemory"] == 8192 * gpus
            assert "SET RequestMemory " + str(16384 * gpus) in str(job["TransformBody_RequestMemory"])


def test_the_image(template: str, dry: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in dry:
        job = ad(folder, work_of(template))
        lines = images.lines(images.parse(given["image"]), given["image_syntax"])
        requirements = str(job.lookup("Requirements"))
        if lines.command == "+SingularityImage":
            assert job["SingularityImage"] == given["image"], label(given)
            assert "ContainerImage" not in job
            assert "HAS_SINGULARITY is true" in requirements
        else:
            assert "SingularityImage" not in job
            # what HTCondor transfers is named by its last part
            assert str(job["ContainerImage"]).split("/")[-1] == given["image"].split("/")[-1], label(given)
            assert "TARGET.HasContainer" in requirements
        if given["image"].startswith("/cvmfs"):
            assert "HAS_CVMFS_singularity_opensciencegrid_org is true" in requirements


def test_files_go_out_and_come_home(template: str, dry: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in dry:
        work, data = work_of(template), given.get("data", "ice")
        job, name = ad(folder, work), data.split("/")[-1]
        sent = str(job["TransferInput"]).split(",")
        assert ["job", "train.py" if template == "training-job" else "config.toml", data] == sent[:3]
        result = f"results/{job['ClusterId']}" + ("/0" if template == "photon-propagation" else ".0")
        assert shlex.split(job["Arguments"])[:3] == [work, name, result]
        assert job["TransferOutput"] == "results"
        assert job["TransferCheckpoint"] == "checkpoint"
        assert job["Out"] == f"logs/{job['ClusterId']}.0.out"
        assert job["Err"] == f"logs/{job['ClusterId']}.0.err"
        assert job["UserLog"] == str(folder / "logs" / f"{job['ClusterId']}.log")
        if template != "unet-segmentation":
            continue
        prediction = ad(folder, "predict")
        assert ["job", "model.keras", given["data"]] == str(prediction["TransferInput"]).split(",")[:3]
        assert shlex.split(prediction["Arguments"])[1::2] == [name, "model.keras"]
        assert "TransferCheckpoint" not in prediction


def test_the_exit_code_contract(template: str, dry: list[tuple[dict[str, str], Path]]) -> None:
    """The policy evaluated, not compared as text: what the queue does after each end of a run."""
    _, folder = dry[0]
    job = ad(folder, work_of(template))
    assert job["SuccessCheckpointExitCode"] == 85
    assert job["JobSuccessExitCode"] == 0
    assert job["WhenToTransferOutput"] == "ON_SUCCESS"

    def after(code: int, completions: int, **more: Any) -> tuple[bool, bool]:
        """(held, removed) after the run number `completions` of the job ended with `code`."""
        job.update({"ExitCode": code, "ExitBySignal": False, "NumJobCompletions": completions, **more})
        held, removed = job.eval("OnExitHold") is True, job.eval("OnExitRemove") is True
        for name in more:
            del job[name]
        return held, not held and removed

    assert after(0, 1) == (False, True)
    assert after(65, 1) == (True, False)
    assert [after(75, n) for n in range(1, 7)] == [(False, False)] * 5 + [(True, False)]
    assert [after(1, n) for n in range(1, 4)] == [(False, False)] * 2 + [(True, False)]
    # a signal after a 75: the old code still stands in the ad
    killed = {"ExitBySignal": True, "ExitSignal": 9}
    assert after(75, 3, **killed) == (True, False)
    assert after(65, 1, **killed) == (False, False)
    in_dag = {"DAGManJobId": 7}
    assert after(65, 1, **in_dag) == (False, True)
    assert after(1, 3, **in_dag) == (False, True)


def test_what_a_hold_is_followed_by(template: str, dry: list[tuple[dict[str, str], Path]]) -> None:
    job = ad(dry[0][1], work_of(template))

    def after(code: int, subcode: int, holds: int = 1, **more: Any) -> tuple[bool, bool]:
        """(released, removed) eleven minutes after a hold."""
        held = {"JobStatus": 5, "HoldReasonCode": code, "HoldReasonSubCode": subcode, "NumHolds": holds}
        job.update({**held, "EnteredCurrentStatus": int(time.time()) - 660, **more})
        released, removed = job.eval("PeriodicRelease") is True, job.eval("PeriodicRemove") is True
        for name in more:
            del job[name]
        return released, removed

    assert after(12, 2) == after(13, 256) == (True, False)
    assert after(12, 2, holds=4) == (False, False)
    # an upload that failed for good: to run the job again would not help
    assert after(12, 256) == (False, False)
    assert after(12, 256, DAGManJobId=7) == (False, True)
    assert after(12, 2, DAGManJobId=7) == (True, False)
    assert after(3, 65) == (False, False)


def test_staged_data(condor: Condor, tmp_path: Path) -> None:
    """The lines of `osgdl stage`, as condor_submit reads them."""
    folder = render(tmp_path)
    held = [manifests.make(2), manifests.make(1)]
    paths = [manifests.write(folder, one) for one in held]
    names = [f"staged/{path.name}" for path in paths]
    objects = [[f"{one.at}/{shard.name}" for shard in one.shards] for one in held]
    train = [folder / "train.sub"]

    def submitted(*words: str) -> list[tuple[list[str], list[str]]]:
        """(arguments, inputs) of each job."""
        done = condor.run(["condor_submit", "-dry-run", "train.ad", "train.sub", *words], cwd=folder)
        assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stderr
        text = (folder / "train.ad").read_text()
        # the second job's ad holds what differs from the first
        found = [dict(re.findall(r'^(Args|Arguments|TransferInput)="(.*)"$', one, re.M)) for one in text.split("\n\n")]
        ads = [one for one in found if one]
        shown = [(one.get("Arguments") or one["Args"], one.get("TransferInput", "")) for one in ads]
        return [(shlex.split(arguments), inputs.split(",")) for arguments, inputs in shown]

    stage_lines.use(paths[0], train)
    stage_lines.results("osdf:///ospool/ap40/data/jane/results", train)
    ((arguments, inputs),) = submitted()
    assert arguments[:2] == ["train", paths[0].name]
    assert inputs[:5] == ["job", "config.toml", names[0], *objects[0]]
    job = classad2.parseOne((folder / "train.ad").read_text())
    assert job["Environment"] == "OSGDL_LARGER_THAN=100MB"
    assert job["TransferOutput"] == "results,large.tar"
    start = f"{job['ClusterId']}.0-$$([NumShadowStarts ?: 0])"
    remaps = f"large.tar = osdf:///ospool/ap40/data/jane/results/{start}/large.tar"
    assert job["TransferOutputRemaps"] == remaps
    assert submitted("data=mine")[0][1][:3] == ["job", "config.toml", "mine"]
    assert not set(objects[0]) & set(submitted("data=mine")[0][1])
    stage_lines.use_folds(paths, train)
    jobs = submitted()
    assert [arguments[:2] for arguments, _ in jobs] == [["train", path.name] for path in paths]
    assert [inputs[2 : 3 + len(one)] for (_, inputs), one in zip(jobs, objects, strict=True)] == [
        [name, *one] for name, one in zip(names, objects, strict=True)
    ]


def test_data_given_at_submission_wins(condor: Condor, tmp_path: Path) -> None:
    folder = render(tmp_path)
    done = condor.run(["condor_submit", "-dry-run", "train.ad", "train.sub", "data=/x/other data"], cwd=folder)
    assert done.returncode == 0
    job = classad2.parseOne((folder / "train.ad").read_text())
    assert job["TransferInput"] == "job,config.toml,/x/other data"
    assert shlex.split(job["Arguments"])[:2] == ["train", "other data"]
    done = condor.run(["condor_submit", "-dry-run", "-", "predict.sub", "model=results/12.0/model.keras"], cwd=folder)
    assert 'TransferInput="job,results/12.0/model.keras,data"' in done.stdout


def test_the_other_image_syntax_by_an_edit(condor: Condor, tmp_path: Path) -> None:
    from submit import project

    folder = render(tmp_path)
    before = (folder / "train.sub").read_text()
    image = "/cvmfs/singularity.opensciencegrid.org/osg-dl-kit/unet-segmentation:tf2.21"
    project.use_image(image, project.submit_files(folder), syntax="container_image")
    dry_run(condor, [folder])
    job = ad(folder)
    assert job["ContainerImage"] == image and "SingularityImage" not in job
    project.use_image(image, project.submit_files(folder))
    assert (folder / "train.sub").read_text() == before
