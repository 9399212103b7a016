"""A folder of prepared patients, made of the phantoms and compared by its bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unet_segmentation import cache, entry, layouts
from unet_segmentation.cache import Result

MODALITIES = ("flair", "t1c")
PATIENT = "Phantom_00001"


def prepare(data: Path, folder: Path, modalities: tuple[str, ...] = MODALITIES, **more: Any) -> Result:
    return cache.prepare(layouts.find(data / "train"), modalities, folder, need_truth=True, **more)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of every entry; about.json without the times of the source files."""
    found = {}
    for file in sorted(folder.glob("*/*")):
        content = file.read_bytes()
        if file.name == entry.ABOUT:
            about = json.loads(content)
            del about["sha256"]
            for source in about["sources"].values():
                del source["mtime_ns"]
            content = json.dumps(about).encode()
        found[f"{file.parent.name}/{file.name}"] = content
    return found
