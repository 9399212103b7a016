"""What is said of jobs' hours, as text, page, table and JSON; and what to change about them."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from submit import account, ads, pool, report, report_page, report_text, slot_time, stays, units
from submit.cli import app
from submit.errors import KitError
from submit.job_history import JobHistory
from submit.start import Start

PUBLISHED = {"ChirpOsgdlUseful": 5400.0, "ChirpOsgdlLeave": 20.0, "ChirpOsgdlStart": 60.0, "RequestGPUs": 1}
PUBLISHED |= {"RequestMemory": 8192, "ChirpOsgdlPreflightSeconds": 2.0}
RATE = {"ChirpOsgdlRate": 50.0, "ChirpOsgdlUnit": "images"}
NOON = 1_795_000_000  # about noon of a day


def stay(begin: int, seconds: int, **more: Any) -> Start:
    """3 s of files, and then until the end."""
    given_ = {"site": "UNL", "gpu": "NVIDIA L40S", "gpus": 1, "input_s": 3}
    return Start(time=begin + 3, claimed=begin, until=begin + seconds, **{**given_, **more})


def history(*starts: Start, number: int = 7, **more: Any) -> JobHistory:
    ended = starts[-1].until if starts else None
    values = {"submitted": 0, "ended": ended, "exit_code": 0, "starts": list(starts), **more}
    return JobHistory(cluster=number, proc=0, **values)


def of(*accounts: account.Account) -> report.Report:
    return report.Report(of=("brains",), now=20_000, accounts=accounts)


def evicted(number: int = 7, ad: dict[str, Any] = PUBLISHED, **used: float) -> account.Account:
    """A job that was evicted once, an hour after its checkpoint."""
    first = stay(10, 5400, code=(1022, 0), outputs=[(1800, 1805)])
    return account.of_job(history(first, stay(6000, 7000, used=used), number=number), ad, "x.log", 0)


def failed(why: str, code: tuple[int, int] | None = None, site: str = "UNL") -> account.Account:
    """A job whose first hour came to nothing."""
    job = history(stay(0, 3600, why=why, code=code, site=site), stay(4000, 900))
    return account.of_job(job, {}, "x.log", 0)


@given(st.integers(NOON, NOON + 10**8), st.integers(0, 10**6))
def test_days_add_up(begin: int, seconds: int) -> None:
    (one,) = stays.of_history(history(stay(begin, seconds)), 0)
    found = account.by_day(one)
    assert sum(found.values()) == seconds and all(0 < part <= 25 * 3600 for part in found.values())
    assert list(found) == sorted(found)


def test_gpu_hours_by_model_site_and_day() -> None:
    found = of(evicted(), account.of_job(history(stay(0, 3600, gpu="Tesla T4", site="UCSD")), {}, "x.log", 0))
    assert found.gpu_hours["gpu"] == {
        "NVIDIA L40S": (pytest.approx(12_400 / 3600), pytest.approx((5410 - 1805) / 3600)),
        "Tesla T4": (1.0, 0.0),
    }
    assert {site: hours.whole for site, hours in found.gpu_hours["site"].items()}.keys() == {"UNL", "UCSD"}
    assert sum(hours.whole for hours in found.gpu_hours["day"].values()) == pytest.approx(16_000 / 3600)


def test_what_a_removed_job_had_kept_is_lost_where_it_was() -> None:
    first = stay(0, 3600, code=(1022, 0), outputs=[(1800, 1800)])
    last = stay(4000, 3603, code=(1023, 0), site="UCSD")
    found = of(account.of_job(history(first, last, exit_code=None, removed=True), {}, "x.log", 0))
    lost = {site: hours.lost * 3600 for site, hours in found.gpu_hours["site"].items()}
    assert lost == {"UNL": pytest.approx(3597), "UCSD": pytest.approx(3600)}
    assert found.time.lost == {stays.MACHINE_LOST: 1800, stays.TAKEN_OUT: 1797 + 3600}
    page = report_page.html(found)
    assert not re.search(r'<rect class="useful"', page.partition("Over time</h2>")[2].partition("</section>")[0])


def test_two_gpus_are_two_hours_and_no_gpu_is_none() -> None:
    found = of(
        account.of_job(history(stay(0, 3600, gpus=2)), {}, "x.log", 0),
        account.of_job(history(stay(0, 3600, gpus=0, gpu="")), {}, "x.log", 0),
    )
    assert [one.gpu_hours for one in found.accounts] == [2.0, 0.0]
    assert found.gpu_hours["gpu"] == {"NVIDIA L40S": (2.0, 0.0)}


def test_speeds_make_hours_comparable() -> None:
    slow = account.of_job(history(stay(0, 3600, gpu="Tesla T4")), {**PUBLISHED, **RATE, "ChirpOsgdlRate": 10}, "x", 0)
    fast = account.of_job(history(stay(0, 7200)), {**PUBLISHED, **RATE}, "x.log", 0)
    assert of(slow, fast).speeds == {"NVIDIA L40S": (50.0, "images/s", 2.0), "Tesla T4": (10.0, "images/s", 0.2)}
    photons = account.of_job(history(stay(0, 7200)), {"ChirpOsgdlPhotonNs": 20.0}, "x.log", 0)
    assert of(photons).speeds == {"NVIDIA L40S": (50.0, "known photons/µs", 2.0)}
    assert of(evicted()).speeds == {}


def test_use_is_weighed_by_time() -> None:
    used = {"Cpus": 1.0, "Memory": 1000.0, "GPUs": 0.5}
    long = account.of_job(history(stay(0, 9000, used=used, asked={"Cpus": 4.0, "Memory": 8192.0})), {}, "x.log", 0)
    short = account.of_job(history(stay(0, 1000, used={"Cpus": 3.0}, asked={"Cpus": 2.0})), {}, "x.log", 0)
    found = of(long, short).uses
    assert tuple(found["Cpus"]) == pytest.approx((3.8, 1.2, 4.0, 3.0))
    assert tuple(found["Memory"]) == (8192, 1000, 8192, 1000) and set(found) == {"Cpus", "Memory"}
    ad = {
        "RequestGPUs": 1,
        "GPUsAverageUsage": 0.25,
        "GPUsMemoryUsage": 9000.0,
        "GPUsMinMemory": 40_000,
        "CpusUsage": "?",
    }
    assert set(of(account.of_job(history(stay(0, 9)), ad, "x.log", 0)).uses) == {"GPUs", "GPUsMemory"}
    unseen = account.of_job(history(stay(0, 9, used={"Memory": 0.0}, asked={"Memory": 8192.0})), {}, "x.log", 0)
    assert unseen.used == {}, "that a program takes no memory says that nobody could see it"
    told = account.of_job(history(stay(0, 9, gpus=2)), {"RequestGPUs": 2, "ChirpOsgdlGpuUse": 0.4}, "x.log", 0)
    assert told.used == {"GPUs": 0.8}


@pytest.mark.parametrize(
    ("of_jobs", "what", "do"),
    [
        ([failed("exit code 1")], stays.BUG, r"osgdl explain .* osgdl try FILE\.sub"),
        ([failed("exit code 65")], stays.WRONG, r"osgdl explain .* osgdl check FILE\.sub"),
        ([failed("exit code 75", site='a"b')], stays.MACHINE_BAD, r'most of it at a"b: \+UNDESIRED_Sites = "a\\"b"'),
        ([failed("too much", (34, 102))], stays.HELD, "osgdl explain says which limit"),
        ([failed("no file", (12, 2))], stays.TRANSFER, "osgdl stage"),
        ([failed("no image", (45, -1000))], stays.NOT_STARTED, "osgdl check"),
        ([failed("", (1023, 0))], stays.TAKEN_OUT, "condor_rm loses the rest"),
        (
            [failed("", (1022, 0))],
            "1 eviction, one in 75 min of machines; 1 job among them never sent a checkpoint home",
            r"docs/your-own-script\.md",
        ),
        ([evicted()], "leaving as often as loses least", "evicted_every_minutes = 207"),
        ([evicted(GPUs=0.2)], "in 1 job the GPUs were busy less than 50% of the time", r"docs/scaling\.md"),
        ([evicted(GPUs=0.0)], "1 job asked for a GPU and did not use it", "leave request_gpus out"),
        (
            [account.of_job(history(stay(0, 3600, input_s=1800)), {}, "x.log", 0)],
            "30.0 min, 50% of the machines' time: files on their way",
            "osgdl stage",
        ),
        (
            [
                account.of_job(
                    history(stay(0, 600)),
                    {**PUBLISHED, "ChirpOsgdlStart": 300.0, "ChirpOsgdlUseful": 290.0},
                    "x.log",
                    0,
                )
            ],
            "50% of the machines' time: starts, before a first step",
            "fewer and longer jobs",
        ),
        (
            [account.of_job(history(stay(0, 9000)), {**PUBLISHED, "ChirpOsgdlUseful": 4500.0}, "x.log", 0)],
            "leaving with 85 and coming back",
            "a larger evicted_every_minutes",
        ),
        (
            [account.of_job(history(stay(0, 9, code=(3, 65)), ended=None, hold_code=(3, 65)), {}, "x.log", 20)],
            "1 job on hold",
            "osgdl explain",
        ),
        (
            [account.of_job(history(stay(36_000, 3600)), {}, "x.log", 0)],
            "jobs waited 10.00 h in the queue, 10 times what they had machines",
            r"osgdl match FILE\.sub",
        ),
        ([evicted(Memory=900.0)], "no job used more than 0.9 GB of memory, and they ask for 8", "request_memory = 2GB"),
        (
            [account.of_job(history(stay(0, 900, used={"Cpus": 1.1}, asked={"Cpus": 8.0})), {}, "x.log", 0)],
            "no job used more than 1.1 cores, and they ask for 8",
            "request_cpus = 2:",
        ),
    ],
    ids=[
        *("bug", "wrong", "bad", "held", "transfer", "program", "removed", "never", "optimum", "idle-gpu", "no-gpu"),
        *("files", "starts", "leaving", "on-hold", "queue", "memory", "cores"),
    ],
)
def test_advice(of_jobs: list[account.Account], what: str, do: str) -> None:
    found = [one for one in of(*of_jobs).advice if what in one.what]
    assert len(found) == 1 and re.search(do, found[0].do), of(*of_jobs).advice


def test_what_a_short_job_used_is_not_known_well() -> None:
    short = account.of_job(history(stay(0, 60, used={"Cpus": 0.1}, asked={"Cpus": 8.0})), {}, "x.log", 0)
    assert of(short).advice == []


def test_advice_begins_with_what_saves_most() -> None:
    found = of(evicted(GPUs=0.2, Memory=900.0), failed("exit code 1"), failed("exit code 65")).advice
    hours = [one.hours for one in found]
    assert hours == sorted(hours, reverse=True) and len(found) > 3 and hours[-1] == 0.0
    assert max(hours) < sum(one.gpu_hours for one in of(evicted(), failed(""), failed("")).accounts)
    assert of(account.of_job(history(stay(0, 3600)), {}, "x.log", 0)).advice == []


class Wellformed(HTMLParser):
    """Fails where a tag is not closed, or closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open += [] if tag in ("meta", "br") else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()


def test_the_page_says_what_the_json_says_and_runs_nothing() -> None:
    job = history(stay(0, 5400, code=(1022, 0), site="<script>x</script>", gpu='"><b>'), stay(6000, 5400))
    odd = account.of_job(job, {**PUBLISHED, **RATE, "ChirpOsgdlUnit": "<u>"}, "<b>.log", 0)
    found = report.Report(of=("<i>here</i>",), now=20_000, accounts=(odd,))
    page = report_page.html(found)
    assert not re.search(r"<script|<i>|<u>|<b>\.|\"><b>", page) and "&lt;script&gt;" in page
    assert "default-src 'none'" in page and not re.search(r"""(?:src|href)=(?!"#)|url\(|@import""", page)
    assert all(f'id="{name}"' in page for name in re.findall(r'href="#([^"]*)"', page))
    parser = Wellformed()
    parser.feed(page.partition("<body>")[2].partition("</body>")[0])
    assert parser.open == []
    said = found.as_dict()
    assert f"<b>{round(100 * said['goodput'])}%</b>" in page
    for name, seconds in said["seconds"].items():
        assert re.search(rf"</span>{name}</th><td>{re.escape(units.span(seconds))}</td>", page)
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="10"><title>\w+: ', page)]
    assert sum(widths) == pytest.approx(2000, abs=1), "the bar of all, and that of the job"


def test_many_jobs_are_one_table_and_a_short_page() -> None:
    found = of(*(evicted(number) for number in range(400)))
    rows = list(csv.DictReader(io.StringIO(report_text.table(found))))
    assert len(rows) == 400 and {float(row["slot_s"]) for row in rows} == {12_400.0}
    categories = [f"{name}_s" for name in slot_time.CATEGORIES]
    assert all(sum(float(row[name]) for name in categories) == pytest.approx(12_400, abs=0.5) for row in rows)
    page = report_page.html(found)
    assert "The 300 that lost most, of 400" in page and "The 40 jobs that lost most" in page and len(page) < 1e6


def test_many_sites_are_a_short_list() -> None:
    found = of(*(account.of_job(history(stay(0, 3600 + at, site=f"S{at}")), {}, "x", 0) for at in range(60)))
    assert "20 others" in report_page.html(found) and "and 52 more" in report_text.text(found)


def test_jobs_that_never_ran() -> None:
    found = of(account.of_job(history(ended=None, exit_code=None), {}, "x.log", 7200))
    assert "1 jobs: 1 idle; 2.00 h in the queue" in report_text.text(found) and found.as_dict()["goodput"] is None
    assert "2.00 h</b>in the queue" in report_page.html(found)


def test_a_cell_is_no_formula() -> None:
    found = of(account.of_job(history(stay(0, 900, site="=cmd()")), {}, "x.log", 0))
    assert "'=cmd()" in report_text.table(found)


@pytest.mark.parametrize(
    ("seconds", "said"), [(12, "12 s"), (90, "1.5 min"), (5400, "1.50 h"), (4_320_000, "1,200 h")], ids=str
)
def test_times_in_words(seconds: float, said: str) -> None:
    assert units.span(seconds) == said


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
\tPartitionable Resources :    Usage  Request Allocated  Assigned
\t   Cpus                 :     0.97        4         4
\t   Gpus (Average)       :     0.83        1         1  "GPU-ddc1c098"
\t   GpusMemory (MB)      :    12345
...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/7.log").write_text(LOG)
    ad = {"ClusterId": 7, "ProcId": 0, **PUBLISHED, "ChirpOsgdlUseful": 3000.0, "RemoteWallClockTime": 3611.0}
    (tmp_path / "ads.json").write_text(json.dumps([ad]))
    return tmp_path


def test_the_command(folder: Path) -> None:
    words = ["report", str(folder), "--ads", str(folder / "ads.json")]
    files = ["--html", str(folder / "r.html"), "--csv", str(folder / "r.csv")]
    done = CliRunner().invoke(app, [*words, *files, "--json"], catch_exceptions=False)
    said = json.loads(done.stdout)
    assert (said["slot_s"], said["queued_s"], said["wall_s"]) == (3610, 300, {"htcondor": 3611, "logs": 3610})
    assert said["goodput"] == pytest.approx(3000 / 3610, abs=1e-4)
    assert sum(said["seconds"].values()) == said["slot_s"] and set(said["seconds"]) == set(slot_time.CATEGORIES)
    assert said["gpu_hours"]["site"] == {"UNL": {"hours": pytest.approx(1.0028), "lost": 0.0}}
    assert (said["used"]["GPUs"]["used"], said["by_job"][0]["gpusmemory_used"]) == (0.83, 12345)
    assert (folder / "r.html").read_text().startswith("<!doctype html>") and "7.0" in (folder / "r.csv").read_text()
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "1.00 h of machines, of which 83% is work in a result" in text and "  1.00 h  UNL" in text


def test_without_htcondor_the_log_alone_speaks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(pool, "init_pid", lambda: None)
    said: list[str] = []
    found = report.of_places([folder], say=said.append)
    assert found.time.seconds["useful"] == 3600 and found.wall is None and not found.time.measured
    assert said[0].startswith("no ad of 1 of 1 jobs, from queue or history: ")


def test_an_access_point_is_asked_for_these_jobs_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = folder / "bin"
    programs.mkdir()
    for name in ("condor_history", "condor_q", "condor_submit"):
        told = '[{"ClusterId": 7, "ProcId": 0, "ChirpOsgdlUseful": 900}]' if name == "condor_history" else ""
        (programs / name).write_text(f"#!/bin/sh\necho \"$0 $*\" >> {folder}/asked\necho '{told}'\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/bin:/usr/bin")
    found = report.of_places([folder])
    assert found.time.seconds["useful"] == 900
    asked = (folder / "asked").read_text().splitlines()
    assert len(asked) == 2 and re.search(
        r"condor_history -since EnteredCurrentStatus < \d+ 7 -json -attributes ", asked[0]
    )
    (programs / "condor_history").write_text("#!/bin/sh\nsleep 9\n")
    monkeypatch.setattr(ads, "ASK_S", 0.2)
    assert ads.ask([7], ["Cmd"], 0, local=False) == {}


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


def test_a_file_that_cannot_be_written(folder: Path) -> None:
    with pytest.raises(KitError, match=r"logs: Is a directory; want a file's name, in a folder where you may write"):
        report_text.write(folder / "logs", "")


@pytest.mark.parametrize("name", [".", "/", ""])
def test_what_is_no_file(name: str) -> None:
    with pytest.raises(KitError, match="want a file's name"):
        report_text.write(Path(name), "x")


def test_only_a_page_or_a_table_is_written_over(tmp_path: Path) -> None:
    """`osgdl report --html logs/12.log`, by somebody who takes --html for a flag, costs no event log."""
    log, page = tmp_path / "12.log", tmp_path / "12.html"
    log.write_text("000 (012.000.000)")
    with pytest.raises(KitError, match=r"12\.log: is there, and no page or table of ours"):
        report_text.write(log, "x")
    assert log.read_text() == "000 (012.000.000)"
    for text in ("one", "\udcff"):
        report_text.write(page, text)
    assert page.read_text() == "?"


def test_a_job_that_failed_is_called_so_and_its_line_ends_with_it() -> None:
    one = account.of_job(history(stay(0, 3600), exit_code=1), {}, "x.log", 0)
    found = of(one)
    assert found.states == {"failed": 1} and report_text.text(found).startswith("1 jobs: 1 failed")
    (row,) = report_page._lines(found, [one])["rows"]
    assert row["state"] == "failed" and row["width"] == pytest.approx(report_page.WIDTH)
