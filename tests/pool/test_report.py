"""An eviction, a hold, a bad machine and files that do not come: every second of the slots is accounted for."""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path

import pytest

from submit import account, report
from tests.conftest import Condor
from tests.pool import steady
from tests.pool.conftest import osgdl, render, submit

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("report")]

CLOCK_S = 3  # the log's whole seconds, and the shadow's life before the first transfer and after the last event; a stay


@pytest.fixture(scope="module")
def project(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose trainer is steady.py: 12 s of work, left every 3 s."""
    folder = render(tmp_path_factory.mktemp("report"))
    shutil.copy(steady.__file__, folder / "job" / "unet_segmentation" / "__main__.py")
    for name, size in (("data", steady.BYTES), ("wrong", 7)):
        (folder / name).mkdir()
        (folder / name / "patient.bin").write_bytes(b"x" * size)
    return folder


def test_every_second_of_a_machine_is_in_one_category(condor: Condor, project: Path) -> None:
    evicted, wrong = submit(condor, project), submit(condor, project, "train.sub", "data=wrong")
    bad = submit(condor, project, "train.sub", "-append", "+OsgdlBadSites = True")
    gone = submit(condor, project, "train.sub", "-append", "transfer_input_files = job, config.toml, gone")
    while not evicted.history().starts or evicted.history().starts[-1].sent < 2:
        time.sleep(0.2)
    condor.run(["condor_vacate_job", "-fast", str(evicted.cluster)], cwd=project)
    for job, state in ((evicted, "done"), (wrong, "held"), (bad, "done"), (gone, "held")):
        job.wait(state)

    found = report.of_places([project], local=True)
    accounts = {one.job: one for one in found.accounts}
    assert len(accounts) == 4
    for one in accounts.values():
        assert one.slots == pytest.approx(sum(stay.end - stay.begin for stay in one.stays))
        assert min(one.seconds.values()) >= 0 and sum(one.lost.values()) == pytest.approx(one.seconds["lost"])
        assert abs(one.slots - found.wall[one.job]) <= CLOCK_S * max(1, len(one.stays)), (one, found.wall)
        print(one.job, one.state, {name: round(seconds) for name, seconds in one.seconds.items()}, found.wall[one.job])
    whole = accounts[f"{evicted.cluster}.0"]
    assert whole.measured and whole.evictions == 1 and account.MACHINE_LOST in whole.lost
    assert 11 <= whole.seconds["useful"] <= 20 and whole.seconds["leaving"] > 0
    assert account.WRONG in accounts[f"{wrong.cluster}.0"].lost
    assert account.MACHINE_BAD in accounts[f"{bad.cluster}.0"].lost
    assert set(accounts[f"{gone.cluster}.0"].lost) <= {account.TRANSFER}

    said = json.loads(osgdl(project, "report", "--local", "--json", "--html", "report.html", "--csv", "jobs.csv"))
    assert sum(said["seconds"].values()) == pytest.approx(said["slot_s"], abs=0.5)
    with (project / "jobs.csv").open() as file:
        assert sum(float(row["slot_s"]) for row in csv.DictReader(file)) == pytest.approx(said["slot_s"])
    assert account.WRONG in (project / "report.html").read_text()
