"""What a job's time goes to, and what to change where less than half is useful work."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit import stage_observed, stage_plan, stage_plan_table, stage_store
from submit.errors import StageError
from submit.stage_plan import Load, plan
from tests.runtime import staged

# 10 GB in ten shards: at 25 MB/s 400 s, unpacked in 50 s, arrays already
LOAD = Load((10**9,) * 10, 10**10, "osdf", prepared=True, speed=25e6, starts=1, start_s=50, out_bytes=0)


def test_the_numbers_of_a_plan() -> None:
    planned = plan(LOAD, 500)
    assert LOAD.seconds == {"transfer in": 400, "unpack and check": 50, "prepare": 0, "start": 50, "transfer out": 0}
    (row,) = planned.rows
    assert (row.useful, row.slot_s, row.changes) == (0.5, 1000, ()) and planned.advice == ()
    # twice as many starts, twice as much beside the work
    again = replace(LOAD, starts=2, jobs=100, share=0.8, image_bytes=2 * 10**9, out_bytes=25_000_000)
    assert again.start_bytes == 10**10 and again.overhead_s == 2 * (400 + 40 + 50) + 1
    value = json.loads(stage_plan_table.as_json(plan(again, 500)))
    assert value["shards"] == {"count": 10, "largest_bytes": 10**9, "bytes": 10**10}
    assert (value["bytes_per_start"], value["bytes_per_job"], value["bytes_of_all_jobs"]) == (
        10**10,
        2 * 10**10,
        2 * 10**12,
    )
    assert value["compute"][0]["useful"] == pytest.approx(500 / (500 + 981))
    raw = replace(LOAD, prepared=False)
    assert raw.seconds["prepare"] == 10**10 / stage_plan.PREPARE_SPEED


def test_half_is_half() -> None:
    many = replace(LOAD, jobs=9)
    assert not plan(many, 500).rows[0].changes and plan(many, 499).rows[0].changes
    assert "49 % of the slot's time" in stage_plan_table.text(plan(LOAD, 499.9))


def test_what_to_change_and_what_it_gives() -> None:
    load = replace(LOAD, jobs=100, prepared=False, image_bytes=5 * 10**9, route="htcondor", speed=10e6)
    now = load.useful(600)
    (row,) = plan(load, 600).rows
    what = [change.what for change in row.changes]
    assert [change.useful for change in row.changes] == sorted((c.useful for c in row.changes), reverse=True)
    assert all(now < change.useful < 1 for change in row.changes)
    merged = next(change for change in row.changes if change.what.startswith("fewer, larger jobs"))
    assert merged.what == "fewer, larger jobs: the work of 5 in one, 20 instead of 100" and 0.5 <= merged.useful < 0.6
    longer = next(change for change in row.changes if change.what.startswith("more epochs in each job"))
    assert longer.useful == pytest.approx(0.5, abs=0.001) and "compute for 45 min, not 10 min" in longer.what
    image = next(change for change in row.changes if "CVMFS" in change.what)
    assert image.useful == replace(load, image_bytes=0).useful(600)
    folds = next(change for change in row.changes if "--splits" in change.what)
    assert folds.useful == replace(load, share=0.8).useful(600)
    osdf = next(change for change in row.changes if "osdf:///ospool" in change.what)
    assert osdf.useful == replace(load, speed=25e6).useful(600)
    # arrays are 2.5 times as large: at this speed they cost more than they save
    assert not any("prepared arrays" in one for one in what)
    slow = replace(LOAD, prepared=False, speed=250e6)
    arrays = next(one for one in plan(slow, 600).rows[0].changes if "prepared arrays" in one.what)
    assert arrays.useful == pytest.approx(600 / (600 + 100 + 125 + 50))
    text = stage_plan_table.text(plan(load, 600))
    assert "under one half. What to change, each alone, the most effective first:" in text
    assert " %  fewer, larger jobs: the work of 5 in one" in text
    assert stage_plan_table.text(plan(replace(LOAD, share=0.8), 500)).count("80% of them for a job") == 1


def test_folds_that_share_a_job_need_all_shards() -> None:
    load = replace(LOAD, jobs=5, share=0.5)
    merged = next(one for one in plan(load, 100).rows[0].changes if one.what.startswith("fewer"))
    assert merged.what.endswith("the work of 5 in one, 1 instead of 5") and merged.useful == LOAD.useful(500)
    assert not any("--splits" in one.what for one in plan(load, 100).rows[0].changes)


@settings(max_examples=200, deadline=None)
@given(
    shards=st.lists(st.integers(1, 3 * 10**9), min_size=1, max_size=5),
    jobs=st.integers(1, 1000), share=st.floats(0.01, 1), speed=st.floats(1e4, 1e9), image=st.integers(0, 10**10),
    starts=st.floats(1, 5), compute=st.floats(1, 1e6), prepared=st.booleans(), route=st.sampled_from(stage_plan.ROUTES),
)  # fmt: skip
def test_every_change_helps_and_every_plan_can_be_shown(
    shards: list[int], jobs: int, share: float, speed: float, image: int, starts: float, compute: float,
    prepared: bool, route: str,
) -> None:  # fmt: skip
    load = Load(tuple(shards), 2 * sum(shards), route, prepared, jobs, share, speed, image, starts)
    planned = plan(load, compute)
    (row,) = planned.rows
    assert 0 < row.useful < 1 and row.slot_s > compute
    assert row.useful >= 0.5 or any(change.useful >= 0.4999 for change in row.changes)
    assert all(change.useful > row.useful for change in row.changes)
    assert stage_plan_table.text(planned) and json.loads(stage_plan_table.as_json(planned))


def test_without_a_time_there_are_three_examples() -> None:
    planned = plan(LOAD)
    assert [row.compute_s for row in planned.rows] == [600, 3600, 18000]
    text = stage_plan_table.text(planned)
    assert "compute    not known; three examples" in text
    assert "10 min of computing and 8 min beside it: 54 %" in text and "5.0 h of computing" in text
    assert "60 min of computing" in text


def test_the_pools_policy() -> None:
    small = Load((10**8,), 10**8, "htcondor", jobs=1)
    assert plan(small).advice == ()
    assert "10 jobs get the same data" in plan(replace(small, jobs=10)).advice[0]
    (many,) = plan(replace(small, shards=(9 * 10**8, 9 * 10**8), jobs=50)).advice
    assert many.startswith("1.8 GB leave the access point for each start of a job, less than 1.0 GB is meant")
    large = plan(replace(small, shards=(15 * 10**8,))).advice
    assert large[0].startswith("shards of up to 1.5 GB: HTCondor's transfer is for less than 1.0 GB a file")
    (quota,) = plan(replace(small, route="osdf", shards=(10**9,) * 200)).advice
    assert quota == "200.0 GB are to lie there, the documented quota is 100.0 GB"
    assert f"policy: {quota}" in stage_plan_table.text(plan(replace(small, route="osdf", shards=(10**9,) * 200)))
    assert plan(replace(small, route="osdf", jobs=500)).advice == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jobs": 0}, "--jobs=0: cannot be; a number from 1 on is wanted"),
        ({"share": 0.0}, "--share=0.0: cannot be; a part above 0"),
        ({"share": 1.1}, "--share=1.1"),
        ({"starts": 0.5}, "--starts=0.5"),
        ({"speed": 0.0}, "--speed=0.0: cannot be; a speed such as 25MB/s"),
        ({"speed": float("nan")}, "--speed=nan"),
        ({"start_s": float("inf")}, "--start=inf: cannot be; a time such as 60s"),
        ({"image_bytes": -1}, "--image-size=-1: cannot be; a size such as 4GB"),
        ({"shards": ()}, "route='osdf': nothing goes that way; shards, and htcondor or osdf"),
        ({"route": "http"}, "route='http'"),
    ],
)
def test_numbers_that_cannot_be(change: dict[str, object], said: str) -> None:
    with pytest.raises(StageError) as raised:
        plan(replace(LOAD, **change))  # type: ignore[arg-type]
    assert str(raised.value).startswith(said)


def test_a_time_that_cannot_be() -> None:
    with pytest.raises(StageError, match="--compute=0: cannot be; a time such as 30min is wanted"):
        plan(LOAD, 0)


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("1.5h", 5400), ("10 min", 600)])
def test_times(text: str, value: float) -> None:
    assert stage_plan_table.seconds("--compute", text) == value


@pytest.mark.parametrize("text", ["", "90", "0s", "-1h", "1e9h", "1d", "٣s"])
def test_no_times(text: str) -> None:
    with pytest.raises(StageError, match=r"--compute=.*: not a time; a number above 0 with s, min or h is wanted"):
        stage_plan_table.seconds("--compute", text)


def test_speeds() -> None:
    assert stage_plan_table.speed("25MB/s") == 25e6 and stage_plan_table.speed("1.5 GB/s") == 1.5e9
    for text in ("25", "25MB", "0kB/s"):
        with pytest.raises(StageError, match=r"--speed=.*: not a speed; a number above 0 with kB/s, MB/s or GB/s"):
            stage_plan_table.speed(text)


def test_of_a_folder_and_of_a_manifest(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / "data" / f"p{number:02}"
        folder.mkdir(parents=True)
        (folder / "flair.nii.gz").write_bytes(os.urandom(1000))
    load = stage_plan.of_source(tmp_path / "data", "osdf", 4000)
    assert sum(load.shards) == load.unpacked_bytes == 20_000 and 3 <= len(load.shards) <= 20
    assert max(load.shards) <= 8000 and not load.prepared
    assert len(stage_plan.of_source(tmp_path / "data", "htcondor").shards) == 1
    manifest = stage_store.read(staged.build(tmp_path / "place", staged.FILES, 3))
    load = stage_plan.of_manifest(manifest)
    assert (
        load.route == "osdf" and sum(load.shards) == manifest.bytes and load.unpacked_bytes == manifest.unpacked_bytes
    )
    with pytest.raises(StageError, match="no such folder"):
        stage_plan.of_source(tmp_path / "none", "osdf")


# As HTCondor 25.14 wrote it, two objects of the OSDF and a file of the access point: 170 MB
LOG = """000 (002.000.000) 2026-11-24 17:14:54 Job submitted from host: <10.0.0.1:42023>
...
040 (002.000.000) 2026-11-24 17:14:55 Started transferring input files
\tTransferring to host: <HOST:42023?addrs=127.0.0.1-42023&alias=ap.osgdl.example&noUDP&sock=slot1_1_133_75de_1>
...
040 (002.000.000) 2026-11-24 17:15:12 Finished transferring input files
...
001 (002.000.000) 2026-11-24 17:15:13 Job executing on host: <HOST:42023?addrs=127.0.0.1-42023&sock=tcnj>
...
004 (002.000.000) 2026-11-24 17:16:13 Job was evicted.
\t(0) CPU times
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage
\t648  -  Run Bytes Sent By Job
\t170000074  -  Run Bytes Received By Job
...
040 (002.000.000) 2026-11-24 17:17:00 Started transferring input files
\tTransferring to host: <HOST:42023?sock=slot1_1_133_75de_1>
...
040 (002.000.000) 2026-11-24 17:17:17 Finished transferring input files
...
001 (002.000.000) 2026-11-24 17:17:18 Job executing on host: <HOST:42023?sock=tcnj>
...
040 (002.000.000) 2026-11-24 17:18:13 Started transferring output files
...
040 (002.000.000) 2026-11-24 17:18:13 Finished transferring output files
...
005 (002.000.000) 2026-11-24 17:18:16 Job terminated.
\t(1) Normal termination (return value 0)
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Local Usage
\t648  -  Run Bytes Sent By Job
\t170000074  -  Run Bytes Received By Job
\t648  -  Total Bytes Sent By Job
\t170000074  -  Total Bytes Received By Job
...
"""


def log(project: Path, name: str, text: str, host: str = "203.0.113.7") -> Path:
    (project / "logs").mkdir(parents=True, exist_ok=True)
    path = project / "logs" / name
    path.write_text(text.replace("<HOST", f"<{host}"))
    return path


def test_the_speed_and_the_starts_that_logs_tell(tmp_path: Path) -> None:
    far, near = log(tmp_path, "1.log", LOG), log(tmp_path, "2.log", LOG, "127.0.0.1")
    assert stage_observed.logs(tmp_path) == [far, near]
    speed = stage_observed.observed_speed([far])
    assert speed == pytest.approx(10e6, rel=1e-3) and stage_observed.observed_starts([far]) == 2
    # the local pool tells nothing about the OSPool
    assert stage_observed.observed_speed([near]) is None and stage_observed.observed_starts([near]) is None
    assert stage_observed.observed_speed([far, near], local=True) == speed
    # garbage, half a log, one without transfers, one that isn't there
    others = [log(tmp_path, "3.log", "no log\n"), log(tmp_path, "4.log", LOG[: LOG.index("004")]), tmp_path / "5.log"]
    others.append(log(tmp_path, "6.log", LOG[: LOG.index("040")] + "009 (002.000.000) garbage\n...\n"))
    assert stage_observed.observed_speed([far, *others]) == speed
    assert stage_observed.observed_speed(others) is None and stage_observed.observed_starts(others) is None
    # under ten seconds in all
    short = log(tmp_path, "7.log", LOG.replace("17:15:12", "17:14:57").replace("17:17:17", "17:17:01"))
    assert stage_observed.observed_speed([short]) is None


def test_a_plan_takes_what_the_project_knows(tmp_path: Path) -> None:
    assert stage_plan.with_project(LOAD, tmp_path).sources == {
        "speed": "an assumption; --speed sets it",
        "starts": "an assumption; --starts sets it",
        "image": "no submit file here names one",
    }
    log(tmp_path, "1.log", LOG)
    (tmp_path / "a.sub").write_text("container_image = none.sif\nqueue\n")
    known = stage_plan.with_project(LOAD, tmp_path)
    assert known.speed == pytest.approx(10e6, rel=1e-3) and known.starts == 2 and known.image_bytes > 10**9
    assert known.sources["speed"] == "measured in 1 event logs"
    assert known.sources["image"] == "a.sub: a guess; --image-size sets it"
    (tmp_path / "none.sif").write_bytes(bytes(1000))
    assert stage_plan.with_project(LOAD, tmp_path).image_bytes == 1000
    (tmp_path / "train.sub").write_text(
        '+SingularityImage = "/cvmfs/singularity.opensciencegrid.org/htc/tensorflow:2.15"\nqueue\n'
    )
    known = stage_plan.with_project(LOAD, tmp_path)
    assert known.image_bytes == 0 and known.sources["image"] == "train.sub: on CVMFS, it does not travel"
    assert "(measured in 1 event logs)" in stage_plan_table.text(plan(known))


def test_how_long_the_last_training_took(tmp_path: Path) -> None:
    assert stage_observed.training_seconds(tmp_path) is None
    contents = {
        "1.0": {"training_s": 1800.5, "provenance": {"device": "gpu (Tesla V100)"}},
        "2.0": {"training_s": 90, "provenance": {"device": "cpu (simulated GPU: Tesla V100)"}},
        "3.0": {"training_s": "long", "provenance": {"device": "gpu"}},
        "4.0": {"training_s": float("inf"), "provenance": {"device": "gpu"}},
        "5.0": [],
        "6.0": {},
        "7.0": {"training_s": 7},
    }
    for name, held in contents.items():
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "metrics.json").write_text(json.dumps(held))
    (tmp_path / "results/6.0/metrics.json").write_text("{")
    wanted = tmp_path / "results/1.0/metrics.json"
    assert stage_observed.training_seconds(tmp_path) == (1800.5, wanted)
    newer = tmp_path / "results/7.0/metrics.json"
    newer.write_text(json.dumps({"training_s": 60, "provenance": {"device": "gpu"}}))
    os.utime(wanted, (1, 1))
    assert stage_observed.training_seconds(tmp_path) == (60, newer)
