"""Shows `osgdl watch`: once, as a picture that renews itself on a terminal, or as lines of news."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from submit import watch_table
from submit.watch import Picture, Watch
from submit.watch_job import Line
from submit.watch_queue import ANSWER_S

EVERY_S, MOST_S = 2.0, 10.0  # between two pictures, at least and at most
SHARE = 0.03  # of a core: the more a picture takes, the later comes the next
LINE_EVERY_S = 10.0  # without a terminal
MOST_NEWS = 20  # jobs that are named in one piece of news


def show(
    places: list[Path], *, local: bool = False, everything: bool = False, once: bool = False, as_json: bool = False
) -> int:
    """Prints to standard output until all jobs are over, or `once`; the exit code: 1 where one did not end well.

    Ctrl-C ends it, and the jobs go on. What is held stays held: it ends where nothing else is left.

    Raises:
        KitError: there is no job, or no such place.
    """
    watch = Watch(places, local, everything)
    if once:
        watch.picture()
        watch.queue.wait(ANSWER_S)
        now = watch.picture(ask=False)
        print(json.dumps(now.as_dict(), indent=1) if as_json else watch_table.text(now))
        return 0
    picture: Picture | None = None
    try:
        if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not as_json:
            picture = _live(watch)
        else:
            for picture, changed in _news(watch):
                _print(picture, changed, as_json)
    except KeyboardInterrupt:
        print("the jobs go on; osgdl watch shows them again", file=sys.stderr)
        return 0
    except OSError as fault:
        if fault.errno != errno.EIO:
            raise
        return 1  # the terminal is gone
    failed = picture is not None and picture.failed
    print(f"next: osgdl {'explain' if failed else 'report'}", file=sys.stderr)
    return int(failed)


def _pictures(watch: Watch, every: float) -> Iterator[Picture]:
    """One every so often, the last of them when all is over."""
    picture, pause = watch.picture(), every  # the first one reads all that was written, and is no measure
    while True:
        began = time.process_time()
        yield picture
        if picture.over:
            return
        time.sleep(pause)
        picture = watch.picture()
        pause = max(every, min(MOST_S, (time.process_time() - began) / SHARE))


def _live(watch: Watch) -> Picture:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    for ending in (signal.SIGTERM, signal.SIGHUP):  # or the cursor stays hidden
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for picture in _pictures(watch, EVERY_S):
            if not sys.stdout.isatty():
                raise OSError(errno.EIO, "the terminal is gone")
            live.update(watch_table.renderable(picture, console.width, console.height), refresh=True)
    return picture


def _news(watch: Watch) -> Iterator[tuple[Picture, list[Line]]]:
    """Pictures of which something is new, and the jobs whose state is; the first and the last one in any case."""
    before: dict[tuple[int, int], str] = {}
    said = ""
    for picture in _pictures(watch, LINE_EVERY_S if not sys.stdout.isatty() else EVERY_S):
        states = {one.name: one.state for one in picture.lines}
        changed = [one for one in picture.lines if before.get(one.name) != one.state]
        if changed or picture.over or watch_table.totals(picture) != said:
            yield picture, changed if before else []
        before, said = states, watch_table.totals(picture)


def _print(picture: Picture, changed: list[Line], as_json: bool) -> None:
    if as_json:
        lines = [one for one in picture.lines if one.state == "running"] + changed
        found = [json.dumps(picture.as_dict(list(dict.fromkeys(lines))))]
    else:
        stamp = time.strftime("%H:%M:%S", time.localtime(picture.time))
        found = [f"{stamp} {watch_table.totals(picture)}"]
        found += [f"{stamp} {line}" for line in watch_table.news(picture, changed[:MOST_NEWS])]
        if len(changed) > MOST_NEWS:
            found.append(f"{stamp} and {len(changed) - MOST_NEWS} more")
    print("\n".join(found), flush=True)
