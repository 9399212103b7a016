"""Events as HTCondor's own reader has them, and what is torn, damaged, cut short or still being written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import htcondor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import event_logs
from submit import eventlog, events
from submit.errors import KitError
from submit.events import Event

TABLE = ("RequestGPUs", "GPUs", "GPUsUsage", "MemoryUsage", "CpusUsage")
OURS = {
    events.SUBMIT: ["LogNotes"],
    events.EXECUTE: ["SlotName"],
    events.EVICTED: ["TerminatedAndRequeued", "TerminatedNormally", "ReturnValue", "Reason", "ReasonCode", "SentBytes"],
    events.TERMINATED: ["TerminatedNormally", "ReturnValue", "ReceivedBytes", "TotalSentBytes", *TABLE],
    events.ABORTED: ["Reason"],
    events.HELD: ["HoldReason", "HoldReasonCode", "HoldReasonSubCode"],
    events.RELEASED: ["Reason"],
    events.SHADOW_EXCEPTION: ["Message"],
    events.RECONNECT_FAILED: ["Reason"],
    events.DISCONNECTED: ["DisconnectReason"],
    events.TRANSFER: ["Type", "Host"],
}


def theirs(log: Path) -> list[Any]:
    with htcondor2.JobEventLog(str(log)) as reader:
        return list(reader.events(stop_after=0))


def same(ours: Event, his: Any) -> None:
    assert (ours.type, ours.cluster, ours.proc, ours.timestamp) == (
        int(his.type),
        his.cluster,
        his.proc,
        his.timestamp,
    ), str(his)
    for name in OURS.get(ours.type, []):
        wanted = his.get(name)
        if name.endswith("Bytes"):  # HTCondor keeps them in 32 bits
            wanted = pytest.approx(wanted, rel=1e-6)
        assert ours.get(name) == (wanted.strip() if isinstance(wanted, str) else wanted), f"{name} of {his}"
    if ours.type == events.EXECUTE:
        properties = his.get("ExecuteProps") or {}
        assert ours.get("ExecuteProps") == {name: properties.eval(name) for name in properties}


def test_a_kind_that_is_left_out_costs_no_other(tmp_path: Path) -> None:
    (log,) = event_logs.write(tmp_path, jobs=50, events=1500, logs=1)
    data = log.read_bytes() + b"rubbish 006 (001.000.000) 2026-11-18 11:06:40 Image size\n...\n"
    whole, without = (list(events.parse(data, **chosen)[0]) for chosen in ({}, {"without": events.IMAGE_SIZE}))
    wanted = [one.text for one in whole if one.type != events.IMAGE_SIZE]
    assert [one.text for one in without] == wanted and 0 < len(wanted) < len(whole)


def test_every_event_is_as_htcondor_reads_it(tmp_path: Path) -> None:
    for log in event_logs.write(tmp_path, jobs=200, events=4000, logs=2):
        ours, taken = events.parse(log.read_bytes())
        found = list(ours)
        wanted = theirs(log)
        assert taken == log.stat().st_size and len(found) == len(wanted) > 800
        for one, his in zip(found, wanted, strict=True):
            same(one, his)
        assert {one.type for one in found} >= {0, 1, 4, 5, 6, 9, 12, 13, 35, 40}


# As HTCondor 25.14 wrote them on the local pool
RARE = """000 (007.000.000) 2026-11-24 20:00:00 Job submitted from host: <127.0.0.1:9618>
    DAG Node: fold 3
...
007 (007.000.000) 2026-11-24 20:00:03 Shadow exception!
\tError from slot1@gpu07: Failed to open "x"
\t0  -  Run Bytes Sent By Job
\t0  -  Run Bytes Received By Job
...
021 (007.000.000) 2026-11-24 20:00:04 Error from slot1@gpu07:
\tSTARTER failed to upload checkpoint
\tCode 36 Subcode 2
...
022 (007.000.000) 2026-11-24 20:00:05 Job disconnected, attempting to reconnect
    Socket between submit and execute hosts closed unexpectedly
    Trying to reconnect to slot1@a <127.0.0.1:9618>
...
023 (007.000.000) 2026-11-24 20:00:06 Job reconnected to slot1@a
    startd address: <127.0.0.1:9618>
    starter address: <127.0.0.1:9618>
...
024 (007.000.000) 2026-11-24 20:00:07 Job reconnection failed
    Job disconnected too long: JobLeaseDuration (20 seconds) expired
    Can not reconnect to slot1@a, rescheduling job
...
004 (007.000.000) 2026-11-24 20:00:08 Job was evicted.
\t(0) Job terminated and was requeued
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage
\t271  -  Run Bytes Sent By Job
\t3627162  -  Run Bytes Received By Job
\t(1) Normal termination (return value 139)
...
012 (007.000.000) 2026-11-24 20:00:09 Job was held.
\tTransfer output files failure at execution point slot1@a
\tCode 12 Subcode 2
...
013 (007.000.000) 2026-11-24 20:00:10 Job was released.
\tvia condor_release (by user osg)
...
005 (007.000.000) 2026-11-24 20:00:11 Job terminated.
\t(0) Abnormal termination (signal 11)
\t(0) No core file
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Local Usage
\t271  -  Run Bytes Sent By Job
\t3627162  -  Run Bytes Received By Job
\t271  -  Total Bytes Sent By Job
\t3627162  -  Total Bytes Received By Job
...
009 (007.001.000) 2026-11-24 20:00:12 Job was aborted.
\tvia condor_rm (by user osg)
...
"""


def test_the_rare_ones_too(tmp_path: Path) -> None:
    log = tmp_path / "rare.log"
    log.write_text(RARE)
    found = list(events.parse(RARE.encode())[0])
    for one, his in zip(found, theirs(log), strict=True):
        same(one, his)
    job = eventlog.read(log)[7, 0]
    assert job.node == "fold 3" and job.signal == 11 and job.state == "done"


def test_the_node_of_a_workflow() -> None:
    assert events.node("DAG Node: fold 3") == "fold 3"
    assert events.node('[ DAGNodeName = "first"; JobBatchName = "two.dag+16" ]') == "first"
    assert events.node('[ JobBatchName = "DAG Node: x" ]') == events.node("") == events.node("DAG Node: ") == ""


def test_dates_of_other_formats() -> None:
    def at(when: str) -> int:
        (event,) = events.parse(f"000 (007.000.000) {when} Job submitted from host: <h>\n...\n".encode())[0]
        return event.timestamp

    plain = at("2026-11-24 20:00:00")
    assert at("2026-11-24 20:00:00.123") == at("2026-11-24T20:00:00") == plain
    assert at("1970-01-02 00:00:00Z") == 86400
    assert at("11/24 20:00:00") % 60 == 0
    assert list(events.parse(b"000 (007.000.000) 99/99 20:00:00 Job submitted\n...\n")[0]) == []


WHOLE = "".join(event_logs.of_cluster(7, 3, 60))
EVENTS = WHOLE.split("\n...\n")[:-1]


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 30, 60, 90])
def test_a_half_written_event_is_read_when_it_is_whole(tmp_path: Path, cut: int) -> None:
    """htcondor2.JobEventLog stops for ever at 1, 2, and where the last newline alone is missing."""
    log = tmp_path / "a.log"
    whole = WHOLE.encode()
    at = len("\n...\n".join(EVENTS[:20]) + "\n...\n")
    for size in (at + cut, at - 1, at - 2, at - 4):
        log.write_bytes(whole[:size])
        reader = eventlog.Reader(log)
        reader.read()
        before = len(reader.jobs)
        log.write_bytes(whole)  # the same file goes on
        reader.read()
        assert before <= 3 and reader.jobs == eventlog.read(log)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_read_in_any_pieces_it_is_the_same(pieces: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "a.log"
        log.write_text("")
        reader = eventlog.Reader(log)
        written = 0
        for end in [*sorted(pieces), len(WHOLE)]:
            with log.open("a") as file:
                file.write(WHOLE[written:end])
            written = end
            reader.read()
        assert reader.jobs == eventlog.read(log) and len(reader.jobs) == 3


@given(st.binary(max_size=300), st.integers(0, len(EVENTS) - 1))
def test_rubbish_costs_no_more_than_one_event(rubbish: bytes, where: int) -> None:
    data = ("\n...\n".join(EVENTS[:where]) + "\n...\n").encode() if where else b""
    data += rubbish + ("\n...\n".join(EVENTS[where:]) + "\n...\n").encode()
    found = list(events.parse(data)[0])
    assert len(found) >= len(EVENTS) - 1


def test_a_torn_event_does_not_take_the_next_with_it() -> None:
    for cut in range(1, len(EVENTS[5])):
        data = "\n...\n".join([*EVENTS[:5], EVENTS[5][:cut] + EVENTS[6], *EVENTS[7:]]) + "\n...\n"
        found = list(events.parse(data.encode())[0])
        assert [one.text for one in found] == [
            one.text for one in events.parse(("\n...\n".join([*EVENTS[:5], *EVENTS[6:]]) + "\n...\n").encode())[0]
        ]


def test_a_log_that_is_replaced_or_cut_short_is_read_again(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(WHOLE)
    reader = eventlog.Reader(log)
    assert len(reader.read()) == 3 and reader.read() == set()
    other = "".join(event_logs.of_cluster(8, 2, 40))
    log.write_text(other)  # shorter
    assert reader.read() == {(7, 0), (7, 1), (7, 2), (8, 0), (8, 1)} and set(reader.jobs) == {(8, 0), (8, 1)}
    moved = tmp_path / "b.log"
    moved.write_text(WHOLE + other)
    moved.replace(log)  # longer, another file
    assert set(reader.read()) == set(reader.jobs) and len(reader.jobs) == 5
    log.write_text("x" * 40 + WHOLE + other)  # longer, the same file, other bytes
    reader.read()
    assert reader.jobs == eventlog.read(log) and len(reader.jobs) == 5
    log.unlink()
    assert reader.read() == set() and len(reader.jobs) == 5, "what is known stays known"


def test_jobs_whose_submit_event_was_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(WHOLE[len(WHOLE) // 3 :])
    job = eventlog.read(log)[7, 1]
    assert job.submitted > event_logs.BEGAN


def test_blocks_smaller_than_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "a.log"
    log.write_text("y" * 5000 + "\n" + WHOLE)
    wanted = eventlog.read(log)
    monkeypatch.setattr(eventlog, "_BLOCK", 64)
    assert eventlog.read(log) == wanted and len(wanted) == 3


def test_a_log_that_may_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"want an event log, the file of `log =`"):
        eventlog.read(tmp_path)
    assert eventlog.read(tmp_path / "none.log") == {}


def test_factories(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(event_logs.of_cluster(9, 3, 90, late=True)))
    reader = eventlog.Reader(log)
    reader.read()
    assert reader.coming == {9} and eventlog.in_queue(log) == [9]
    with log.open("a") as file:
        file.write("036 (009.-01.-01) 2026-11-24 20:00:12 Cluster removed\n\tMaterialized 3 jobs from 3 items.\n...\n")
    assert reader.read() == set() and not reader.coming


def test_machines_that_never_began_a_job(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(
        "000 (007.000.000) 2026-11-24 20:00:00 Job submitted from host: <h>\n...\n"
        "040 (007.000.000) 2026-11-24 20:00:01 Started transferring input files\n\tTransferring to host: <h>\n...\n"
        "012 (007.000.000) 2026-11-24 20:00:09 Job was held.\n\tTransfer input files failure\n"
        "\tCode 13 Subcode 2\n...\n"
    )
    job = eventlog.read(log)[7, 0]
    assert not job.starts and [start.seconds for start in job.unstarted] == [8] and job.state == "held"


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    logs = event_logs.write(tmp_path, jobs=300, events=900, logs=300)
    readers = [eventlog.Reader(log) for log in logs]
    assert all(reader.read() for reader in readers)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def at(when: str, log: Path) -> int:
    """The time of an event, that HTCondor's reader has too where it can read it."""
    log.write_text(f"000 (007.000.000) {when} Job submitted from host: <1>\n...\n")
    ((job, *_),) = [list(eventlog.read(log).values())]
    return job.submitted


def test_times_without_a_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is ahead, another time zone, a day that few years have."""
    monkeypatch.setenv("TZ", "America/Chicago")
    time.tzset()
    now = int(time.time())
    for ahead in (-3600, 120):
        assert at(time.strftime("%m/%d %H:%M:%S", time.localtime(now + ahead)), tmp_path / "x.log") == now + ahead
    assert at(time.strftime("%m/%d %H:%M:%S", time.gmtime(now - 60)) + "Z", tmp_path / "x.log") == now - 60
    leap = time.localtime(at("02/29 10:00:00", tmp_path / "x.log"))
    assert (leap.tm_mon, leap.tm_mday, leap.tm_hour) == (2, 29, 10) and leap.tm_year % 4 == 0
    monkeypatch.undo()
    time.tzset()


def test_an_hour_that_comes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of summer time, 2026-11-01 in Chicago, read in one piece and in two."""
    monkeypatch.setenv("TZ", "America/Chicago")
    time.tzset()
    events._seconds.cache_clear()
    log = tmp_path / "x.log"
    first = (
        "000 (007.000.000) 2026-11-01 01:10:00 Job submitted from host: <1>\n...\n"
        "001 (007.000.000) 2026-11-01 01:50:00 Job executing on host: <1>\n...\n"
    )
    last = "005 (007.000.000) 2026-11-01 01:05:00 Job terminated.\n\t(1) Normal termination (return value 0)\n...\n"
    log.write_text(first)
    reader = eventlog.Reader(log)
    reader.read()
    with log.open("a") as file:
        file.write(last)
    reader.read()
    assert reader.jobs == eventlog.read(log)
    (start,) = reader.jobs[7, 0].starts
    assert start.seconds == 15 * 60 and reader.jobs[7, 0].state == "done"
    monkeypatch.undo()
    time.tzset()
    events._seconds.cache_clear()


@pytest.mark.parametrize("cell", ["1.2.3", "...", ".", "9" * 400])
def test_a_damaged_number_costs_itself_alone(tmp_path: Path, cell: str) -> None:
    log = tmp_path / "x.log"
    log.write_text(
        "000 (007.000.000) 2026-11-20 10:00:00 Job submitted from host: <1>\n...\n"
        f"000 ({'9' * 5000}.000.000) 2026-11-20 10:00:00 Job submitted from host: <1>\n...\n"
        f"001 (007.000.000) 2026-11-20 10:00:10 Job executing on host: <1>\n\tGPUs = 1E999\n...\n"
        "005 (007.000.000) 2026-11-20 10:01:00 Job terminated.\n\t(1) Normal termination (return value 0)\n"
        "\tPartitionable Resources :    Usage  Request Allocated\n"
        f"\t   Cpus                 :     {cell}        1         1\n...\n"
    )
    jobs = eventlog.read(log)
    assert list(jobs) == [(7, 0)] and jobs[7, 0].exit_code == 0 and jobs[7, 0].starts[0].gpus == 0


def test_nothing_for_a_terminal_gets_through(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text(
        "000 (007.000.000) 2026-11-20 10:00:00 Job submitted from host: <1>\n    DAG Node: a\x1b[2J\n...\n"
        '001 (007.000.000) 2026-11-20 10:00:10 Job executing on host: <1>\n\tGLIDEIN_Site = "U\x1b]0;x\x07NL"\n...\n'
        "012 (007.000.000) 2026-11-20 10:00:20 Job was held.\n\tno \x1b[31mred\n\tCode 3 Subcode 1\n...\n"
    )
    job = eventlog.read(log)[7, 0]
    assert f"{job.node}{job.starts[0].site}{job.hold_reason}".isprintable()


def test_a_job_that_starts_before_its_submission_is_written(tmp_path: Path) -> None:
    """DAGMan allows it."""
    log = tmp_path / "x.log"
    log.write_text(
        "001 (007.000.000) 2026-11-20 10:00:01 Job executing on host: <1>\n...\n"
        "000 (007.000.000) 2026-11-20 10:00:00 Job submitted from host: <1>\n    DAG Node: a\n...\n"
        "005 (007.000.000) 2026-11-20 10:01:00 Job terminated.\n\t(1) Normal termination (return value 0)\n...\n"
    )
    job = eventlog.read(log)[7, 0]
    assert job.state == "done" and job.node == "a" and len(job.starts) == 1
