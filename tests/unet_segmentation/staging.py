"""Staged data as a job finds them: shards and a manifest, made by hand in the manifest's own form."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submit.runtime.manifest import File, Manifest, Shard
from unet_segmentation import cli


def described(data: Path, place: Path, *settings: str) -> dict[str, Any]:
    """What `verify --out` writes of a folder."""
    words = [word for change in settings for word in ("--set", change)]
    assert cli.main(["verify", "--data", str(data), "--out", str(place), *words]) == 0
    held: dict[str, Any] = json.loads(place.read_text())
    return held


def stage(
    folder: Path,
    out: Path,
    dataset: Mapping[str, Any],
    split: tuple[Sequence[str], Sequence[str]] | None = None,
    part: str = "",
    **changes: Any,
) -> Path:
    """Packs every patient into a shard of its own, and what belongs to none into another; returns the manifest.

    Args:
        folder: of the data.
        out: folder for shards and manifest.
        dataset: what dataset.json holds.
        split: names to train on and held out.
        part: makes the manifest a view of this part.
        changes: of the manifest's fields.
    """
    out.mkdir(parents=True, exist_ok=True)
    owned = {path: name for name, facts in dataset["patients"].items() for path in facts["paths"]}
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    members: dict[str, list[str]] = {}
    for name in files:
        if not name.startswith("."):
            members.setdefault(owned.get(name, ""), []).append(name)
    travel = {"training": 0, "validation": 1}.get(part)
    if split is not None and travel is not None:
        members = {name: paths for name, paths in members.items() if not name or name in split[travel]}
    shards = [_shard(number, name, paths, files, out) for number, (name, paths) in enumerate(sorted(members.items()))]
    fields: dict[str, Any] = {
        "name": "phantoms",
        "at": "osdf:///ospool/ap40/data/jane/phantoms",
        "kind": dataset["kind"],
        "synthetic": dataset["synthetic"],
        "dataset": dict(dataset),
        "split": None if split is None else {"training": list(split[0]), "validation": list(split[1])},
        "view": {"of": "0" * 64, "fold": 0, "part": part} if part else None,
        "privacy": {"checked": True, "findings": 0, "override": None},
        "shards": tuple(shards),
    }
    manifest = Manifest(**{**fields, **changes})
    path = out / manifest.file_name()
    path.write_bytes(manifest.encoded())
    return path


def _shard(number: int, patient: str, names: Sequence[str], files: Mapping[str, Path], out: Path) -> Shard:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = files[name].stat().st_size
            tar.addfile(member, io.BytesIO(files[name].read_bytes()))
        end = packed.tell()
    content = packed.getvalue()[: -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE] + bytes(2 * tarfile.BLOCKSIZE)
    digest = hashlib.sha256(content).hexdigest()
    path = out / f"phantoms-{number:04d}-{digest[:12]}.tar"
    path.write_bytes(content)
    held = {name: files[name].read_bytes() for name in names}
    return Shard(
        name=path.name,
        bytes=len(content),
        sha256=digest,
        compression="none",
        unpacked_bytes=sum(map(len, held.values())),
        patients=(patient,) if patient else (),
        files={name: File(len(bytes_), hashlib.sha256(bytes_).hexdigest()) for name, bytes_ in held.items()},
    )
