"""`osgdl try`: a job that loses its machines, and each fault, on the pool; what comes of it is what the table says.

`--soak`: thirty evictions at a mean spacing under a minute, and every fault; else four, and the quick faults.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from submit import faults, harm, osdf_local
from submit.cli import app
from submit.errors import KitError, PoolError
from submit.start import Start
from tests.conftest import Condor
from tests.pool import steady
from tests.pool.conftest import osgdl, render
from tests.pool.test_trainer import SIZE, configure
from unet_segmentation import phantom

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("try")]

QUICK = ("crash", "held-and-released", "checkpoint-torn", "torn-data")  # these leave others' jobs alone
REAL = ("bad-gpus", "osdf-slow", "osdf-fails-once", "osdf-truncated", "osdf-stale")  # these want the real trainer
DEST = "osdf:///ospool/ap40/data/osgdl-tests/try"


def tried(condor: Condor, folder: Path, *words: str, removed: bool = True) -> dict[str, Any]:
    """The report of `osgdl try train.sub --json`; what it leaves in the queue is removed."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, ["try", "train.sub", "--json", *words], catch_exceptions=False)
    finally:
        os.chdir(before)
    report = dict(json.loads(done.stdout))
    if removed:
        condor.run(["condor_rm", str(report["cluster"])], cwd=folder)
    fine = report["state"] == "done" and report["exit_code"] == 0 and not report["faults_not_reached"]
    assert done.exit_code == (0 if fine else 1), report
    return report


def came(condor: Condor, cluster: int) -> str:
    """`done`, or the code of the hold, as the table of faults writes it."""
    words = ["condor_q", str(cluster), "-hold", "-af", "HoldReasonCode", "HoldReasonSubCode"]
    told = condor.run(words, cwd=Path("/")).stdout.split()
    return "/".join(told) if told else "done"


def is_removed(condor: Condor, cluster: int) -> bool:
    """Whether it is out of the queue, or on its way."""
    return set(condor.run(["condor_q", str(cluster), "-af", "JobStatus"], cwd=Path("/")).stdout.split()) <= {"3"}


@pytest.fixture(scope="module")
def stand_in(condor: Condor, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose trainer is steady.py: 12 s of work."""
    folder = render(tmp_path_factory.mktemp("steady"))
    shutil.copy(steady.__file__, folder / "job" / "unet_segmentation" / "__main__.py")
    (folder / "data").mkdir()
    (folder / "data" / "patient.bin").write_bytes(b"x" * steady.BYTES)
    return folder


@pytest.fixture(scope="module")
def small(condor: Condor, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with the real trainer and phantoms on the pool's OSDF."""
    folder = render(tmp_path_factory.mktemp("tried"))
    phantom.write(folder / "phantoms", phantom.parts(3, "2:1"), 1, "brats2021", SIZE)
    configure(folder, "train", steps=40, batch_size=4, patch=32)
    configure(folder, "model", width=4, levels=3)
    configure(folder, "checkpoint", every_steps=5, leave_every_steps=10)
    shutil.rmtree(osdf_local.origin(DEST), ignore_errors=True)
    osgdl(folder, "stage", "phantoms", DEST, "--local")
    yield folder
    shutil.rmtree(osdf_local.origin(DEST), ignore_errors=True)


def weights(folder: Path, report: dict[str, Any]) -> str:
    file = folder / "results" / f"{report['cluster']}.0" / "metrics.json"
    return str(json.loads(file.read_text())["weights_sha256"])


def digest() -> str:
    """What steady.py comes to where nothing disturbs it."""
    value = b""
    for step in range(steady.STEPS):
        value = hashlib.sha256(value + str(step).encode()).digest()
    return value.hex()


@pytest.mark.parametrize("fault", list(faults.load()))
def test_a_fault_comes_to_what_the_table_says(
    request: pytest.FixtureRequest, condor: Condor, stand_in: Path, fault: str
) -> None:
    if fault not in QUICK and not request.config.getoption("--soak"):
        pytest.skip("every fault takes a quarter of an hour: make soak")
    folder = request.getfixturevalue("small") if fault in REAL else stand_in
    report = tried(condor, folder, "--faults", fault, "--limit", "5min", removed=False)
    outcome = came(condor, report["cluster"])
    condor.run(["condor_rm", str(report["cluster"])], cwd=folder)
    assert not report["faults_not_reached"], report
    assert outcome == faults.load()[fault].comes, report
    if outcome != "done":
        assert report["state"] == "held" and report["hold_reason"]
        return
    assert (report["state"], report["exit_code"]) == ("done", 0), report
    if folder is stand_in:
        result = folder / "results" / f"{report['cluster']}.0" / "digest"
        assert result.read_text() == digest()


def test_an_evicted_training_is_the_undisturbed_one(
    request: pytest.FixtureRequest, condor: Condor, small: Path
) -> None:
    """The weights are those of the run that nothing disturbs, and no more is done again than an interval for each."""
    soak = request.config.getoption("--soak")
    if soak:
        configure(small, "train", steps=36000)  # on a quiet machine too, enough for thirty evictions
        configure(small, "checkpoint", every_steps=0, leave_every_steps=0, evicted_every_minutes=1.0)
    whole = tried(condor, small, "--limit", "1h")
    every, seed = ("45s", "2") if soak else ("12s", "2752")  # evicts after 11, 19 and 33 s
    report = tried(condor, small, "--evict-every", every, "--seed", seed, "--limit", "2h" if soak else "5min")
    print(json.dumps(report))
    assert report["state"] == "done" and report["exit_code"] == 0, report
    assert report["evictions"] >= (30 if soak else 1), report
    assert weights(small, report) == weights(small, whole)
    parts = report["seconds"]
    assert sum(parts.values()) == pytest.approx(parts["queued"] + report["slot_s"], abs=1)
    if soak:
        assert report["between_evictions_s"] < 60
        assert report["goodput"] >= 0.85 * report["optimum"], report
        told = condor.run(["condor_history", str(report["cluster"]), "-af", "ChirpOsgdlInterval"], cwd=small).stdout
        print(report)
        print(f"goodput {report['goodput']:.1%} of {report['optimum']:.1%}, an interval of {float(told):.0f} s")
        assert parts["lost"] <= report["evictions"] * (float(told) + report["leave_s"]), report


def test_a_job_that_never_ends_is_given_up(condor: Condor, stand_in: Path) -> None:
    report = tried(condor, stand_in, "--limit", "8s")
    assert report["state"] == "given up" and "not done after 8 s (--limit); the jobs are removed" in report["reason"]
    assert is_removed(condor, report["cluster"])


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("osdf-slow", "osdf-slow: the job takes nothing from the OSDF; leave the fault out"),
        ("unreadable-input", "unreadable-input: the job sends no file from here; leave the fault out"),
        ("torn-data", "torn-data: the job sends no file from here; leave the fault out"),
    ],
    ids=["osdf-slow", "unreadable-input", "torn-data"],
)
def test_a_fault_that_does_not_fit_the_job(condor: Condor, tmp_path: Path, fault: str, says: str) -> None:
    lines = ("executable = /bin/true", "transfer_executable = False", "should_transfer_files = YES")
    (tmp_path / "train.sub").write_text("\n".join((*lines, "request_disk = 1MB", "queue", "")))
    with pytest.raises(KitError, match=f"^{re.escape(says)}$"):
        tried(condor, tmp_path, "--faults", fault)


def test_what_condor_submit_refuses(condor: Condor, tmp_path: Path) -> None:
    (tmp_path / "train.sub").write_text("executable = no-such-file\nqueue\n")
    with pytest.raises(PoolError, match=r"condor_submit refused it: "):
        tried(condor, tmp_path)


def test_an_image_that_is_a_file(tmp_path: Path) -> None:
    target = harm.Target(1, 0, Start(time=0), {"ContainerImage": "mine.sif"})
    with pytest.raises(KitError, match=r"^image-gone: the image is 'mine.sif'; one below /cvmfs is wanted"):
        harm.on_job(faults.load()["image-gone"], target).__enter__()


def test_ctrl_c_removes_the_job(condor: Condor, stand_in: Path) -> None:
    before = set((stand_in / "logs").iterdir())
    words = [sys.executable, "-m", "submit", "try", "train.sub"]
    process = subprocess.Popen(
        words,
        cwd=stand_in,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # what a shell runs in the background ignores Ctrl-C, and so does all that it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not set((stand_in / "logs").iterdir()) - before:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    time.sleep(2)  # it is submitted, and followed
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    job = re.search(
        r"interrupted: job (\d+) is removed, faults are ended; .* the pool is still up: osgdl pool down", said
    )
    assert job and process.returncode == 1, said
    assert is_removed(condor, int(job[1]))


def test_a_job_that_is_not_there(condor: Condor) -> None:
    gone = harm.Target(1, 0, Start(time=0, site="Nebraska", scratch="/pool/execute/NEBRASKA/dir_9999999/scratch"), {})
    with pytest.raises(PoolError, match=r"^job 1.0: no process of it at Nebraska; it ended meanwhile"):
        harm.payload(gone)


def test_a_job_without_a_folder_on_a_machine() -> None:
    with pytest.raises(PoolError, match=r"^job 1.0: its folder on the machine is ''; want .../dir_PID"):
        _ = harm.Target(1, 0, Start(time=0), {}).starter


def test_a_command_that_fails_in_the_pool(condor: Condor) -> None:
    with pytest.raises(PoolError, match=r"^ls /no-such: exit code 2: "):
        harm.root("ls", "/no-such")
    with pytest.raises(PoolError, match=r"^condor_vacate_job -fast 99999.0: "):
        harm.evict("99999.0")
