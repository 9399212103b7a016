"""What a finished job's stderr says, in plain words: what happened, whose fault it is, whether waiting helps, what
mends it.

    told = explain.read(Path("logs/12.0.err"))
    print(told.sentence)

The table is the one that the job itself acts on (`submit.runtime.failures`), so the words here and the job's exit code
never disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from submit.errors import KitError
from submit.runtime import failures
from submit.runtime.failures import Failure, Match

MOST_BYTES = 16 << 20  # of a log, from its end: what ended the job stands there

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


@dataclass(frozen=True)
class Explanation:
    """What was found in a job's stderr.

    Attributes:
        matches: rows of the table and the lines that have them, the most telling first.
        possible: rows whose line is there, but which mean this only on some GPUs, and the GPU is not known.
        sentence: all of it in one line.
    """

    matches: list[Match]
    possible: list[Match]
    sentence: str

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
    return Explanation(certain, possible, _sentence(certain, possible))


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


def _sentence(certain: list[Match], possible: list[Match]) -> str:
    if certain:
        return _told(certain[0].failure)
    if possible:
        row = possible[0].failure
        names = " and ".join(f"{name.replace('_', ' ')} {bound:g}" for name, bound in row.condition.items())
        return f"On a GPU of {names}: {_told(row)[0].lower()}{_told(row)[1:]}"
    return (
        "Nothing that the table of failures knows: the last lines of the file say most, and osgdl check and a run on "
        "the local pool find most of the rest."
    )


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
