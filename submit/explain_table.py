"""What `osgdl explain` prints: one job, or many by their cause, the most common first."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from submit.events import printable
from submit.explain_cause import WHOSE
from submit.explain_job import Told
from submit.explain_stderr import Explanation

WIDTH = 100
LONGEST_ROW = 300  # characters of a line of evidence; --json has it whole
MOST_NAMED = 10  # jobs of a cause that are named
MOST_VARIANTS = 3  # wordings of a cause that are shown


def text(told: Sequence[Told]) -> str:
    """A paragraph for a job; for several a paragraph for each cause."""
    if not told:
        return "nothing failed, is held or has been idle for long"
    if len(told) == 1:
        return _one(told[0])
    parts = [_group(group) for group in groups(told)]
    return "\n\n".join(parts)


def as_json(told: Sequence[Told]) -> str:
    """`jobs` and `causes`, most common first."""
    causes = [
        {"cause": group[0].cause.id, "fault": group[0].cause.fault, "jobs": [one.job for one in group]}
        for group in groups(told)
    ]
    return json.dumps({"jobs": [one.as_dict() for one in told], "causes": causes}, indent=1)


def stderr_text(found: Explanation) -> str:
    """Of an error file alone."""
    lines = [found.sentence]
    lines += [f"  line {match.line}: {match.text[:200]}" for match in (*found.matches, *found.possible)[:3]]
    if not found.matches:
        lines += ["", *(f"  {line}" for line in found.tail)]
    return "\n".join(printable(line) for line in lines)


def stderr_json(found: Explanation) -> str:
    """The same for programs."""
    return json.dumps({**found.as_dict(), "stderr_end": found.tail}, indent=1)


def groups(told: Sequence[Told]) -> list[list[Told]]:
    """The jobs by their cause, the most common first."""
    by: dict[str, list[Told]] = {}
    for one in told:
        by.setdefault(one.cause.id, []).append(one)
    return sorted(by.values(), key=len, reverse=True)


def _one(one: Told) -> str:
    counts = Counter(one.places)
    places = ", ".join(f"{place} ({count} times)" if count > 1 else place for place, count in counts.items())
    ran = f"; ran at {places}" if places else ""
    node = f" (node {one.node})" if one.node else ""
    lines = [
        printable(f"job {one.job}{node}: {one.state} since {datetime.fromtimestamp(one.since):%Y-%m-%d %H:%M}{ran}"),
        "",
    ]
    lines += _cause(one)
    for name, rows in (("seen", one.evidence), ("stderr", one.tail)):
        lines += [_row(name if at == 0 else "", _cut(row), fold=name == "seen") for at, row in enumerate(rows)]
    if one.cause.sources:
        lines.append(_row("source", ", ".join(one.cause.sources)))
    return "\n".join(lines)


def _group(group: Sequence[Told]) -> str:
    names = ", ".join(one.job for one in group[:MOST_NAMED])
    more = f" and {len(group) - MOST_NAMED} more" if len(group) > MOST_NAMED else ""
    wordings: dict[str, Told] = {}
    for one in group:  # numbers alone make no other wording
        wordings.setdefault(re.sub(r"\d+", "", one.cause.what), one)
    first, *others = wordings.values()
    cause = replace(first.cause, mend=first.cause.mend.replace(first.job, "JOB" if len(group) > 1 else first.job))
    lines = [
        f"{len(group)} {'job' if len(group) == 1 else 'jobs'}: {names}{more}",
        *_cause(replace(first, cause=cause)),
    ]
    also = [f"{other.job}: {other.cause.what}" for other in others[: MOST_VARIANTS - 1]]
    if len(others) >= MOST_VARIANTS:
        also.append(f"and {len(others) - MOST_VARIANTS + 1} more wordings: osgdl explain JOB")
    lines[2:2] = [_row("", row) for row in also]
    return "\n".join(lines)


def _cause(one: Told) -> list[str]:
    cause = one.cause
    what = cause.what if cause.certain else f"{cause.what} (not certain)"
    helps = ("helps: " if cause.helps else "does not help: ") + cause.waits
    rows = [("what", what), *(("also", text) for text in cause.also), ("fault", WHOSE[cause.fault]), ("waiting", helps)]
    rows.append(("mend" if one.failed else "next", cause.mend or "nothing to do"))
    return [_row(name, words) for name, words in rows]


def _cut(row: str) -> str:
    return row if len(row) <= LONGEST_ROW else f"{row[:LONGEST_ROW]}…"


def _row(name: str, words: str, fold: bool = True) -> str:
    if not fold:
        return f"  {name:<8}{printable(words)}"
    return textwrap.fill(
        printable(words), WIDTH, initial_indent=f"  {name:<8}", subsequent_indent=" " * 10, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
