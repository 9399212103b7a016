"""What `osgdl watch` makes of event logs: states, sites, troubles in plain words, what is listed, when it ends."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import event_logs
from submit import explain, published, schedd, watch_queue, watch_table
from submit.cli import app
from submit.errors import KitError
from submit.published import Published
from submit.watch import Picture, Watch
from submit.watch_queue import Queue

HOST = "<127.0.0.1:9618>"


@pytest.fixture(autouse=True)
def no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """No queue answers here."""
    monkeypatch.setenv("OSGDL_POOL", "none-such")


def event(number: int, ago: int, text: str, job: str = "012.000.000") -> str:
    """`ago`: seconds before now; a constant would age while other tests run."""
    when = datetime.fromtimestamp(int(time.time()) - ago).isoformat(" ")
    return f"{number:03} ({job}) {when} {text}\n...\n"


def submitted(ago: int, job: str = "012.000.000", note: str = "") -> str:
    return event(0, ago, f"Job submitted from host: {HOST}" + (f"\n    {note}" if note else ""), job)


def started(ago: int, site: str = "UNL", job: str = "012.000.000") -> str:
    properties = f'GLIDEIN_Site = "{site}"\n\tGPUs = 2\n\tGPUs_DeviceName = "NVIDIA L40S"\n\tMachine = "gpu1"'
    return event(1, ago, f"Job executing on host: {HOST}\n\tSlotName: slot1\n\t{properties}", job)


def held(ago: int, reason: str, code: int, subcode: int, job: str = "012.000.000") -> str:
    return event(12, ago, f"Job was held.\n\t{reason}\n\tCode {code} Subcode {subcode}", job)


def ended(ago: int, code: int = 0, job: str = "012.000.000") -> str:
    return event(5, ago, f"Job terminated.\n\t(1) Normal termination (return value {code})", job)


def _days_ago(text: str) -> tuple[str, str]:
    """The time of an event, and one four days before it."""
    when = text[18:37]
    return when, (datetime.fromisoformat(when) - timedelta(days=4)).isoformat(" ")


def picture(folder: Path, *texts: str, everything: bool = False) -> Picture:
    (folder / "12.log").write_text("".join(texts))
    return Watch([folder], everything=everything).picture(ask=False)


def test_a_job_on_its_way(tmp_path: Path) -> None:
    first = picture(tmp_path, submitted(100))
    assert first.counts == {"idle": 1} and not first.over and first.places == ()
    second = picture(tmp_path, submitted(100, note="DAG Node: fold 3"), started(36))
    (line,) = second.lines
    assert (line.job, line.node, line.state, line.site, line.gpu) == ("12.0", "fold 3", "running", "UNL", "L40S")
    assert second.gpu_hours == pytest.approx(2 * 36 / 3600, rel=0.3) and second.places[0].running == 1
    lost = event(4, 20, "Job was evicted. Code 1007 Subcode 0\n\t(0) CPU times\n\tReason: the pilot retires")
    third = picture(tmp_path, submitted(100), started(36), lost, started(10, "UCSD"))
    assert third.evictions == 1 and third.counts == {"running": 1}
    assert [(p.site, p.running, p.ended, p.taken) for p in third.places] == [("UCSD", 1, 0, 0), ("UNL", 0, 0, 1)]
    last = picture(tmp_path, submitted(100), started(36), ended(5))
    assert last.over and not last.failed and last.counts == {"done": 1}


def test_failed_and_removed(tmp_path: Path) -> None:
    failed = picture(tmp_path, submitted(100), started(36), ended(5, 7))
    assert failed.over and failed.failed and failed.counts == {"failed": 1}
    (trouble,) = failed.troubles
    assert (trouble.words, trouble.mend, trouble.jobs) == ("ended with exit code 7", "osgdl explain 12.0", ("12.0",))
    killed = event(5, 5, "Job terminated.\n\t(0) Abnormal termination (signal 11)\n\t(0) No core file")
    assert picture(tmp_path, submitted(100), started(36), killed).troubles[0].words == "ended with signal 11"
    gone = picture(tmp_path, submitted(100), event(9, 5, "Job was aborted.\n\tvia condor_rm"))
    assert gone.over and gone.failed and gone.counts == {"removed": 1}


def test_waiting_for_long(tmp_path: Path) -> None:
    assert picture(tmp_path, submitted(100)).troubles == ()
    (trouble,) = picture(tmp_path, submitted(5000)).troubles
    assert (trouble.state, trouble.words) == ("idle", "waiting for more than 1 h")
    assert trouble.mend == "osgdl explain 12.0"


HOLDS = [
    (
        "osgdl: exit code 65, try 1: p7/t1c.nii: want 240x240x155; re-export it",
        (3, 65),
        "exit code 65: p7/t1c.nii: want 240x240x155; re-export it",
        "osgdl explain 12.0",
    ),
    (
        "via condor_hold (by user jane)",
        (1, 0),
        "held by condor_hold: via condor_hold (by user jane)",
        "condor_release 12.0",
    ),
    (
        "Error from slot1@gpu7: Job has gone over cgroup memory limit of 8192 megabytes. Last measured usage: 8191.",
        (34, 102),
        "it used more memory than its slot has, and was killed",
        "osgdl explain 12.0",
    ),
]


@pytest.mark.parametrize(("reason", "code", "words", "mend"), HOLDS, ids=["own", "by-hand", "memory"])
def test_why_it_is_held(tmp_path: Path, reason: str, code: tuple[int, int], words: str, mend: str) -> None:
    shown = picture(tmp_path, submitted(100), started(36), held(5, reason, *code))
    (trouble,) = shown.troubles
    assert (trouble.state, trouble.words, trouble.mend) == ("held", words, mend)
    assert shown.over, "nothing changes until somebody acts"


def test_a_job_submitted_on_hold_is_known_to_the_queue_alone(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text(submitted(100))
    watch = Watch([tmp_path])
    watch.queue.held = {(12, 0): watch_queue._hold({"HoldReasonCode": 15, "HoldReason": "submitted on hold"})}
    shown = watch.picture(ask=False)
    assert shown.counts == {"held": 1} and shown.over and "submitted on hold" in shown.troubles[0].words
    watch.queue.held = {(12, 0): (13, 2, "of an answer that is older than the log")}
    assert watch.picture(ask=False).counts == {"idle": 1}
    assert watch_queue._hold({"HoldReasonCode": "x"}) == (0, 0, "")


@pytest.mark.parametrize(
    ("local", "mend"), [(True, "osgdl pool exec -- condor_release 12.0"), (False, "condor_release 12.0")]
)
def test_what_mends_it_is_typed_where_the_queue_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: bool, mend: str
) -> None:
    monkeypatch.setattr(schedd, "is_local", lambda local: local)
    (tmp_path / "12.log").write_text(submitted(100) + held(5, "via condor_hold (by user jane)", 1, 0))
    watch = Watch([tmp_path], local)
    assert watch.picture(ask=False).troubles[0].mend == "condor_release 12.0", "nobody knows of whose queue it is"
    watch.queue.held = {(12, 0): (1, 0, "via condor_hold (by user jane)")}
    assert watch.picture(ask=False).troubles[0].mend == mend


def test_a_hold_that_ends_by_itself_is_waited_for(tmp_path: Path) -> None:
    reason = "Transfer input files failure at access point ap: reading from file /data/x: (errno 2) No such file"
    assert not picture(tmp_path, submitted(2000), held(5, reason, 13, 2)).over
    assert picture(tmp_path, submitted(2000), held(1000, reason, 13, 2)).over


def test_a_terminal_is_given_no_commands(tmp_path: Path) -> None:
    shown = picture(tmp_path, submitted(100), held(5, "osgdl: exit code 65, try 1: \x1b[2Jgone\x07", 3, 65))
    assert "\x1b" not in watch_table.text(shown) and "[2Jgone" in watch_table.text(shown)


def test_old_clusters_are_counted_apart(tmp_path: Path) -> None:
    old = [submitted(10**6, "007.000.000"), ended(9 * 10**5, 0, "007.000.000")]
    waiting = [submitted(10**6, "008.000.000")]
    shown = picture(tmp_path, *old, *waiting, submitted(100))
    assert shown.counts == {"idle": 2} and shown.older == 1
    assert picture(tmp_path, *old, *waiting, submitted(100), everything=True).counts == {"idle": 2, "done": 1}
    assert picture(tmp_path, *old).counts == {"done": 1}, "the newest is shown, however old"


def test_jobs_to_come_keep_it_open(tmp_path: Path) -> None:
    factory = event(35, 0, f"Cluster submitted from host: {HOST}", "012.-01.-01")
    shown = picture(tmp_path, factory, submitted(100), started(50), ended(5))
    assert shown.coming == 1 and not shown.over and "more to come" in watch_table.totals(shown)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"no job in its event logs; want one that was submitted\. Submit one"):
        Watch([tmp_path]).picture()
    (tmp_path / "12.log").write_text("")
    assert CliRunner().invoke(app, ["watch", str(tmp_path)]).exit_code == 1


# ---- many jobs


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    event_logs.write(folder / "logs", jobs=400, events=8000, logs=3)
    return folder


def test_many_jobs_are_summarised_and_the_interesting_ones_listed(many: Path) -> None:
    shown = Watch([many]).picture(ask=False)
    assert shown.total == 400 and set(shown.counts) == set(event_logs.ENDS) and not shown.over
    assert sum(trouble.count for trouble in shown.troubles) == sum(shown.counts[s] for s in ("held", "failed", "idle"))
    lines = watch_table.listed(shown, 20)
    assert len(lines) == 20 and {line.state for line in lines} >= {"running", "idle", "done"}
    assert [line.state for line in lines] == sorted((line.state for line in lines), key=list(shown.counts).index)
    text = watch_table.text(shown)
    assert f"{shown.counts['running']} running" in text and "and 3" in text and max(map(len, text.split("\n"))) <= 120
    for place in shown.places[:3]:
        assert re.search(rf"{place.site} +{place.running} +{place.ended} +{place.taken} ", text)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("told", [False, True], ids=["silent", "told"])
def test_it_fits_the_terminal(many: Path, width: int, told: bool) -> None:
    from rich.console import Console

    watch = Watch([many])
    before = watch.picture(ask=False)
    if told:
        said = Published(
            step=60, steps=100, loss=0.5, dice=0.7, rate=39.2, unit="images", gpu_use=0.83, left=90, at=int(time.time())
        )
        watch.queue.published = {line.name: said for line in before.lines if line.state == "running"}
    console = Console(width=width, height=40, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(watch_table.renderable(watch.picture(ask=False), width, 40))
    lines = captured.get().split("\n")
    assert max(map(len, lines)) <= width and len(lines) <= 48
    if told and width >= 80:
        assert any("━━━━━━━╌╌╌╌╌  60%" in line for line in lines)
    if told and width >= 120:
        assert any("images/s" in line and "GPU use" in line for line in lines)


def test_json_has_every_job(many: Path) -> None:
    done = CliRunner().invoke(app, ["watch", str(many), "--once", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert len(found["jobs"]) == 400 and sum(found["counts"].values()) == 400
    assert {"job", "state", "site", "gpu", "why", "published"} <= set(found["jobs"][0])
    assert found["queue"].startswith("no news from the queue: condor_q: not here, and the local pool is down")


def test_it_grows(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text(submitted(100))
    watch = Watch([tmp_path])
    assert watch.picture(ask=False).counts == {"idle": 1} and watch.changed == {(12, 0)}
    assert watch.picture(ask=False).counts == {"idle": 1} and watch.changed == set()
    with (tmp_path / "12.log").open("a") as file:
        file.write(started(5) + submitted(5, "012.001.000"))
    assert watch.picture(ask=False).counts == {"running": 1, "idle": 1}
    (tmp_path / "12.log").write_text(submitted(100))
    assert watch.picture(ask=False).counts == {"idle": 1}


# ---- what jobs publish


def test_a_job_s_ad() -> None:
    ad = {"ChirpOsgdlStep": 5, "ChirpOsgdlSteps": 20, "ChirpOsgdlLoss": 0.5, "ChirpOsgdlUnit": "images"}
    said = published.of_ad({**ad, "ChirpOsgdlValidationDice": 0.8, "ChirpOsgdlGpuUse": 0.7, "ChirpOsgdlAt": 9})
    assert said == Published(step=5, steps=20, loss=0.5, unit="images", validation_dice=0.8, gpu_use=0.7, at=9)
    assert said.share == 0.25 and said.as_dict()["validation_dice"] == 0.8
    assert published.of_ad({"GPUsAverageUsage": 0.4}) == Published(gpu_use=0.4), "HTCondor's own"


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from([*published.ATTRIBUTES.values(), "GPUsAverageUsage"]), values))
def test_any_ad_can_be_shown(ad: dict[str, object]) -> None:
    said = published.of_ad(ad)
    assert said.share is None or 0 <= said.share <= 1
    json.dumps(said.as_dict(), allow_nan=False)


def test_one_question_for_the_clusters_alone() -> None:
    few, many = watch_queue._question({12, 7}), watch_queue._question(set(range(100, 300)))
    assert (
        few[-1] == "(JobStatus == 2 || JobStatus == 5) && (ClusterId == 7 || ClusterId == 12)"
        and "ChirpOsgdlGpuUse" in few[3]
    )
    assert many[-1] == "(JobStatus == 2 || JobStatus == 5) && (ClusterId >= 100 && ClusterId <= 299)"


def test_no_question_without_running_jobs_nor_before_its_time() -> None:
    queue = Queue()
    queue.look([])
    assert queue._thread is None
    queue.look([(1, 0)])
    queue.wait(10)
    first = queue._thread
    queue.look([(1, 0)])
    assert queue._thread is first and "the local pool is down" in queue.trouble and not queue.lost((1, 0))


# ---- the ways to show it


def test_a_workflow_goes_on_between_its_jobs(tmp_path: Path) -> None:
    """condor_dagman computes nothing and is not shown, but it will queue more."""
    manager = "011.000.000"
    log = tmp_path / "two.dag.dagman.log"
    log.write_text(submitted(90, job=manager) + started(80, job=manager))
    alone = Watch([tmp_path]).picture(ask=False)
    assert alone.counts == {} and not alone.over
    between = picture(tmp_path, submitted(70), started(60), ended(30))
    assert between.counts == {"done": 1} and not between.over
    with log.open("a") as file:
        file.write(ended(5, job=manager))
    assert Watch([tmp_path]).picture(ask=False).over


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (held(5, "over the memory limit", 26, 0, job="011.000.000"), "held"),
        (event(9, 5, "Job was aborted.\n\tby user", "011.000.000"), "removed"),
        (ended(5, 1, job="011.000.000"), "failed"),
        (event(5, 5, "Job terminated.\n\t(0) Abnormal termination (signal 9)", "011.000.000"), "failed"),
    ],
    ids=["held", "removed", "failed", "killed"],
)
def test_a_workflow_that_stops_is_seen(tmp_path: Path, end: str, state: str) -> None:
    manager = "011.000.000"
    dagman = tmp_path / "two.dag.dagman.log"
    dagman.write_text(submitted(90, job=manager) + started(80, job=manager) + end)
    shown = picture(tmp_path, submitted(70), started(60), ended(30))
    assert shown.counts == {"done": 1, state: 1} and shown.failed and shown.over
    assert [one.node for one in shown.lines if one.name == (11, 0)] == ["two.dag"]
    (told,) = explain.jobs([str(tmp_path)], tmp_path, ask=False)
    assert told.job == "11.0" and told.failed and told.cause.what.startswith("the workflow two.dag: ")
    if state == "failed":
        assert "two.dag.dagman.out" in told.cause.mend
    dagman.write_text(submitted(400_090, job=manager) + end.replace(*_days_ago(end)))
    old = picture(tmp_path, submitted(70), started(60), ended(30))
    assert old.counts == ({"done": 1, "held": 1} if state == "held" else {"done": 1})  # what is held stays held
    dagman.write_text(submitted(90, job=manager) + started(80, job=manager) + end)
    failed = picture(tmp_path, submitted(70), started(60), ended(30, 1))  # a node says why it ended
    assert failed.counts == ({"failed": 1, "held": 1} if state == "held" else {"failed": 1})
