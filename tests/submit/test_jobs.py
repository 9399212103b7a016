"""Which event logs a folder has, and what they say of each job together."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import event_logs
from submit import jobs, runs
from submit.errors import KitError
from submit.jobs import Jobs

SUB = "executable = run.sh\nlog = {}\nqueue 1\n"


def log(path: Path, cluster: int, count: int = 2, late: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(event_logs.of_cluster(cluster, count, 20 * count, late=late)))
    return path


def test_every_place_where_a_log_may_be(tmp_path: Path) -> None:
    project = tmp_path / "a project [1]"
    wanted = [
        log(project / "12.log", 12),
        log(project / "logs/13.log", 13),
        log(project / "folds.dag.nodes.log", 14),
        log(project / "else/run-15-0.txt", 15),
        log(tmp_path / "above/16.log", 16),
        log(project / "named by the record", 17),
    ]
    log(project / "folds.dag.dagman.log", 18)
    (project / "notes.log").write_text("what I did\n")
    (project / "logs/empty.log").write_text("")
    (project / "train.sub").write_text(SUB.format("else/run-$(Cluster)-$INT(Process,%d).txt"))
    (project / "other.sub").write_text(SUB.format("../above/$(ClusterId).log"))
    (project / "odd.sub").write_text(SUB.format("$$([ifThenElse(a, (b), c)])[x.log"))
    run = runs.Run(cluster=17, jobs=2, time=0, file="x.sub", sha256="", log="named by the record")
    runs.append(project, run)
    found = jobs.logs([project])
    assert set(found) == {path.resolve() for path in [*wanted, project / "logs/empty.log"]} and len(found) == 7
    assert {cluster for cluster, _ in seen(project)} == {12, 13, 14, 15, 16, 17}
    assert jobs.logs([wanted[0], wanted[0], project], {wanted[1].resolve()})[0] == wanted[0].resolve()


def seen(*places: Path) -> set[tuple[int, int]]:
    there = Jobs(places)
    there.refresh()
    return set(there.histories)


def test_absolute_logs_too(tmp_path: Path) -> None:
    far = log(tmp_path / "far/21.log", 21)
    (tmp_path / "project").mkdir()
    (tmp_path / "project/train.sub").write_text(SUB.format(f"{far.parent}/$(Cluster).log"))
    assert seen(tmp_path / "project") == {(21, 0), (21, 1)}


def test_logs_below_initialdir(tmp_path: Path) -> None:
    log(tmp_path / "run0/job.log", 22)
    log(tmp_path / "run1/job.log", 23)
    (tmp_path / "train.sub").write_text("initialdir = run$(Process)\n" + SUB.format("job.log"))
    assert {cluster for cluster, _ in seen(tmp_path)} == {22, 23}


def test_a_log_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out, its jobs would be missing from every sum. (root may read all, so that the refusal is made here.)"""
    log(tmp_path / "12.log", 12)
    closed = log(tmp_path / "13.log", 13).resolve()
    opened = os.open

    def refuse(path: Any, *words: Any, **more: Any) -> int:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *words, **more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(KitError, match=r"13\.log: Permission denied; want an event log that you may read"):
        seen(tmp_path)


def test_a_pipe_is_no_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "13.log")
    log(tmp_path / "12.log", 12)
    assert {cluster for cluster, _ in seen(tmp_path)} == {12}


def test_one_number_of_two_queues(tmp_path: Path) -> None:
    """The newest counts, and the other is said to be hidden; a job's own log and DAGMan's are of one queue."""
    text = log(tmp_path / "a/12.log", 12, count=1).read_text()
    (tmp_path / "a/dag.nodes.log").write_text(text)
    (tmp_path / "b").mkdir()
    older = re.sub(r"\) 20\d\d-", ") 2019-", text)
    (tmp_path / "b/12.log").write_text(older)
    for places, hidden in ([tmp_path / "a"], set()), ([tmp_path / "a", tmp_path / "b"], {(12, 0)}):
        there = Jobs(places)
        there.refresh()
        assert there.hidden == hidden and there.logs[12, 0].parent.name == "a"


def test_they_grow_and_new_ones_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = log(tmp_path / "logs/12.log", 12, late=True).read_text()
    half = text.index("\n...\n", len(text) // 2) + 5
    (tmp_path / "logs/12.log").write_text(text[:half])
    there = Jobs([tmp_path])
    assert there.refresh() <= {(12, 0), (12, 1)} and there.coming == {12}
    assert there.refresh() == set()
    with (tmp_path / "logs/12.log").open("a") as file:
        file.write(text[half:])
    log(tmp_path / "logs/13.log", 13)
    assert there.refresh() <= {(12, 0), (12, 1)}, "new logs are looked for now and then"
    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 0.0)
    assert there.refresh() == {(13, 0), (13, 1)} and there.logs[13, 1].name == "13.log"
    (tmp_path / "logs/13.log").write_text("")
    assert there.refresh() == {(13, 0), (13, 1)} and set(there.histories) == {(12, 0), (12, 1)}


def test_a_job_in_two_logs_is_one(tmp_path: Path) -> None:
    """Its own, and DAGMan's, which has no transfers."""
    own = log(tmp_path / "logs/12.log", 12)
    events = own.read_text().split("\n...\n")
    few = "\n...\n".join(event for event in events if not event.startswith(("040", "006")))
    (tmp_path / "folds.dag.nodes.log").write_text(few)
    there = Jobs([tmp_path])
    there.refresh()
    assert len(there.histories) == 2 and set(there.logs.values()) == {own.resolve()}
    assert there.histories == all_of(own)
    own.write_text("")
    assert there.refresh() == {(12, 0), (12, 1)}
    assert {path.name for path in there.logs.values()} == {"folds.dag.nodes.log"}


def all_of(place: Path) -> dict[tuple[int, int], object]:
    there = Jobs([place])
    there.refresh()
    return dict(there.histories)


def test_another_pool_with_the_same_numbers(tmp_path: Path) -> None:
    """The later submission counts."""
    log(tmp_path / "logs/12.log", 12, count=1)
    later = "000 (012.000.000) 2030-01-01 00:00:00 Job submitted from host: <h>\n...\n"
    (tmp_path / "logs/local.log").write_text(later)
    there = Jobs([tmp_path])
    there.refresh()
    assert there.histories[12, 0].state == "idle" and there.logs[12, 0].name == "local.log"


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="nowhere: not there; want a project's folder or an event log"):
        Jobs([tmp_path / "nowhere"])
    (tmp_path / "train.sub").write_text(SUB.format("x"))
    with pytest.raises(KitError, match=r"train\.sub: no event log; want what `log =`"):
        Jobs([tmp_path / "train.sub"])
    assert not jobs.is_event_log(tmp_path)


def test_long_logs_are_the_same_read_by_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is written after that is read from where each of the two ended."""
    event_logs.write(tmp_path / "logs", jobs=60, events=1800, logs=3)
    alone = Jobs([tmp_path])
    changed = alone.refresh()
    monkeypatch.setattr(jobs, "LONG_BYTES", 0)
    monkeypatch.setattr(jobs.os, "sched_getaffinity", lambda pid: {0, 1})
    shared = Jobs([tmp_path])
    assert shared.refresh() == changed and shared.histories == alone.histories and shared.logs == alone.logs
    assert shared.refresh() == set()
    with (tmp_path / "logs/101.log").open("a") as file:
        file.write("009 (101.000.000) 2030-01-01 00:00:00 Job was aborted.\n\tvia condor_rm\n...\n")
    assert shared.refresh() == alone.refresh() == {(101, 0)} and shared.histories == alone.histories
    fresh = Jobs([tmp_path])
    fresh._readers[tmp_path / "logs"] = jobs.Reader(tmp_path / "logs")
    with pytest.raises(KitError, match="logs: Is a directory; want an event log"):
        fresh.refresh()
