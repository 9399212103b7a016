"""`osgdl watch` as a process: on a terminal, into a file, into a pipe that closes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from submit import watch_live, watch_table
from submit.watch import Watch
from tests.submit.test_watch import ended, event, no_pool, started, submitted

__all__ = ["no_pool"]  # for each test here, too


def osgdl(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "submit", "watch", str(folder), *words]


def test_lines_of_news_where_there_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_live, "LINE_EVERY_S", 0.05)
    log = tmp_path / "12.log"
    log.write_text(submitted(100))
    watch = Watch([tmp_path])
    seen = []
    for shown, changed in watch_live._news(watch):
        seen += watch_table.news(shown, changed)
        with log.open("a") as file:
            file.write([started(5), ended(1, 7)][len(seen)] if len(seen) < 2 else "")
    assert seen == ["12.0: running at UNL, L40S", "12.0: failed: ended with exit code 7"]


def test_nobody_listens_any_more(tmp_path: Path) -> None:
    """As with `osgdl watch | head -1`: it ends, though the job goes on."""
    log = tmp_path / "12.log"
    log.write_text(submitted(100) + started(50))
    process = subprocess.Popen(osgdl(tmp_path, "--json"), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    with log.open("a") as file:
        file.write(event(12, 1, "Job was held.\n\tx\n\tCode 13 Subcode 1"))
    assert process.wait(60) == 1


def test_it_ends_when_all_is_over(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text(submitted(100) + started(50) + ended(5, 7))
    done = subprocess.run(osgdl(tmp_path), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "1 job: 1 failed" in done.stdout and done.stderr == "next: osgdl explain\n"
    (tmp_path / "12.log").write_text(submitted(100) + started(50) + ended(5))
    done = subprocess.run(osgdl(tmp_path, "--json"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and json.loads(done.stdout)["over"] is True and done.stderr == "next: osgdl report\n"


def on_terminal(command: list[str], until: bytes, stop: bool) -> tuple[int, str]:
    """Exit code and what a terminal got, with Ctrl-C when `until` has appeared."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    got, deadline, sent = b"", time.monotonic() + 60, False
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                got += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        elif process.poll() is not None:
            break
        if stop and until in got and not sent:
            process.send_signal(signal.SIGINT)
            sent = True
    os.close(ours)
    return process.wait(10), got.decode(errors="replace")


@pytest.mark.slow
def test_ctrl_c_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text(submitted(100) + started(50))
    code, got = on_terminal(osgdl(tmp_path), b"running", stop=True)
    assert code == 0 and "the jobs go on" in got and "Traceback" not in got
    assert got.rindex("\x1b[?25h") > got.rindex("\x1b[?25l"), "the cursor is there again"


@pytest.mark.slow
def test_a_terminal_keeps_the_last_picture(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text(submitted(100) + started(50) + ended(5))
    code, got = on_terminal(osgdl(tmp_path), b"", stop=False)
    assert code == 0 and "1 job: 1 done" in got and "next: osgdl report" in got


@pytest.mark.slow
def test_a_terminal_that_goes_away_ends_it(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text(submitted(100) + started(50))
    ours, theirs = pty.openpty()
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(osgdl(tmp_path), stdin=theirs, stdout=theirs, stderr=said)
    os.close(theirs)
    got = b""
    while b"running" not in got:
        got += os.read(ours, 1000)
    os.close(ours)
    assert process.wait(60) == 1 and (tmp_path / "said").read_text() == ""
