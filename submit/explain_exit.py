"""Why a job's program ended as it did: from its exit code, its own word and its stderr, the surest one first.

1. What the job itself said (the reason that it sent to its ad, which stands in the hold reason): a row of the failure
   table or a symptom in it, else its words as they are.
2. The last word of stderr, where a symptom knows it.
3. A row of the failure table anywhere in stderr, where the last word is not plainly a mistake in a program.
4. The exit code itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from submit import explain_stderr
from submit.explain_cause import CODE, IMAGE, INPUT, MACHINE, NOBODY, REQUEST, UNCLEAR, Cause, filled
from submit.explain_stderr import Explanation, Symptom
from submit.runtime import failures
from submit.runtime.exit_codes import BAD_INPUT, BAD_MACHINE, CHECKPOINTED
from submit.runtime.failures import Failure

# Exceptions that only a program's own mistakes raise; frameworks raise others (RuntimeError, OSError and their own) for
# what a GPU did to them
MISTAKES = (
    *("ArithmeticError", "AssertionError", "AttributeError", "IndexError", "KeyError", "LookupError", "NameError"),
    *("NotImplementedError", "RecursionError", "StopIteration", "TypeError", "UnboundLocalError"),
    *("UnicodeDecodeError", "ValueError", "ZeroDivisionError"),
)
NO_GPU = {"unknown": 0.0}  # facts by which no condition of a row is met
ELSEWHERE = "the job is tried elsewhere; "  # how a mend begins for which the job itself has left the machine
# why another run ends like this one
SAME = {
    CODE: "the same program does the same again",
    INPUT: "the same data and settings are wrong on every machine",
    REQUEST: "the same request meets the same again",
    IMAGE: "the image is the same on every machine",
}


@dataclass(frozen=True)
class End:
    """How a job's program ended.

    Attributes:
        code: its exit code; 128 + number for a signal.
        over: HTCondor tries it no more.
        held: it is over and still in the queue.
        word: what the job sent as its reason; empty where it sent none.
        told: its stderr; None where there is none.
        facts: of the GPU, for the failure table.
        tries: how many ended so.
        values: what {job}, {memory} and {disk} stand for.
    """

    code: int
    over: bool
    held: bool = False
    word: str = ""
    told: Explanation | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    tries: int = 1
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`exit code 1`; `exit code 139` where Apptainer made one of a signal."""
        return f"exit code {self.code}"


def cause(end: End) -> Cause:
    """Why; of a program that ended with another code than 0."""
    if end.code == CHECKPOINTED:
        return _by_code(end)
    return _by_word(end) or _by_stderr(end) or _by_code(end)


def _by_word(end: End) -> Cause | None:
    if not end.word:
        return None
    known = explain_stderr.symptom(end.word)
    if known and known[0].before:
        return _of_symptom(end, *known)
    rows = explain_stderr.explain(end.word, end.facts or NO_GPU).matches
    if rows and (rows[0].failure.certain or end.code in (BAD_INPUT, BAD_MACHINE)):
        return _of_failure(end, rows[0].failure)
    if end.code == BAD_INPUT:
        return _own_words(end, "bad-input", INPUT, end.word)
    if known and ("{memory}" in known[0].mend or end.word.count("; ") < 2):
        return _of_symptom(end, *known)
    if known:  # a Fault of the kit's, whose own mend knows more
        return _own_words(end, known[0].id, known[0].fault, end.word)
    if end.code == BAD_MACHINE:
        words = end.word.partition(" [on ")[0]
        return _own_words(end, "bad-machines" if end.over else "bad-machine", UNCLEAR if end.over else MACHINE, words)
    if ";" in end.word:  # a Fault of the kit's: where: what it held; what is wanted; what mends it
        return _own_words(end, "own-fault", UNCLEAR, end.word)
    return None


def _own_words(end: End, name: str, fault: str, words: str) -> Cause:
    """Of a line in the house's form, `where: held; wanted; mend`, or run.sh's, `field: held; wanted. Mend.`"""
    parts = words.split("; ")
    if len(parts) == 3 and end.code != BAD_MACHINE:
        what, mend = f"{parts[0]}; wanted: {parts[1]}", parts[2]
    elif len(parts) > 3 and end.code != BAD_MACHINE:  # where what is wanted ends nobody can tell
        what, mend = parts[0], f"wanted: {'; '.join(parts[1:])}"
    elif len(parts) == 2 and ". " in parts[1]:
        wanted, _, mend = parts[1].partition(". ")
        what = f"{parts[0]}; {wanted}"
    else:
        what, _, mend = words.rpartition("; ")
    helps, waits = _waiting(end, fault)
    mend = mend.strip().rstrip(".").removeprefix(ELSEWHERE)
    return Cause(name, what or words, fault, helps, waits, _then(end, mend))


def _by_stderr(end: End) -> Cause | None:
    if end.told is None:
        return None
    known = explain_stderr.symptom(end.told.last_word[1])
    rows = [match.failure for match in end.told.matches]
    sure = next((row for row in rows if row.certain and row.verdict != failures.WARNING), None)
    if known and known[0].id == "python-exception":
        raised = explain_stderr.explain(known[1]["line"], end.facts or NO_GPU).matches
        if raised and raised[0].failure.verdict != failures.WARNING:
            return _of_failure(end, raised[0].failure)
        if sure and known[1]["kind"] not in MISTAKES:
            return _of_failure(end, sure, also=(f"it raised {known[1]['line']}",))
        return _of_symptom(end, *known, also=_names(rows))
    if known and (known[0].before or not sure):
        return _of_symptom(end, *known, also=_names(rows))
    if sure:
        return _of_failure(end, sure)
    if rows and end.code != BAD_MACHINE:
        return replace(_of_failure(end, rows[0]), certain=False)
    if end.code == BAD_INPUT and "; " in end.told.last_word[1]:
        return _own_words(end, "bad-input", INPUT, end.told.last_word[1])
    return None


def _names(rows: list[Failure]) -> tuple[str, ...]:
    return tuple(f"stderr also has: {row.diagnosis}" for row in rows[:2])


def _by_code(end: End) -> Cause:
    rows = [row for row in explain_stderr.exits() if row.code == end.code]
    row = next((row for row in rows if row.ended == end.over), rows[0] if rows else None)
    last = " ".join(end.told.last_word[1].split()) if end.told and end.code < 128 else ""
    said = f"; its error file ends with: {last}" if last else ""
    if row:
        found = _of_symptom(end, row, {})
        return replace(found, what=f"{found.what}{said}")
    helps, waits = _waiting(end, UNCLEAR)
    what = f"its program ended with {end.name}, and nothing in the kit's tables says why{said}"
    mend = "see the end of its error file; run it here (osgdl try train.sub)"
    return Cause("unknown", what, UNCLEAR, helps, waits, _then(end, mend))


def _of_failure(end: End, row: Failure, also: tuple[str, ...] = ()) -> Cause:
    if row.verdict == failures.MACHINE:
        fault = row.fault if row.fault and end.over else MACHINE
    else:
        fault = row.fault or REQUEST
    helps, waits = _waiting(end, fault)
    what, mend = row.diagnosis, row.fix
    if end.over:
        mend = mend.removeprefix(ELSEWHERE).removeprefix("the job is tried elsewhere")
    sources = tuple(failures.sources()[name] for name in row.sources)
    return Cause(row.id, what, fault, helps, waits, _then(end, mend, fault), sources=sources, also=also)


def _of_symptom(end: End, row: Symptom, found: Mapping[str, str], also: tuple[str, ...] = ()) -> Cause:
    values = {**end.values, **found}
    helps, waits = (row.helps, row.waits) if row.waits else _waiting(end, row.fault)
    mend = filled(row.mend, values)
    if row.fault not in (NOBODY,) and "{memory}" not in row.mend and "condor_" not in row.mend:
        mend = _then(end, mend, row.fault)
    return Cause(row.id, filled(row.what, values), row.fault, helps, filled(waits, values), mend, also=also)


def _waiting(end: End, fault: str) -> tuple[bool, str]:
    if fault == MACHINE:
        if not end.over:
            return True, "it is tried again on another machine"
        return False, f"{end.tries} runs, on one machine after another, had it, and HTCondor has stopped trying"
    why = SAME.get(fault, "")
    if end.over:
        return False, why or "HTCondor tries it no more"
    return (
        False,
        f"it is tried again, three times in all, but {why}" if why else "it is tried again, three times in all",
    )


def _then(end: End, mend: str, fault: str = "") -> str:
    """The mend, and what brings the job back into the queue."""
    job = end.values.get("job", "JOB")
    if not end.held:
        return mend
    if fault in (MACHINE, UNCLEAR):
        again = f"condor_release {job} buys one more try"
    elif fault in (IMAGE, CODE):
        again = f"then condor_rm {job} and submit again (condor_release {job} takes changed files along, for one try)"
    else:
        again = f"then condor_rm {job} and submit again"
    return f"{mend}; {again}" if mend else again
