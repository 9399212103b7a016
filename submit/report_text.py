"""The report for a terminal, and as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from submit.errors import KitError
from submit.report import KEYS, WORDS, Report, row
from submit.report_page import ORDER
from submit.runtime.files import write_atomic
from submit.slot_time import MEANING
from submit.units import span

BAR = 24  # characters of the longest
MOST_ROWS = 8
PAGES = (".html", ".htm", ".csv")


def text(report: Report) -> str:
    """What a person reads first."""
    time = report.time
    states = ", ".join(f"{count} {state}" for state, count in report.states.items())
    held = f"; {span(time.held)} on hold" if time.held else ""
    lines = [f"{len(report.accounts)} jobs: {states}; {span(time.queued)} in the queue{held}"]
    share = "" if time.goodput is None else f", of which {time.goodput:.0%} is work in a result or a checkpoint"
    lines += [f"{span(time.slots)} of machines{share}"]
    if report.wall:
        wall, slots = report.wall
        lines.append(
            f"{span(wall)} by RemoteWallClockTime of the jobs that do not run now; by their logs {span(slots)}"
        )
    lines.append("")
    for name in ORDER:
        if seconds := time.seconds[name]:
            part = seconds / time.slots
            bar = "█" * round(BAR * part)
            lines.append(f"  {name:9} {span(seconds):>9} {part:6.1%}  {bar:{BAR}} {MEANING[name]}")
    if time.lost:
        lines += ["", "lost to", *(f"  {span(seconds):>9}  {cause}" for cause, seconds in time.lost.items())]
    for key, word in KEYS.items():
        rows = [
            f"  {span(of.whole * 3600):>9}  {name}" + (f", {of.lost / of.whole:.0%} lost" if of.lost else "")
            for name, of in report.gpu_hours[key].items()
        ]
        more = [f"             and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
        rows = [*more, *rows[-MOST_ROWS:]] if key == "day" else [*rows[:MOST_ROWS], *more]
        lines += ["", f"GPU-hours by {word}", *rows] if rows else []
    if report.speeds:
        lines += ["", "speed that jobs measured, and GPU-hours in those of the model that worked most"]
        lines += [
            f"  {one.median:9.1f} {one.unit}  {span(one.hours * 3600):>9}  {gpu}" for gpu, one in report.speeds.items()
        ]
    if report.uses:
        lines += ["", "used of what was asked for"]
        lines += [f"  {use.used / use.asked:6.0%}  {WORDS[name][0]}" for name, use in report.uses.items()]
    lines += ["", "what to change"]
    for one in report.advice:
        saved = span(one.hours * 3600) if one.hours else ""
        lines += [f"  {saved:>9}  {one.what}", f"             {one.do}"]
    if not report.advice:
        lines.append("  nothing that would save a hundredth of the machines' time")
    return "\n".join(lines)


def table(report: Report) -> str:
    """A CSV, a row for each job. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    file = io.StringIO()
    rows = [row(one) for one in report.accounts]
    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
    writer.writeheader()
    for one in rows:
        writer.writerow({name: _cell(value) for name, value in one.items()})
    return file.getvalue()


def write(file: Path, content: str) -> None:
    """The whole file, or none of it; in the place of an older page or table, and of nothing else. Raises KitError."""
    wanted = "want a file's name, in a folder where you may write"
    try:
        if file.suffix not in PAGES and file.is_file() and file.stat().st_size:
            raise KitError(f"{file}: is there, and no page or table of ours; {wanted}, such as report.html or jobs.csv")
        write_atomic(file, content.encode(errors="replace"))
    except (OSError, ValueError) as fault:  # ValueError: no name, as of `.`
        raise KitError(f"{file}: {getattr(fault, 'strerror', None) or 'no file'}; {wanted}") from None


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
