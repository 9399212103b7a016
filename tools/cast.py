"""Records what a command shows on a terminal, as a picture that moves: python -m tools.cast OUT.svg -- COMMAND ...

The command runs in a terminal of its own. The picture shows its end, then each line while it stood there, in a
sixteenth of the time (SPEED). Who wants less motion sees the end alone. Needs pip install '.[docs]'.
"""

from __future__ import annotations

import os
import pty
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import ioctl
from html import escape
from pathlib import Path
from termios import TIOCSWINSZ

import pyte

COLUMNS, ROWS = 108, 36
SPEED = 16
# seconds: how often a line may change in the picture, and how long its end is shown
TICK, HELD = 0.25, 8
CHARACTER, LINE, MARGIN, BAR = 8.4, 19, 16, 34
INK, PAPER = "#d8dee6", "#12171d"
COLOURS = {"red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341", "blue": "#79c0ff", "magenta": "#d2a8ff"}
COLOURS |= {"cyan": "#76e3ea", "white": "#f0f6fc", "black": "#6e7681"}
BOLD = ' font-weight="bold"'


@dataclass
class Shown:
    """A line of the terminal, and from when to when it stood there, in seconds of the picture."""

    row: int
    spans: tuple[tuple[str, str, bool], ...]  # text, colour, bold
    start: float
    end: float | None = None


def record(command: list[str]) -> Iterator[tuple[float, str]]:
    """What `command` writes, with the second at which it came; it finds a terminal of COLUMNS x ROWS."""
    child, terminal = pty.fork()
    if child == 0:
        ioctl(0, TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)  # noqa: S606 - the developer's own command line
    began = time.monotonic()
    while True:
        try:
            text = os.read(terminal, 1 << 16)
        except OSError:  # Linux's end of a terminal
            break
        yield time.monotonic() - began, text.decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}: no picture")


def lines(said: Iterator[tuple[float, str]]) -> tuple[list[Shown], float]:
    """Each line that stood on the screen, and the length of what it shows."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    now: dict[int, Shown] = {}
    gone: list[Shown] = []
    looked = moment = 0.0

    def look() -> None:
        """What came since the last look stands there from then on."""
        for row in range(ROWS):
            spans = _spans(screen, row)
            before = now.get(row)
            if before is not None and before.spans == spans:
                continue
            if before is not None:
                before.end = looked
                gone.append(now.pop(row))
            if spans:
                now[row] = Shown(row, spans, looked)

    for second, text in said:
        moment = second / SPEED
        if moment - looked >= TICK:
            look()
            looked = moment
        stream.feed(text)
    look()
    return [*(line for line in gone if line.end != line.start), *now.values()], moment


def _spans(screen: pyte.Screen, row: int) -> tuple[tuple[str, str, bool], ...]:
    spans: list[tuple[str, str, bool]] = []
    for column in range(COLUMNS):
        cell = screen.buffer[row][column]
        colour = INK if cell.fg == "default" else COLOURS.get(cell.fg.removeprefix("bright"), f"#{cell.fg}")
        if spans and spans[-1][1:] == (colour, cell.bold):
            spans[-1] = (spans[-1][0] + cell.data, *spans[-1][1:])
        else:
            spans.append((cell.data, colour, cell.bold))
    while spans and not spans[-1][0].strip():
        spans.pop()
    return tuple(spans)


def svg(shown: list[Shown], length: float, title: str) -> str:
    """The picture: one text element for each line, visible while it stood there."""
    rows = max(line.row for line in shown) + 1
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, rows * LINE + BAR + MARGIN
    moves, texts, whole = [], [], HELD + length

    def frames(*states: tuple[float, int]) -> str:
        """Keyframes: until this second this opacity."""
        parts, begin = [], 0.0
        for until, opacity in states:
            end = 100 * until / whole
            parts.append(f"{begin:.2f}%,{end:.2f}%{{opacity:{opacity}}}")
            begin = end + 0.01
        return "".join(parts)

    for number, line in enumerate(shown):
        last = line.end is None
        if last:
            moves.append(frames((HELD, 1), (HELD + line.start, 0), (whole, 1)))
        else:
            moves.append(frames((HELD + line.start, 0), (HELD + (line.end or 0), 1), (whole, 0)))
        pieces = "".join(
            f'<tspan fill="{colour}"{BOLD if bold else ""}>{escape(text)}</tspan>' for text, colour, bold in line.spans
        )
        name = "none" if last and line.start == 0 else f"k{number}"
        texts.append(
            f'<text class="{"last" if last else "gone"}" style="animation-name:{name}"'
            f' x="{MARGIN}" y="{BAR + LINE * (line.row + 1):.0f}"'
            f' textLength="{sum(len(text) for text, _, _ in line.spans) * CHARACTER:.1f}">{pieces}</text>'
        )
    style = (
        f"text{{font:14px ui-monospace,Menlo,'DejaVu Sans Mono',monospace;white-space:pre;"
        f"animation-duration:{whole:.1f}s;animation-iteration-count:infinite}}.gone{{opacity:0}}"
        "@media(prefers-reduced-motion:reduce){text{animation:none!important}}"
        + "".join(f"@keyframes k{number}{{{move}}}" for number, move in enumerate(moves))
    )
    dots = "".join(f'<circle cx="{MARGIN + 6 + 20 * i}" cy="17" r="6" fill="#3d4854"/>' for i in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">'
        f"<title>{escape(title)}</title><style>{style}</style>"
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="{PAPER}"/>{dots}{"".join(texts)}</svg>\n'
    )


def main() -> None:
    """Runs the command and writes the picture."""
    out, separator, *command = sys.argv[1:]
    if separator != "--" or not command:
        sys.exit("usage: python -m tools.cast OUT.svg -- COMMAND ...")
    shown, length = lines(_prompted(command))
    Path(out).write_text(svg(shown, length, "Terminal: " + " ".join(command)), encoding="utf-8")


def _prompted(command: list[str]) -> Iterator[tuple[float, str]]:
    yield 0.0, f"$ {' '.join(command)}\r\n"
    yield from record(command)


if __name__ == "__main__":
    main()
