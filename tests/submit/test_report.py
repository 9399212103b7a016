"""Every second of a machine is in one category; what is said of it, as text, page, table and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from submit import account, ads, report, report_page, report_text
from submit.account import CATEGORIES
from submit.cli import app
from submit.errors import KitError
from submit.eventlog import JobHistory, Start

PUBLISHED = {"ChirpOsgdlUseful": 300.0, "ChirpOsgdlLeave": 5.0, "ChirpOsgdlStart": 20.0, "CheckpointNumber": 3}
PUBLISHED |= {"RequestGPUs": 1, "RequestMemory": 8192, "ChirpOsgdlPreflightSeconds": 2.0}
RATE = {"ChirpOsgdlRate": 50.0, "ChirpOsgdlUnit": "images"}
ENDS = {
    "exit code 85": "",
    "exit code 75": account.MACHINE_BAD,
    "exit code 1": account.BUG,
    "a signal": account.BUG,
    "osgdl: exit code 65, try 1: scan.nii.gz: torn": account.WRONG,
    "removed": account.REMOVED,
    "Job was evicted": account.MACHINE_LOST,
    "Socket between submit and execute hosts closed unexpectedly": account.MACHINE_LOST,
}
EVICTED = "Job was evicted"


def stay(begin: int, seconds: int, why: str, **more: Any) -> Start:
    given_ = {"site": "UNL", "gpu": "NVIDIA L40S", "gpus": 1, "input_s": 3}
    return Start(time=begin + 3, claimed=begin, until=begin + seconds, why=why, **{**given_, **more})


def history(*starts: Start, code: int | None = 0, **more: Any) -> JobHistory:
    ended = starts[-1].until if starts and code is not None else None
    return JobHistory(cluster=7, proc=0, submitted=0, starts=list(starts), ended=ended, exit_code=code, **more)


@st.composite
def histories(draw: st.DrawFn) -> JobHistory:
    starts, now = [], 0
    for _ in range(draw(st.integers(0, 6))):
        now += draw(st.integers(0, 500))
        seconds = draw(st.integers(3, 90_000))
        starts.append(stay(now, seconds, draw(st.sampled_from(list(ENDS))), input_s=draw(st.integers(0, 3))))
        now += seconds
    unstarted = [stay(now + 5, 7, "files")] if draw(st.booleans()) else []
    code = draw(st.sampled_from([0, 1, None])) if starts else None
    if code is not None:
        starts[-1].why = ""
    return history(*starts, code=code, unstarted=unstarted, evictions=draw(st.integers(0, 6)))


@given(histories(), st.sampled_from([{}, PUBLISHED, {**PUBLISHED, "ChirpOsgdlUseful": 0.0, "CheckpointNumber": -1}]))
def test_every_second_is_in_one_category(job: JobHistory, ad: dict[str, Any]) -> None:
    found = account.of_job(job, ad, "7.log", 10**6)
    assert found.slots == pytest.approx(sum(one.end - one.begin for one in found.stays), abs=1e-6)
    assert min(found.seconds.values()) >= -1e-6
    assert sum(found.lost.values()) == pytest.approx(found.seconds["lost"], abs=1e-6)
    for one in found.stays:
        assert sum(account.by_day(one).values()) == one.end - one.begin


def test_a_job_by_hand() -> None:
    job = history(stay(10, 200, EVICTED), stay(300, 250, "", output_s=4), evictions=1)
    found = account.of_job(job, PUBLISHED, "7.log", 0)
    assert dict(found.seconds) == {
        "transfer": 10.0,  # 3 + 3 in, 4 home
        "preflight": 4.0,
        "starting": 30.0,  # twice 20, of which 3 are the transfer and 2 the preflight
        "useful": 300.0,
        "leaving": 20.0,  # four times
        "unmeasured": 0.0,
        "lost": 86.0,
    }
    assert found.lost == {account.MACHINE_LOST: 86.0} and found.queued == 100 and found.measured


@pytest.mark.parametrize(("why", "cause"), ENDS.items(), ids=[str(number) for number in range(len(ENDS))])
def test_what_ended_a_stay(why: str, cause: str) -> None:
    found = account.of_job(history(stay(0, 50, why), stay(60, 50, "")), {}, "7.log", 0)
    assert [one.cause for one in found.stays] == [cause, ""]
    assert found.seconds["useful"] == 47 and found.seconds["lost"] == 47


@pytest.mark.parametrize(
    ("code", "cause"), [((13, 256), account.TRANSFER), ((34, 102), account.HELD), ((3, 1), account.BUG)], ids=str
)
def test_what_a_hold_says(code: tuple[int, int], cause: str) -> None:
    job = history(stay(0, 50, "so it is"), code=None, hold_code=code, hold_reason="so it is")
    assert account.of_job(job, {}, "7.log", 0).stays[0].cause == cause


def test_a_machine_that_never_began_the_job_is_lost() -> None:
    job = history(stay(100, 50, ""), unstarted=[stay(0, 30, "no file")])
    found = account.of_job(job, {}, "7.log", 0)
    assert found.slots == 80 and found.lost == {account.TRANSFER: 27.0}


def many(*ads_: dict[str, Any]) -> report.Report:
    """A report on jobs that were evicted once."""
    accounts = []
    for number, ad in enumerate(ads_):
        job = history(stay(10, 4000, EVICTED), stay(5000, 7000, "", used={"GPUs": 0.2, "Memory": 900.0}), evictions=1)
        job.cluster = number
        accounts.append(account.of_job(job, ad, "x.log", 0))
    return report.Report(of=("brains",), now=20_000, accounts=tuple(accounts), wall={})


def test_speeds_make_hours_comparable() -> None:
    job = history(stay(0, 3600, "", gpu="Tesla T4"))
    slow = account.of_job(job, {**PUBLISHED, "ChirpOsgdlRate": 10.0, "ChirpOsgdlUnit": "images"}, "x.log", 0)
    fast = account.of_job(history(stay(0, 7200, "")), {**PUBLISHED, **RATE}, "x.log", 0)
    found = report.Report(of=("a",), now=0, accounts=(slow, fast), wall={})
    assert found.speeds == {"Tesla T4": (10.0, "images/s", 0.2), "NVIDIA L40S": (50.0, "images/s", 2.0)}


def test_advice_begins_with_what_saves_most() -> None:
    found = many(PUBLISHED, {**PUBLISHED, "ChirpOsgdlUseful": 9000.0}).advice
    hours = [one.hours for one in found]
    assert hours == sorted(hours, reverse=True)
    assert "the GPUs were busy less than 50% of the time" in found[0].what
    assert any(one.do.startswith("in config.toml, [checkpoint]: evicted_every_minutes = ") for one in found)
    assert found[-1].do == "request_memory = 1GB: more machines would do"
    silent = many({"RequestGPUs": 1}).advice
    assert any("say nothing of a checkpoint" in one.what for one in silent)


def test_a_bad_site_is_named_as_condor_wants_it() -> None:
    job = history(stay(0, 900, "exit code 75", site='a"b'), stay(2000, 900, ""))
    found = report.Report(of=("a",), now=0, accounts=(account.of_job(job, {}, "x.log", 0),), wall={}).advice
    assert found[0].do.endswith(r'requirements = (GLIDEIN_Site =!= "a\"b")')


def test_the_page_says_what_the_json_says_and_runs_nothing() -> None:
    job = history(stay(0, 5400, EVICTED, site="<script>x</script>"), stay(6000, 5400, ""))
    odd = account.of_job(job, {**PUBLISHED, **RATE}, "<b>.log", 0)
    found = report.Report(of=("<i>here</i>",), now=20_000, accounts=(odd,), wall={})
    page = report_page.html(found)
    assert "<script" not in page and "<i>here" not in page and "&lt;script&gt;" in page
    assert not re.search(r"(?:src|href)=", page) and "default-src 'none'" in page
    said = found.as_dict()
    assert f"<b>{round(100 * said['goodput'])}%</b>" in page
    for name, seconds in said["seconds"].items():
        assert f"{name} <b>{report_page.hours(seconds)}</b>" in page
    assert f"<b>{sum(said['gpu_hours']['gpu'].values()):.2f} h</b>of GPUs" in page
    widths = [float(width) for width in re.findall(r'<rect x="[\d.]+" y="0" width="([\d.]+)"', page)]
    assert sum(widths) == pytest.approx(1000, abs=0.1)


def test_many_jobs_are_one_table_and_a_short_page() -> None:
    found = many(*[PUBLISHED] * 400)
    rows = list(csv.DictReader(io.StringIO(report_text.table(found))))
    assert len(rows) == 400 and {float(row["slot_s"]) for row in rows} == {11_000.0}
    assert "The 300 that lost most, of 400" in report_page.html(found)


def test_a_cell_is_no_formula() -> None:
    job = history(stay(0, 900, "", site="=cmd()"))
    found = report.Report(of=("a",), now=0, accounts=(account.of_job(job, {}, "x.log", 0),), wall={})
    assert "'=cmd()" in report_text.table(found)


LOG = """\
000 (007.000.000) 2026-11-18 10:00:00 Job submitted from host: <10.0.0.1:9618>
...
040 (007.000.000) 2026-11-18 10:05:00 Started transferring input files
\tTransferring to host: <10.0.0.1:9618>
...
040 (007.000.000) 2026-11-18 10:05:10 Finished transferring input files
...
001 (007.000.000) 2026-11-18 10:05:10 Job executing on host: <10.0.0.1:9618>
\tSlotName: slot1_1@gpu
\tGLIDEIN_Site = "UNL"
\tGPUs = 1
\tGPUs_DeviceName = "NVIDIA L40S"
...
005 (007.000.000) 2026-11-18 11:05:10 Job terminated.
\t(1) Normal termination (return value 0)
...
"""


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/7.log").write_text(LOG)
    history_ = [{"ClusterId": 7, "ProcId": 0, **PUBLISHED, "ChirpOsgdlUseful": 3000.0, "CheckpointNumber": -1}]
    (tmp_path / "ads.json").write_text(json.dumps(history_))
    words = ["report", str(tmp_path), "--ads", str(tmp_path / "ads.json")]
    files = ["--html", str(tmp_path / "r.html"), "--csv", str(tmp_path / "r.csv")]
    done = CliRunner().invoke(app, [*words, *files, "--json"], catch_exceptions=False)
    said = json.loads(done.stdout)
    assert (
        said["slot_s"] == 3610 and said["queued_s"] == 300 and said["goodput"] == pytest.approx(3000 / 3610, abs=1e-4)
    )
    assert set(said["seconds"]) == set(CATEGORIES) and said["gpu_hours"]["site"] == {"UNL": pytest.approx(1.0028)}
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>") and "7.0" in (tmp_path / "r.csv").read_text()
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "1.00 h of machines, of which 83% is work in a result" in text and "  1.00 h  UNL" in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r": No such file or directory; want what condor_history -json printed"),
        ("[{}]", r": no list of job ads; want what condor_history -json printed"),
        ("{", r": no list of job ads; want what condor_history -json printed"),
    ],
    ids=["gone", "no-names", "torn"],
)
def test_ads_that_cannot_be_read(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "ads.json").write_text(content)
    with pytest.raises(KitError, match=says):
        ads.read(tmp_path / "ads.json")


def test_a_folder_without_jobs(tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r": no job in it; want a project's folder, with an event log in logs/"):
        report.of_places([tmp_path])
