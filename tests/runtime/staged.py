"""A small staged data set: shards and manifest, by tarfile and in the manifest's own form."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zstandard

from submit.runtime.manifest import COMPRESSIONS, File, Manifest, Shard

FILES = {
    "train/p1/flair.nii": bytes(range(256)) * 120,
    "train/p1/seg.nii": b"\1" * 5000,
    "train/p2/flair.nii": b"two" * 5001,
    "train/p2/seg.nii": b"\2" * 4097,
    "train/p3/flair.nii": b"three" * 1024,
    "README": b"",
}


def build(folder: Path, files: Mapping[str, bytes], shards: int, compression: str = "none", **changes: Any) -> Path:
    """Writes shards and manifest into `folder`; returns the manifest.

    Args:
        folder: is made.
        files: contents by path.
        shards: how many the files are dealt to, in turn.
        compression: of all shards.
        changes: of the manifest's fields.
    """
    names = sorted(files)
    made = []
    for number in range(shards):
        chosen = {name: files[name] for name in names[number::shards]}
        made.append(shard(folder, number, tar(chosen), chosen, compression))
    return manifest(folder, made, **changes)


def manifest(folder: Path, shards: list[Shard], **changes: Any) -> Path:
    """Writes the manifest of shards."""
    fields: dict[str, Any] = {
        "name": "small",
        "at": "osdf:///ospool/ap40/data/jane/small",
        "kind": "files",
        "synthetic": False,
        "dataset": None,
        "split": None,
        "view": None,
        "privacy": {"checked": True, "findings": 0, "override": None},
        "shards": tuple(shards),
    }
    made = Manifest(**{**fields, **changes})
    path = folder / made.file_name()
    path.write_bytes(made.encoded())
    return path


def tar(files: Mapping[str, bytes]) -> bytes:
    """A plain one, its end mark and no more."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
        end = out.offset
    return packed.getvalue()[:end] + bytes(2 * tarfile.BLOCKSIZE)


def shard(
    folder: Path, number: int, content: bytes, files: Mapping[str, bytes], compression: str = "none", **changes: Any
) -> Shard:
    """Writes an object; returns what a manifest that lists `files` says of it."""
    if compression == "zstd":
        content = zstandard.ZstdCompressor(write_checksum=True).compress(content)
    sha256 = hashlib.sha256(content).hexdigest()
    fields: dict[str, Any] = {
        "name": f"small-{number:04d}-{sha256[:12]}{COMPRESSIONS[compression]}",
        "bytes": len(content),
        "sha256": sha256,
        "compression": compression,
        "unpacked_bytes": sum(map(len, files.values())),
        "patients": (),
        "files": {name: File(len(held), hashlib.sha256(held).hexdigest()) for name, held in files.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    made = Shard(**{**fields, **changes})
    (folder / made.name).write_bytes(content)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
