"""Processes that put objects into one folder: killed at any moment, or two at once.

`--soak`: 100 kills at random moments instead of 20.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from submit.origin_folder import FolderOrigin

REPO = Path(__file__).parents[2]
SIZE = 3_000_000
NAME = "brats-0000-3f9a1c0d2b7e.tar"
# argv: source, folder, name; moved: the source is built in the spool. Small chunks make many moments to be killed at.
PUT = """
import os, signal, sys
from pathlib import Path
from submit import origin_folder
origin_folder.CHUNK = 1 << 15
source, folder, name, way, at = sys.argv[1:]
seen = 0
def count(event, arguments):
    global seen
    seen += 1
    if seen == int(at):
        os.kill(os.getpid(), signal.SIGKILL)
origin = origin_folder.FolderOrigin(Path(folder), folder)
file = Path(source)
print("ready", flush=True)
if int(at):
    sys.addaudithook(count)
if way == "moved":
    file = origin.spool() / "object"
    file.write_bytes(Path(source).read_bytes())
print(origin.put(file, name, lambda done, total: None), flush=True)
"""


def nothing(done: int, total: int) -> None:
    pass


def start(source: Path, folder: Path, way: str = "copied", at: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUT, str(source), str(folder), NAME, way, str(at)]
    return subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(random.Random(5).randbytes(SIZE))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "staged"


def whole(folder: Path, source: Path) -> bool:
    """Whether the object is there; it must not be there in part."""
    try:
        seen = (folder / NAME).stat().st_size
    except FileNotFoundError:
        return False
    assert seen == SIZE, f"a reader saw {seen} of {SIZE} bytes"
    return True


def mended(folder: Path, source: Path) -> None:
    """A second run completes it and leaves the object alone."""
    was_there = whole(folder, source)
    origin = FolderOrigin(folder, str(folder))
    origin.spool()
    assert origin.put(source, NAME, nothing) is not was_there
    del origin
    gc.collect()
    assert [file.name for file in folder.iterdir()] == [NAME]
    assert (folder / NAME).read_bytes() == source.read_bytes()


@pytest.mark.parametrize("way", ["copied", "moved"])
def test_killed_before_each_call_of_the_system(folder: Path, source: Path, way: str) -> None:
    """Audit events stand before every open, link, lock and unlink: each is the last thing a run does, once."""
    kills = 0
    for at in range(1, 100):
        with start(source, folder, way, at) as run:
            assert run.stdout is not None
            said = run.stdout.read()
        if run.returncode == 0:
            assert said == "ready\nTrue\n"
            break
        assert run.returncode == -signal.SIGKILL
        kills += 1
        mended(folder, source)
        (folder / NAME).unlink()
    assert kills > 8
    assert [file.name for file in folder.iterdir()] == [NAME]


def test_killed_at_random_moments(folder: Path, source: Path, request: pytest.FixtureRequest) -> None:
    seed = 20
    draw = random.Random(seed)
    took, cut, through = 0.05, 0, 0
    for _ in range(100 if request.config.getoption("--soak") else 20):
        with start(source, folder, draw.choice(["copied", "moved"])) as run:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
            begun = time.monotonic()
            end = begun + draw.uniform(0, 1.2 * took)
            while time.monotonic() < end and run.poll() is None:
                whole(folder, source)
            run.kill()
        there = whole(folder, source)
        through += there
        cut += not there
        if there:
            took = max(0.005, min(took, time.monotonic() - begun))
        else:
            took *= 1.1
        mended(folder, source)
        (folder / NAME).unlink()
    assert cut, "no kill came before the end"
    assert through, "no kill came after it"


def test_a_fork_does_not_take_the_spool_along(folder: Path) -> None:
    origin = FolderOrigin(folder, str(folder))
    built = origin.spool()
    child = os.fork()
    if not child:
        del origin
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert built.exists()


RACE = """
import sys
from pathlib import Path
from submit.errors import StageError
from submit.origin_folder import FolderOrigin
folder, mine, other, size, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
origin, source = FolderOrigin(folder / "staged", "x"), folder / f"source-{mine}"
source.write_bytes(b"x" * size)
for number in range(rounds):
    (folder / f"{mine}-{number}").touch()
    while not (folder / f"{other}-{number}").exists():
        pass
    try:
        print(origin.put(source, f"{number}.tar", lambda done, total: None))
    except StageError as error:
        print("holds" if "holds" in str(error) else error)
"""


@pytest.mark.parametrize(("sizes", "loser"), [((50_000, 50_000), "False"), ((50_000, 50_001), "holds")])
def test_of_two_at_once_one_wins(tmp_path: Path, sizes: tuple[int, int], loser: str) -> None:
    rounds = 40
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), mine, other, str(size), str(rounds)],
            cwd=REPO,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mine, other, size in (("a", "b", sizes[0]), ("b", "a", sizes[1]))
    ]
    said = [run.communicate(timeout=60)[0].split() for run in runs]
    assert [sorted(pair) for pair in zip(*said, strict=True)] == [sorted(("True", loser))] * rounds
    for number in range(rounds):
        winner = [pair[number] for pair in said].index("True")
        assert (tmp_path / "staged" / f"{number}.tar").stat().st_size == sizes[winner]
    assert len(list((tmp_path / "staged").iterdir())) == rounds
