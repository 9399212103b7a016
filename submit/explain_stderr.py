"""What a job's stderr says: the rows of the failure table in it, and its last word.

    told = explain_stderr.explain(text, {"capability": 7.0})
    told.matches[0].failure.id, told.last_word

The table is the one that the job itself acts on (`submit.runtime.failures`), so the words here and the job's exit code
never disagree. The last word is the last line of the last traceback, which is what ended a Python program; a line of a
framework some pages above it is not.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from submit.errors import KitError
from submit.explain_cause import WHOSE as BLAMED
from submit.explain_cause import filled
from submit.runtime import failures
from submit.runtime.failures import Failure, Match

MOST_BYTES = 16 << 20  # of a log, from its end: what ended the job stands there
LAST_LINES = 12  # of a log without a traceback, in which a last word is looked for
LONGEST_LINE = 1500  # characters of a line that are shown

WHOSE = {
    failures.MACHINE: "the machine's fault, not yours",
    failures.REQUEST: "the request or the image is at fault",
    failures.WARNING: "nobody's fault, and no reason to stop",
}
WAITING = {
    failures.MACHINE: "waiting helps, because the next try goes to another machine",
    failures.REQUEST: "waiting does not help, because it is so on every machine",
    failures.WARNING: "the job goes on",
}
UNKNOWN = (
    "Nothing that the table of failures knows: the last lines of the file say most, and osgdl check and a run on the "
    "local pool find most of the rest."
)
# `where: what it held; what is wanted; the mend`, as submit.runtime.exit_codes prints it
_OWN_WORDS = re.compile(r"[\w./-]+: [^;]+; .+")
_LEFT_OPEN = re.compile(r"\{\w+\}")
SYMPTOMS = Path(__file__).parent / "data" / "symptoms.toml"
_SIMULATED = re.compile(r"^(?:preflight  fine: simulated |simulated GPU \()", re.MULTILINE)
_TRACEBACK = re.compile(r"^(?:\s*\| ?)?Traceback \(most recent call last\):\s*$")
_RAISED = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Iteration|Warning|Input|Machine)\b(?::|$)"
)


@dataclass(frozen=True)
class Symptom:
    """A row of data/symptoms.toml; its fields are explained there."""

    id: str
    fault: str
    what: str
    mend: str
    pattern: str = ""
    code: int = -1
    ended: bool = False
    before: bool = False
    helps: bool = False
    waits: str = ""


@dataclass(frozen=True)
class Explanation:
    """What was found in a job's stderr.

    Attributes:
        matches: rows of the table and the lines that have them, the most telling first.
        possible: rows whose line is there, but which mean this only on some GPUs, and the GPU is not known.
        sentence: all of it in one line.
        known: the sentence says what happened.
        last_word: the line that ended the program: number from 1, and the line; (0, "") where there is none.
        tail: the last lines that are not empty.
        simulated: the kit computed on the CPU of the local pool, and said so.
    """

    matches: list[Match]
    possible: list[Match]
    sentence: str
    last_word: tuple[int, str]
    tail: list[str]
    simulated: bool = False
    known: bool = False

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        rows = [{**_row(match), "certain": True} for match in self.matches]
        return {"sentence": self.sentence, "found": rows + [{**_row(m), "certain": False} for m in self.possible]}


def read(path: Path, facts: Mapping[str, float] | None = None) -> Explanation:
    """Explains the file `path`; see `explain`.

    Raises:
        KitError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST_BYTES))
            content = file.read()
    except OSError as fault:
        raise KitError(
            f"{path}: {fault.strerror}; want the error file of a job, logs/CLUSTER.PROCESS.err; it comes home when the "
            "job ends"
        ) from fault
    return explain(content.decode(errors="replace"), facts)


def explain(text: str, facts: Mapping[str, float] | None = None) -> Explanation:
    """Finds the table's rows in a job's stderr.

    Args:
        text: the stderr.
        facts: of the GPU that it ran on, as far as known: capability, runtime, memory_mb.
    """
    found = [*_own_lines(text), *failures.matches(text, facts)]
    seen = {match.failure.id for match in found}
    # once each; what the kit itself said of the machine comes first, because it ended the job
    certain = [m for at, m in enumerate(found) if m.failure.id not in {earlier.failure.id for earlier in found[:at]}]
    possible = [] if facts else [m for m in _with_conditions(text) if m.failure.id not in seen]
    lines = text.split("\n")
    tail = [line.rstrip()[:LONGEST_LINE] for line in lines if line.strip()][-LAST_LINES:]
    word = _last_word(lines)
    said = _of_table(certain, possible) or _of_last_word(word[1])
    known = bool(certain or (said and not possible))
    return Explanation(certain, possible, said or UNKNOWN, word, tail, bool(_SIMULATED.search(text)), known)


@lru_cache(maxsize=1)
def symptoms() -> tuple[Symptom, ...]:
    """The rows of last words, most telling first."""
    return tuple(Symptom(**row) for row in tomllib.loads(SYMPTOMS.read_text(encoding="utf-8"))["symptom"])


@lru_cache(maxsize=1)
def exits() -> tuple[Symptom, ...]:
    """The rows of exit codes."""
    return tuple(Symptom(**row) for row in tomllib.loads(SYMPTOMS.read_text(encoding="utf-8"))["exit"])


def symptom(word: str) -> tuple[Symptom, dict[str, str]] | None:
    """The row that a last word has, and what its pattern found."""
    word = word.strip()[: failures.LONGEST_LINE]
    for row in symptoms():
        if found := re.search(row.pattern, word):
            return row, {
                "line": " ".join(word.split())[:LONGEST_LINE],
                **{name: text or "" for name, text in found.groupdict().items()},
            }
    return None


def _last_word(lines: list[str]) -> tuple[int, str]:
    """Of the last traceback: the line that says what was raised. Without one: the last line."""
    start = next((at for at in range(len(lines) - 1, -1, -1) if _TRACEBACK.match(lines[at])), None)
    if start is not None:
        for at in range(start + 1, len(lines)):
            line = lines[at].lstrip("| ") if lines[at].lstrip().startswith("|") else lines[at]
            if line and not line[0].isspace() and _RAISED.match(line):
                return at + 1, line.strip()[:LONGEST_LINE]
    for at in range(len(lines) - 1, -1, -1):
        if lines[at].strip():
            return at + 1, lines[at].strip()[:LONGEST_LINE]
    return 0, ""


def _own_lines(text: str) -> list[Match]:
    """Lines that the preflight or `exit_codes` wrote: `<where>: ...; <fix>`, with the row's own words."""
    found = []
    first_words = tuple({row.where + ": " for row in failures.table()})
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.lstrip().startswith(first_words):
            continue
        body = line.strip().partition(" [on ")[0]
        rows = [row for row in failures.table() if body.startswith(row.where + ": ") and body.endswith(row.fix)]
        exact = [row for row in rows if row.wanted in body or row.diagnosis in body]
        if rows:
            found.append(Match((exact or rows)[0], number, line.strip()))
    return found


def _with_conditions(text: str) -> list[Match]:
    """Rows with a condition, were it met: every bound taken as the fact itself."""
    bounds = {name.rpartition("_")[0]: row.condition for row in failures.table() for name in row.condition}
    found: dict[str, Match] = {}
    for value in {bound for condition in bounds.values() for bound in condition.values()} | {0.0, 1e9}:
        for match in failures.matches(text, dict.fromkeys(bounds, value)):
            if match.failure.condition:
                found.setdefault(match.failure.id, match)
    return [found[row.id] for row in failures.table() if row.id in found]


def _of_table(certain: list[Match], possible: list[Match]) -> str:
    if certain:
        return _told(certain[0].failure)
    if possible:
        row = possible[0].failure
        names = " and ".join(f"{name.replace('_', ' ')} {bound:g}" for name, bound in row.condition.items())
        return f"On a GPU of {names}: {_told(row)[0].lower()}{_told(row)[1:]}"
    return ""


def _of_last_word(word: str) -> str:
    """Of the line that ended the program, where the table of failures has nothing; empty where nobody knows it."""
    if known := symptom(word):
        row, found = known
        what, mend = (filled(text, {**found, "job": "JOB"}) for text in (row.what, row.mend))
        mend = "osgdl explain JOB says what mends it" if _LEFT_OPEN.search(mend) else mend
        return f"{what[0].upper()}{what[1:]}: {BLAMED[row.fault]} is at fault; {mend}."
    return f"It ended with what the kit says of wrong input: {word}" if _OWN_WORDS.match(word) else ""


def _told(row: Failure) -> str:
    diagnosis = row.diagnosis[0].upper() + row.diagnosis[1:]
    return f"{diagnosis}: {WHOSE[row.verdict]}; {WAITING[row.verdict]}; {row.fix}."


def _row(match: Match) -> dict[str, object]:
    row = match.failure
    return {
        "failure": row.id,
        "verdict": row.verdict,
        "line": match.line,
        "text": match.text,
        "diagnosis": row.diagnosis,
        "fix": row.fix,
        "sources": [failures.sources()[name] for name in row.sources],
    }
