"""The report for a terminal, and as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io

from submit import report_page
from submit.report import Report, row
from submit.report_page import MEANING, hours

BAR = 24  # characters of the longest
MOST_ROWS = 8


def text(report: Report) -> str:
    """What a person reads first."""
    states = ", ".join(f"{count} {state}" for state, count in report.states.items())
    lines = [f"{len(report.accounts)} jobs: {states}; {hours(report.queued)} in the queue"]
    whole, seconds = report.slots, report.seconds
    share = "unknown" if report.goodput is None else f"{report.goodput:.0%}"
    lines += [f"{hours(whole)} of machines, of which {share} is work in a result", ""]
    for name in report_page.COLOURS:
        if seconds[name]:
            part = seconds[name] / whole
            lines.append(
                f"  {name:11} {hours(seconds[name]):>10} {part:6.1%}  {'█' * round(BAR * part):{BAR}} {MEANING[name]}"
            )
    for title, values, unit in (
        ("lost to", report.lost, 3600),
        ("GPU-hours by model", report.gpu_hours("gpu"), 1),
        ("GPU-hours by site", report.gpu_hours("site"), 1),
        ("GPU-hours by day", report.gpu_hours("day"), 1),
    ):
        if values:
            lines += ["", title]
            rows = [f"  {value / unit:8.2f} h  {name}" for name, value in values.items()]
            more = [f"              and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
            lines += [*more, *rows[-MOST_ROWS:]] if title.endswith("day") else [*rows[:MOST_ROWS], *more]
    if report.speeds:
        lines += ["", "speed, median of what jobs measured; GPU-hours in those of the model that worked most"]
        lines += [
            f"  {speed:9.1f} {unit}  {normal:8.2f} h  {gpu}" for gpu, (speed, unit, normal) in report.speeds.items()
        ]
    lines += ["", "what to change"]
    for one in report.advice:
        saved = f"{one.hours:8.2f} h  " if one.hours else "            "
        lines += [f"  {saved}{one.what}", f"              {one.do}"]
    if not report.advice:
        lines.append("  nothing that would save a hundredth of the GPU-hours")
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


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
