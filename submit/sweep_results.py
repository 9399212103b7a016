"""What the trials of a sweep came to: a score each, the best first."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from submit import sweep
from submit.errors import KitError, wrong
from submit.runtime.files import write_atomic

# in metrics.json: scored in the patients' own files; else while it trained
SCORES = ("over_regions.dice.mean", "best_validation.dice")

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Row:
    """A trial: its number, settings by key, folder, and score; None: no results, or none of that name. `rung`: the last
    one that it was scored in, where the sweep has rungs.
    """

    trial: int
    settings: dict[str, str]
    folder: str
    score: float | None
    rung: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Results:
    """All trials, the best first, those without a score last; `by` is the score's name in metrics.json. `rungs`: how
    many trials each rung has, and how many of them have a score.
    """

    rows: list[Row]
    by: str
    rungs: Sequence[tuple[int, int]] = ()

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
    done = {int(name): project / "results" / out / name for name in sweep.finished(project, out) if name.isdecimal()}
    name, found = scores(done, by)
    rows = [
        Row(at, dict(zip(keys, trial, strict=True)), f"results/{out}/{sweep.folder(at)}", found.get(at))
        for at, trial in enumerate(listed)
    ]
    return ranked(project, out, rows, name, lowest)


def scores(folders: Mapping[Key, Path], by: str = "") -> tuple[str, dict[Key, float | None]]:
    """The score's name, and the score of each folder of results; None where it has none.

    Raises:
        KitError: there are results, and none has a number of the name `by`.
    """
    held = {key: _held(folder / sweep.FINISHED) for key, folder in folders.items()}
    names = (by,) if by else SCORES
    name = next((name for name in names if any(_at(one, name) is not None for one in held.values())), names[0])
    some = [one for one in held.values() if one]
    if some and by and all(_at(one, by) is None for one in some):
        inside = ", ".join(sorted(some[0]))
        raise KitError(
            wrong("--by", by, "no number of that name in metrics.json", f"it has {inside}", "E.g. --by mean_dice.whole")
        )
    return name, {key: _at(one, name) for key, one in held.items()}


def ranked(
    project: Path, out: str, rows: Iterable[Row], name: str, lowest: bool, rungs: Sequence[tuple[int, int]] = ()
) -> Results:
    """The rows best first, and written as OUT/results.csv: of a later rung before all of an earlier one."""
    sign = 1 if lowest else -1
    order = sorted(
        rows, key=lambda row: (row.score is None, -(row.rung or 0), sign * (row.score or 0.0), row.trial)
    )  # fmt: skip
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    keys = list(order[0].settings) if order else []
    writer.writerow(["trial", *(["rung"] if rungs else []), name, *keys, "folder"])
    for row in order:
        score = "" if row.score is None else row.score
        writer.writerow([row.trial, *([row.rung] if rungs else []), score, *row.settings.values(), row.folder])
    write_atomic(project / out / "results.csv", table.getvalue().encode())
    return Results(order, name, rungs)


def text(results: Results, most: int = 20) -> str:
    """The best ones as a table."""
    shown = results.rows[: min(most, results.scored)]
    keys = list(results.rows[0].settings) if results.rows else []
    rungs = bool(results.rungs)
    lines = [["trial", *(["rung"] if rungs else []), results.by, *keys]]
    for row in shown:
        lines.append([str(row.trial), *([str(row.rung)] if rungs else []), f"{row.score:.4f}", *row.settings.values()])
    said = [f"{results.scored} of {len(results.rows)} trials have results"]
    said += [f"rung {rung}: {scored} of {members}" for rung, (members, scored) in enumerate(results.rungs)]
    return "\n".join([*_aligned(lines), *said])


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
    known = isinstance(held, int | float) and not isinstance(held, bool) and math.isfinite(held)
    return float(held) if known else None
