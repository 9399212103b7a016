"""What the trials of a sweep came to: a score each, the best first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit import sweep
from submit.errors import KitError, wrong
from submit.runtime.files import write_atomic

# in metrics.json: scored in the patients' own files; else while it trained
SCORES = ("over_regions.dice.mean", "best_validation.dice")


@dataclass(frozen=True)
class Row:
    """A trial: its number, settings by key, folder, and score; None: no results, or none of that name."""

    trial: int
    settings: dict[str, str]
    folder: str
    score: float | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Results:
    """All trials, the best first, those without a score last; `by` is the score's name in metrics.json."""

    rows: list[Row]
    by: str

    @property
    def scored(self) -> int:
        """How many have a score."""
        return sum(row.score is not None for row in self.rows)


def gather(project: Path, out: str = "sweep", by: str = "", lowest: bool = False) -> Results:
    """Reads the results that have come home, and writes OUT/results.csv.

    Args:
        by: a number of metrics.json, such as mean_dice.whole; empty: the mean Dice over patients and regions.
        lowest: the lowest is the best.

    Raises:
        KitError: no such sweep, or no results have that number.
    """
    keys, listed = sweep.read(project, out)
    held = {name: _held(project / "results" / out / name / sweep.FINISHED) for name in sweep.finished(project, out)}
    names = (by,) if by else SCORES
    name = next((name for name in names if any(_at(one, name) is not None for one in held.values())), names[0])
    if held and by and all(_at(one, by) is None for one in held.values()):
        inside = ", ".join(sorted(next(iter(held.values()))))
        raise KitError(
            wrong("--by", by, "no number of that name in metrics.json", f"it has {inside}", "E.g. --by mean_dice.whole")
        )
    rows = [
        Row(
            at,
            dict(zip(keys, trial, strict=True)),
            f"results/{out}/{sweep.folder(at)}",
            _at(held.get(sweep.folder(at), {}), name),
        )
        for at, trial in enumerate(listed)
    ]
    sign = 1 if lowest else -1
    rows.sort(key=lambda row: (row.score is None, sign * (row.score or 0.0), row.trial))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["trial", name, *keys, "folder"])
    writer.writerows(
        [row.trial, "" if row.score is None else row.score, *row.settings.values(), row.folder] for row in rows
    )
    write_atomic(project / out / "results.csv", table.getvalue().encode())
    return Results(rows, name)


def text(results: Results, most: int = 20) -> str:
    """The best ones as a table."""
    shown = results.rows[: min(most, results.scored)]
    keys = list(results.rows[0].settings) if results.rows else []
    lines = [["trial", results.by, *keys]]
    lines += [[str(row.trial), f"{row.score:.4f}", *row.settings.values()] for row in shown if row.score is not None]
    return "\n".join([*_aligned(lines), f"{results.scored} of {len(results.rows)} trials have results"])


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines]


def _held(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def _at(held: Any, name: str) -> float | None:
    for part in name.split("."):
        held = held.get(part) if isinstance(held, dict) else None
    return float(held) if isinstance(held, int | float) and not isinstance(held, bool) else None
