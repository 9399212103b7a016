"""The report as one HTML file: pictures in it, nothing fetched, no script."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from submit import slot_time
from submit.account import Account
from submit.report import KEYS, Report, Use
from submit.stays import Stay

FOLDER = Path(__file__).parent / "data" / "report"
MOST_JOBS = 300  # rows of the table; the CSV has all
MOST_LINES = 40  # of the picture over time, and bars of one
ORDER = ("useful", "leaving", "starting", "preflight", "transfer", "running", "lost")  # of parts, from the left
WIDTH = 1000.0  # of pictures, in their own units


def html(report: Report) -> str:
    """The page, everything from outside escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(FOLDER)
    pages = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    by_loss = sorted(report.accounts, key=lambda one: (-one.time.seconds["lost"], -one.slots, one.job))
    made: str = pages.get_template("page.html").render(
        report=report,
        time=report.time,
        when=datetime.fromtimestamp(report.now).isoformat(" ", "minutes"),
        parts=parts(report.time.seconds),
        of_job=lambda one: parts(one.time.seconds),
        meaning=slot_time.MEANING,
        gpu_hours=[
            (f"GPU-hours by {word}", _bars({name: (hours.whole, hours.lost) for name, hours in named.items()}))
            for key, word in KEYS.items()
            if (named := report.gpu_hours[key])
        ],
        lost=_bars({cause: (seconds / 3600, seconds / 3600) for cause, seconds in report.time.lost.items()}),
        lines=_lines(report, [one for one in by_loss if one.stays][:MOST_LINES]),
        uses=_uses(report),
        shown=by_loss[:MOST_JOBS],
        order=ORDER,
        hours=hours,
        minutes=lambda seconds: f"{seconds / 60:.1f}",
    )
    return made


def hours(seconds: float) -> str:
    """`50 s`, `12.5 min`, `3.25 h`, `1,200 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.2f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"


def parts(seconds: Any) -> list[dict[str, Any]]:
    """What a bar of the categories is made of: name, where it begins and how wide it is, in `WIDTH`, and in words."""
    whole, at, found = sum(seconds.values()), 0.0, []
    for name in ORDER:
        width = WIDTH * seconds[name] / whole if whole else 0.0
        share = f"{width / WIDTH:.1%}"
        found.append({"name": name, "x": at, "width": width, "hours": hours(seconds[name]), "share": share})
        at += width
    return found


def _bars(values: dict[str, tuple[float, float]]) -> list[dict[str, Any]]:
    """A bar for each (hours, hours lost), the longest as wide as the picture; what is beyond `MOST_LINES` in one."""
    items = list(values.items())
    if rest := items[MOST_LINES:]:
        whole, lost = (sum(pair[which] for _, pair in rest) for which in (0, 1))
        items = [*items[:MOST_LINES], (f"{len(rest)} others", (whole, lost))]
    most = max((whole for _, (whole, _) in items), default=0.0) or 1.0
    return [
        {
            "name": name,
            "hours": hours(whole * 3600),
            "lost": f"{lost / whole:.0%}" if whole else "",
            "good": WIDTH * (whole - lost) / most,
            "bad": WIDTH * lost / most,
        }
        for name, (whole, lost) in items
    ]


def _lines(report: Report, accounts: Iterable[Account]) -> dict[str, Any]:
    """The picture over time: a line for each job, from its submission to its end, with its stays on machines."""
    accounts = sorted(accounts, key=lambda one: (one.submitted, one.job))
    ends = {id(one): one.stays[-1].end if one.state in ("done", "removed") else report.now for one in accounts}
    first = min((one.submitted for one in accounts), default=report.now)
    last = max(ends.values(), default=report.now)
    scale = WIDTH / max(1, last - first)
    rows = [
        {
            "name": one.job,
            "state": one.state,
            "x": (one.submitted - first) * scale,
            "width": (ends[id(one)] - one.submitted) * scale,
            "pieces": [piece for stay in one.stays for piece in _pieces(stay, first, scale)],
        }
        for one in accounts
    ]
    middle = [first + (last - first) * share / 4 for share in range(5)]
    return {"rows": rows, "ticks": [datetime.fromtimestamp(at).strftime("%d %b %H:%M") for at in middle]}


def _pieces(stay: Stay, first: int, scale: float) -> Iterable[dict[str, Any]]:
    at = float(stay.begin)
    last = "lost" if stay.cause else "running"
    pieces = (("transfer", stay.input_s), ("useful", stay.kept + stay.saving), (last, stay.tail))
    for name, seconds in (*pieces, ("transfer", stay.transfer - stay.input_s)):
        if seconds * scale > 0.2:
            said = f"{stay.site}, {stay.gpu}: {name}, {hours(seconds)}" + (f"; {stay.cause}" if name == "lost" else "")
            yield {"name": name, "x": (at - first) * scale, "width": seconds * scale, "said": said}
        at += seconds


def _uses(report: Report) -> list[dict[str, str]]:
    rows = []
    for key, word, unit in (
        ("Cpus", "cores", 1),
        ("Memory", "memory, GB", 1024),
        ("Disk", "disk, GB", 1 << 20),
        ("GPUs", "GPUs busy", 1),
        ("GPUsMemory", "GPU memory, GB", 1024),
    ):
        if key in report.uses:
            use = Use(*(value / unit for value in report.uses[key]))
            numbers = {name: f"{value:.2f}" for name, value in use._asdict().items()}
            rows.append({"name": word, **numbers, "share": f"{use.used / use.asked:.0%}"})
    return rows
