"""Progress bars on a terminal, on stderr; elsewhere nothing, or a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# between two lines where there is no terminal to redraw
LINE_SECONDS = 10


@contextmanager
def of_bytes(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes with rate and time left: call it with (done, total)."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def of_steps(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar of steps with time left: call it with (what, done, total), total 0 while it isn't known.

    Where there is no terminal: a line when the part of `what` before its first comma changes, else one every 10 s.
    """
    if not sys.stderr.isatty():
        shown, when = "", -float(LINE_SECONDS)

        def line(what: str, done: int, total: int) -> None:
            nonlocal shown, when
            now = time.monotonic()
            news = what.partition(",")[0] != shown.partition(",")[0]
            if news or (what != shown and now - when >= LINE_SECONDS):
                shown, when = what, now
                print(f"{title}: {what}" + (f", {done}/{total}" if total else ""), file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),  # its text may be another program's
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)

        def redraw(what: str, done: int, total: int) -> None:
            progress.update(task, description=f"{title}: {what}", completed=done, total=total or None)

        yield redraw
