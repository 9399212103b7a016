"""The report as one HTML file: pictures in it, nothing fetched, no script."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from submit.report import Report

FOLDER = Path(__file__).parent / "data" / "report"
MOST_JOBS = 300  # rows; the CSV has all
MOST_BARS = 40
# Okabe and Ito's palette (2008), told apart with any colour vision
COLOURS = {
    "useful": "#009e73",
    "leaving": "#56b4e9",
    "starting": "#f0e442",
    "preflight": "#cc79a7",
    "transfer": "#0072b2",
    "unmeasured": "#999999",
    "lost": "#d55e00",
}
MEANING = {
    "useful": "work that is in a result",
    "leaving": "exits with 85, to the next step",
    "starting": "from the container to the first step",
    "preflight": "the test of the machine",
    "transfer": "files on their way",
    "unmeasured": "still running, and says nothing of itself",
    "lost": "in no result",
}


def html(report: Report) -> str:
    """The page, everything from outside escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(FOLDER)
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(
        "page.html"
    )
    shown = sorted(report.accounts, key=lambda one: (-one.seconds["lost"], -one.slots, one.job))[:MOST_JOBS]
    made: str = page.render(
        report=report,
        when=datetime.fromtimestamp(report.now).isoformat(" ", "minutes"),
        evictions=sum(one.evictions for one in report.accounts),
        categories=list(COLOURS),
        parts=_parts(report),
        usage=_usage(report),
        shown=shown,
        bars=_bars,
        hours=hours,
        minutes=lambda seconds: f"{seconds / 60:.1f}",
    )
    return made


def hours(seconds: float) -> str:
    """`5400` becomes `1.50 h`, `90` becomes `1.5 min`."""
    return f"{seconds / 3600:.2f} h" if seconds >= 600 else f"{seconds / 60:.1f} min"


def _parts(report: Report) -> list[dict[str, Any]]:
    whole, seconds, at, parts = report.slots, report.seconds, 0.0, []
    for name, colour in COLOURS.items():
        width = 1000 * seconds[name] / whole if whole else 0.0
        parts.append(
            {
                "name": name,
                "colour": colour,
                "x": round(at, 2),
                "width": round(width, 2),
                "hours": hours(seconds[name]),
                "share": f"{width / 10:.1f}%",
                "meaning": MEANING[name],
            }
        )
        at += width
    return parts


def _bars(values: Mapping[str, float], unit: float, name: str) -> Any:
    """A bar for each value, the longest as wide as the page; what is beyond `MOST_BARS` in one."""
    import markupsafe

    items = [(key, value / unit) for key, value in values.items()]
    if len(items) > MOST_BARS:
        items = [*items[:MOST_BARS], (f"{len(items) - MOST_BARS} others", sum(value for _, value in items[MOST_BARS:]))]
    most = max(value for _, value in items)
    row = markupsafe.Markup(
        '<div>{}</div><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{}" height="10" rx="1" fill="#0072b2"/></svg><span>{}</span>'
    )
    rows = [row.format(key, round(100 * value / most, 2) if most else 0, f"{value:.2f} {name}") for key, value in items]
    return markupsafe.Markup('<div class="bars">{}</div>').format(markupsafe.Markup("").join(rows))


def _usage(report: Report) -> list[tuple[str, str, str, str]]:
    rows = []
    for key, name, unit in (
        ("Cpus", "cores", 1),
        ("Memory", "memory, GB", 1024),
        ("Disk", "disk, GB", 1 << 20),
        ("GPUs", "GPUs, busy on average", 1),
    ):
        used = [one.used[key] / unit for one in report.accounts if key in one.used]
        asked = max((one.requested[key] / unit for one in report.accounts), default=0.0)
        known = (f"{median(used):.2f}", f"{max(used):.2f}") if used else ("–", "–")
        rows.append((name, f"{asked:.2f}" if asked else "–", *known))
    return rows
