"""What the benches found: benchmarks/results.json, one row a claim, and the table that `make bench` prints.

Every row says `ratio`, which must reach `goal`, so that one rule reads all of them. What `ours` and `peer` hold is in
`unit`; where nothing was measured they are null and `details.note` says why. A bench that runs again replaces its own
rows by their names and leaves the others.
"""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Result:
    """One claim beside its measurement.

    Attributes:
        name: of the claim; the key of its row.
        ours, peer: in `unit`; the peer may be a limit that was set.
        ratio: how many times better than the peer.
        goal: the least ratio wanted.
        command: that measures it again.
        details: single values, settings, a note.
    """

    name: str
    ours: float | None
    peer: float | None
    ratio: float | None
    goal: float
    unit: str
    command: str
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """A row of results.json; numbers of four digits."""
        numbers = {"ours": self.ours, "peer": self.peer, "ratio": self.ratio}
        rounded = {key: value if value is None else float(f"{value:.4g}") for key, value in numbers.items()}
        machine = f"{processor()}, {len(os.sched_getaffinity(0))} cores"
        about = {"machine": machine, "measured": time.strftime("%Y-%m-%d"), **self.details}
        return {
            "name": self.name,
            **rounded,
            "goal": self.goal,
            "unit": self.unit,
            "command": self.command,
            "details": about,
        }


def read(file: Path = FILE) -> list[dict[str, Any]]:
    """All rows, in order; none where there is no file."""
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    return rows


def report(*results: Result, file: Path = FILE) -> None:
    """Merges the rows into the file by their names, atomically, and prints them."""
    rows = {row["name"]: row for row in read(file)}
    new = [result.as_dict() for result in results]
    rows.update({row["name"]: row for row in new})
    temporary = file.with_suffix(".part")
    temporary.write_text(json.dumps(list(rows.values()), indent=1, ensure_ascii=False) + "\n")
    temporary.replace(file)
    print(table(new), flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text: what, ours, peer, ratio, goal, and whether it is reached."""
    head = ("bench", "ours", "peer", "unit", "ratio", "goal", "")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    right = {1, 2, 4, 5}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if row["ratio"] is None:
        verdict = row["details"].get("note", "not measured")
    else:
        verdict = "reached" if row["ratio"] >= row["goal"] else "MISSED"
    numbers = ["" if row[key] is None else f"{row[key]:g}" for key in ("ours", "peer")]
    return (
        row["name"],
        *numbers,
        row["unit"],
        "" if row["ratio"] is None else f"{row['ratio']:.2f}",
        f"{row['goal']:g}",
        verdict,
    )


def processor() -> str:
    """The CPU's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
