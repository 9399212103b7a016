"""The exit-code contract of docs/design.md, carried out by a rendered train.sub on the pool: every row of the table."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from submit import sites
from tests.conftest import Condor
from tests.pool.conftest import Job, render, submit

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("contract")]

# each site of the pool has one machine
MACHINES = {site.site: site.machine for site in sites.load()}
CASES = ("fine", "checkpoints", "bad-machine-once", "bad-machine-always", "bad-input", "bug", "signal")


@pytest.fixture(scope="module")
def trials(condor: Condor, image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """One job a case, all in the queue at once; `no-image` names an image that nobody has."""
    folder = render(tmp_path_factory.mktemp("contract"))
    shutil.copy(Path(__file__).with_name("trial.py"), folder / "job" / "unet_segmentation" / "__main__.py")
    for case in (*CASES, "no-image"):
        (folder / case).mkdir()
    jobs = {case: submit(condor, folder, "train.sub", f"data={case}") for case in CASES}
    missing = (folder / "train.sub").read_text().replace("unet-segmentation:", "no-such-image:")
    (folder / "missing.sub").write_text(missing)
    jobs["no-image"] = submit(condor, folder, "missing.sub", "data=no-image")
    return jobs


def result(job: Job, name: str) -> str:
    return (job.log.parent.parent / "results" / f"{job.cluster}.0" / name).read_text()


def test_done_leaves_the_queue(trials: dict[str, Job]) -> None:
    history = trials["fine"].wait("done")
    assert history.exit_code == 0
    # the log itself names where and on what
    assert MACHINES[history.starts[0].site] == result(trials["fine"], "machine")
    assert history.starts[0].gpu == next(site.gpu.name for site in sites.load() if site.site == history.starts[0].site)


def test_a_checkpoint_restarts_and_counts_as_no_try(trials: dict[str, Job]) -> None:
    history = trials["checkpoints"].wait("done")
    assert history.exit_code == 0 and result(trials["checkpoints"], "count") == "3"
    ad = trials["checkpoints"].ad()
    assert ad["NumJobCompletions"] == 1 and ad["CheckpointNumber"] == 2


def test_a_bad_machine_is_left_for_another(trials: dict[str, Job]) -> None:
    history = trials["bad-machine-once"].wait("done")
    machines = [MACHINES[start.site] for start in history.starts]
    assert history.exit_code == 0 and len(machines) == 2 and machines[0] != machines[1]
    assert trials["bad-machine-once"].ad()["ChirpOsgdlAvoid"] == machines[0]


def test_bad_machines_for_ever_end_in_a_hold_after_six(trials: dict[str, Job]) -> None:
    history = trials["bad-machine-always"].wait("held")
    assert history.hold_code == (3, 75)
    assert history.hold_reason.startswith("osgdl: exit code 75, try 6: GPU: sick; a healthy one; it is tried elsewhere")
    machines = [MACHINES[start.site] for start in history.starts]
    assert len(machines) == 6
    # never on one of the last three that returned 75
    assert all(machine not in machines[max(0, at - 3) : at] for at, machine in enumerate(machines)), machines


def test_bad_input_is_held_at_once_with_its_words(trials: dict[str, Job], condor: Condor) -> None:
    history = trials["bad-input"].wait("held")
    words = 'patient_007/"t1c".nii.gz: shape 240x240x154; 240x240x155; re-export it, or 50% is lost'
    assert history.hold_code == (3, 65) and len(history.starts) == 1
    assert history.hold_reason == f"osgdl: exit code 65, try 1: {words}"
    assert words in condor.run(["condor_q", "-hold", "-wide"], cwd=Path("/")).stdout.replace('\\"', '"')


def test_a_bug_gets_three_tries(trials: dict[str, Job]) -> None:
    history = trials["bug"].wait("held")
    assert history.hold_code == (3, 1) and len(history.starts) == 3
    assert history.hold_reason == "osgdl: exit code 1, try 3: KeyError: 'flair'"


def test_a_signal_is_a_bug(trials: dict[str, Job]) -> None:
    history = trials["signal"].wait("held")
    assert len(history.starts) == 3 and history.hold_code == (3, 139)  # 128 + SIGSEGV: Apptainer hands it on as a code
    assert history.hold_reason.startswith("osgdl: exit code 139, try 3: see the end of ")


def test_an_image_that_cannot_be_opened_is_held_after_ten_starts(trials: dict[str, Job]) -> None:
    history = trials["no-image"].wait("held", seconds=420)
    assert history.hold_code == (3, 30)
    # held by the first look at the queue (every 5 s here) after the tenth start
    starts = re.search(r"started (\d+) times and never reached a checkpoint", history.hold_reason)
    assert starts and 10 <= int(starts[1]) < 20
    assert "no-such-image" in history.hold_reason
