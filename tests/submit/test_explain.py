"""`osgdl explain`: jobs by number, folders, logs and error files, from what lies in a project's folder."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from submit import explain, explain_holds, explain_table, pool, schedd
from submit.cli import app
from submit.errors import KitError
from submit.explain_cause import WHOSE

FAILURES = Path(__file__).parent / "failures"
RECORDED = FAILURES / "recorded"
FILES = {"python-key": 38, "python-module": 39, "silent-65": 51, "no-image": 72, "held-by-hand": 15, "running": 79}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No queue is asked."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(pool, "init_pid", lambda: None)


def number(name: str) -> str:
    found = re.search(r"^000 \((\d+)\.", (RECORDED / name / "job.log").read_text())
    assert found
    return str(int(found[1]))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with some of the recorded jobs, each in its own log."""
    (tmp_path / "logs").mkdir()
    for name in FILES:
        cluster = number(name)
        shutil.copy(RECORDED / name / "job.log", tmp_path / "logs" / f"{cluster}.log")
        if (RECORDED / name / "job.err").exists():
            shutil.copy(RECORDED / name / "job.err", tmp_path / "logs" / f"{cluster}.0.err")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def osgdl(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["explain", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


def test_a_job_by_its_number(project: Path) -> None:
    job = number("python-module")
    code, text = osgdl(f"{job}.0")
    assert code == 1
    lines = text.split("\n")
    assert lines[0].startswith(f"job {job}.0: held since ") and "; ran at " in lines[0]
    assert "  what    Python found no module medpy in the image" in lines
    assert "  fault   the image" in lines
    assert any(line.startswith("  waiting does not help: ") for line in lines)
    assert any(line.startswith("  mend    add it to container.def") for line in lines)
    assert f"logs/{job}.0.err:" in text
    assert osgdl(job) == (code, text)


def test_a_folder_is_grouped_by_cause_and_a_job_that_runs_is_not_named(project: Path) -> None:
    for at in range(3):  # the same fault again
        log = (RECORDED / "silent-65" / "job.log").read_text()
        old = re.findall(r"\((\d+)\.000\.000\)", log)[0]
        (project / "logs" / f"{900 + at}.log").write_text(log.replace(f"({old}.000.000)", f"({900 + at}.000.000)"))
    code, text = osgdl()
    assert code == 1
    groups = text.split("\n\n")
    assert groups[0].startswith("4 jobs: ") and "900.0, 901.0, 902.0" in groups[0]
    assert len(groups) == len(FILES) - 1  # all but the running one
    assert f"{number('running')}.0" not in text
    assert osgdl(".") == (code, text)


def test_a_running_job_points_inside(project: Path) -> None:
    job = number("running")
    code, text = osgdl(job)
    assert code == 0
    assert f"condor_tail {job}.0" in text and f"condor_ssh_to_job {job}.0" in text and "docs/look-inside.md" in text


def test_a_node_of_a_workflow_is_named(project: Path) -> None:
    job = number("dag-bug")
    shutil.copy(RECORDED / "dag-bug" / "job.log", project / "logs" / f"{job}.log")
    assert osgdl(job)[1].startswith(f"job {job}.0 (node A): done since ")


def test_json(project: Path) -> None:
    code, text = osgdl("--json")
    told = json.loads(text)
    assert code == 1 and {row["cause"] for row in told["causes"]} == {row["cause"] for row in told["jobs"]}
    (job,) = [job for job in told["jobs"] if job["job"] == f"{number('no-image')}.0"]
    assert (job["cause"], job["fault"], job["waiting_helps"]) == ("image-never-opened", "image", False)
    assert all(job["fault"] in WHOSE for job in told["jobs"])


def test_a_log_alone_and_a_folder_after_the_job(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    job = number("python-key")
    alone = osgdl(f"logs/{job}.log")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert "KeyError: 'flair'" in alone[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        assert "KeyError: 'flair'" in osgdl(job, str(project))[1]


def test_an_error_file_alone(project: Path) -> None:
    file = project / "x.err"
    file.write_text("CUDA_ERROR_ECC_UNCORRECTABLE\n")
    code, text = osgdl("x.err")
    assert code == 1 and "hardware fault" in text and "line 1: CUDA_ERROR_ECC_UNCORRECTABLE" in text
    assert json.loads(osgdl("x.err", "--json")[1])["found"][0]["failure"] == "ecc-uncorrectable"
    file.write_text("all is well\n")
    code, text = osgdl("x.err")
    assert code == 0 and "Nothing that the table of failures knows" in text and "  all is well" in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Traceback (most recent call last):\n  x\nModuleNotFoundError: No module named 'medpy'\n", "no module medpy"),
        ("config.toml: train.batch_size: 0; 1 or more is wanted; edit the line\n", "train.batch_size: 0"),
    ],
    ids=["symptom", "own words"],
)
def test_an_error_file_by_its_last_word(project: Path, text: str, says: str) -> None:
    (project / "x.err").write_text(text)
    code, told = osgdl("x.err")
    assert code == 1 and says in told.split("\n")[0] and "Nothing that the table" not in told
    (project / "x.err").write_text("")
    code, told = osgdl("x.err")
    assert code == 0 and told.startswith("Nothing that the table")


def test_nothing_failed(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text(
        "000 (012.000.000) 2026-11-20 10:00:00 Job submitted from host: <1>\n...\n"
        "005 (012.000.000) 2026-11-20 10:01:00 Job terminated.\n\t(1) Normal termination (return value 0)\n...\n"
    )
    assert osgdl(str(tmp_path)) == (0, "nothing failed, is held or has been idle for long\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["12345"], r"12345: no event log of .* has this job; jobs of \d+ to \d+ are there"),
        (["38.7"], r"38\.7: no event log of .* has this job"),
        (["no-such-folder"], r"no-such-folder: not there; want a project's folder or an event log"),
    ],
    ids=["cluster", "process", "folder"],
)
def test_what_is_not_there(project: Path, words: list[str], says: str) -> None:
    with pytest.raises(KitError, match=says):
        explain.jobs(words, Path())


def test_no_log_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    for words in ([], ["12"], [str(tmp_path)]):
        with pytest.raises(KitError, match=r"no job in its event logs; want one that was submitted"):
            explain.jobs(words, tmp_path)


def test_the_error_file_is_found_by_the_submit_file(project: Path) -> None:
    job = number("python-key")
    (project / "out").mkdir()
    (project / "logs" / f"{job}.0.err").rename(project / "out" / f"job-{job}-0.txt")
    (project / "mine.sub").write_text("log = logs/$(Cluster).log\nerror = out/job-$(ClusterId)-$(ProcId).txt\nqueue\n")
    (told,) = explain.jobs([job], project)
    assert told.err == f"out/job-{job}-0.txt"


def test_a_file_without_the_cluster_in_its_name_is_nobodys(project: Path) -> None:
    """Two clusters would share it: what it says may be another job's."""
    job = number("silent-65")
    (project / "logs" / f"{job}.0.err").unlink()
    (project / "job.err").write_text("KeyError: 'other'\n")
    (project / "mine.sub").write_text("log = logs/$(Cluster).log\nerror = job.err\nqueue\n")
    (told,) = explain.jobs([job], project)
    assert told.err == "" and told.tail == []


@pytest.mark.parametrize("name", ["train.sub", "folds.dag"])
def test_what_jobs_are_made_from_stands_for_its_folder(project: Path, name: str) -> None:
    (project / name).write_text("executable = run.sh\nqueue\n")
    assert explain.stderr_of([str(project / name)]) is None
    told = explain.jobs([str(project / name)], Path("/"))
    assert told and told == explain.jobs([str(project)], Path("/"))


class Queue:
    """Stands for condor_q: answers with these ads, and counts how often it is asked."""

    def __init__(self, ads: list[dict[str, Any]]) -> None:
        self.ads, self.asked = ads, 0

    def __call__(self, command: list[str], local: bool, timeout: float) -> list[dict[str, Any]]:
        self.asked += 1
        return self.ads


def test_an_ad_counts_where_it_is_this_job(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = project / "logs" / f"{number('submitted-on-hold')}.log"
    shutil.copy(RECORDED / "submitted-on-hold" / "job.log", log)
    ad = json.loads((RECORDED / "submitted-on-hold" / "job.json").read_text())
    names = {"ClusterId": int(log.stem), "ProcId": 0}
    monkeypatch.setattr(schedd, "ads", Queue([{**ad, **names, "UserLog": str(log)}]))
    assert explain.jobs([log.stem], project)[0].cause.id == "submitted-on-hold"
    assert explain.jobs([log.stem], project, local=True)[0].cause.mend.startswith("osgdl pool exec -- condor_release 1")
    # another access point's job of the same number
    monkeypatch.setattr(schedd, "ads", Queue([{**ad, **names, "UserLog": "/home/other/1.log"}]))
    assert explain.jobs([log.stem], project)[0].cause.id == "idle"
    monkeypatch.setattr(schedd, "ads", Queue([{"ClusterId": "x"}]))
    assert explain.jobs([log.stem], project)[0].cause.id == "idle"


def test_a_queue_is_asked_twice_at_most_and_never_about_many(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue([])
    monkeypatch.setattr(schedd, "ads", queue)
    explain.jobs([], project)
    assert queue.asked == 2
    monkeypatch.setattr(explain, "MOST_ADS", 1)
    explain.jobs([], project)
    assert queue.asked == 2


def test_many_jobs_of_one_log(tmp_path: Path) -> None:
    """A cluster of 2,000 jobs with one bug: one group, in seconds."""
    log = (RECORDED / "python-key" / "job.log").read_text()
    old = re.findall(r"\((\d+)\.000\.000\)", log)[0]
    text = "".join(log.replace(f"({old}.000.000)", f"(7.{proc:03}.000)") for proc in range(2000))
    (tmp_path / "7.log").write_text(text)
    told = explain.jobs([], tmp_path)
    assert len(told) == 2000 and len(explain_table.groups(told)) == 1
    shown = explain_table.text(told)
    assert shown.startswith("2000 jobs: 7.0, 7.1, ") and "and 1990 more" in shown
    assert "condor_rm JOB" in shown


# ---- the table of holds


def test_the_table_of_holds_is_whole() -> None:
    for row in explain_holds.table():
        assert row.fault in WHOSE and row.waits and row.what, row.id
        names = {*re.compile(row.pattern).groupindex, "job", "reason", "memory", "disk", *(["url"] if row.url else [])}
        assert set(re.findall(r"\{(\w+)\}", row.what + row.waits + row.mend)) <= names, row.id


def test_what_is_called_seen_was_recorded() -> None:
    rows = tomllib.loads((FAILURES / "failures.toml").read_text())["failure"]
    recorded = {row["right"]["cause"] for row in rows if "source" not in row}
    known = {row.id for row in explain_holds.table()}
    assert {row.id for row in explain_holds.table() if row.seen} == recorded & known


def test_every_code_of_the_manual_for_jobs_like_these_has_a_row() -> None:
    """HTCondor 25's list, without those of the grid, EC2 and standard universes."""
    codes = {*range(1, 28), *range(32, 37), *range(43, 49)} - {2, 17}
    assert codes <= {row.code for row in explain_holds.table()}


@given(st.integers(-1, 60), st.integers(-1000, 300), st.text(max_size=200))
def test_any_hold_is_explained(code: int, subcode: int, reason: str) -> None:
    row, values = explain_holds.find(code, subcode, reason)
    assert row.id and "reason" in values


@given(st.binary(max_size=400))
def test_any_log_is_survived(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    folder = tmp_path_factory.mktemp("noise")
    log = (RECORDED / "python-key" / "job.log").read_bytes()
    (folder / "1.log").write_bytes(log[: len(log) // 2] + noise + log[len(log) // 2 :])
    assert isinstance(explain_table.text(explain.jobs([], folder, ask=False)), str)
