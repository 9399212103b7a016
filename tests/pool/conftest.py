"""A rendered project on the tests' pool, and what happened to its jobs."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from submit import eventlog, image_build, images, project
from submit.cli import app
from submit.job_history import JobHistory
from tests.conftest import Condor

IMAGE = images.offered()["tensorflow-2.21"].cvmfs_path


def render(folder: Path, **answers: str) -> Path:
    """A project with the defaults, but for these answers."""
    given = {"ospool_project": "OSGDL_Tests", "epochs": "1", **answers}
    return project.new(project.DEFAULT_TEMPLATE, given, folder, ask=False)


@pytest.fixture(scope="session")
def image(condor: Condor, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The CPU image of the rendered container.def, at its CVMFS path in the pool."""
    folder = render(tmp_path_factory.mktemp("image"))
    return image_build.build(folder / "container.def", IMAGE, cpu=True, force=False, say=print)


@dataclass
class Job:
    """A job of the pool and its event log."""

    condor: Condor
    log: Path
    cluster: int
    proc: int = 0

    def history(self) -> JobHistory:
        return eventlog.read(self.log)[(self.cluster, self.proc)]

    def wait(self, *states: str, seconds: float = 300) -> JobHistory:
        """Its history when it is in one of these states."""
        deadline = time.monotonic() + seconds
        while (history := self.history()).state not in states:
            if time.monotonic() > deadline:
                pytest.fail(
                    f"job {self.cluster} is {history.state} after {seconds} s, not {states}\n{self.log.read_text()}"
                )
            time.sleep(0.5)
        return history

    def ad(self) -> dict[str, Any]:
        """Its ad, from the queue or from the history."""
        for command in ("condor_q", "condor_history"):
            done = self.condor.run([command, f"{self.cluster}.{self.proc}", "-json"], cwd=Path("/"))
            if done.stdout.strip():
                return dict(json.loads(done.stdout)[0])
        raise LookupError(self.cluster)


def osgdl(folder: Path, *words: str) -> str:
    """What the command prints in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    finally:
        os.chdir(before)
    assert done.exit_code == 0, done.output
    return done.stdout


# A claim that another job leaves is given on without a look at ranks: so by the job's own wish its first two starts are
# at Badlands
AT_BADLANDS = '(TARGET.GLIDEIN_Site =?= "Badlands" || (NumShadowStarts ?: 0) > 1)'
BAD_SITES = (
    *("-append", "+OsgdlBadSites = True"),
    *("-append", f"requirements = $(requirements) && {AT_BADLANDS}"),
)


def submit(condor: Condor, folder: Path, name: str = "train.sub", *words: str) -> Job:
    """condor_submit, without a warning."""
    done = condor.run(["condor_submit", *words, name], cwd=folder)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    cluster = int(done.stdout.rsplit("cluster ", 1)[1].split(".")[0])
    return Job(condor, folder / "logs" / f"{cluster}.log", cluster)


__all__ = ["BAD_SITES", "IMAGE", "Job", "osgdl", "render", "submit"]
