"""The kill trial of staging: SIGKILL at random moments; nothing torn is ever seen, and the next run completes.

A child stages a made data set into a folder, every second time one that holds an older staging of it already. While it
runs, and after it was killed, a reader looks at every object that is visible: each must have the bytes that its name
says, stay as it is, and no manifest may be there before all that it names. The next run must give the manifest of a run
that nobody disturbed, and leave nothing else behind. `--soak`: 100 kills, else 10.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from submit.runtime import manifest
from tests.submit.dataset_maker import UNCHECKED, content, files, is_itself, patients, stage

ROOT = Path(__file__).parents[2]
PATIENTS, SIZE, SHARD = 40, 600_000, 2_400_000  # 48 MB in about 20 shards
OPTIONS = replace(UNCHECKED, shard_bytes=SHARD, workers=2)
CHILD = """
import sys
from pathlib import Path
from tests.submit.test_staging_killed import OPTIONS, stage
print("ready", flush=True)
stage(*map(Path, sys.argv[1:]), OPTIONS)
print("done", flush=True)
"""


class Reader:
    """Somebody who looks at the destination all the time, as a cache of the OSDF might."""

    def __init__(self, dest: Path) -> None:
        self._dest, self._end, self.looks = dest, threading.Event(), 0
        self._seen: dict[str, tuple[int, int, int]] = {}
        self.faults: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._end.is_set():
            self.look()
            time.sleep(0.0005)

    def look(self) -> None:
        """At all that is visible; whatever is wrong goes to `faults`."""
        self.looks += 1
        there = {path.name: path for path in self._dest.glob("[!.]*")}
        self.faults += [f"{name}: gone" for name in set(self._seen) - set(there)]
        for name, path in there.items():
            seen = path.stat()
            now = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
            if name not in self._seen:
                if not is_itself(path):
                    self.faults.append(f"{name}: {seen.st_size} bytes that are not those of its name")
                if name.endswith(".json"):
                    named = {shard.name for shard in manifest.read(path).shards}
                    self.faults += [f"{name}: before {lost}" for lost in named if not (self._dest / lost).exists()]
                self._seen[name] = now
            elif self._seen[name] != now:
                self.faults.append(f"{name}: written again")


def child(source: Path, dest: Path, project: Path, cache: Path) -> subprocess.Popen[str]:
    """A run that has imported all it needs and begins to look at the data."""
    command = [sys.executable, "-c", CHILD, str(source), str(dest), str(project)]
    environment = {**os.environ, "OSGDL_CACHE": str(cache)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def where(dest: Path, before: set[str]) -> str:
    """What a run was at when it died, by what it left."""
    fresh = {path.name for path in dest.glob("[!.]*")} - before
    if any("-manifest-" in name for name in fresh):
        return "after the manifest"
    building = any(path.stat().st_size for path in dest.glob(".*.spool/shard-*"))
    return f"{'packing' if building else 'between shards'}, {'some' if fresh else 'none'} put"


@pytest.mark.slow
def test_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    kills, chance = 100 if request.config.getoption("--soak") else 10, random.Random(5)
    source, old, folder = patients(tmp_path / "brats", PATIENTS, SIZE), tmp_path / "old", tmp_path / "trial"
    monkeypatch.setenv("OSGDL_CACHE", str(old / "cache"))
    stage(source, old / "origin", old, OPTIONS)
    for number in range(0, PATIENTS, 3):
        files(source, {f"p{number:03}/p{number:03}_t1.raw": content(f"edited {number}", SIZE)})
    monkeypatch.setenv("OSGDL_CACHE", str(tmp_path / "cache"))
    undisturbed = manifest.read(stage(source, tmp_path / "undisturbed", tmp_path, OPTIONS).manifest)
    wanted = {shard.name for shard in undisturbed.shards}
    with child(source, tmp_path / "timed", tmp_path, tmp_path / "cache") as process:
        began = time.monotonic()
        assert process.wait() == 0
        whole = time.monotonic() - began
    began, looks, counted = time.monotonic(), 0, Counter[str]()
    while counted.total() < kills:
        dest, cache = folder / "origin", folder / "cache"
        if counted.total() % 2:
            shutil.copytree(old, folder)
        dest.mkdir(parents=True, exist_ok=True)
        before = {path.name for path in dest.iterdir()}
        monkeypatch.setenv("OSGDL_CACHE", str(cache))
        with Reader(dest) as reader:
            with child(source, dest, folder, cache) as process:
                time.sleep(chance.uniform(0, whole))
                process.kill()
                killed = process.wait() == -signal.SIGKILL
            at = where(dest, before)
            again = stage(source, dest, folder, OPTIONS)
        assert not reader.faults
        looks += reader.looks
        counted[at] += killed
        # the place alone differs from the run that nobody disturbed
        assert replace(manifest.read(again.manifest), at=undisturbed.at) == undisturbed
        # and nothing else is there, hidden or not
        assert {path.name for path in dest.iterdir()} == before | wanted | {again.manifest.name}
        assert stage(source, dest, folder, OPTIONS).unchanged
        shutil.rmtree(folder)
    print(f"\n{time.monotonic() - began:.0f} s, {looks:,} looks at the destination, {whole:.2f} s a run")
    for at, count in sorted(counted.items()):
        print(f"  {count:4} x {at}")
    print(f"{kills} kills: nothing torn, every next run completed")
