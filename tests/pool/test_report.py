"""A run with evictions, holds, a bad machine and files that do not come: every second of the slots is accounted for."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from submit import report, slot_time, stays
from tests.conftest import Condor
from tests.pool import steady
from tests.pool.conftest import BAD_SITES, Job, osgdl, render, submit

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("report")]

# A stay: the log has whole seconds, and RemoteWallClockTime counts the shadow's life before its first event and after
# its last
CLOCK_S = 3

SILENT = """\
+ProjectName = "OSGDL_Tests"
executable = silent.sh
log = logs/$(Cluster).log
request_cpus = 1
request_memory = 100MB
request_disk = 100MB
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
checkpoint_exit_code = 85
transfer_checkpoint_files = step
queue
"""


@pytest.fixture(scope="module")
def project(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose trainer is steady.py: 12 s of work, left every 3 s."""
    folder = render(tmp_path_factory.mktemp("report"))
    shutil.copy(steady.__file__, folder / "job" / "unet_segmentation" / "__main__.py")
    for name, size in (("data", steady.BYTES), ("wrong", 7)):
        (folder / name).mkdir()
        (folder / name / "patient.bin").write_bytes(b"x" * size)
    (folder / "silent.sub").write_text(SILENT)
    # 4 s, then 85; and again; and then it is done
    (folder / "silent.sh").write_text("#!/bin/sh\nsleep 4\necho x >> step\n[ $(wc -l < step) -gt 2 ] || exit 85\n")
    (folder / "silent.sh").chmod(0o755)
    return folder


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def checkpoints(job: Job) -> int:
    starts = job.history().starts
    return len(starts[-1].outputs) if starts else 0


def test_every_second_of_a_machine_is_in_one_category(condor: Condor, project: Path) -> None:
    evicted, wrong = submit(condor, project), submit(condor, project, "train.sub", "data=wrong")
    bad = submit(condor, project, "train.sub", *BAD_SITES)
    gone = submit(condor, project, "train.sub", "-append", "transfer_input_files = job, config.toml, gone")
    removed, released, silent = submit(condor, project), submit(condor, project), submit(condor, project, "silent.sub")
    until(lambda: checkpoints(evicted) > 0)
    time.sleep(1.5)  # in the middle of a piece
    condor.run(["condor_vacate_job", "-fast", str(evicted.cluster)], cwd=project)
    until(lambda: checkpoints(removed) > 0)
    condor.run(["condor_rm", str(removed.cluster)], cwd=project)
    until(lambda: checkpoints(released) > 0)
    condor.run(["condor_hold", str(released.cluster)], cwd=project)
    released.wait("held")
    time.sleep(5)
    condor.run(["condor_release", str(released.cluster)], cwd=project)
    for job, state in ((evicted, "done"), (wrong, "held"), (bad, "done"), (gone, "held")):
        job.wait(state)
    for job, state in ((removed, "removed"), (released, "done"), (silent, "done")):
        job.wait(state)
    time.sleep(2)  # the shadows end

    found = report.of_places([project], local=True)
    accounts = {one.job: one for one in found.accounts}
    assert len(accounts) == 7
    apart = []
    for one in accounts.values():
        there = sum(stay.seconds for stay in one.stays)
        assert one.slots == pytest.approx(there) == pytest.approx(sum(one.time.seconds.values()))
        assert min(one.time.seconds.values()) >= 0
        assert sum(one.time.lost.values()) == pytest.approx(one.time.seconds["lost"])
        assert one.wall is not None and abs(one.slots - one.wall) <= CLOCK_S * max(1, len(one.stays)), one
        apart.append((one.wall - one.slots) / max(1, len(one.stays)))
        seconds = {name: round(value, 1) for name, value in one.time.seconds.items()}
        print(one.job, one.state, len(one.stays), "stays", one.slots, one.wall, seconds, one.time.lost)
    print(f"RemoteWallClockTime - log, a stay: {min(apart):.1f} to {max(apart):.1f} s")

    def of(job: Job) -> slot_time.SlotTime:
        return accounts[f"{job.cluster}.0"].time

    assert of(evicted).measured and of(evicted).evictions == 1
    assert set(of(evicted).lost) <= {stays.MACHINE_LOST}
    # 12 s of work at a tenth of a second a step, whatever the machine's load makes of them
    assert of(evicted).seconds["useful"] >= 11 and of(evicted).seconds["starting"] > 0
    assert of(wrong).lost.keys() == {stays.WRONG} and of(wrong).seconds["useful"] == 0
    assert stays.MACHINE_BAD in of(bad).lost and of(bad).seconds["useful"] >= 11
    assert set(of(gone).lost) <= {stays.TRANSFER} and of(gone).seconds["useful"] == 0
    assert of(removed).lost.keys() == {stays.TAKEN_OUT} and of(removed).seconds["useful"] == 0
    assert of(released).held >= 5 and of(released).seconds["useful"] >= 11
    # three pieces of 4 s, two of which end with 85: seen in the log alone
    assert not of(silent).measured and 11 <= of(silent).seconds["useful"] <= 20 and not of(silent).lost

    said = json.loads(osgdl(project, "report", "--local", "--json", "--html", "report.html", "--csv", "jobs.csv"))
    assert sum(said["seconds"].values()) == pytest.approx(said["slot_s"], abs=0.5)
    stays_of = sum(len(one.stays) for one in accounts.values())
    assert said["wall_s"]["htcondor"] == pytest.approx(said["slot_s"], abs=CLOCK_S * stays_of)
    with (project / "jobs.csv").open() as file:
        assert sum(float(row["slot_s"]) for row in csv.DictReader(file)) == pytest.approx(said["slot_s"])
    assert stays.WRONG in (project / "report.html").read_text()
