"""The training curves as a picture, drawn while training runs."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submit.runtime.files import write_atomic

# Okabe and Ito (2008): told apart with any colour vision, dark enough for white paper
BLUE, VERMILLION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
REGION_COLOURS = (VERMILLION, GREEN, ORANGE, PURPLE, "#56B4E9", "#000000")
VALIDATION = "validation_"
INK = "#444444"
POINTS = 2000  # a line: more cannot be seen

Row = Mapping[str, Any]


def draw(path: Path, history: Sequence[Row], title: str = "") -> None:
    """Writes a PNG of the loss, the Dice, the learning rate and the speed over the optimiser's steps; replaced in one
    step, so that a viewer never sees half of it. A panel without a number yet says so.

    Args:
        path: of the picture.
        history: rows with `step` and some of `loss`, `dice` (soft Dice of training), `validation_<region>` (Dice 0 to
            1), `rate` (of the optimiser), `images_per_s`, `input_wait` (share of the time, 0 to 1). What is absent,
            None or no finite number is left out.
        title: above it all, such as the run's name.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    figure = Figure(figsize=(10, 6.4), facecolor="white", layout="constrained")
    (loss, dice), (rate, speed) = figure.subplots(2, 2, sharex=True)
    _panel(loss, "loss")
    points = _series(history, "loss")
    _line(loss, points, BLUE, "training")
    if points and min(y for _, y in points) > 0 and max(y for _, y in points) > 10 * min(y for _, y in points):
        loss.set_yscale("log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_major_formatter("{x:g}")
        loss.yaxis.set_minor_formatter(NullFormatter())
    _panel(dice, "Dice", (0, 1))
    _line(dice, _series(history, "dice"), BLUE, "training, soft", faint=True)
    names = list(dict.fromkeys(key for row in history for key in row if key.startswith(VALIDATION)))
    for index, name in enumerate(names):
        colour = REGION_COLOURS[index % len(REGION_COLOURS)]
        _line(dice, _series(history, name), colour, f"held out, {name.removeprefix(VALIDATION)}", marked=True)
    _panel(rate, "learning rate")
    _line(rate, _series(history, "rate"), BLUE, "learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    _panel(speed, "images/s")
    _line(speed, _series(history, "images_per_s"), BLUE, "images/s")
    speed.set_ylim(bottom=0)
    waits = _series(history, "input_wait")
    if waits:
        share = speed.twinx()
        share.spines[:].set_visible(False)
        share.set_ylim(0, 100)
        share.set_ylabel("waiting for input, %", color=VERMILLION)
        share.tick_params(colors=VERMILLION, labelsize=9)
        _line(share, [(step, 100 * wait) for step, wait in waits], VERMILLION, "waiting for input")
    for axis in (loss, dice):
        if len(axis.lines) > 1:
            legend = axis.legend(frameon=False, fontsize=9, labelcolor=INK)
            for text in legend.get_texts():
                text.set_parse_math(False)
    for axis in (loss, dice, rate, speed):
        if not axis.lines:
            axis.text(0.5, 0.5, "none yet", transform=axis.transAxes, ha="center", color="#999999")
    for axis in (rate, speed):
        axis.set_xlabel("step", color=INK)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    last = max((int(row["step"]) for row in history), default=0)
    figure.suptitle(f"{title}  step {last:,}".strip(), fontsize=12, color=INK, parse_math=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    write_atomic(path, file.getvalue())


def _series(history: Sequence[Row], key: str) -> list[tuple[int, float]]:
    """(step, value) of every row with a finite number, thinned to what can be seen; the last one is always there."""
    points = [
        (int(row["step"]), float(row[key]))
        for row in history
        if isinstance(row.get(key), int | float) and math.isfinite(row[key])
    ]
    every = -(-len(points) // POINTS) or 1
    return points[::-1][::every][::-1]


def _panel(axis: Any, title: str, limits: tuple[float, float] | None = None) -> None:
    axis.set_title(title, fontsize=11, color=INK, loc="left")
    axis.grid(color="#e4e4e4", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(colors=INK, labelsize=9)
    if limits is not None:
        axis.set_ylim(*limits)


def _line(
    axis: Any,
    points: Sequence[tuple[int, float]],
    colour: str,
    label: str,
    *,
    marked: bool = False,
    faint: bool = False,
) -> None:
    if not points:
        return
    steps, values = zip(*points, strict=True)
    marker = "o" if marked or len(points) == 1 else None
    axis.plot(
        steps, values, color=colour, linewidth=1.6, alpha=0.6 if faint else 1, marker=marker, markersize=4, label=label
    )
