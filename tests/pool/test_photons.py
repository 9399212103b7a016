"""The rendered photon-propagation on the pool, in the image of its own container.def: by OpenCL, on PoCL."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submit import eventlog, image_build, images, project
from tests.conftest import Condor
from tests.pool.conftest import Job, osgdl, submit

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("photons")]

IMAGE = images.offered()["opencl-1.2"].cvmfs_path
PHOTONS, JOBS = 320_000, 8
# so that a job leaves a few times; quotes as the README has them
SMALL = "'run.batch=5000' 'checkpoint.leave_every_batches={}'"
# stands at /etc/OpenCL/vendors where a machine mounts its own; holds nothing
HIDDEN = "--bind=hidden:/etc/OpenCL/vendors"


@pytest.fixture(scope="module")
def folder(condor: Condor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose image is there."""
    given = {"ospool_project": "OSGDL_Tests", "photons": str(PHOTONS), "jobs": str(JOBS)}
    made = project.new("photon-propagation", given, tmp_path_factory.mktemp("photons"), ask=False)
    image_build.build(made / "container.def", IMAGE, cpu=True, force=False, say=print)
    return made


def in_image(condor: Condor, folder: Path, options: list[str], *words: str) -> str:
    """What a command prints in the image."""
    done = condor.run(["apptainer", "exec", *options, IMAGE, *words], cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ended(job: Job, jobs: int, seconds: float = 400) -> None:
    """All jobs of the cluster are done, with 0."""
    deadline = time.monotonic() + seconds
    while True:
        histories = [one for (cluster, _), one in eventlog.read(job.log).items() if cluster == job.cluster]
        states = [one.state for one in histories]
        assert "held" not in states, job.log.read_text()
        if states == ["done"] * jobs:
            assert [one.exit_code for one in histories] == [0] * jobs
            return
        assert time.monotonic() < deadline, (states, job.log.read_text()[-3000:])
        time.sleep(0.5)


def merged(condor: Condor, folder: Path, job: Job) -> dict[str, Any]:
    """The hits of a cluster, as merge.sub brings them home."""
    merge = submit(condor, folder, "merge.sub", f"hits=results/{job.cluster}")
    assert merge.wait("done", "held").exit_code == 0, (folder / f"logs/{merge.cluster}.0.err").read_text()
    home = folder / "results" / f"merged-{job.cluster}"
    assert list(home.glob("*.png"))
    with np.load(home / "hits.npz") as held:
        return {name: held[name] for name in held.files}


def test_eight_jobs_that_are_killed_have_the_hits_of_one(condor: Condor, folder: Path) -> None:
    one = submit(condor, folder, "propagate.sub", "jobs=1", f"settings={SMALL.format(16)}")
    eight = submit(condor, folder, "propagate.sub", f"settings={SMALL.format(2)}")
    killed: set[int] = set()
    deadline = time.monotonic() + 300
    while len(killed) < 3 and time.monotonic() < deadline:
        for (_, proc), history in eventlog.read(eight.log).items():
            # one that has left a checkpoint behind, so that it does not begin anew
            if (
                history.state == "running"
                and proc not in killed
                and "CheckpointNumber" in Job(condor, eight.log, eight.cluster, proc).ad()
            ):
                condor.run(["condor_vacate_job", "-fast", f"{eight.cluster}.{proc}"], cwd=folder)
                killed.add(proc)
        time.sleep(0.2)
    ended(one, 1)
    ended(eight, JOBS)
    starts = condor.run(["condor_history", str(eight.cluster), "-af", "NumShadowStarts"], cwd=folder).stdout.split()
    assert len(killed) >= 3 and sum(int(count) > 1 for count in starts) >= 3, (killed, starts)
    said = (folder / f"logs/{one.cluster}.0.err").read_text()
    assert "exit code 85" in said and "OpenCL on" in said and "known answer right" in said
    ad = one.ad()
    assert ad["ChirpOsgdlUnit"] == "photons" and ad["ChirpOsgdlRate"] > 0 and ad["ChirpOsgdlPhotonNs"] > 0
    assert ad["NumJobCompletions"] == 1 and ad["CheckpointNumber"] >= 1
    alone, shared = merged(condor, folder, one), merged(condor, folder, eight)
    assert len(alone["photon"]) > 100 and alone["photon"].max() > PHOTONS * (JOBS - 1) / JOBS
    for name, column in alone.items():
        assert np.array_equal(column, shared[name]), name
    told = json.loads((folder / f"results/merged-{eight.cluster}/hits.json").read_text())
    assert told["ranges"] == [[1, 0, PHOTONS]] and told["missing"] == [] and told["runs"] == JOBS


def test_seeds_are_a_queue_each_shared_out(condor: Condor, folder: Path) -> None:
    job = submit(condor, folder, "propagate.sub", "jobs=2", "seeds=7 8", "photons=20001")
    ended(job, 4)
    told = [json.loads(file.read_text()) for file in (folder / f"results/{job.cluster}").glob("*/hits.json")]
    ranges = sorted(tuple(span) for one in told for span in one["ranges"])
    assert ranges == [(7, 0, 10000), (7, 10000, 20001), (8, 0, 10000), (8, 10000, 20001)]


def test_staged_ice_is_the_ice(condor: Condor, folder: Path, tmp_path: Path) -> None:
    given = {"ospool_project": "OSGDL_Tests", "photons": "20000", "jobs": "1"}
    other = project.new("photon-propagation", given, tmp_path, ask=False)
    plain = submit(condor, other, "propagate.sub")
    ended(plain, 1)
    said = osgdl(other, "stage", "ice", "osdf:///ospool/ap40/data/osgdl-tests/ice", "--local", "--no-verify")
    assert "data = staged/ice-manifest-" in said
    staged = submit(condor, other, "propagate.sub")
    ended(staged, 1)
    assert "staged" in json.dumps(staged.ad()["TransferInput"])
    first, second = (np.load(other / f"results/{job.cluster}/0/hits.npz") for job in (plain, staged))
    assert all(np.array_equal(first[name], second[name]) for name in first.files)


def test_a_wrong_setting_holds_the_job_with_its_name(condor: Condor, folder: Path) -> None:
    job = submit(condor, folder, "propagate.sub", "jobs=1", "photons=1000", "settings='source.nonsense=1'")
    held = job.wait("held", "done")
    assert held.state == "held" and "source.nonsense" in (held.hold_reason or ""), held
    condor.run(["condor_rm", str(job.cluster)], cwd=folder)


LIST = "import pyopencl as cl; print([d.name for p in cl.get_platforms() for d in p.get_devices()])"


def test_the_image_names_the_driver_where_no_folder_hides_it(condor: Condor, folder: Path) -> None:
    """PoCL under the driver's name, mounted where --nv mounts the driver: found through the image's file, twice on the
    list then, and still found where the machine's own empty folder lies over /etc/OpenCL/vendors.
    """
    (folder / "hidden").mkdir()
    (folder / "nv").mkdir()
    copy = (
        "import pathlib, shutil, pyopencl, pocl_binary_distribution as pocl;"
        "a, b = (pathlib.Path(m.__file__).parent / '.libs' for m in (pyopencl, pocl));"
        "shutil.copy(next(a.glob('libpocl*')), 'nv/libnvidia-opencl.so.1');"
        "[shutil.copy(f, 'nv') for f in b.glob('libhwloc*')]"
    )
    in_image(condor, folder, [], "python3", "-c", copy)
    driver = "--env=LD_LIBRARY_PATH=nv"
    without = json.loads(in_image(condor, folder, [], "python3", "-c", LIST).replace("'", '"'))
    for options in ([driver], [driver, HIDDEN]):
        found = json.loads(in_image(condor, folder, options, "python3", "-c", LIST).replace("'", '"'))
        assert len(without) == 1 and found == without * 2
    # without the image's own folder it would be hidden
    lost = [driver, HIDDEN, "--env=OCL_ICD_VENDORS=/etc/OpenCL/vendors"]
    assert json.loads(in_image(condor, folder, lost, "python3", "-c", LIST).replace("'", '"')) == without


def test_the_preflight_says_which_part_is_missing(condor: Condor, folder: Path) -> None:
    def row(*options: str) -> str:
        words = ("python3", "-m", "submit.runtime.opencl_probe", "gpu")
        said = in_image(condor, folder, ["--env=PYTHONPATH=job", *options], *words)
        return str(re.findall(r'"row": "([\w-]+)"', said)[0])

    (folder / "empty").mkdir()
    assert row() == "opencl-no-driver"
    assert row("--env=OCL_ICD_VENDORS=empty") == "opencl-no-icd"
    own = "--env=OCL_ICD_VENDORS=/etc/OpenCL/vendors"
    assert row(own) == "opencl-no-driver"
    assert row(own, "--bind=empty:/etc/OpenCL/vendors") == "opencl-icd-hidden"
