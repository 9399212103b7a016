"""One job of `osgdl watch`: its state, where it is, why it is held or failed, in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from submit import explain_holds
from submit.events import printable
from submit.explain_cause import filled
from submit.job_history import JobHistory, Name
from submit.published import Published

# in the order of the picture
STATES = ("running", "idle", "held", "failed", "done", "removed")
ACTIVE = ("running", "idle")
# the job's own line, templates/shared/exit_codes.sub
_OWN_HOLD = re.compile(r"osgdl: (?P<end>exit code \d+|signal \d+)(?:, try \d+)?: (?P<word>.*)", re.DOTALL)
_LEFT_OPEN = re.compile(r"\{\w+\}")
# what came of a start; `taken`: the machine was
RUNNING, TAKEN, ENDED = "running", "taken", "ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A job, as far as its log goes.

    Attributes:
        since: of its state, seconds since the epoch; `last`: of the last thing that happened.
        places: site, GPU and what came of it, of each start.
        why: of a held or failed job: cause (to count them by), words, what mends it.
        gpu_s: GPU seconds of the starts that are over; `gpus_now`, `here`: GPUs of the one that goes on, since when.
    """

    name: Name
    node: str
    state: str
    since: int
    last: int
    site: str = ""
    machine: str = ""
    gpu: str = ""
    starts: int = 0
    evictions: int = 0
    hold_code: int = 0
    exit_code: int | None = None
    signal: int | None = None
    places: tuple[tuple[str, str, str], ...] = ()
    why: tuple[str, str, str] = ("", "", "")
    gpu_s: int = 0
    gpus_now: int = 0
    here: int = 0
    published: Published | None = None

    @property
    def job(self) -> str:
        """`12.0`."""
        return f"{self.name[0]}.{self.name[1]}"

    def as_dict(self) -> dict[str, Any]:
        """An object of `jobs` in `osgdl watch --json`."""
        _, words, mend = self.why
        found: dict[str, Any] = {"job": self.job, "node": self.node, "state": self.state, "since": self.since}
        found |= {"site": self.site, "machine": self.machine, "gpu": self.gpu, "starts": self.starts}
        found |= {"evictions": self.evictions, "exit_code": self.exit_code, "signal": self.signal}
        found |= {"why": words, "mend": mend}
        return found | {"published": self.published.as_dict() if self.published else None}


def line(job: JobHistory) -> Line:
    """What is to be shown of a job."""
    start = job.starts[-1] if job.starts else None
    state = _state(job)
    here = start if start and start.until is None else None
    return Line(
        name=(job.cluster, job.proc),
        node=one_line(job.node),
        state=state,
        since=_since(job, state),
        last=max(job.submitted, job.said[-1][0] if job.said else 0),
        site=one_line(start.site) if start else "",
        machine=one_line(start.machine) if start else "",
        gpu=short_gpu(start.gpu) if start else "",
        starts=len(job.starts),
        evictions=job.evictions,
        hold_code=job.hold_code[0] if job.hold_code else 0,
        exit_code=job.exit_code,
        signal=job.signal,
        places=tuple(
            (
                one_line(one.site or one.machine),
                short_gpu(one.gpu),
                RUNNING if one is here else TAKEN if one.taken else ENDED,
            )
            for one in job.starts
        ),
        why=_why(job, state),
        gpu_s=sum(one.seconds * one.gpus for one in job.starts),
        gpus_now=here.gpus if here else 0,
        here=here.claimed if here else 0,
    )


def short_gpu(model: str) -> str:
    """`NVIDIA H100 80GB HBM3` -> `H100 80GB HBM3`."""
    return one_line(model).removeprefix("NVIDIA ").removeprefix("GeForce ").removeprefix("Tesla ")


def _state(job: JobHistory) -> str:
    return "failed" if job.state == "done" and job.broke else job.state


def _since(job: JobHistory, state: str) -> int:
    if job.ended is not None:
        return job.ended
    if state == "held" and job.held_at is not None:
        return job.held_at
    if job.starts:
        return job.starts[-1].time if state == "running" else job.starts[-1].until or job.submitted
    return job.submitted


def _why(job: JobHistory, state: str) -> tuple[str, str, str]:
    name = f"{job.cluster}.{job.proc}"
    if state == "failed":
        end = f"signal {job.signal}" if job.signal is not None else f"exit code {job.exit_code}"
        return end, f"ended with {end}", f"osgdl explain {name}"
    if state != "held":
        return "", "", ""
    return why_held(name, *(job.hold_code or (0, 0)), job.hold_reason)


def why_held(name: str, code: int, subcode: int, reason: str) -> tuple[str, str, str]:
    """Of the job `name`: cause, words, what mends it."""
    if own := _OWN_HOLD.match(reason):
        return own["end"], f"{own['end']}: {one_line(own['word'])}", f"osgdl explain {name}"
    row, found = explain_holds.find(code, subcode, reason)
    values = {"job": name, **found}
    words, mend = filled(row.what, values), filled(row.mend, values)
    if _LEFT_OPEN.search(mend):  # osgdl explain knows more
        mend = f"osgdl explain {name}"
    return row.id, one_line(_LEFT_OPEN.sub("…", words)), one_line(mend)


def one_line(text: str) -> str:
    """Without line ends and what a terminal would take for a command."""
    return text if text.isprintable() else " ".join(printable(text).split())
