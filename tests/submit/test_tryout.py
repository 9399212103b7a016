"""`osgdl try` before the pool: what it refuses. And its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from submit import eventlog, faults, tryout, tryout_text
from submit.cli import app
from submit.errors import KitError
from submit.job_history import JobHistory
from submit.start import Start
from submit.tryout_outcome import Done, Outcome


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, ["try", *words])
    assert isinstance(done.exception, KitError), done.output
    return str(done.exception)


@pytest.fixture
def job(tmp_path: Path) -> str:
    file = tmp_path / "job.sub"
    file.write_text("executable = job.sh\nqueue\n")
    return str(file)


def test_a_workflow(tmp_path: Path) -> None:
    assert refused(str(tmp_path / "folds.dag")).endswith(
        "a workflow; a submit file is wanted. Try its nodes' submit files one by one, or: "
        "osgdl pool exec -- condor_submit_dag"
    )


def test_no_file(tmp_path: Path) -> None:
    assert "train.sub: no such file; want a submit file" in refused(str(tmp_path / "train.sub"))


def test_a_word_that_assigns_nothing(job: str) -> None:
    assert refused(job, "patients").startswith("assignment='patients': no value; NAME=VALUE is wanted")


@pytest.mark.parametrize("option", ["--evict-every", "--limit"])
@pytest.mark.parametrize("value", ["soon", "0s"])
def test_no_length_of_time(job: str, option: str, value: str) -> None:
    assert refused(job, option, value) == (
        f"{option} '{value}': no length of time; want a number above 0 with s, min or h, such as 60s"
    )


def test_a_fault_that_is_none(job: str) -> None:
    assert "'flood': no such fault" in refused(job, "--faults", "flood")


def test_the_list() -> None:
    done = CliRunner().invoke(app, ["try", "--faults", "list"])
    assert done.exit_code == 0 and done.output.strip() == faults.table()
    assert CliRunner().invoke(app, ["try"]).exit_code == 2


def history(**more: object) -> JobHistory:
    """Submitted at 1000; 60 s at one site, lost; 40 s at another."""
    first = Start(time=1002, claimed=1001, until=1061, why="vacated", site="A", input_s=1, code=(1022, 0))
    first.outputs = [(1045, 1046)]
    last = Start(time=1071, claimed=1070, until=1110, site="B", input_s=1, outputs=[(1108, 1110)])
    told = [(1002, "starts at A"), (1061, "lost its machine: vacated"), (1071, "starts at B"), (1110, "done")]
    values: dict[str, object] = {"starts": [first, last], "evictions": 1, "said": told, "exit_code": 0, "ended": 1110}
    return JobHistory(cluster=7, proc=0, submitted=1000, **{**values, **more})  # type: ignore[arg-type]


AD = {"ChirpOsgdlUseful": 60.0, "ChirpOsgdlLeave": 2.0, "ChirpOsgdlStart": 5.0, "CheckpointNumber": 2}


def outcome(*jobs: JobHistory, missed: str = "", why: str = "") -> Outcome:
    named = {(7, proc): job for proc, job in enumerate(jobs)}
    done = [Done(faults.load()["ap-restart"], "7.0", "A", 3.0, ["starts at B"])]
    return Outcome(7, named, {name: AD for name in named}, done, faults.chosen(missed), 1110.0, why)


def test_a_fine_try() -> None:
    report = tryout_text.as_dict(outcome(history()))
    assert json.loads(tryout_text.as_json(outcome(history()))) == report
    assert (report["exit_code"], report["state"], report["reason"], report["evictions"]) == (0, "done", None, 1)
    assert report["goodput"] == 0.6 and 0.6 < report["optimum"] < 1 and report["slot_s"] == 100
    assert report["seconds"]["useful"] == 60 and sum(report["seconds"].values()) == 110
    assert [start["ended_by"] for start in report["starts"]] == ["vacated", ""]
    assert report["faults"][0]["then"] == ["starts at B"]
    text = tryout_text.text(outcome(history()))
    assert "goodput: 60.0% of 100 s" in text and "the best that can be, with a loss every 100 s" in text
    assert "1 job, 2 starts at 2 sites, 1 evictions" in text and "not fine" not in text


@pytest.mark.parametrize(
    ("found", "state", "says"),
    [
        (outcome(history(), missed="full-disk"), "done", "no moment came for: full-disk"),
        (outcome(history(), why="not done after 60 s (--limit)"), "given up", "(--limit); the jobs are removed"),
        (outcome(history(exit_code=3)), "done", "job 7.0: done, exit code 3"),
        (outcome(history(exit_code=None, signal=9)), "done", "job 7.0: done, signal 9"),
        (
            outcome(history(exit_code=None, ended=None, hold_code=(3, 65), hold_reason="osgdl: exit code 65")),
            "held",
            "held: osgdl: exit code 65\nstill in the queue: osgdl pool exec -- condor_rm 7",
        ),
        (outcome(history(), history(exit_code=None, removed=True)), "removed", "job 7.1: removed, exit code None"),
    ],
    ids=["not-reached", "limit", "code", "signal", "held", "removed"],
)
def test_what_is_not_fine(found: Outcome, state: str, says: str) -> None:
    assert not found.fine and found.state == state
    assert tryout_text.text(found).endswith(says)


def test_what_a_job_does_not_publish_is_unknown() -> None:
    found = outcome(history())
    silent = Outcome(7, found.jobs, {}, [], [], 1110.0)
    report = tryout_text.as_dict(silent)
    assert not report["measured"] and report["seconds"]["useful"] == 43 + 37 and report["seconds"]["queued"] == 10
    assert tryout_text.UNKNOWN in tryout_text.text(silent)
    never_left = Outcome(7, found.jobs, {(7, 0): {"ChirpOsgdlUseful": 60.0}}, [], [], 1110.0)
    assert "what leaving costs is unknown" in tryout_text.text(never_left)


def test_a_long_story_is_cut() -> None:
    told = [(1000 + at, f"line {at}") for at in range(100)]
    text = tryout_text.text(outcome(history(said=told)))
    assert "... 60 more" in text and "line 19" in text and "line 20" not in text and "line 99" in text


def test_times_are_what_users_write() -> None:
    for text, seconds in (("60s", 60), ("60", 60), ("1.5h", 5400), ("2 min", 120)):
        assert tryout.units.duration(text) == seconds


LOG = """000 (007.000.000) 2026-11-24 20:00:00 Job submitted from host: <127.0.0.1:9618>
...
001 (007.000.000) 2026-11-24 20:00:02 Job executing on host: <127.0.0.1:9618>
...
"""
GONE = """022 (007.000.000) 2026-11-24 20:00:05 Job disconnected, attempting to reconnect
    Socket between submit and execute hosts closed unexpectedly
    Trying to reconnect to slot1@a <127.0.0.1:9618>
...
"""
BACK = """023 (007.000.000) 2026-11-24 20:00:06 Job reconnected to slot1@a
    startd address: <127.0.0.1:9618>
    starter address: <127.0.0.1:9618>
...
"""
ELSEWHERE = """024 (007.000.000) 2026-11-24 20:00:25 Job reconnection failed
    Job disconnected too long: JobLeaseDuration (20 seconds) expired
    Can not reconnect to slot1@a, rescheduling job
...
001 (007.000.000) 2026-11-24 20:00:38 Job executing on host: <127.0.0.1:9618>
...
"""


def test_a_fault_waits_for_a_machine_that_is_there(tmp_path: Path) -> None:
    """After machine-dies the log says "running" until the lease has run out."""
    tried = tryout.Tryout(tmp_path, [], None, [], 1, 60.0)

    def after(text: str) -> float:
        """Seconds that the job has run, a minute after its last start."""
        log = tmp_path / "job.log"
        log.write_text(text)
        job = eventlog.read(log)[7, 0]
        assert job.state == "running"
        return tried._running_for(job, job.starts[-1].time + 60)

    assert after(LOG) == after(LOG + GONE + BACK) == after(LOG + GONE + ELSEWHERE) == 60
    assert after(LOG + GONE) == after(LOG + GONE + BACK + GONE) == 0
