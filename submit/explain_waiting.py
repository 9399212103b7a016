"""Jobs that nothing is wrong with, or nothing that ended them: at work, out of reach, waiting for a machine."""

from __future__ import annotations

from submit.explain_cause import MACHINE, NOBODY, UNCLEAR, Cause
from submit.explain_log import Evidence
from submit.job_history import JobHistory

# how long a job may be idle before the explanation of a folder names it: GPU jobs of the OSPool wait minutes to hours
IDLE_LONG_S = 3600.0


def running(history: JobHistory, seen: Evidence, now: float) -> Cause:
    """A job that is on a machine; `now` in seconds since the epoch."""
    if seen.silent:
        since, why = seen.silent
        what = f"its machine has been out of reach for {span(now - since)} ({why})"
        waits = (
            "the connection may come back; else HTCondor waits for the job's lease (40 min by default), then starts it "
            "elsewhere from its last checkpoint"
        )
        return Cause("out-of-reach", what, MACHINE, True, waits, "")
    name = f"{history.cluster}.{history.proc}"
    lost = f", after losing {history.evictions} machines" if history.evictions else ""
    where = history.starts[-1].site or history.starts[-1].machine or "a machine"
    inside = f"condor_tail {name} shows its output, condor_ssh_to_job {name} goes there (docs/look-inside.md)"
    return Cause("running", f"it runs at {where}{lost}", NOBODY, True, "it is at work", inside)


def idle(history: JobHistory, seen: Evidence, now: float) -> Cause:
    """A job in the queue whose program has not failed."""
    if history.evictions:
        what = f"it waits for another machine, having lost {history.evictions} ({last_loss(history)})"
        waits = "machines of the OSPool come and go; it goes on from its last checkpoint (docs/eviction.md)"
        mend = "where it never comes to one: let it leave with exit code 85 more often (leave_every_minutes)"
        return Cause("evicted", what, MACHINE, True, waits, mend)
    if seen.sending is not None:
        what = f"a machine has taken it, and its input has been on the way there for {span(now - seen.sending)}"
        waits = "large input takes its time; a server that does not answer is given up after some minutes"
        mend = (
            "where it takes long: stage large data (osgdl stage), and see that each URL in transfer_input_files answers"
        )
        return Cause("input-on-its-way", what, NOBODY, True, waits, mend)
    if history.unstarted:
        why = history.unstarted[-1].why or "no reason given"
        what = f"{len(history.unstarted)} machines took it and never began it; last: {why}"
        return Cause(
            "never-begun", what, UNCLEAR, True, "another machine may", "where it goes on so: osgdl check FILE.sub"
        )
    waited = now - history.submitted
    return Cause(
        "idle",
        f"no machine has taken it for {span(waited)}",
        NOBODY if waited < IDLE_LONG_S else UNCLEAR,
        True,
        "GPUs of the OSPool are often taken for hours; a request that no machine can meet waits for ever",
        "osgdl match FILE.sub shows how many machines could take it, and which line of the request costs most",
    )


def last_loss(history: JobHistory) -> str:
    """Why it lost its last machine, in HTCondor's words."""
    mark = "lost its machine: "
    return next(
        (words.removeprefix(mark) for _, words in reversed(history.said) if words.startswith(mark)), "no reason"
    )


def span(seconds: float) -> str:
    """A time in words: seconds, minutes or hours."""
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
