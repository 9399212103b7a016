"""Box plots as SVG text, drawn with the page's own colours: the same file is read on light and on dark ground."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise

import numpy as np

WIDTH, HEIGHT = 360, 250  # units of the viewBox, about pixels
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 14, 30
BOX = 34  # the widest box
POINTS = 400  # a region: beyond it only outliers are drawn one by one
WHISKER = 1.5  # interquartile ranges: Tukey, Exploratory Data Analysis (1977)

Points = Mapping[str, float | None]  # patient -> value


def draw(
    title: str, columns: Mapping[str, Points], limits: tuple[float | None, float | None], penalty: float | None = None
) -> str:
    """A picture with a box for each column: quartiles, median, mean (diamond), whiskers to the last value within 1.5
    interquartile ranges, and a point for each patient.

    Args:
        title: of the vertical axis, for those who cannot see the picture.
        columns: name under the box to the values of the patients; None is left out.
        limits: of the axis; None: as the values need it.
        penalty: a value that stands for a missing region; it is drawn at the top edge, or the boxes of the others
            would be too flat to be read.
    """
    values = [v for points in columns.values() for v in points.values() if v is not None]
    real = [value for value in values if value != penalty] or values or [0.0, 1.0]
    low, high = (limit if limit is not None else end for limit, end in zip(limits, (min(real), max(real)), strict=True))
    if high - low < 1e-9:
        low, high = (
            (low - 0.5, high + 0.5)
            if limits == (None, None)
            else (low, low + 1)
            if limits[1] is None
            else (
                high - 1e-3,
                high,
            )
        )
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    capped = penalty is not None and penalty in values and penalty > high
    span = HEIGHT - TOP - BOTTOM - (18 if capped else 0)

    def y(value: float) -> float:
        if capped and value > high:
            return TOP + 4.0
        return HEIGHT - BOTTOM - (value - low) / (high - low) * span

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} by region">']
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}">{_label(tick, ticks)}</text>')
    if capped:
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{TOP + 8}">{penalty:g}</text>')
    step = (WIDTH - LEFT - RIGHT) / max(len(columns), 1)
    room = max(3, int(step / 6.6))  # letters under a box
    for index, (name, points) in enumerate(columns.items()):
        centre = LEFT + step * (index + 0.5)
        short = name if len(name) <= room else name[: room - 1] + "…"
        label = f"{escape(short)}<title>{escape(name)}</title>"
        parts.append(f'<text class="name" x="{centre:.1f}" y="{HEIGHT - 10}">{label}</text>')
        present = {patient: value for patient, value in points.items() if value is not None}
        if present:
            parts += _column(present, centre, min(BOX, step * 0.45), y)
    return "".join([*parts, "</svg>"])


def _column(points: Mapping[str, float], centre: float, width: float, y: Callable[[float], float]) -> list[str]:
    values = np.array(list(points.values()))
    first, median, third = (float(value) for value in np.percentile(values, (25, 50, 75)))
    reach = WHISKER * (third - first)
    within = values[(values >= first - reach) & (values <= third + reach)]
    low, high = float(within.min()), float(within.max())
    half = width / 2
    left, right = centre - half, centre + half
    parts = []
    if len(values) > 2:  # two points need no box
        parts = [
            _line(centre, y(third), centre, y(high)),
            _line(centre, y(first), centre, y(low)),
            f'<rect class="box" x="{left:.1f}" y="{y(third):.1f}" width="{width:.1f}" '
            f'height="{max(y(first) - y(third), 0.8):.1f}"/>',
            _line(left, y(median), right, y(median), "median"),
        ]
    shown = points if len(points) <= POINTS else {n: v for n, v in points.items() if not low <= v <= high}
    for number, (patient, value) in enumerate(shown.items()):
        # the golden ratio spreads neighbours evenly, and the same way each time
        x = centre + (math.modf(number * 0.618034)[0] - 0.5) * width * 1.5
        parts.append(
            f'<circle class="point" cx="{x:.1f}" cy="{y(value):.1f}" r="2.6">'
            f"<title>{escape(patient)}: {value:.4g}</title></circle>"
        )
    mean = y(float(values.mean()))
    if len(values) > 1:
        path = f"M{centre:.1f} {mean - 5:.1f}l5 5l-5 5l-5 -5z"
        parts.append(f'<path class="mean" d="{path}"><title>mean {values.mean():.4g}</title></path>')
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "whisker") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers from at or below `low` to at or above `high`."""
    raw = (high - low) / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _label(tick: float, ticks: Sequence[float]) -> str:
    """With as many decimals as tell neighbours apart."""
    gap = min((b - a for a, b in pairwise(ticks)), default=1.0)
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
    if round(gap, decimals) != round(gap, decimals + 1):  # a step of 0.25
        decimals += 1
    return f"{tick:.{decimals}f}"
