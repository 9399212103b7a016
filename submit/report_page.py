"""The report as one HTML file: pictures in it, nothing fetched, no script."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from submit import slot_time
from submit.account import Account
from submit.report import KEYS, WORDS, Report
from submit.stays import Stay
from submit.units import span

FOLDER = Path(__file__).parent / "data" / "report"
MOST_JOBS = 300  # rows of the table; the CSV has all
MOST_LINES = 40  # of the picture over time, and bars of one
ORDER = ("useful", "leaving", "starting", "preflight", "transfer", "running", "lost")  # of parts, from the left
SHORT_S = 7200  # the picture over time has seconds then
WIDTH = 1000.0  # of pictures, in their own units
LEAST = 0.2  # what is narrower is not drawn


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
        hours=span,
        minutes=lambda seconds: f"{seconds / 60:.1f}",
    )
    return made


def parts(seconds: Any) -> list[dict[str, Any]]:
    """What a bar of the categories is made of: name, where it begins and how wide it is, in `WIDTH`, and in words."""
    whole, at, found = sum(seconds.values()), 0.0, []
    for name in ORDER:
        width = WIDTH * seconds[name] / whole if whole else 0.0
        share = f"{width / WIDTH:.1%}"
        found.append({"name": name, "x": at, "width": width, "hours": span(seconds[name]), "share": share})
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
            "hours": span(whole * 3600),
            "lost": f"{lost / whole:.0%}" if whole else "",
            "good": WIDTH * (whole - lost) / most,
            "bad": WIDTH * lost / most,
        }
        for name, (whole, lost) in items
    ]


def _lines(report: Report, accounts: Iterable[Account]) -> dict[str, Any]:
    """The picture over time: a line for each job, from its submission to its end, with its stays on machines."""
    accounts = sorted(accounts, key=lambda one: (one.submitted, one.job))
    over = ("done", "failed", "removed")
    ends = {id(one): one.stays[-1].end if one.state in over else report.now for one in accounts}
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
    clock = "%H:%M:%S" if last - first < SHORT_S else "%d %b %H:%M"
    return {"rows": rows, "ticks": [datetime.fromtimestamp(at).strftime(clock) for at in middle]}


def _pieces(stay: Stay, first: int, scale: float) -> Iterable[dict[str, Any]]:
    at = float(stay.begin)
    kept, last = "lost" if stay.fate else "useful", "lost" if stay.cause else "running"
    pieces = (("transfer", stay.input_s, ""), (kept, stay.kept + stay.saving, stay.fate), (last, stay.tail, stay.cause))
    for name, seconds, why in (*pieces, ("transfer", stay.transfer - stay.input_s, "")):
        if seconds * scale > LEAST:
            said = ", ".join(filter(None, (stay.site, stay.gpu, name, span(seconds), why)))
            yield {"name": name, "x": (at - first) * scale, "width": seconds * scale, "said": said}
        at += seconds


def _uses(report: Report) -> list[dict[str, str]]:
    rows = []
    for name, use in report.uses.items():
        word, unit = WORDS[name]
        numbers = {which: f"{value / unit:.2f}" for which, value in use._asdict().items()}
        rows.append({"name": word, **numbers, "share": f"{use.used / use.asked:.0%}"})
    return rows
