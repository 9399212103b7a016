"""Manifests of data that were never staged, for what reads manifests alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from submit.runtime.manifest import File, Manifest, Shard

OSDF = "osdf:///ospool/ap40/data/jane/brats"
MODALITIES = ("flair", "t1c")


def dataset(patients: int, brain: int = 1_000_000) -> dict[str, Any]:
    """The facts of so many patients of 8,928,000 voxels."""
    facts = {
        "subject": "p", "grade": "HGG", "shape": [240, 240, 155], "spacing_mm": [1.0, 1.0, 1.0], "brain_voxels": brain,
        "files": {"x.nii.gz": "0" * 64},
    }  # fmt: skip
    named = {f"p{number}": dict(facts) for number in range(patients)}
    return {
        "format": 1, "kind": "files", "sha256": "0" * 64, "layout": "brats2021", "convention": {}, "synthetic": False,
        "modalities": list(MODALITIES), "patients": named, "parts": None,
    }  # fmt: skip


def make(shards: int, size: int = 10**6, at: str = OSDF, **more: Any) -> Manifest:
    """A manifest of `shards` shards of `size` bytes, with a patient of twice that in each."""
    made = []
    for number in range(shards):
        digest = hashlib.sha256(f"{number} {size}".encode()).hexdigest()
        files = {f"p{number}/flair.nii.gz": File(2 * size, digest)}
        name = f"brats-{number:04}-{digest[:12]}.tar"
        made.append(Shard(name, size, digest, "none", 2 * size, (f"p{number}",), files))
    held: dict[str, Any] = {
        "name": "brats", "at": at, "kind": "files", "synthetic": False, "dataset": None, "split": None, "view": None,
        "privacy": {"checked": True, "findings": 0, "override": None},
    }  # fmt: skip
    return Manifest(**{**held, **more}, shards=tuple(made))


def write(folder: Path, manifest: Manifest) -> Path:
    """Into FOLDER/staged."""
    path = folder / "staged" / manifest.file_name()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest.encoded())
    return path
