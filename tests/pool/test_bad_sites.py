"""Sites whose GPUs are not what their ads say: a job finds its way to a good one, and says what that cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Condor
from tests.pool.conftest import BAD_SITES, Job, render, submit
from unet_segmentation import phantom

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("trainer")]

SIZE = (48, 48, 32)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, image: str) -> Path:
    """A project that trains on phantoms for some seconds."""
    folder = tmp_path_factory.mktemp("bad")
    project = render(folder, project_name="bad sites", data="data")
    phantom.write(project / "data", phantom.parts(3, "2:1"), 1, "brats2021", SIZE)
    return project


def told(condor: Condor, job: Job, attribute: str) -> str:
    """An attribute of the finished job."""
    return condor.run(["condor_history", str(job.cluster), "-af", attribute], cwd=Path("/")).stdout.strip()


def places(job: Job) -> list[str]:
    """The sites in the order in which the job started there."""
    return [start.site for start in job.history().starts]


def test_a_job_leaves_every_bad_site_for_a_good_one(condor: Condor, small: Path) -> None:
    """A GPU that lies and an old driver at one site, which is then avoided as a whole; a GPU lost midway at another."""
    job = submit(condor, small, "train.sub", *BAD_SITES)
    history = job.wait("done", "held", seconds=500)
    assert history.state == "done" and history.exit_code == 0, job.log.read_text()
    visited = places(job)
    # then whichever is free: other tests' jobs run at the same time
    assert visited[:2] == ["Badlands", "Badlands"] and "Badlands" not in visited[2:]
    assert visited[-1] != "Mirage"
    assert told(condor, job, "ChirpOsgdlAvoidSites") == "Badlands"
    assert "loser-01.mirage.example" in told(condor, job, "ChirpOsgdlAvoid")
    lost = history.starts[-1].time - history.starts[0].time
    print(f"bad sites cost {lost} s: {' -> '.join(visited)}")
