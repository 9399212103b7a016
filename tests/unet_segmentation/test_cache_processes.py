"""Prepared patients where processes, the disk or memory are in the way: killed, two at once, full, many patients."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unet_segmentation.caching import MODALITIES, PATIENT, contents, prepare
from unet_segmentation import cache, cli, entry, phantom

ROOT = Path(__file__).parents[2]


def repeated(count: int, folder: Path, size: tuple[int, int, int]) -> None:
    """Patients by different names of the same files: made at once, and as much work as others."""
    with tempfile.TemporaryDirectory(dir=folder.parents[1]) as first:
        phantom.write(Path(first), {"": 1}, seed=2, size=size)
        (source,) = Path(first).iterdir()
        for number in range(count):
            name = f"Phantom_{number:05d}"
            (folder / name).mkdir(parents=True)
            for file in source.iterdir():
                (folder / name / file.name.replace(source.name, name)).hardlink_to(file)


def command(data: Path, folder: Path) -> list[str]:
    words = ["--data", str(data), "--out", str(folder), "--set", f"data.modalities={list(MODALITIES)}"]
    return [sys.executable, "-m", "unet_segmentation", "prepare", *words]


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """What was finished stays, the rest is made, and the result is that of a run never stopped."""
    repeated(10, tmp_path / "data" / "train", (64, 64, 48))
    prepare(tmp_path / "data", tmp_path / "whole")
    chance = random.Random(1)
    folder = tmp_path / "cache"
    words = command(tmp_path / "data", folder)
    folder.mkdir()
    for _ in range(4):
        before = folder.stat().st_mtime_ns
        running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None and folder.stat().st_mtime_ns == before:  # until it writes
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.04))
        running.send_signal(signal.SIGKILL)
        running.wait()
        finished = [path.name for path in folder.glob("[!.]*") if path.is_dir()]
        for name in finished:
            entry.check(folder / name, entry.read(folder / name))
        print(f"{len(finished)} finished; {sorted(str(rest) for rest in folder.glob('.*/*'))}")
    result = prepare(tmp_path / "data", folder)
    assert result.kept == len(finished)
    assert contents(folder) == contents(tmp_path / "whole")
    assert {path.name for path in folder.glob(".*")} == {".lock"}


def test_two_at_once(phantoms: Path, filled: Path, tmp_path: Path) -> None:
    words = command(phantoms, tmp_path / "c")
    running = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    found = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], found
    shutil.rmtree(tmp_path / "c" / "Phantom_00003")  # of validation/
    assert contents(tmp_path / "c") == contents(filled)


def test_whoever_comes_second_waits(phantoms: Path, folder: Path) -> None:
    words = command(phantoms / "train", folder)
    with cache._locked(folder):
        running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert running.stderr is not None
        assert running.stderr.readline() == f"{folder}: another process prepares there; waiting for it\n"
        assert running.poll() is None
    running.communicate(timeout=60)
    assert running.returncode == 0


def test_a_cache_that_is_a_file(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert cli.main(["prepare", "--data", str(phantoms), "--out", str(out)]) == 65
        line = capsys.readouterr().err
        assert line == f"{out}: a file; a folder for prepared patients; name another, or remove it\n"


FULL = """
mount -t tmpfs -o size=400k none "$1" && cd "$2" || exit
"$3" -m unet_segmentation prepare --data "$4" --out "$1/c"
code=$?
find "$1/c" -type f
exit $code
"""


def test_a_full_disk_is_the_machines_fault(phantoms: Path, tmp_path: Path) -> None:
    """A real one: a file system of 400 kB in a mount namespace of its own."""
    way = ["unshare", "--map-root-user", "--mount"]
    (tmp_path / "disk").mkdir()
    if (
        shutil.which("unshare") is None
        or subprocess.run([*way, "mount", "-t", "tmpfs", "none", tmp_path / "disk"], capture_output=True).returncode
    ):
        pytest.skip("no user namespaces here: a small disk cannot be made")
    words = ["sh", "-c", FULL, "sh", tmp_path / "disk", ROOT, sys.executable, phantoms]
    done = subprocess.run([*way, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert "/disk/c/Phantom_0000" in done.stderr
    assert "No space left on device; this machine's disk cannot be written" in done.stderr
    assert not [file for file in done.stdout.splitlines() if "/.new/" in file or "/.old/" in file]


MEMORY = """
import sys
from pathlib import Path
from unet_segmentation import cache, layouts
result = cache.prepare(layouts.find(Path(sys.argv[1])), ("flair", "t1c"), Path(sys.argv[2]), need_truth=True, workers=2)
# getrusage would tell the peak of whoever started this process, if that was higher
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(len(result.prepared), peak.split()[1])
"""


def peak(data: Path, folder: Path) -> tuple[int, float]:
    """Patients, and MiB of a process that prepares them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, data, folder], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    count, memory = done.stdout.splitlines()[-1].split()
    return int(count), int(memory) / 1024


def test_memory_is_flat_however_many_patients(tmp_path: Path) -> None:
    for count in (3, 12):
        repeated(count, tmp_path / str(count), (96, 112, 96))
    few = peak(tmp_path / "3", tmp_path / "few")
    many = peak(tmp_path / "12", tmp_path / "many")
    assert (few[0], many[0]) == (3, 12)
    again = peak(tmp_path / "12", tmp_path / "many")
    size = sum(file.stat().st_size for file in (tmp_path / "many").glob("*/*.npy")) / 2**20
    print(f"{few[1]:.0f} MiB for 3, {many[1]:.0f} for 12, {again[1]:.0f} when there; cache {size:.0f} MiB")
    assert many[1] < few[1] + 10
    assert again[1] < few[1] and size > 20


MANY = """
import resource, sys
import numpy as np
from pathlib import Path
from unet_segmentation import entry
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
resource.setrlimit(resource.RLIMIT_NOFILE, (entry.OPEN + 50,) * 2)
folder = Path(sys.argv[1])
about = entry.read(folder)
patients = []
for number in range(entry.OPEN + 200):
    copy = folder.with_name(f"copy{number}")
    copy.mkdir()
    arrays = {name: {**array, "sha256": str(number)} for name, array in about["arrays"].items()}
    for name in arrays:
        (copy / name).hardlink_to(folder / name)
    patients.append(entry.Stored(copy, {**about, "arrays": arrays}))
before = resident()
held = [patient.images for patient in patients[: entry.OPEN - 10]]
assert resident() - before < 3, resident() - before
del held
total = {patient.images[0].sum(dtype=np.float32) for patient in patients for _ in range(2)}
assert len(total) == 1
print(sum(held["bytes"] for held in about["arrays"].values()) * len(patients) / 2**20)
"""


def test_more_patients_than_files_may_be_open(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY, folder / PATIENT], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 50
