"""Why a job is where it is: from its history in the event log, what else the log says, its stderr, and its ad.

told = explain_job.told(history, evidence, stderr=text, now=time.time())
told.cause.what, told.cause.mend
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from submit import explain_exit, explain_holds, explain_request, explain_stderr, explain_waiting
from submit.explain_cause import CODE, IMAGE, MACHINE, NOBODY, PERSON, REQUEST, UNCLEAR, Cause, filled
from submit.explain_exit import End
from submit.explain_log import Evidence
from submit.explain_stderr import Explanation
from submit.job_history import JobHistory

_OWN_HOLD = re.compile(
    r"osgdl: (?P<end>exit code (?P<code>\d+)|signal (?P<signal>\d+)), try (?P<tries>\d+): (?P<word>.*)", re.DOTALL
)
HELD = 5  # JobStatus
_SAYS_LITTLE = (0, 3)  # codes of holds whose reason leaves out what starters and shadows complained of
_NEVER_STARTED = 30  # subcode of the templates' periodic_hold
_BY_POLICY = re.compile(r"PeriodicRemove expression '(?P<line>.*)' evaluated")


@dataclass(frozen=True)
class Told:
    """One job, explained.

    Attributes:
        job: CLUSTER.PROCESS; state: held, done, removed, running or idle; `since`: when it came to be.
        places: where it ran, in order.
        evidence: what it is concluded from, a line each.
        tail: the last lines of its stderr, where nothing else says what happened.
        node: of the workflow that it belongs to.
    """

    job: str
    state: str
    since: int
    cause: Cause
    places: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    node: str = ""
    log: str = ""
    err: str = ""

    @property
    def failed(self) -> bool:
        """Whether somebody must do something, or should know."""
        if self.state in ("idle", "running") and self.cause.fault == MACHINE:
            return False  # it is tried elsewhere
        return self.cause.fault != NOBODY or self.state == "held"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "job": self.job,
            "state": self.state,
            "since": self.since,
            **self.cause.as_dict(),
            "places": self.places,
            "evidence": self.evidence,
            "stderr_end": self.tail,
            "node": self.node,
            "log": self.log,
            "stderr": self.err,
        }


def told(
    history: JobHistory,
    evidence: Evidence,
    *,
    stderr: str | None,
    now: float,
    ad: Mapping[str, Any] | None = None,
    err: str = "",
    log: str = "",
) -> Told:
    """The job explained.

    Args:
        stderr: its text; None where there is none.
        now: seconds since the epoch.
        ad: of the job, where the queue or the history has it.
        err, log: the names of the files, for the evidence.
    """
    said = explain_stderr.explain(stderr, evidence.gpu or None) if stderr and stderr.strip() else None
    job = _Job(history, evidence, said, ad or {}, now)
    cause = job.cause()
    lines = job.evidence()
    end = said.tail if said and job.ends() and _shows_end(cause, said) else []
    if said and job.ends() and not end and cause.id != "done":
        number, word = said.last_word
        known = history.hold_reason and word[:80] in history.hold_reason
        lines.append(f"{err}:{number}" + ("" if known else f": {word}"))
    return Told(
        job=job.name,
        state=job.state,
        since=job.since(),
        cause=cause,
        places=[start.site or start.machine for start in history.starts if start.site or start.machine],
        evidence=lines,
        tail=end,
        node=evidence.node,
        log=log,
        err=err if said else "",
    )


def of_workflow(one: Told, dag: str) -> Told:
    """The same of the job that manages the workflow `dag`."""
    what = f"the workflow {dag}: {one.cause.what}"
    if one.state != "done" or one.cause.id == "done":
        return replace(one, cause=replace(one.cause, what=what))
    mend = f"{dag}.dagman.out says at its end why; condor_submit_dag {dag} goes on from there, by its rescue file"
    return replace(one, cause=replace(one.cause, id="workflow", what=what, fault=UNCLEAR, mend=mend))


def _shows_end(cause: Cause, said: Explanation) -> bool:
    """Whether the end of stderr has to be looked at: nothing else says what happened."""
    return cause.fault == UNCLEAR or (cause.id == "bad-input" and said.last_word[1] in cause.what) or not cause.certain


class _Job:
    """What is known of one."""

    def __init__(
        self, history: JobHistory, evidence: Evidence, said: Explanation | None, ad: Mapping[str, Any], now: float
    ) -> None:
        self.history, self.seen, self.said, self.ad, self.now = history, evidence, said, ad, now
        self.name = f"{history.cluster}.{history.proc}"
        # the log has no event of a job that was submitted on hold
        self.state = "held" if history.state == "idle" and self.ad.get("JobStatus") == HELD else history.state
        here = self.state in ("held", "idle", "running")
        self.values = {
            "job": self.name,
            "memory": explain_request.more(evidence, "Memory", self.name, here),
            "disk": explain_request.more(evidence, "Disk", self.name, here),
        }

    def cause(self) -> Cause:
        """By its state."""
        return {
            "held": self._held,
            "done": self._done,
            "removed": self._removed,
            "running": lambda: explain_waiting.running(self.history, self.seen, self.now),
            "idle": self._idle,
        }[self.state]()

    def since(self) -> int:
        said = self.history.said
        return self.history.ended or (said[-1][0] if said else self.history.submitted)

    def evidence(self) -> list[str]:
        """What HTCondor says of it."""
        lines = [f"hold {code}/{sub}: {' '.join(reason.split())}" for code, sub, reason in self.seen.holds[-1:]]
        if self.history.state != "held" and lines:
            lines = [f"earlier {lines[0]}"]
        if self.seen.removed:
            lines.append(f"removed: {self.seen.removed}")
        for end in dict.fromkeys(end for end, _ in self.ends()):
            places = [site or "a machine" for one, site in self.ends() if one == end]
            lines.append(f"{end} at {', '.join(places)}")
        if not self.seen.holds or self.seen.holds[-1][0] in _SAYS_LITTLE:
            errors = Counter(" ".join(error.split())[:300] for error in self.seen.errors if error)
            lines += [f"{error}{f' ({count} times)' if count > 1 else ''}" for error, count in errors.most_common(2)]
        if self.history.evictions and self.history.state in ("idle", "running"):
            lines.append(
                f"lost its machine {self.history.evictions} times; last: {explain_waiting.last_loss(self.history)}"
            )
        lines += explain_request.measured(self.seen)
        return lines

    def ends(self) -> list[tuple[str, str]]:
        """Each end of its program, and where; the last one of a held job stands in its hold reason alone."""
        own = _OWN_HOLD.match(self.history.hold_reason) if self.history.state == "held" else None
        last = [(own["end"], self.history.starts[-1].site)] if own and self.history.starts else []
        return [*self.seen.codes, *last]

    # ---- states

    def _held(self) -> Cause:
        code, subcode, reason = (
            self.seen.holds[-1] if self.history.state != "idle" and self.seen.holds else self._told()
        )
        own = _OWN_HOLD.match(reason) if code == 3 else None
        if own:
            word = "" if own["word"].startswith("see the end of ") else self._whole(own["word"])
            number = int(own["code"]) if own["code"] else 128 + int(own["signal"])
            return self._ended(number, over=True, held=True, word=word, tries=int(own["tries"]))
        if code == 3 and subcode == _NEVER_STARTED:
            reason = " | ".join([reason, *self.seen.errors[-1:]])
        return self._of_hold(code, subcode, reason)

    def _whole(self, word: str) -> str:
        """A reason that the ad had no room for ends in an ellipsis; stderr has it whole."""
        last = self.said.last_word[1] if self.said else ""
        return last if word.endswith("…") and last.startswith(word[:-1]) else word

    def _told(self) -> tuple[int, int, str]:
        """The hold as the ad has it."""
        code, subcode = (self.ad.get(f"HoldReason{name}", 0) for name in ("Code", "SubCode"))
        return int(code), int(subcode), str(self.ad.get("HoldReason", self.history.hold_reason))

    def _of_hold(self, code: int, subcode: int, reason: str) -> Cause:
        if code == 0 and "unspecified" in reason and self.seen.errors:  # PelicanPlatform/pelican#1109
            reason = self.seen.errors[-1]
            code, subcode = (12 if "failed to send file" in reason else 13 if "://" in reason else 0), 256
        row, found = explain_holds.find(code, subcode, reason)
        values = {**self.values, **found}
        also: tuple[str, ...] = ()
        fault = row.fault
        if row.fault == CODE and self.said and explain_stderr.symptom(self.said.last_word[1]):
            also = (f"its error file ends with: {self.said.last_word[1]}",)
        return Cause(
            row.id, filled(row.what, values), fault, row.helps, filled(row.waits, values), filled(row.mend, values),
            certain=row.id != explain_holds.UNKNOWN, sources=(), also=also,
        )  # fmt: skip

    def _done(self) -> Cause:
        if self.history.signal is not None:
            return self._ended(128 + self.history.signal, over=True)
        if self.history.exit_code:
            return self._ended(self.history.exit_code, over=True)
        waits = "it has ended"
        unused = [match.failure for match in self.said.matches if not match.failure.certain] if self.said else []
        if unused and self.seen.gpus and self.said and not self.said.simulated:
            row = unused[0]
            what = f"done, exit code 0; but its stderr says that the GPU was not used: {row.diagnosis}"
            return Cause(f"gpu-unused/{row.id}", what, IMAGE, False, waits, row.fix, certain=False)
        return Cause("done", "done, exit code 0", NOBODY, False, waits, "")

    def _removed(self) -> Cause:
        policy = _BY_POLICY.search(self.seen.removed)
        if policy and self.seen.holds:
            cause = self._held()
            what = f"{cause.what}; in a workflow it leaves the queue, and its node fails"
            return replace(cause, what=what, mend=cause.mend.replace(f"condor_rm {self.name} and ", ""))
        if policy:
            line = policy["line"]
            what = f"the submit file's periodic_remove became true and took it out of the queue: {line}"
            mend = "mend the line in the submit file, and submit again"
            return Cause("own-periodic-remove", what, REQUEST, False, "it has left the queue", mend)
        return Cause(
            "removed", f"removed: {self.seen.removed or 'no reason given'}", PERSON, False,
            "it has left the queue", "submit again if that was a mistake: nothing else brings it back",
        )  # fmt: skip

    def _idle(self) -> Cause:
        history, seen = self.history, self.seen
        failures = [error for error in seen.errors if "Singularity test failed" in error]
        if failures and len(failures) >= len(seen.codes):
            cause = self._of_hold(3, _NEVER_STARTED, failures[-1])
            what = cause.what.replace("on any of the machines", f"on {len(failures)} machines")
            return replace(cause, what=what, waits="the templates hold it after ten such starts")
        if seen.codes and (code := _number(seen.codes[-1][0])):
            alike = sum(end == seen.codes[-1][0] for end, _ in seen.codes)
            return self._ended(code, over=False, word=str(self.ad.get("ChirpOsgdlReason", "")), tries=alike)
        return explain_waiting.idle(history, seen, self.now)

    def _ended(self, code: int, *, over: bool, held: bool = False, word: str = "", tries: int = 1) -> Cause:
        end = End(
            code=code, over=over, held=held, word=word, told=self.said, facts=self.seen.gpu, tries=tries,
            values=self.values,
        )  # fmt: skip
        cause = explain_exit.cause(end)
        if code == 137 and cause.id == "killed" and explain_request.used_up(self.seen, "Memory"):
            what = "its program was killed when its memory was used up (SIGKILL)"
            return replace(cause, id="memory-killed", what=what, fault=REQUEST)
        return cause


def _number(end: str) -> int:
    """Of `exit code 75` or `signal 9`: the exit code, as a shell gives it."""
    kind, _, number = end.rpartition(" ")
    return int(number) + (128 if kind == "signal" else 0)
