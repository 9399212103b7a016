"""Each second of a machine is in one category, whatever the log says; and what the log says about a job's machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import event_logs
from submit import eventlog, events, slot_time, stays
from submit.job_history import JobHistory
from submit.start import Start

AD = {"ChirpOsgdlUseful": 60.0, "ChirpOsgdlLeave": 2.0, "ChirpOsgdlStart": 6.0, "ChirpOsgdlPreflightSeconds": 1.5}
EVICTION = (1022, 0)
RECORDED = sorted((Path(__file__).parent / "failures" / "recorded").glob("*/job.log"))


def start(begin: int, ran: int, code: tuple[int, int] | None = None, **more: object) -> Start:
    """3 s of files, then so long running."""
    values = {"time": begin + 3, "claimed": begin, "input_s": 3, "until": begin + 3 + ran, "code": code}
    return Start(**{**values, **more})  # type: ignore[arg-type]


def history(*starts: Start, **more: object) -> JobHistory:
    """Submitted at 0, ended with 0 at the end of the last start."""
    values: dict[str, object] = {"ended": starts[-1].until if starts else None, "exit_code": 0, "starts": list(starts)}
    return JobHistory(cluster=1, proc=0, submitted=0, **{**values, **more})  # type: ignore[arg-type]


def test_one_run_by_hand() -> None:
    first = start(10, 100, EVICTION, outputs=[(50, 53), (80, 82)])  # two checkpoints; then 31 s until 113
    last = start(200, 60, outputs=[(230, 231), (258, 262)])  # one checkpoint; results on their way for 5 s, until 263
    found = slot_time.of_job(history(first, last), AD, 0)
    assert dict(found.seconds) == {
        "transfer": 3 + 3 + 5,
        "preflight": 3.0,  # twice
        "starting": 3.0,  # twice 6, of which 3 are the transfer and 1.5 the preflight
        "useful": 60.0,
        # checkpoints on their way; of four pieces, what is no work
        "leaving": 5 + 1 + (37 - 3 + 27) + (27 - 3 + 27) - 60,
        "running": 0.0,
        "lost": 31.0,
    }
    assert found.lost == {stays.MACHINE_LOST: 31.0} and found.evictions == 1 and found.measured
    assert found.slots == 103 + 63 and found.queued == 263 - found.slots
    assert found.goodput == pytest.approx(60 / found.slots) and found.between_evictions == found.slots
    assert found.interval is not None and found.optimum is not None and 0.7 < found.optimum < 1


def test_a_start_shorter_than_the_last_one() -> None:
    first, last = start(0, 40, EVICTION, outputs=[(40, 40)]), start(200, 40)  # 37 s, 3 s for nothing; 40 s
    ad = {"ChirpOsgdlUseful": 60.0, "ChirpOsgdlStart": 15.0, "ChirpOsgdlLeave": 2.0}  # 12 s of it after the transfer
    found = slot_time.of_job(history(first, last), ad, 0)
    assert (found.seconds["starting"], found.seconds["useful"], found.seconds["lost"]) == (77 - 60, 60, 3)


def test_pieces_without_a_word_from_the_job() -> None:
    found = slot_time.of_job(history(start(0, 97, EVICTION, outputs=[(50, 53)]), start(200, 97)), {}, 0)
    assert (found.seconds["useful"], found.seconds["leaving"], found.seconds["lost"]) == (47 + 97, 3, 47)
    assert not found.measured and found.optimum is None


def test_what_runs_is_not_known_yet() -> None:
    there = start(0, 0, until=None, outputs=[(50, 53)])
    silent = slot_time.of_job(history(there, ended=None, exit_code=None), {}, 153)
    assert (silent.seconds["useful"], silent.seconds["running"], silent.goodput) == (47, 100, 47 / 53)
    told = slot_time.of_job(history(there, ended=None, exit_code=None), AD, 153)
    assert (told.seconds["useful"], told.seconds["running"]) == (60, 47 - 3 + 100 - 60)
    assert slot_time.of_job(history(ended=None, exit_code=None), {}, 30).queued == 30


@pytest.mark.parametrize(
    ("code", "outcome", "cause"),
    [((1023, 0), {"removed": True, "exit_code": None}, stays.TAKEN_OUT), (None, {"exit_code": 1}, stays.BUG)],
    ids=["removed", "failed"],
)
def test_a_job_without_a_result_has_lost_all(code: Any, outcome: dict[str, Any], cause: str) -> None:
    sent = [(50, 53)] if code else [(50, 53), (100, 100)]  # what a failed job printed
    found = slot_time.of_job(history(start(0, 97, code, outputs=sent), **outcome), AD, 0)
    assert found.seconds["useful"] == found.seconds["leaving"] == 0 and found.seconds["preflight"] == 1.5
    assert found.lost == {cause: 97 - 3.0}


def test_a_start_that_comes_to_no_step_is_lost_whole() -> None:
    job = history(start(0, 2, EVICTION), start(50, 60, why="exit code 75"), start(200, 97))
    found = slot_time.of_job(job, AD, 0)
    assert found.lost == {stays.MACHINE_LOST: 2.0, stays.MACHINE_BAD: 60.0} and found.seconds["preflight"] == 1.5


def test_a_machine_that_never_began_the_job_is_lost_whole() -> None:
    never = start(0, 7, (13, 2), why="Transfer input files failure")
    found = slot_time.of_job(history(start(100, 97), unstarted=[never]), {}, 0)
    assert found.lost == {stays.TRANSFER: 10.0} and found.seconds["transfer"] == 3


def test_holds_are_no_time_in_the_queue() -> None:
    held = history(start(2, 20, (3, 65), why="osgdl: exit code 65"), ended=None, exit_code=None, held_s=10, held_at=60)
    found = slot_time.of_job(held, {}, 500)
    assert (found.held, found.queued) == (450, 500 - 450 - 23)


def test_total() -> None:
    one = slot_time.of_job(history(start(0, 97, EVICTION), start(200, 97)), AD, 0)
    both = slot_time.total([one, one, slot_time.of_job(history(), {}, 0)])
    assert (both.slots, both.evictions, both.leave_s, both.measured) == (2 * one.slots, 2, 2.0, False)
    assert both.lost == {cause: 2 * seconds for cause, seconds in one.lost.items()}
    assert slot_time.total([]).goodput is None


CODES: list[tuple[int, int] | None] = [None, (0, 0), EVICTION, (13, 2), (3, 65), (1023, 0), (1025, 0), (45, -1000)]
WHYS = ["", "exit code 75", "exit code 85", "osgdl: signal 11, try 3", "a signal"]


@st.composite
def any_history(draw: st.DrawFn) -> JobHistory:
    """What no log should say, too: transfers that overlap, ends before beginnings."""
    starts, now = [], 0
    for _ in range(draw(st.integers(0, 5))):
        now += draw(st.integers(0, 90))
        ran = draw(st.integers(-5, 500))
        outs = [
            (now + draw(st.integers(-9, 500)), now + draw(st.integers(-9, 500))) for _ in range(draw(st.integers(0, 3)))
        ]
        outs = [(out, done) for out, done in sorted(outs) if out <= done]
        more = {"outputs": outs, "why": draw(st.sampled_from(WHYS)), "input_s": draw(st.integers(0, 60))}
        starts.append(start(now, ran, draw(st.sampled_from(CODES)), **more))
        now += max(0, 3 + ran)
    going = bool(starts) and draw(st.booleans())
    if going:
        starts[-1].until = None
    ended = None if going or draw(st.booleans()) else now
    never = [start(now, 4, draw(st.sampled_from(CODES)))] if draw(st.booleans()) else []
    code = draw(st.sampled_from([0, 1, None]))
    return history(*starts, ended=ended, exit_code=code, unstarted=never, removed=draw(st.booleans()))


ads = st.dictionaries(st.sampled_from(list(AD)), st.floats() | st.integers() | st.text())  # a job may publish anything


def adds_up(job: JobHistory, ad: dict[str, Any], until: int) -> None:
    there = stays.of_history(job, until)
    for stay in there:
        parts = (stay.transfer, stay.saving, stay.kept, stay.tail)
        assert sum(parts) == stay.seconds and min(parts) >= 0 and stay.input_s <= stay.transfer
    found = slot_time.of_job(job, ad, until)
    assert found.slots == pytest.approx(sum(stay.seconds for stay in there), abs=1e-6)
    assert min(found.seconds.values()) > -1e-6 and min(found.lost.values(), default=0) > -1e-6
    assert set(found.lost) <= set(stays.CAUSES)
    assert sum(found.lost.values()) == pytest.approx(found.seconds["lost"], abs=1e-6)


@given(any_history(), ads)
def test_they_add_up(job: JobHistory, ad: dict[str, Any]) -> None:
    adds_up(job, ad, 10_000)


@given(st.integers(0, 10_000), st.integers(8, 60), ads)
def test_they_add_up_in_logs_as_HTCondor_writes_them(seed: int, count: int, ad: dict[str, Any]) -> None:
    text = "".join(event_logs.of_cluster(9, 1, count, seed=seed))
    reader = eventlog.Reader(Path("none"))
    for event in events.parse(text.encode())[0]:
        reader._take(event, set())
    adds_up(reader.jobs[9, 0], ad, event_logs.BEGAN + 10**6)


@pytest.mark.parametrize("log", RECORDED, ids=lambda log: log.parent.name)
def test_they_add_up_in_recorded_logs(log: Path) -> None:
    for job in eventlog.read(log).values():
        adds_up(job, {}, job.submitted + 3600)


# what ended the stays of the recorded failures, as far as the log tells (README.md there)
ENDED_BY = {
    "evicted": [stays.MACHINE_LOST] * 3,
    "no-image": [stays.NOT_STARTED] * 9,
    "bad-gpus": [stays.MACHINE_BAD, stays.MACHINE_BAD, ""],
    "abort": [stays.BUG] * 3,
    "no-input-file": [stays.TRANSFER],
    "osdf-name-taken": [stays.TRANSFER],
    "no-checkpoint": [stays.MACHINE_LOST, stays.TRANSFER],
    "memory-exceeded": [stays.HELD] * 2,
    "execute-duration": [stays.HELD],
    "held-by-hand": [stays.HELD],
    "removed-by-hand": [stays.TAKEN_OUT],
    "own-periodic-remove": [stays.TAKEN_OUT],
    "numpy2-abi": [stays.WRONG],
    "no-interpreter": [stays.NOT_STARTED],
    "running": [""],
}


@pytest.mark.parametrize("name", list(ENDED_BY))
def test_what_ended_a_stay(name: str) -> None:
    log = next(log for log in RECORDED if log.parent.name == name)
    (job,) = eventlog.read(log).values()
    found = [stay.cause for stay in stays.of_history(job, job.submitted + 3600)]
    assert found == ENDED_BY[name], json.dumps([(start.code, start.why) for start in job.starts])


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


@pytest.mark.parametrize("code", [1, 21, 34, 1023, 1025])
def test_a_machine_given_up_is_no_eviction(tmp_path: Path, code: int) -> None:
    job = read(tmp_path, starts(1, "A"), event(4, 20, EVICTED.replace("1022", str(code))))
    assert job.evictions == 0 and job.starts[0].code == (code, 0) and len(job.said) == 1


def test_the_wait_for_a_transfer_is_the_machine_s(tmp_path: Path) -> None:
    queued = event(40, 1, "Entered queue to transfer input files\n\tTransferring to host: " + HOST)
    begun = event(40, 9, "Started transferring input files\n\tSeconds spent in queue: 8")
    done = event(1, 11, f"Job executing on host: {HOST}") + event(40, 12, "Finished transferring input files")
    assert [(one.claimed, one.input_s) for one in read(tmp_path, queued, begun, done).starts] == [
        (eventlog.read(tmp_path / "job.log")[7, 0].submitted + 1, 11)
    ]


def test_a_gpu_that_htcondor_itself_describes(tmp_path: Path) -> None:
    ad = '[ Id = "GPU-8485a391"; DeviceName = "NVIDIA A100"; Capability = 8.0; GlobalMemoryMb = 40536; ]'
    job = read(tmp_path, event(1, 5, f"Job executing on host: {HOST}\n\tGPUs = 1\n\tGPUs_GPU_8485a391 = {ad}"))
    assert (job.starts[0].gpu, job.starts[0].gpu_memory_mb, job.starts[0].gpus) == ("NVIDIA A100", 40536, 1)
