"""osdf:/// in the local pool, and what HTCondor makes of it: the behaviours that staging depends on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from submit import osdf_local, pool
from tests.conftest import Condor
from tests.pool.conftest import Job, submit

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("osdf")]

SCRIPT = """#!/bin/sh
# does what its first argument says
wc -c *.bin > sizes 2>&1
id -u > x.out
case $1 in
    twice) ls -a "$2" ; exit 1 ;;
    checkpoints)
        count=$(cat checkpoint/count 2> /dev/null || echo 0)
        mkdir -p checkpoint
        echo $((count + 1)) > checkpoint/count
        [ "$count" -ge 2 ] || exit 85 ;;
esac
"""
COMMON = """
executable = job.sh
arguments = {name}
log = logs/$(Cluster).log
output = logs/$(Cluster).out
error = logs/$(Cluster).err
should_transfer_files = YES
request_cpus = 1
request_memory = 100MB
request_disk = 100MB
+ProjectName = "OSGDL_Tests"
transfer_output_files = sizes, x.out
"""
# name of a job -> its lines; URL is this run's folder
JOBS = {
    "plain": "transfer_input_files = URL/in.bin\n"
    'transfer_output_remaps = "x.out = URL/run-$(Cluster)/x; sizes = plain"',
    "twice": 'max_retries = 1\ntransfer_output_remaps = "x.out = URL/twice-$$([NumShadowStarts ?: 0]); sizes = twice"',
    "bare": 'transfer_output_remaps = "x.out = URL/bare-$$([NumShadowStarts]); sizes = bare"',
    "taken": 'transfer_output_remaps = "x.out = URL/taken; sizes = taken.sizes"',
    "retried": 'transfer_input_files = URL/retried.bin\ntransfer_output_remaps = "sizes = retried"',
    "refused": "transfer_input_files = URL/refused.bin",
    "missing": "transfer_input_files = URL/no-such.bin",
    "truncated": 'transfer_input_files = URL/truncated.bin\ntransfer_output_remaps = "sizes = truncated"',
    "late": 'transfer_output_remaps = "x.out = URL/late-$$([NumShadowStarts ?: 0]); sizes = late"',
    "checkpoints": "transfer_input_files = URL/in.bin\nsuccess_exit_code = 0\nmax_retries = 1\n"
    "when_to_transfer_output = ON_SUCCESS\ncheckpoint_exit_code = 85\ntransfer_checkpoint_files = checkpoint\n"
    'transfer_output_remaps = "sizes = checkpoints"',
}


@pytest.fixture(scope="module")
def origin(condor: Condor) -> Iterator[Path]:
    """A folder of this run at the origin; test runs share a pool."""
    folder = osdf_local.origin(f"/ospool/ap40/data/osg/test-{os.getpid()}-{time.time_ns()}")
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def url(origin: Path) -> str:
    return f"osdf:///ospool/ap40/data/osg/{origin.name}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("osdf")
    (folder / "logs").mkdir()
    (folder / "job.sh").write_text(SCRIPT)
    (folder / "job.sh").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def jobs(condor: Condor, folder: Path, origin: Path, url: str) -> dict[str, Job]:
    """All in the queue at once."""
    unique = origin.name
    for name in ("in", "retried", "refused", "truncated"):
        (origin / f"{name}.bin").write_bytes(os.urandom(100_000))
    (origin / "taken").write_text("the first")
    # the names are this run's: other tests share the pool
    for name in ("retried", "refused", "truncated"):
        (origin / f"{name}.bin").rename(origin / f"{name}-{unique}.bin")
    osdf_local.spoil(fail=1, only=f"retried-{unique}.bin", times=1)
    osdf_local.spoil(fail=1, permanent=True, only=f"refused-{unique}.bin", times=1)
    osdf_local.spoil(truncate=0.5, only=f"truncated-{unique}.bin", times=1)
    osdf_local.spoil(fail=1, uploads=True, only=f"late-{unique}-1", times=1)
    made = {}
    for name, lines in JOBS.items():
        for word in ("retried", "refused", "truncated"):
            lines = lines.replace(f"URL/{word}.bin", f"URL/{word}-{unique}.bin")
        lines = lines.replace("URL/late-", f"URL/late-{unique}-").replace("URL", url)
        (folder / f"{name}.sub").write_text(f"{COMMON.format(name=name)}{lines}\nqueue\n")
        made[name] = submit(condor, folder, f"{name}.sub")
    return made


def test_input_and_output_by_osdf(jobs: dict[str, Job], folder: Path, origin: Path) -> None:
    assert jobs["plain"].wait("done").exit_code == 0
    assert (folder / "plain").read_text().split() == ["100000", "in.bin"]
    output = origin / f"run-{jobs['plain'].cluster}/x"
    # the plugin and the job run as the pool's user, who is the caller outside
    assert output.read_text() == "1000\n" and output.stat().st_uid == os.getuid()


def test_a_try_has_a_name_of_its_own(jobs: dict[str, Job], origin: Path) -> None:
    assert jobs["twice"].wait("done").exit_code == 1
    assert sorted(file.name for file in origin.glob("twice-*")) == ["twice-1", "twice-2"]
    # where the last try's output lies, the job's ad says
    assert "/twice-2;" in jobs["twice"].ad()["MATCH_EXP_TransferOutputRemaps"]


def test_the_count_of_starts_is_undefined_at_the_first(jobs: dict[str, Job]) -> None:
    assert jobs["bare"].wait("held").hold_reason == "Cannot expand $$ expression ([NumShadowStarts])."


def test_a_taken_name_holds_the_job(jobs: dict[str, Job], origin: Path) -> None:
    history = jobs["taken"].wait("held")
    assert history.hold_code == (12, 1 << 8)
    assert "remote object already exists, upload aborted" in history.hold_reason
    assert (origin / "taken").read_text() == "the first"


def test_what_may_pass_is_tried_again(jobs: dict[str, Job], folder: Path) -> None:
    history = jobs["retried"].wait("done")
    # its first machine never started it: no eviction, but a shadow more
    assert history.evictions == 0 and jobs["retried"].ad()["NumShadowStarts"] == 2
    assert (folder / "retried").read_text().split()[0] == "100000"
    ad = jobs["retried"].ad()
    assert ad["NumJobCoolDowns"] == 1 and ad["NumShadowStarts"] == 2 and ad["NumJobStarts"] == 1


@pytest.mark.parametrize(("name", "words"), [("refused", "403 Forbidden"), ("missing", "404 Not Found")])
def test_what_will_not_pass_is_held(jobs: dict[str, Job], name: str, words: str) -> None:
    history = jobs[name].wait("held")
    assert history.hold_code == (13, 1 << 8) and words in history.hold_reason and not history.starts


def test_a_truncated_input_reaches_the_job(jobs: dict[str, Job], folder: Path) -> None:
    assert jobs["truncated"].wait("done").exit_code == 0
    assert (folder / "truncated").read_text().split()[0] == "50000"


def test_an_upload_that_fails_costs_the_whole_run(jobs: dict[str, Job], origin: Path) -> None:
    assert len(jobs["late"].wait("done").starts) == 2
    assert [file.name for file in origin.glob("late-*")] == [f"late-{origin.name}-2"]


def test_a_checkpoint_transfers_no_input_again(jobs: dict[str, Job]) -> None:
    assert jobs["checkpoints"].wait("done").exit_code == 0
    ad = jobs["checkpoints"].ad()
    assert ad["CheckpointNumber"] == 1 and ad["NumInputTransferStarts"] == 1
    assert ad["TransferInputStats"]["OSDFFilesCountTotal"] == 1


def inputs(condor: Condor, folder: Path, text: str, *words: str) -> list[str]:
    """TransferInput of each process that these lines make."""
    (folder / "dry.sub").write_text(f"executable = job.sh\n{text}")
    done = condor.run(["condor_submit", "-dry-run", "-", "dry.sub", *words], cwd=folder)
    assert done.returncode == 0, done.stderr
    return [line.split("=", 1)[1].strip('"') for line in done.stdout.splitlines() if line.startswith("TransferInput=")]


LISTED = "transfer_input_files = job, $(data), $(data_objects:)\n"
DEFAULTS = "if ! defined data\ndata = phantoms\ndata_objects = osdf:///a, osdf:///b\nendif\n"


def test_a_data_set_and_its_objects_in_submit_lines(condor: Condor, folder: Path) -> None:
    assert inputs(condor, folder, f"data = phantoms\n{LISTED}queue\n") == ["job,phantoms"]
    assert inputs(condor, folder, f"{LISTED}queue\n", "data=phantoms") == ["job,phantoms"]
    assert inputs(condor, folder, f"{DEFAULTS}{LISTED}queue\n") == ["job,phantoms,osdf:///a,osdf:///b"]
    # the command line changes the data, and the objects of the file's data go with it
    assert inputs(condor, folder, f"{DEFAULTS}{LISTED}queue\n", "data=mine") == ["job,mine"]
    (folder / "items").write_text("one, osdf:///a, osdf:///b\ntwo, osdf:///c\nthree\n")
    queue = f"{LISTED}queue data, data_objects from items\n"
    assert inputs(condor, folder, queue) == ["job,one,osdf:///a,osdf:///b", "job,two,osdf:///c", "job,three"]


def test_the_origin_and_the_numbers_of_jobs_outlive_the_pool(condor: Condor, folder: Path) -> None:
    def osgdl(*words: str) -> str:
        environment = {**os.environ, "OSGDL_POOL": "lifecycle-osdf"}
        done = subprocess.run(
            [sys.executable, "-m", "submit", "pool", *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (folder / "held.sub").write_text(f"{COMMON.format(name='held')}hold = True\nqueue\n")
    numbers = []
    try:
        osgdl("down")
        for _ in range(2):
            osgdl("up")
            osgdl("exec", "--", "sh", "-c", "date > /pool/osdf/origin/kept")
            submitted = osgdl("exec", "--", "condor_submit", "held.sub")
            numbers.append(int(submitted.rsplit("cluster ", 1)[1].split(".")[0]))
            shown = osgdl("osdf", "--stale", "--only", "*.tar")
            assert "osdf:///kept" in shown and "fault: stale: other bytes under the name; downloads of *.tar" in shown
            osgdl("down")
        assert numbers[1] == numbers[0] + 1
        assert "faults: none" in osgdl("osdf")
    finally:
        osgdl("down")
        shutil.rmtree(pool.osdf().with_name("lifecycle-osdf"), ignore_errors=True)
