"""The stays of a job on machines, second by second: files, pieces of work that came home, the piece that did not.

A job that leaves with exit code 85 stays on its machine: what lies between two of its transfers home, in the event log,
is a piece. HTCondor's own CommittedTime does not know them (seen on 25.14: 20 s of 27).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from submit.job_history import JobHistory
from submit.start import CHECKPOINTED, PROGRAMS, REMOVED, TRANSFERS, Start

# What ended a stay badly
MACHINE_LOST = "the machine was taken away"
MACHINE_BAD = "the machine could not do it (75)"
NOT_STARTED = "its container or program could not be started"
WRONG = "wrong data or configuration (65)"
BUG = "a bug: another exit code, or a signal"
TRANSFER = "files did not arrive"
HELD = "held by HTCondor"
TAKEN_OUT = "removed"
CAUSES = (MACHINE_LOST, MACHINE_BAD, NOT_STARTED, WRONG, BUG, TRANSFER, HELD, TAKEN_OUT)

POLICY = 3  # hold code of the submit file's own expressions
AFTER_ITS_END = {12, 33, POLICY}  # of a program: what it sent last was no checkpoint
SETTLED_S = 300  # after that transfer, at most, HTCondor says what became of the job (3 to 12 s on the pool)
_EXIT = re.compile(r"(?:osgdl: )?(?:exit code (\d+)|(?:a )?signal)\b")


@dataclass(frozen=True, kw_only=True)
class Stay:
    """One stay; `begin` and `end` in seconds since the epoch, `transfer`, `saving`, `kept` and `tail` add up to it.

    Attributes:
        cause: what ended it badly; empty: nothing did.
        fate: what made all that the job had kept come to nothing: it was removed, or ended with another code than 0.
        begun: the job began; else the machine only took in its files.
        over: False while it goes on.
        input_s: files on their way in; `transfer`: with those on their way home at the end.
        saving: checkpoints on their way home.
        kept: running, until the last thing that came home.
        tail: running after it: with a cause, for nothing.
    """

    begin: int
    end: int
    site: str
    gpu: str
    gpus: int
    cause: str
    fate: str
    begun: bool
    over: bool
    input_s: float
    transfer: float
    saving: float
    kept: float
    tail: float

    @property
    def seconds(self) -> int:
        return self.end - self.begin

    @property
    def lost(self) -> float:
        """Seconds of running, and of checkpoints, that came to nothing."""
        return (self.tail if self.cause else 0.0) + (self.kept + self.saving if self.fate else 0.0)


def of_history(history: JobHistory, now: int, gpus: int = 0) -> tuple[Stay, ...]:
    """In the order of time. `now`: until when the last one is counted that goes on; `gpus`: where the log has none."""
    starts = sorted((*history.starts, *history.unstarted), key=lambda start: start.claimed)
    never = {id(start) for start in history.unstarted}
    given = max((start.gpus for start in starts), default=0) or gpus
    there = [_stay(history, start, id(start) not in never, now, given) for start in starts]
    fate = _fate(history, there)
    return tuple(replace(stay, fate=fate) for stay in there) if fate else tuple(there)


def _stay(history: JobHistory, start: Start, begun: bool, now: int, gpus: int) -> Stay:
    begin, end = start.claimed, max(start.claimed, now if start.until is None else start.until)
    cause = _cause(history, start, begun)
    ran = min(end, begin + start.input_s) if begun else begin  # from then on
    stop = end  # until then
    sent = _sent(start, ran, end)
    if sent and start.until is not None and end - sent[-1][1] <= SETTLED_S and _ended_itself(start):
        stop = sent.pop()[0]
    saving = sum(done - out for out, done in sent)
    back = sent[-1][1] if sent else ran  # what it did until then came home
    good = start.until is not None and not cause
    return Stay(
        begin=begin,
        end=end,
        site=start.site or "unknown",
        gpu=start.gpu or ("unknown" if start.gpus or gpus else "none"),
        gpus=start.gpus or gpus,
        cause=cause,
        fate="",
        begun=begun,
        over=start.until is not None,
        input_s=float(ran - begin),
        transfer=float(ran - begin + end - stop),
        saving=float(saving),
        kept=float((stop if good else back) - ran - saving),
        tail=0.0 if good else float(stop - back),
    )


def _sent(start: Start, begin: int, end: int) -> list[tuple[int, int]]:
    """Its transfers home, one after the other, within these bounds whatever the log says."""
    found = []
    for out, done in start.outputs:
        out, done = max(begin, out), min(end, done)
        if out <= done:
            found.append((out, done))
            begin = done
    return found


def _ended_itself(start: Start) -> bool:
    """Its program ended, so that the last transfer home is that of the results, or of a failure's output."""
    if start.code is None:
        return True
    return start.code[0] in AFTER_ITS_END and "PeriodicHold" not in start.why


def _cause(history: JobHistory, start: Start, begun: bool) -> str:
    if start.until is None:
        return ""
    code = start.code[0] if start.code else 0
    if start.code is None and start.until == history.ended and not start.why:
        return _by_exit("" if history.exit_code is None else str(history.exit_code))
    if code in (REMOVED, CHECKPOINTED):
        return TAKEN_OUT if code == REMOVED else ""
    if found := _EXIT.match(start.why) if start.code is None or code == POLICY else None:
        return _by_exit(found[1] or "")
    if code in TRANSFERS:
        return TRANSFER
    if code in PROGRAMS:
        return NOT_STARTED
    if start.code is None or start.taken:
        return MACHINE_LOST
    return HELD


def _fate(history: JobHistory, there: list[Stay]) -> str:
    if history.ended is None or (history.exit_code == 0 and not history.removed):
        return ""
    return TAKEN_OUT if history.removed else there[-1].cause if there else ""


def _by_exit(code: str) -> str:
    """`code`: empty where a signal ended it."""
    return {"0": "", "85": "", "75": MACHINE_BAD, "65": WRONG}.get(code, BUG)
