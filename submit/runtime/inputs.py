"""The job's input as a folder, whether it arrived as one, as an archive or as the manifest of a staged data set.

Many small files travel badly (one OSDF object or one transfer each), so data sets travel packed. Nothing is handed out
that was not compared: an archive with its own checksums, a manifest's shards with their SHA-256, before a step of
training. What the fault is decides what HTCondor does next (`exit_codes`):

    75  a shard is short, long or has another hash, also that of another shard; it cannot be read; the disk is full;
        an unpacked file was changed and its shard has gone; a file lies among the unpacked ones that nobody staged
    65  neither folder nor archive nor manifest; the manifest is damaged, or its name is not that of its bytes; a shard
        is missing (HTCondor holds a job whose transfer fails: the submit file does not list it); a shard's hash agrees
        and it holds something else than the manifest says, or something unsafe; an archive is torn or unsafe; nothing
        here reads zstd

`python3 -m submit.runtime.inputs PATH` does it and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from submit.runtime import exit_codes, manifest, unpack, unpacked
from submit.runtime.exit_codes import BadInput
from submit.runtime.manifest import Manifest

SUFFIXES = unpack.SUFFIXES
_MANIFEST = ".json"


@dataclass(frozen=True)
class Input:
    """A folder of data, and the manifest it is from with its SHA-256: None and "" where there is none."""

    folder: Path
    manifest: Optional[Manifest]
    manifest_sha256: str


def folder(path: Path) -> Path:
    """`opened(path).folder`."""
    return opened(path).folder


def opened(path: Path) -> Input:
    """The input as a folder: `path` itself, or what the manifest `path`, the archive `path` or `path` + suffix holds,
    unpacked beside it.

    `data.tar.gz` becomes `data/`, `brats-manifest-HASH.json` and its shards `brats/`. It is not unpacked again where
    it is already there: the job restarts in the same sandbox after a checkpoint. Of a manifest, what was changed since
    is.

    Raises:
        BadInput, BadMachine: as the table above says.
    """
    if path.is_dir():
        return Input(path, None, "")
    if path.name.endswith(_MANIFEST) and path.is_file():
        return _staged(path)
    return Input(_archive(path), None, "")


def _staged(path: Path) -> Input:
    try:
        held = manifest.read(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (manifest.Damaged, OSError) as fault:
        mend = "take it again from the project's staged/ folder, or from where the data were staged to"
        raise BadInput(path, str(fault), "a manifest as `osgdl stage` wrote it", mend) from fault
    return Input(unpacked.ready(path, held, sha256), held, sha256)


def _archive(path: Path) -> Path:
    kinds = f"a folder or an archive ({', '.join(SUFFIXES)}), or a manifest"
    found = [archive for archive in [path, *(path.with_name(path.name + s) for s in SUFFIXES)] if archive.is_file()]
    if not found:
        mend = "name it with --data, and in transfer_input_files of the submit file"
        raise BadInput(path, "does not exist", kinds, mend)
    archive = found[0]
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if archive.name.lower().endswith(s)), "")
    if not suffix or archive.name.lower() == suffix:
        raise BadInput(archive, "a file", kinds, "pack it with `tar czf data.tar.gz data`")
    target = archive.with_name(archive.name[: -len(suffix)])
    if target.is_dir():
        return target
    if os.path.lexists(target):
        raise BadInput(target, "a file", "a free name for what is in the archive beside it", "rename one of them")
    unpack.archive(archive, suffix, target)
    return target


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python3 -m submit.runtime.inputs", description="Checks and unpacks data.")
    parser.add_argument("path", type=Path, metavar="PATH", help="a folder, an archive or a manifest")
    options = parser.parse_args(arguments)

    def work() -> None:
        begun = time.monotonic()
        given = opened(options.path)
        seconds = time.monotonic() - begun
        size = sum(Path(above, name).lstat().st_size for above, _, names in os.walk(given.folder) for name in names)
        result = {
            "folder": str(given.folder),
            "bytes": size,
            "seconds": round(seconds, 3),
            "MB/s": round(size / 1e6 / max(seconds, 1e-6), 1),
        }
        print(json.dumps(result))

    return exit_codes.run(work)


if __name__ == "__main__":
    sys.exit(main())
