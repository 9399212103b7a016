"""Data sets made for a test, and a staging of them that needs no trainer."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zstandard

from submit import staging
from submit.origin_folder import FolderOrigin
from submit.runtime import manifest
from submit.staged import Options, Staged

UNCHECKED = Options(verify=False)


def content(name: str, size: int) -> bytes:
    """Bytes that nothing compresses, the same for the same name."""
    return random.Random(name).randbytes(size)


def files(folder: Path, held: Mapping[str, bytes | int]) -> Path:
    """Writes files by their paths; a number is so many bytes made up from the path."""
    for path, what in held.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(what if isinstance(what, bytes) else content(path, what))
    return folder


def patients(folder: Path, count: int = 6, size: int = 1000) -> Path:
    """`count` folders of two files each."""
    names = [f"p{number:03}/p{number:03}_{what}.raw" for number in range(count) for what in ("flair", "t1")]
    return files(folder, dict.fromkeys(names, size))


def facts(count: int = 6, **more: Any) -> dict[str, Any]:
    """The dataset.json of `patients`."""
    held = {}
    for number in range(count):
        name = f"p{number:03}"
        paths = [f"{name}/{name}_{what}.raw" for what in ("flair", "t1")]
        held[name] = {
            "subject": name,
            "grade": "",
            "shape": [4, 4, 4],
            "spacing_mm": [1.0, 1.0, 1.0],
            "brain_voxels": 9,
            "paths": paths,
            "files": {Path(path).name: hashlib.sha256(content(path, 1000)).hexdigest() for path in paths},
        }
    made = {"format": 1, "kind": "files", "sha256": "0" * 64, "layout": "made", "convention": {}, "synthetic": False}
    return {**made, "modalities": ["flair", "t1"], "patients": held, "parts": None, **more}


@contextmanager
def _no_bar(title: str) -> Iterator[Any]:
    yield lambda done, total: None


def stage(source: Path, dest: Path, project: Path, options: Options = UNCHECKED) -> Staged:
    """Into a folder, silently."""
    return staging.stage(source, FolderOrigin(dest, str(dest)), project, options, lambda line: None, _no_bar)


def shards(done: Staged) -> dict[str, frozenset[str]]:
    """The paths in each shard of a staging, by its name."""
    return {shard.name: frozenset(shard.files) for shard in manifest.read(done.manifest).shards}


def uploaded(done: Staged) -> set[str]:
    """Names of the shards that this run brought."""
    return {one.name for one in done.objects if one.uploaded and ".tar" in one.name}


def is_itself(file: Path) -> bool:
    """Whether an object's bytes have the hash that its name carries."""
    said = file.name.removesuffix(".zst").removesuffix(".tar").removesuffix(".json").rpartition("-")[2]
    return len(said) == manifest.DIGITS and hashlib.sha256(file.read_bytes()).hexdigest().startswith(said)


def unpacked(dest: Path, names: list[str]) -> dict[str, bytes]:
    """What the shards of these names hold together, by path."""
    found = {}
    for name in names:
        with (dest / name).open("rb") as file:
            whole = zstandard.ZstdDecompressor().stream_reader(file).read() if name.endswith(".zst") else file.read()
        with tarfile.open(fileobj=io.BytesIO(whole)) as pack:
            for member in pack.getmembers():
                reader = pack.extractfile(member)
                assert reader is not None and member.name not in found
                found[member.name] = reader.read()
    return found


def held(source: Path) -> dict[str, bytes]:
    """What a folder holds."""
    return {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*") if path.is_file()}
