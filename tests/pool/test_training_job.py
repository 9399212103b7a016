"""The rendered training-job on the pool, in the image of its own container.def: leaves with 85, comes back, is through.

`--soak`: PyTorch and JAX too. Their images take minutes, and PyTorch's 4 GB to fetch; Keras has the U-Net's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from submit import image_build, images, project
from tests.conftest import Condor
from tests.pool.conftest import submit

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("training-job")]


@pytest.fixture(params=["keras", "pytorch", "jax"])
def folder(request: pytest.FixtureRequest, condor: Condor, tmp_path: Path) -> Path:
    """A project with made-up data, whose image is there."""
    if request.param != "keras" and not request.config.getoption("--soak"):
        pytest.skip("its image takes minutes: make soak")
    given = {"ospool_project": "OSGDL_Tests", "framework": request.param, "epochs": "5"}
    made = project.new("training-job", given, tmp_path, ask=False)
    image = images.answered("training-job")[request.param].cvmfs_path
    image_build.build(made / "container.def", image, cpu=True, force=False, say=print)
    subprocess.run(
        [sys.executable, "job/stripes.py", "data"], cwd=made, env={**os.environ, "PYTHONPATH": "job"}, check=True
    )
    return made


def test_it_leaves_comes_back_and_is_through(condor: Condor, folder: Path) -> None:
    job = submit(condor, folder, "train.sub", "settings=--leave-steps 30")
    history = job.wait("done", "held")
    said = (folder / "logs" / f"{job.cluster}.0.err").read_text()
    assert history.state == "done" and history.exit_code == 0, said
    assert re.findall(r"step (\d+) of 100 saved \(exit code 85", said) == ["30", "60", "90"]
    ad = job.ad()
    # 0 is the first checkpoint's number; a checkpoint counts as no try
    assert ad["CheckpointNumber"] == 2 and ad["NumJobCompletions"] == 1
    assert ad["ChirpOsgdlStep"] == ad["ChirpOsgdlSteps"] == 100 and ad["ChirpOsgdlEpoch"] == 4
    result = folder / "results" / f"{job.cluster}.0"
    metrics = json.loads((result / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9 and metrics["made_from"]["device"].startswith("cpu (simulated GPU: ")
    assert json.loads((result / "preflight.json").read_text())
