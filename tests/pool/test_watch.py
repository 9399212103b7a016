"""`osgdl submit` and `osgdl watch` with real jobs: what is recorded, seen, and refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import htcondor2
import pytest

from submit import events, launch, runs
from submit.errors import KitError, NoMatch
from tests.conftest import Condor
from tests.pool.conftest import IMAGE, osgdl, render
from tests.submit.test_events import same

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("watch")]

STEADY = Path(__file__).with_name("steady.py")


@pytest.fixture(scope="module")
def project(condor: Condor, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project whose trainer takes 12 s and publishes what it does."""
    folder = render(tmp_path_factory.mktemp("watch"), project_name="Watch me")
    shutil.copy(STEADY, folder / "job/unet_segmentation/__main__.py")
    (folder / "given").mkdir()
    (folder / "given/bytes").write_bytes(bytes(300_000))
    return folder


def look(folder: Path) -> Any:
    return json.loads(osgdl(folder, "watch", "--once", "--json"))


@pytest.fixture(scope="module")
def record(project: Path) -> dict[str, Any]:
    return dict(json.loads(osgdl(project, "submit", "train.sub", "data=given", "--json")))


def test_the_record_is_right(condor: Condor, project: Path, record: dict[str, Any]) -> None:
    (run,) = runs.read(project)
    assert run.cluster == record["cluster"] and run.jobs == 1 and run.words == ["data=given"]
    assert run.pool.startswith("local pool ") and run.image == IMAGE and run.log == f"logs/{run.cluster}.log"
    assert run.sha256 == runs.sha256(project / "train.sub") and run.overridden == {}
    sent = {one.name: one for one in run.inputs}
    assert set(sent) == {"run.sh", "job", "config.toml", "given"} and sent["given"].bytes == 300_000
    assert sent["config.toml"].sha256 == runs.sha256(project / "config.toml")
    done = condor.run(["condor_history", str(run.cluster), "-af", "QDate"], cwd=project)
    queue = condor.run(["condor_q", str(run.cluster), "-af", "QDate"], cwd=project)
    assert abs(int((queue.stdout + done.stdout).split()[0]) - run.time) < 30


def test_watch_sees_it_run_and_end(project: Path, record: dict[str, Any]) -> None:
    seen: list[Any] = []
    deadline = time.monotonic() + 240
    while not seen or not seen[-1]["over"]:
        assert time.monotonic() < deadline, seen[-1:]
        seen.append(look(project))
        time.sleep(1)
    running = [one["jobs"][0] for one in seen if one["counts"].get("running")]
    assert running and running[-1]["site"] and running[-1]["gpu"] and running[-1]["job"] == f"{record['cluster']}.0"
    published = [job["published"] for job in running if job["published"]]
    assert published and published[-1]["steps"] == 120 and 0 < published[-1]["step"] <= 120
    assert 0 <= published[-1]["left"] < 60 and abs(published[-1]["at"] - time.time()) < 300
    last = seen[-1]
    assert last["counts"] == {"done": 1} and last["gpu_hours"] > 0 and last["queue"] == ""
    assert "1 job: 1 done" in osgdl(project, "watch", "--once")


def test_every_event_of_the_pool_is_read_as_htcondor_reads_it(project: Path, record: dict[str, Any]) -> None:
    log = project / record["log"]
    found, taken = events.parse(log.read_bytes())
    ours = list(found)
    with htcondor2.JobEventLog(str(log)) as reader:
        theirs = list(reader.events(stop_after=0))
    assert taken == log.stat().st_size and len(ours) == len(theirs) > 8
    for one, his in zip(ours, theirs, strict=True):
        assert (one.type, one.cluster, one.proc, one.timestamp) == (int(his.type), his.cluster, his.proc, his.timestamp)
        if one.type != events.EXECUTE:
            same(one, his)


SUB = """executable = go.sh
{more}
request_cpus = 1
request_memory = 100MB
request_disk = 100MB
should_transfer_files = YES
+ProjectName = "OSGDL_Tests"
log = else/$(Cluster).log
queue {count}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "else").mkdir()
    (tmp_path / "go.sh").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "go.sh").chmod(0o755)
    return tmp_path


def submit(file: Path, *words: str, force: str = "a test of two lines", yes: bool = False, typed: str = "") -> runs.Run:
    return launch.run(file, words, local=True, force=force, yes=yes, ask=lambda question: typed, say=print)


def test_plain_condor_submit_and_a_cluster_that_comes_one_by_one(condor: Condor, folder: Path) -> None:
    (folder / "many.sub").write_text(SUB.format(more="max_materialize = 2", count=5))
    done = condor.run(["condor_submit", "-terse", "many.sub"], cwd=folder)
    cluster = int(done.stdout.split(".")[0])
    process = subprocess.run(
        [sys.executable, "-m", "submit", "watch", str(folder), "--local"],
        capture_output=True, text=True, timeout=240, env=dict(os.environ),
    )  # fmt: skip
    assert process.returncode == 0 and "5 jobs: 5 done" in process.stdout, process.stdout
    assert (folder / "else" / f"{cluster}.log").is_file() and not runs.read(folder)


def test_what_no_slot_takes_waits_only_if_somebody_says_so(condor: Condor, folder: Path) -> None:
    (folder / "huge.sub").write_text(SUB.format(more="request_gpus = 1\ngpus_minimum_memory = 900GB", count=2))
    with pytest.raises(NoMatch, match=r"no slot of local pool would take it, not submitted.*or let it wait: --yes"):
        submit(folder / "huge.sub")
    with pytest.raises(NoMatch):
        submit(folder / "huge.sub", typed="no")
    assert not runs.read(folder)
    for run in (submit(folder / "huge.sub", yes=True), submit(folder / "huge.sub", typed="y")):
        assert run.jobs == 2 and run.overridden["reason"] == "a test of two lines" and run.overridden["rules"]
        condor.run(["condor_rm", str(run.cluster)], cwd=folder)
    assert len(runs.read(folder)) == 2


def test_htcondor_s_own_refusal(condor: Condor, folder: Path) -> None:
    (folder / "bad.sub").write_text(SUB.format(more="", count=1).replace("go.sh", "none.sh"))
    with pytest.raises(KitError, match=r"bad\.sub: condor_submit refused it: .*none\.sh"):
        submit(folder / "bad.sub")


def test_a_workflow(condor: Condor, folder: Path) -> None:
    (folder / "node.sub").write_text(SUB.format(more="", count=1))
    (folder / "two.dag").write_text("JOB first node.sub\nJOB second node.sub\nPARENT first CHILD second\n")
    run = submit(folder / "two.dag")
    assert run.log == "two.dag.nodes.log" and [one.name for one in run.inputs] == ["node.sub"]
    deadline = time.monotonic() + 240
    while not (found := look_or_none(folder)) or found["counts"] != {"done": 2}:
        assert time.monotonic() < deadline, found
        time.sleep(2)
    assert {job["node"] for job in found["jobs"]} == {"first", "second"}


def look_or_none(folder: Path) -> Any:
    try:
        return look(folder)
    except KitError:  # no log yet
        return None
