"""The rendered photon-propagation: its job in a bare folder, and how the photons are shared out."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from submit.errors import AnswerError
from tests.conftest import Condor
from tests.templates.conftest import render
from tests.templates.test_run_sh import run

needs_opencl = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("pyopencl", "pocl_binary_distribution"))),
    reason="no OpenCL for the CPU: pip install '.[photons]'",
)
FEW = ("run.first=100", "run.next=20101", "run.batch=5000", "detector.distance_m=1.5")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """What propagate.sub transfers, and nothing else."""
    made = render(tmp_path / "made", "photon-propagation", source="point", detector="one", ice="uniform")
    folder = tmp_path / "the job's folder"
    shutil.copytree(made / "job", folder / "job")
    shutil.copytree(made / "ice", folder / "ice")
    for name in ("run.sh", "config.toml"):
        shutil.copy(made / name, folder)
    return folder


def propagated(folder: Path, result: str, *settings: str, ice: str = "ice") -> subprocess.CompletedProcess[str]:
    return run(folder, "propagate", ice, result, *FEW, *settings, environment=(f"HOME={folder}",))


def hits(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as held:
        return {name: held[name] for name in held.files}


@needs_opencl
@pytest.mark.slow
def test_left_and_come_back_they_are_the_same_photons_and_merged_they_are_drawn(job: Path) -> None:
    done = propagated(job, "results/1/0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("preflight  fine: no GPU asked for; OpenCL on ")
    shutil.rmtree(job / "checkpoint")
    codes = [propagated(job, "results/2/0", "checkpoint.leave_every_batches=2").returncode for _ in range(3)]
    assert codes == [85, 85, 0]
    one, other = (hits(job / f"results/{cluster}/0/hits.npz") for cluster in (1, 2))
    assert len(one["photon"]) > 50 and one["photon"].min() >= 100
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert json.loads((job / "results/2/0/preflight.json").read_text())["facts"]["opencl"]["devices"]
    # what OpenCL compiled does not go into a home folder that is not there
    assert (job / ".cache").is_dir()
    done = run(job, "merge", "results/2", "results/merged-2", environment=(f"HOME={job}",))
    assert done.returncode == 0, done.stderr
    merged = hits(job / "results/merged-2/hits.npz")
    assert all(np.array_equal(one[name], merged[name]) for name in one)
    assert len(list((job / "results/merged-2").glob("*.png"))) >= 2


@needs_opencl
@pytest.mark.slow
def test_ice_that_came_packed_and_under_another_name_is_the_ice(job: Path) -> None:
    assert propagated(job, "results/1/0").returncode == 0
    with tarfile.open(job / "ours.tar.gz", "w:gz") as packed:
        packed.add(job / "ice", "ours")
    shutil.rmtree(job / "ice")
    shutil.rmtree(job / "checkpoint")
    done = propagated(job, "results/2/0", ice="ours.tar.gz")
    assert done.returncode == 0, done.stderr
    one, other = (hits(job / f"results/{cluster}/0/hits.npz") for cluster in (1, 2))
    assert all(np.array_equal(one[name], other[name]) for name in one)


@needs_opencl
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["propagate", "", "r"], "data='': no name; want a folder or an archive."),
        (
            ["propagate", "ice", ""],
            "result='': no folder; want run.sh propagate ICE RESULT, or run.sh merge HITS RESULT",
        ),
        (["train", "ice", "r"], "task='train': unknown; want propagate or merge. Change arguments in the submit file."),
        (["propagate", "absent", "r"], "absent"),
        (["propagate", "ice", "r", "ice.tabel=x"], "ice.tabel: not a key of the configuration; did you mean table?"),
        (["propagate", "ice", "r", "ice.table=ice/none.txt"], "ice/none.txt"),
        (["propagate", "ice", "r", "source.energy_gev=much"], "source.energy_gev: 'much'; a number"),
    ],
)
def test_a_wrong_call_or_setting_is_wrong_input(job: Path, words: list[str], says: str) -> None:
    done = run(job, *words, environment=(f"HOME={job}",))
    assert done.returncode == 65, done.stderr
    last = done.stderr.splitlines()[-1]
    assert says in last and "Traceback" not in done.stderr


def test_a_gpu_that_opencl_does_not_find_is_left_for_another(job: Path) -> None:
    """Whatever computes on the CPU: not in a GPU's place."""
    (job / "dev").mkdir()
    (job / "dev" / "nvidia0").touch()
    (job / ".job.ad").write_text("RequestGPUs = 1\n")
    done = run(job, "propagate", "ice", "r", environment=(f"_CONDOR_JOB_AD={job}/.job.ad", f"OSGDL_DEV={job}/dev"))
    assert done.returncode == 75 and not (job / "r" / "hits.npz").exists()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "photons",
            "1e9",
            "not such a number; want a whole number from 1 to 100000000000000. Write photons=1 or more.",
        ),
        ("photons", "0", "not such a number"),
        ("jobs", "20000", "not such a number; want a whole number from 1 to 10000. Write jobs=1 or more."),
        ("jobs", "8\nqueue 9", "not such a number"),
        ("photons", "7", "fewer than jobs=8; want at least one photon for each job. Write jobs=7."),
        ("source", "muon", "no such choice; want one of cascade, track, point. Write source="),
        ("ice", "layer", "no such choice; want one of layered, uniform. Write ice=layered."),
        ("detector", "none", "no such choice; want one of strings, one. Write detector=one."),
        ("gpus", "9", "not such a number; want a whole number from 1 to 8."),
        ("epochs", "9", "no such question; want one of project_name,"),
        ("image", "x y", "not a reference to an image; want"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_line_and_leaves_nothing(
    name: str, value: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(AnswerError) as refused:
        render(tmp_path, "photon-propagation", **{name: value})
    text = str(refused.value)
    assert text.startswith(f"{name}=") and says in text and text.isprintable()
    assert not list(tmp_path.iterdir())


@pytest.mark.pool
@pytest.mark.parametrize(
    ("photons", "jobs", "seeds"),
    [(1_000_000, 8, "1"), (7, 7, "1"), (10_007, 9, "3 4"), (99_999_999_999_999, 999, "1")],
)
def test_every_photon_is_in_one_job(condor: Condor, tmp_path: Path, photons: int, jobs: int, seeds: str) -> None:
    folder = render(tmp_path, "photon-propagation")
    words = [f"photons={photons}", f"jobs={jobs}", f"seeds={seeds}"]
    done = condor.run(["condor_submit", "-dry-run", "jobs.ad", *words, "propagate.sub"], cwd=folder)
    assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stderr
    given = [
        dict(word.split("=") for word in shlex.split(arguments)[3:])
        for arguments in re.findall(r'^Arguments="(.*)"$', (folder / "jobs.ad").read_text(), re.M)
    ]
    wanted = seeds.split()
    assert len(given) == jobs * len(wanted)
    for at, seed in enumerate(wanted):
        mine = given[at * jobs : (at + 1) * jobs]
        assert {one["run.seed"] for one in mine} == {seed}
        edges = [(int(one["run.first"]), int(one["run.next"])) for one in mine]
        assert edges[0][0] == 0 and edges[-1][1] == photons
        assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))
        sizes = [end - begin for begin, end in edges]
        assert max(sizes) - min(sizes) <= 1
