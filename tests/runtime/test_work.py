"""A training loop of one's own, in as many processes as it takes: each is started as HTCondor starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from submit.runtime import work
from submit.runtime.exit_codes import BadInput

REPO = Path(__file__).resolve().parents[2]
SCRIPT = """
import hashlib, json, os, sys, time
from pathlib import Path
from submit.runtime import exit_codes, work
from submit.runtime.leaving import Intervals

def main():
    steps, leave, seed, pause = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    run = work.Work(steps, intervals=Intervals(save_s=0, save_steps=3, leave_steps=leave), identity={"seed": seed})
    snapshot = run.resume()
    value = snapshot.blobs["value"] if snapshot else b"begin"
    print("from", run.step, flush=True)
    while run.step < run.steps:
        value = hashlib.sha256(value + seed.encode() + str(run.step).encode()).digest()
        time.sleep(pause)
        run.done(lambda: ({"note": 1}, {"value": value}), loss=1.0 / (run.step + 1))
    run.finish(lambda: ({"note": 1}, {"value": value}))
    Path("result").write_bytes(value)

exit_codes.end(exit_codes.run(main))
"""


def start(folder: Path, *words: object) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", SCRIPT, *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def ended(folder: Path, *words: object) -> tuple[int, str, str]:
    process = start(folder, *words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def whole(folder: Path) -> bytes:
    folder.mkdir()
    assert ended(folder, 12, 0, "a", 0)[0] == 0
    return (folder / "result").read_bytes()


def test_a_run_that_left_is_the_run(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    said = [ended(parts, 12, 5, "a", 0) for _ in range(3)]
    assert [code for code, _, _ in said] == [85, 85, 0]
    assert [out.strip() for _, out, _ in said] == ["from 0", "from 5", "from 10"]
    assert "step 5 of 12 saved (exit code 85: run the same command again to go on)" in said[0][2]
    assert (parts / "result").read_bytes() == whole(tmp_path / "whole")


def test_sigterm_saves_and_leaves_and_a_kill_costs_what_was_not_saved(tmp_path: Path) -> None:
    for number, (kill, code) in enumerate([(signal.SIGTERM, 85), (signal.SIGKILL, -9)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(folder, 12, 0, "a", 0.1)
        while not list((folder / "checkpoint").glob("0*")):
            time.sleep(0.01)
        process.send_signal(kill)
        process.communicate(timeout=60)
        assert process.returncode == code
        done, out, _ = ended(folder, 12, 0, "a", 0)
        assert done == 0 and out != "from 0\n"
        assert (folder / "result").read_bytes() == whole(tmp_path / f"whole{number}")


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    assert ended(tmp_path, 12, 5, "a", 0)[0] == 85
    code, _, err = ended(tmp_path, 12, 5, "b", 0)
    assert code == 65
    assert err.strip() == (
        "checkpoint: a checkpoint with another seed; one of this run; undo the change, or start anew: rm -r checkpoint"
    )


def test_what_a_finished_run_does_again_is_nothing(tmp_path: Path) -> None:
    before = whole(tmp_path / "whole")
    code, out, _ = ended(tmp_path / "whole", 12, 0, "a", 0)
    assert code == 0 and out == "from 12\n" and (tmp_path / "whole" / "result").read_bytes() == before


def test_no_steps() -> None:
    with pytest.raises(BadInput, match=r"^steps: 0; 1 or more; give the number of steps in all$"):
        work.Work(0)


def test_the_checkpoint_says_what_was_measured(tmp_path: Path) -> None:
    assert ended(tmp_path, 12, 5, "a", 0.01)[0] == 85
    newest = max((tmp_path / "checkpoint").glob("0*"))
    held = json.loads((newest / "manifest.json").read_text())["state"]
    assert held["step"] == 5 and held["state"] == {"note": 1} and held["identity"] == {"seed": "a"}
    assert 0.04 < held["leaving"]["useful"] < 5 and held["leaving"]["left"] is None, "no job, no sandbox"
