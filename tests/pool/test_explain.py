"""`osgdl explain` with a queue at hand, and the lines of docs/look-inside.md, on the pool."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from submit import explain
from submit.job_history import JobHistory
from tests.conftest import Condor
from tests.pool.conftest import Job, render, submit

FAILING = Path(__file__).parents[1] / "submit" / "failures" / "failing.py"
pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("explain")]


@pytest.fixture(scope="module")
def stand_in(condor: Condor, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose trainer is failing.py of the recorded failures."""
    folder = render(tmp_path_factory.mktemp("explain"))
    package = folder / "job" / "unet_segmentation"
    shutil.copy(FAILING, package / "__main__.py")
    (package / "messages.json").write_text(json.dumps({"sick": "CUDA error: uncorrectable ECC error encountered"}))
    for name in ("training", "sick", "fine"):
        (folder / name).mkdir()
    return folder


def until(job: Job, true: Callable[[JobHistory], bool], seconds: float = 120) -> JobHistory:
    deadline = time.monotonic() + seconds
    while not true(job.history()):
        assert time.monotonic() < deadline, job.log.read_text()
        time.sleep(0.5)
    return job.history()


def test_a_job_that_waits_after_a_bad_machine_tells_the_reason_that_it_sent(condor: Condor, stand_in: Path) -> None:
    """Its stderr is overwritten by the next try: the reason is in its ad alone."""
    job = submit(condor, stand_in, "train.sub", "data=sick")
    until(job, lambda history: "exit code 75" in str(history.said))
    condor.run(["condor_qedit", str(job.cluster), "Requirements", "False"], cwd=stand_in)
    deadline = time.monotonic() + 120
    while True:  # a match of before the edit may start it once more
        until(job, lambda history: history.state == "idle")
        time.sleep(1)
        (stand_in / "logs" / f"{job.cluster}.0.err").unlink(missing_ok=True)
        (told,) = explain.jobs([str(job.cluster)], stand_in)
        if told.state == "idle" or time.monotonic() > deadline:
            break
    condor.run(["condor_rm", str(job.cluster)], cwd=stand_in)
    assert (told.state, told.cause.id, told.cause.fault, told.cause.helps) == (
        "idle",
        "ecc-uncorrectable",
        "machine",
        True,
    )


def test_submitted_on_hold_is_known_from_the_queue_alone(condor: Condor, stand_in: Path) -> None:
    job = submit(condor, stand_in, "train.sub", "data=fine", "-append", "hold = True")
    (told,) = explain.jobs([str(job.cluster)], stand_in)
    condor.run(["condor_rm", str(job.cluster)], cwd=stand_in)
    assert told.cause.id == "submitted-on-hold"


def test_looking_inside_a_running_job(condor: Condor, stand_in: Path) -> None:
    """What docs/look-inside.md says of condor_q, condor_tail and condor_ssh_to_job."""
    job = submit(condor, stand_in, "train.sub", "data=training")
    name = f"{job.cluster}.0"
    until(job, lambda history: history.state == "running")

    def typed(*words: str) -> tuple[int, str, str]:
        done = condor.run(list(words), cwd=stand_in)
        return done.returncode, done.stdout, done.stderr

    until(job, lambda history: int(job.ad().get("ChirpOsgdlStep", 0)) > 0)
    until(job, lambda history: "training" in typed("condor_tail", "-stderr", name)[1])  # a line every ten seconds
    (told,) = explain.jobs([name], stand_in)
    assert f"osgdl pool exec -- condor_tail {name}" in told.cause.mend and not told.failed
    assert typed("condor_tail", name)[0] == 0
    code, said, _ = typed("condor_tail", "-stderr", name)
    assert code == 0 and "training" in said and "preflight  fine" in said
    assert len(typed("condor_tail", "-stderr", "-maxbytes", "20", name)[1].encode()) <= 20
    code, _, error = typed("condor_tail", name, f"results/{name}/preflight.json")
    assert code == 1 and "requested but not authorized to be sent" in error
    words = (
        "condor_q",
        "-af",
        "ClusterId",
        "ProcId",
        "ChirpOsgdlEpoch",
        "ChirpOsgdlStep",
        "ChirpOsgdlSteps",
        "ChirpOsgdlLoss",
    )
    lines = [line.split() for line in typed(*words)[1].splitlines()]
    (mine,) = [line for line in lines if line[0] == str(job.cluster)]
    assert mine[1] == "0" and int(mine[3]) > 0 and mine[4] == "400"
    code, said, error = typed("condor_ssh_to_job", name, "ls")
    # where the pool has ssh it is the job's folder; else the reason is said at once
    assert "_condor_stderr" in said if code == 0 else "ssh-keygen: not found" in error
    condor.run(["condor_rm", str(job.cluster)], cwd=stand_in)
