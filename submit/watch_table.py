"""`osgdl watch` for people: what a terminal shows, the same as plain text, and lines of news without a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from submit.published import Published
from submit.runtime.progress import duration
from submit.watch import Picture, Trouble
from submit.watch_job import ACTIVE, STATES, Line

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 120  # of plain text
ROWS = 30  # jobs listed in plain text
MOST_SITES, MOST_TROUBLES = 6, 6
_BAR = 12  # characters
# the names give way where there is little room
_LEAST = {"job": 8, "site": 10, "GPU": 10}
_COLOURS = {
    "running": "green", "idle": "cyan", "held": "yellow", "failed": "red", "done": "bright_black", "removed": "magenta",
}  # fmt: skip


def totals(picture: Picture) -> str:
    """One line: `5000 jobs: 714 running, 297 idle, ...; 1234 GPU hours, 12 machines taken away`."""
    counts = ", ".join(f"{count} {state}" for state, count in picture.counts.items())
    parts = [f"{picture.total} job{'s' * (picture.total != 1)}: {counts}", f"{picture.gpu_hours:.1f} GPU hours"]
    if picture.evictions:
        parts.append(f"{picture.evictions} machine{'s' * (picture.evictions != 1)} taken away")
    if picture.coming:
        parts.append("more to come into the queue")
    return "; ".join(parts)


def trouble_line(trouble: Trouble) -> str:
    """`12 held: exit code 65: ... (12.3, 12.9, ...)`."""
    jobs = ", ".join(trouble.jobs) + (", ..." if trouble.count > len(trouble.jobs) else "")
    return f"{trouble.count} {trouble.state}: {trouble.words} ({jobs})"


def listed(picture: Picture, rows: int) -> list[Line]:
    """The jobs to be listed, in the order of the picture: all where there is room; else those that run, the furthest
    first, and some of those that wait and that ended last. Held and failed ones stand among the troubles, by cause.
    """
    lines = [one for one in picture.lines if one.state not in ("held", "failed")]
    if len(lines) <= rows:
        return lines
    by = {state: [one for one in lines if one.state == state] for state in STATES}
    least = {"idle": rows // 5, "done": rows // 5, "removed": 1}
    chosen: list[Line] = []
    for state in STATES:
        later = sum(min(least.get(other, 0), len(by[other])) for other in STATES[STATES.index(state) + 1 :])
        room = rows - len(chosen) - later
        chosen += by[state][: max(0, room)]
    return chosen


def renderable(picture: Picture, width: int, rows: int, coloured: bool = True) -> RenderableType:
    """The whole picture, at most about `rows` lines high."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[Any] = [Text(totals(picture), style="bold")]
    if coloured:
        parts.append(_stripe(picture, width))
    troubles = picture.troubles[:MOST_TROUBLES]
    sites = _sites(picture)
    room = rows - 8 - 3 * len(troubles) - (min(len(picture.places), MOST_SITES) + 2 if picture.places else 0)
    shown = listed(picture, max(3, room))
    if shown:
        parts += [Text(), _jobs(picture, shown, width)]
        rest = picture.total - len(shown) - sum(picture.counts.get(state, 0) for state in ("held", "failed"))
        if rest > 0:
            parts.append(Text(f"and {rest} more", style="dim"))
    if sites is not None:
        parts += [Text(), sites]
    for trouble in troubles:
        style = _COLOURS[trouble.state]
        parts.append(Text(trouble_line(trouble), style=style, overflow="ellipsis", no_wrap=True))
        parts.append(Padding(Text(trouble.mend), (0, 0, 0, 4)))
    if len(picture.troubles) > len(troubles):
        parts.append(Text(f"and {len(picture.troubles) - len(troubles)} other causes: osgdl explain", style="dim"))
    if picture.older:
        parts.append(Text(f"{picture.older} clusters that are over for more than a day: --all", style="dim"))
    if picture.queue:
        parts.append(Text(picture.queue, style="dim", overflow="ellipsis", no_wrap=True))
    return Group(*parts)


def text(picture: Picture) -> str:
    """The same without a terminal."""
    from rich.console import Console

    console = Console(width=WIDTH, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(renderable(picture, WIDTH, ROWS + 30, coloured=False))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def news(picture: Picture, changed: Sequence[Line]) -> list[str]:
    """Lines about jobs whose state is new."""
    found = []
    for one in changed:
        where = (
            f" at {one.site or one.machine or 'a machine'}, {one.gpu or 'no GPU known'}"
            if one.state == "running"
            else ""
        )
        why = f": {one.why[1]}" if one.why[1] else ""
        found.append(f"{one.job}{f' {one.node}' if one.node else ''}: {one.state}{where}{why}")
    return found


def _stripe(picture: Picture, width: int) -> RenderableType:
    """All jobs as one line of colours."""
    from rich.text import Text

    line = Text()
    left, room = picture.total, min(width, WIDTH)
    for state, count in picture.counts.items():
        part = round(room * count / left) if left else 0
        part = min(room, max(1, part))
        line.append("━" * part, style=_COLOURS[state])
        left, room = left - count, room - part
    return line


def _jobs(picture: Picture, lines: Sequence[Line], width: int) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    units = {one.published.unit for one in lines if one.published and one.published.unit}
    speed = f"{next(iter(units))}/s" if len(units) == 1 else "speed"
    rows = [_cells(one, picture.time, speed) for one in lines]
    table = Table(box=None, pad_edge=False, header_style="bold")
    widths = {title: max(len(title), *(len(row[title]) for row in rows)) for title in rows[0]}
    titles = [title for title in rows[0] if any(row[title] for row in rows)]
    least = {title: min(_LEAST.get(title, WIDTH), widths[title]) for title in titles}
    for title in ("starts", "GPU use", speed, "loss", "Dice", "left"):  # the last of them is missed most
        if sum(least[one] + 2 for one in titles) > width + 2 and title in titles:
            titles.remove(title)
    for title in titles:
        right = title not in ("job", "state", "site", "GPU", "progress")
        table.add_column(
            title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis", min_width=least[title]
        )
    for one, row in zip(lines, rows, strict=True):
        table.add_row(*(Text(row[title], style=_COLOURS[one.state] if title == "state" else "") for title in titles))
    return table


def _cells(one: Line, now: float, speed: str) -> dict[str, str]:
    """A job's cells by their titles; empty where nothing is known. `speed`: the title of that column."""
    said = one.published or Published()
    left = said.left - (now - said.at) if said.left is not None and said.at else None
    dice = said.dice if said.validation_dice is None else said.validation_dice
    unit = "" if speed.endswith("/s") else f" {said.unit or ''}/s"
    lost = f" ({one.evictions} lost)" if one.evictions else ""
    return {
        "job": f"{one.job} {one.node}".strip(),
        "state": one.state,
        "for": _span(now - one.since) if one.state in ACTIVE else _ago(now - one.since),
        "site": (one.site or one.machine) if one.starts else "",
        "GPU": one.gpu,
        "progress": _bar(said.share),
        "left": "" if left is None else _span(left),
        "loss": _number(said.loss, "{:.4g}"),
        "Dice": _number(dice, "{:.3f}"),
        speed: "" if said.rate is None else f"{said.rate:.3g}{unit}",
        "GPU use": _number(said.gpu_use, "{:.0%}"),
        "starts": f"{one.starts}{lost}" if one.starts else "",
    }


def _sites(picture: Picture) -> RenderableType | None:
    from rich.table import Table

    if not picture.places:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("site", "running", "ended", "taken away", "GPUs"):
        right = title in ("running", "ended", "taken away")
        table.add_column(title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for place in picture.places[:MOST_SITES]:
        gpus = ", ".join(place.gpus[:3]) + (", ..." if len(place.gpus) > 3 else "")
        table.add_row(place.site, str(place.running), str(place.ended), str(place.taken), gpus)
    if len(picture.places) > MOST_SITES:
        rest = picture.places[MOST_SITES:]
        sums = (sum(getattr(place, name) for place in rest) for name in ("running", "ended", "taken"))
        table.add_row(f"{len(rest)} more", *map(str, sums), "")
    return table


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    filled = int(share * _BAR)
    return f"{'━' * filled}{'╌' * (_BAR - filled)} {int(share * 100):3}%"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _span(seconds: float) -> str:
    """`1:02:05`, `3.5 d`."""
    return f"{seconds / 86_400:.1f} d" if seconds >= 2 * 86_400 else duration(max(0.0, seconds))


def _ago(seconds: float) -> str:
    """Since it ended: `3 min ago`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"
