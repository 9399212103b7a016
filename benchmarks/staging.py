"""Staging against one pass over the same files: how fast shards are packed and put, and how much memory that takes.

    make bench BENCH=staging         python -m benchmarks.staging [--rounds N] [--mb N]

Ours is what `osgdl stage` does after the privacy gate and the trainer's check: shards are planned, packed by two nice
threads, hashed, written to a folder on the same disk, flushed, named. The peer reads the same files, takes their
SHA-256 and compresses them alike, in two nice threads, and throws the result away; another one writes and flushes it,
which is the least that staging anything takes. Goal: 0.8 of their speed.

- images: as they come, packed already, so without compression; their own hashes are known from the trainer's check.
- arrays: the sample of real patients, prepared (float16), with zstd; each file is hashed, and each shard.

Then a whole staging of 2, 4 and 8 GB, but for the trainer, and its peak of memory (VmHWM). Goal: below 500 MB.
Files are in the page cache; every run is a process of its own and writes to an empty folder.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.pairs import BUILD, SAMPLE, alternate, disturbed, measure, medians, worker
from benchmarks.results import Result, report

COMMAND = "make bench BENCH=staging"
GOAL, LIMIT_MB, WORKERS, NICE = 0.8, 500.0, 2, 10
FOLDER = BUILD / "staging"
COMPRESSION = {"images": "none", "arrays": "zstd"}
SHARD = 100_000_000  # bytes; of 2 GB as many as of 20 GB with the usual 1 GB
IMAGE = 8_000_000  # bytes of a gzipped channel of BraTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mb", type=int, default=2000, help="of each data set")
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--compression", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        with tempfile.TemporaryDirectory(dir=FOLDER) as out, contextlib.redirect_stdout(sys.stderr):
            os.environ["OSGDL_CACHE"] = f"{out}/cache"
            found = SIDES[options.side](options.data, Path(out), options.compression)
        print(json.dumps(found))
        return
    if not (SAMPLE / "train").is_dir():
        raise SystemExit(f"the sample of real patients is not at {SAMPLE} (OSGDL_BRATS2015)")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for kind, make in {"arrays": arrays, "images": images}.items():
        data = make(options.mb)
        report(*speed(kind, data, options.rounds))
    report(memory(data, options.mb))
    shutil.rmtree(FOLDER)


def speed(kind: str, data: Path, rounds: int) -> list[Result]:
    """All sides in turn; a row for each peer."""
    print(f"staging {kind}", flush=True)
    words = ("--data", data, "--compression", COMPRESSION[kind])
    names = {"ours": f"ours-{kind}", "one pass": "pass", "one pass that writes": "writes"}
    found = alternate({name: worker("staging", "--side", side, *words) for name, side in names.items()}, rounds)
    speeds = medians(found, "mb_per_s")
    details = {
        "rounds": rounds,
        "others_busy": disturbed(found),
        "single": {name: [round(float(one["mb_per_s"]), 1) for one in some] for name, some in found.items()},
        "shards": found["ours"][0]["shards"],
        "packed_to": round(found["ours"][0]["packed"], 3),
    }
    how = {"images": "read, SHA-256", "arrays": "read, SHA-256, zstd"}[kind]
    rows = []
    for name, what in (("one pass", how), ("one pass that writes", f"{how}, write")):
        ours, peer = speeds["ours"], speeds[name]
        row = Result(f"staging {kind}: one pass of {what}", ours, peer, ours / peer, GOAL, "MB/s", COMMAND, details)
        rows.append(row)
    return rows


def memory(data: Path, mb: int) -> Result:
    """Of one data set, and of more of the same."""
    peaks = {}
    for times in (1, 2, 4):
        some = FOLDER / f"times {times}"
        for number in range(times):
            shutil.copytree(data, some / f"{number}", copy_function=os.link)
        found = measure(worker("staging", "--side", "whole", "--data", some, "--compression", "auto"))
        peaks[f"{times * mb} MB"] = round(found["peak_mb"], 1)
        print(f"  {times * mb} MB staged: peak {found['peak_mb']:.0f} MB, {found['mb_per_s']:.0f} MB/s", flush=True)
    worst = max(peaks.values())
    details = {"peak_mb": peaks}
    return Result("staging: the memory allowed", worst, LIMIT_MB, LIMIT_MB / worst, 1.0, "MB", COMMAND, details)


def images(mb: int) -> Path:
    """Files that nothing makes smaller, four and a truth for each patient."""
    folder, chance = FOLDER / "images", random.Random(1)
    for number in range(mb * 1_000_000 // (4 * IMAGE)):
        patient = folder / f"p{number:03}"
        patient.mkdir(parents=True)
        for channel in ("flair", "t1", "t1ce", "t2"):
            (patient / f"p{number:03}_{channel}.nii.gz").write_bytes(chance.randbytes(IMAGE))
    return folder


def arrays(mb: int) -> Path:
    """The sample's patients, prepared, again and again under other names."""
    prepared, folder = FOLDER / "prepared", FOLDER / "arrays"
    command = [sys.executable, "-m", "unet_segmentation", "prepare", "--data", str(SAMPLE), "--out", str(prepared)]
    subprocess.run(command, check=True, capture_output=True)
    files = sorted(path for path in prepared.rglob("*.npy"))
    done = number = 0
    while done < mb * 1_000_000:
        for file in files:
            copy = folder / f"p{number:03}_{file.parent.name}" / file.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            done += copy.stat().st_size
        number += 1
    return folder


@contextlib.contextmanager
def _no_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    yield lambda done, total: None


def ours(data: Path, out: Path, compression: str, hashed: bool) -> dict[str, Any]:
    """Plans, packs and puts."""
    from submit import inventory, ledger, shards
    from submit.origin_folder import FolderOrigin
    from submit.shipping import Shipment
    from submit.staged import Options

    found = inventory.take(data)
    members = found.members()
    known = {one.path: _sha256(one.source) for one in members} if hashed else _read(members)
    origin = FolderOrigin(out / "origin", str(out / "origin"))
    options = Options(name="bench", compression=compression, workers=WORKERS)
    os.sync()
    began = time.monotonic()
    planned = shards.plan(shards.of_folders(members, SHARD), SHARD)
    made, _ = Shipment(found, origin, options, ledger.Ledger("bench")).send(planned, known, _no_bar)
    seconds = time.monotonic() - began
    packed = sum(shard.bytes for shard in made) / found.bytes
    return {"mb_per_s": found.bytes / 1e6 / seconds, "shards": len(made), "packed": packed}


def peer(data: Path, out: Path, compression: str, writes: bool) -> dict[str, Any]:
    """One pass over the files; a patient's go into one file, or nowhere."""
    from submit import inventory, packs
    from submit.shards import of_folders

    found = inventory.take(data)
    _read(found.members())
    todo = iter(of_folders(found.members(), SHARD))

    def work() -> None:
        import zstandard

        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        compressor = zstandard.ZstdCompressor(level=packs.LEVEL, write_checksum=True)
        while patient := next(todo, None):
            with (out / patient.name).open("wb") as written:
                for member in patient.members:
                    digest, stream = hashlib.sha256(), compressor.compressobj(size=member.bytes)
                    with member.source.open("rb", buffering=0) as file:
                        while content := file.read(packs.CHUNK):
                            digest.update(content)
                            made = stream.compress(content) if compression == "zstd" else content
                            if writes:
                                written.write(made)
                    if writes and compression == "zstd":
                        written.write(stream.flush())
                    digest.hexdigest()
                if writes:
                    written.flush()
                    os.fsync(written.fileno())

    os.sync()
    began = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(work) for _ in range(WORKERS)]:
            done.result()
    return {"mb_per_s": found.bytes / 1e6 / (time.monotonic() - began)}


def whole(data: Path, out: Path, compression: str) -> dict[str, Any]:
    """All of `osgdl stage` but the trainer."""
    from submit import staging
    from submit.origin_folder import FolderOrigin
    from submit.staged import Options

    origin = FolderOrigin(out / "origin", str(out / "origin"))
    options = Options(name="bench", compression=compression, verify=False, reason="made up for a measurement")
    began = time.monotonic()
    done = staging.stage(data, origin, out, options, lambda line: None, _no_bar)
    mb = sum(one.bytes for one in done.objects) / 1e6
    return {"mb_per_s": mb / (time.monotonic() - began), "peak_mb": peak_mb()}


def peak_mb() -> float:
    """The most memory that this process ever had."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read(members: Any) -> dict[str, str]:
    """So that all of them are in the page cache."""
    for member in members:
        with member.source.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
    return {}


SIDES: dict[str, Callable[[Path, Path, str], dict[str, Any]]] = {
    "ours-images": lambda data, out, compression: ours(data, out, compression, hashed=True),
    "ours-arrays": lambda data, out, compression: ours(data, out, compression, hashed=False),
    "pass": lambda data, out, compression: peer(data, out, compression, writes=False),
    "writes": lambda data, out, compression: peer(data, out, compression, writes=True),
    "whole": whole,
}

if __name__ == "__main__":
    main()
