"""Seconds by category add up, whatever the history; and what the event log says about a job's machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import eventlog, slot_time
from submit.eventlog import JobHistory, Start

AD = {"ChirpOsgdlUseful": 60.0, "ChirpOsgdlLeave": 2.0, "ChirpOsgdlStart": 6.0, "CheckpointNumber": 2}


def history(*starts: tuple[int, int, int, int], ended: int | None = None) -> JobHistory:
    """Submitted at 0; of each start: queued before it, its transfer, its run, the transfer home."""
    now, made = 0, []
    for queued, taken_in, ran, sent in starts:
        claimed = now + queued
        now = claimed + taken_in + ran + sent
        made.append(Start(time=claimed + taken_in, claimed=claimed, until=now, input_s=taken_in, output_s=sent))
    evictions = max(0, len(made) - 1)
    done = now if ended is None else ended
    return JobHistory(cluster=1, proc=0, submitted=0, starts=made, ended=done, exit_code=0, evictions=evictions)


def test_one_run_by_hand() -> None:
    found = slot_time.of_job(history((3, 1, 40, 0), (7, 1, 50, 2)), AD, 0)
    assert found.seconds == {
        "queued": 10.0,
        "transfer": 4.0,  # 1 + 1 in, the last one out
        "starting": 10.0,  # twice 6, of which 1 is the transfer
        "useful": 60.0,
        "leaving": 6.0,
        "lost": 14.0,
    }
    assert found.slots == 94 and found.goodput == pytest.approx(60 / 94)
    assert found.between_evictions == 94
    assert found.interval is not None and 15 < found.interval < 25  # Young: sqrt(2 * 2 * 94) = 19
    assert found.optimum is not None and 0.7 < found.optimum < 0.8


run = st.tuples(*[st.integers(0, 100)] * 4)
seconds = st.floats(0, 200)


@given(st.lists(run, min_size=1, max_size=6), seconds, seconds, seconds, st.integers(-1, 20))
def test_they_add_up(
    starts: list[tuple[int, int, int, int]], useful: float, leave: float, start: float, checkpoint: int
) -> None:
    job = history(*starts)
    ad = {
        "ChirpOsgdlUseful": useful,
        "ChirpOsgdlLeave": leave,
        "ChirpOsgdlStart": start,
        "CheckpointNumber": checkpoint,
    }
    found = slot_time.of_job(job, ad, 0)
    values = [getattr(found, name) for name in slot_time.CATEGORIES]
    assert job.ended is not None and sum(values) == pytest.approx(job.ended, abs=1e-6)
    assert all(value >= 0 for name, value in zip(slot_time.CATEGORIES, values, strict=True) if name != "lost")
    both = slot_time.total([found, found])
    assert both.useful == 2 * useful and both.slots == 2 * found.slots and both.evictions == 2 * found.evictions


def test_unknown_stays_unknown() -> None:
    job = history((0, 0, 50, 0))
    silent = slot_time.of_job(job, {"ChirpOsgdlUseful": True}, 0)
    assert silent.useful is None and silent.goodput is None and silent.optimum is None and silent.slots == 50
    assert slot_time.total([silent, slot_time.of_job(job, AD, 0)]).useful is None
    assert slot_time.total([]).useful is None


def test_a_job_that_waits_or_is_held() -> None:
    waiting = JobHistory(cluster=1, proc=0, submitted=0)
    assert slot_time.of_job(waiting, {}, 30).queued == 30
    held = history((2, 1, 20, 0))
    held.ended, held.hold_code = None, (3, 65)
    assert slot_time.of_job(held, {}, 500).queued == 2, "the time on hold is nobody's"


HOST = "<127.0.0.1:9618>"


def event(number: int, at: int, text: str) -> str:
    return f"{number:03} (007.000.000) 2026-11-24 20:00:{at:02} {text}\n...\n"


EVICTED = (
    "Job was evicted. Code 1022 Subcode 0\n\t(0) CPU times\n\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage\n"
    "\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage\n\t0  -  Run Bytes Sent By Job\n"
    "\t1330  -  Run Bytes Received By Job\n\tReason: Job vacated by schedd"
)
AGAIN = (
    "Job was evicted.\n\t(0) Job terminated and was requeued\n"
    "\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage\n"
    "\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage\n\t271  -  Run Bytes Sent By Job\n"
    "\t3627162  -  Run Bytes Received By Job\n\t(1) Normal termination (return value 139)"
)
LOST = (
    "Job reconnection failed\n    Job disconnected too long: JobLeaseDuration (20 seconds) expired\n"
    "    Can not reconnect to slot1@a, rescheduling job"
)
GONE = f"Job disconnected, attempting to reconnect\n    Socket closed\n    Trying to reconnect to slot1@a {HOST}"


def starts(at: int, site: str) -> str:
    return (
        event(40, at, "Started transferring input files\n\tTransferring to host: " + HOST)
        + event(40, at + 1, "Finished transferring input files")
        + event(1, at + 2, f'Job executing on host: {HOST}\n\tGLIDEIN_Site = "{site}"')
    )


def read(folder: Path, *events: str) -> JobHistory:
    log = folder / "job.log"
    log.write_text(event(0, 0, f"Job submitted from host: {HOST}") + "".join(events))
    return eventlog.read(log)[7, 0]


def test_an_eviction_is_one(tmp_path: Path) -> None:
    job = read(tmp_path, starts(1, "A"), event(4, 20, EVICTED), starts(25, "B"))
    first, last = job.starts
    assert (first.input_s, first.seconds, first.why) == (1, 19, "Job vacated by schedd")
    assert job.evictions == 1 and job.state == "running" and last.until is None
    assert [words for _, words in job.said] == [
        "starts at A",
        "lost its machine: Job vacated by schedd",
        "starts at B",
    ]


def test_a_job_that_fails_and_is_tried_again_lost_no_machine(tmp_path: Path) -> None:
    job = read(tmp_path, starts(1, "A"), event(4, 20, AGAIN))
    assert job.evictions == 0 and job.state == "idle" and job.starts[0].why == "exit code 139"
    assert job.said[-1][1] == "ended with exit code 139, is tried again"


def test_a_lease_that_ran_out_is_one_eviction_though_the_log_says_it_twice(tmp_path: Path) -> None:
    job = read(tmp_path, starts(1, "A"), event(22, 10, GONE), event(24, 30, LOST), event(4, 32, EVICTED))
    assert job.evictions == 1 and job.starts[0].seconds == 29
    assert [words.partition(":")[0] for _, words in job.said[1:]] == ["out of reach", "lost its machine"]


def test_a_shadow_that_ends_without_a_word(tmp_path: Path) -> None:
    job = read(tmp_path, starts(1, "A"), starts(20, "B"))
    assert job.evictions == 1 and job.starts[0].why == "its shadow ended without a word"
    assert job.starts[0].seconds == 19
    assert slot_time.of_job(job, {}, 0).queued >= -40, "no second counts twice"
