"""`dataset.json`: what a data set is, written by the trainer, read where data are staged.

    {"format": 1, "kind": "files", "sha256": "...", "layout": "brats2021", "convention": {...}, "modalities": ["flair"],
     "synthetic": false,
     "patients": {"p1": {"subject": "p1", "grade": "HGG", "shape": [240, 240, 155], "spacing_mm": [1.0, 1.0, 1.0],
                         "brain_voxels": 1500000, "label_voxels": {"1": 1000}, "synthetic": false,
                         "paths": ["p1/p1_flair.nii.gz"], "files": {"p1_flair.nii.gz": "<sha256>"}}},
     "parts": {"training": ["p1"], "validation": ["p2"]}}

`kind`: "files" are images as they came, "prepared" a folder that `python -m unet_segmentation prepare` made. `sha256`
is that of all patients' names and files. `paths` lead from the data's folder to every file of a patient, no file has
two patients; `files` are those that were read. `label_voxels` is missing where there is no truth. `parts` is null where
the data do not say who is held out. More keys may be there: they are kept and not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Optional

FORMAT = 1
FILE = "dataset.json"
KINDS = ("files", "prepared")
PARTS = ("training", "validation")

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Damaged(Exception):
    """No dataset.json: says which field, what it holds, what is wanted."""


def read(path: Path) -> dict[str, Any]:
    """What a dataset.json holds, checked.

    Raises:
        Damaged: it cannot be read, is no JSON, or a field is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise Damaged(f"cannot be read ({fault.strerror})") from fault
    return parse(content)


def parse(content: bytes) -> dict[str, Any]:
    """The same of its bytes."""
    try:
        held = json.loads(content.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as fault:
        raise Damaged(f"no JSON ({fault})") from fault
    return check(held)


def check(held: object) -> dict[str, Any]:
    """The same of JSON values, which come back as they are.

    Raises:
        Damaged: a field is wrong.
    """
    if not isinstance(held, dict):
        raise Damaged(f"{shown(held)}, wanted an object")
    _want(held.get("format") == FORMAT and type(held["format"]) is int, "format", held, str(FORMAT))
    _want(held.get("kind") in KINDS, "kind", held, " or ".join(KINDS))
    _want(_is_sha256(held.get("sha256")), "sha256", held, "64 hexadecimal digits")
    _want(_is_text(held.get("layout")), "layout", held, "a name")
    _want(isinstance(held.get("convention"), dict), "convention", held, "an object")
    modalities = held.get("modalities")
    _want(_is_names(modalities) and bool(modalities), "modalities", held, "different names")
    _want(type(held.get("synthetic")) is bool, "synthetic", held, "true or false")
    patients = held.get("patients")
    if not isinstance(patients, dict) or not patients:
        raise Damaged(f"patients: {shown(patients)}, wanted an object with a key for each patient")
    owners: dict[str, str] = {}
    for name, facts in patients.items():
        check_patient(name, facts)
        for path in facts.get("paths", ()):
            other = owners.setdefault(path, name)
            if other != name:
                raise Damaged(f"patients.{name}.paths: {shown(path)}, a file of {other} too; wanted one patient's")
    some = any(facts.get("synthetic") for facts in patients.values())
    _want(held["synthetic"] or not some, "synthetic", held, "true, as a patient is")
    _check_parts(held.get("parts"), patients)
    return held


def check_patient(name: str, facts: object) -> None:
    """Nothing, if the facts of a patient are such.

    Raises:
        Damaged: a field is wrong.
    """
    where = f"patients.{name}"
    if not name or not isinstance(facts, dict):
        raise Damaged(f"{where}: {shown(facts)}, wanted a name and an object")
    for key in ("subject", "grade"):
        _want(isinstance(facts.get(key), str), key, facts, "a text", where)
    shape, spacing = facts.get("shape"), facts.get("spacing_mm")
    _want(_is_triple(shape) and all(type(side) is int for side in shape or ()), "shape", facts, "3 sides", where)
    _want(_is_triple(spacing), "spacing_mm", facts, "3 numbers above 0", where)
    brain = facts.get("brain_voxels")
    _want(type(brain) is int and brain > 0, "brain_voxels", facts, "a whole number above 0", where)
    labels = facts.get("label_voxels", {})
    counted = isinstance(labels, dict) and all(type(count) is int and count >= 0 for count in labels.values())
    _want(counted, "label_voxels", facts, "the number of voxels of each label", where)
    _want(type(facts.get("synthetic", False)) is bool, "synthetic", facts, "true or false", where)
    files = facts.get("files")
    hashed = isinstance(files, dict) and bool(files) and all(map(_is_sha256, files.values()))
    _want(hashed, "files", facts, "the SHA-256 of each file", where)
    if "paths" in facts:
        paths = facts["paths"]
        safe = _is_names(paths) and bool(paths) and all(map(_is_safe, paths))
        _want(safe, "paths", facts, "different relative paths without ..", where)


def _check_parts(parts: object, patients: Mapping[str, Any]) -> None:
    if parts is None:
        return
    if not isinstance(parts, dict) or set(parts) != set(PARTS) or not all(map(_is_names, parts.values())):
        raise Damaged(f"parts: {shown(parts)}, wanted null, or the names of {' and '.join(PARTS)}")
    for part in PARTS:
        for name in parts[part]:
            if name not in patients:
                raise Damaged(f"parts.{part}: {shown(name)}, wanted one of the patients")
    both = sorted(set(parts["training"]) & set(parts["validation"]))
    if both:
        raise Damaged(f"parts: {shown(both[0])} in both, wanted every patient in one")


def _want(true: bool, key: str, held: Mapping[str, Any], wanted: str, where: Optional[str] = None) -> None:
    if not true:
        raise Damaged(f"{f'{where}.' if where else ''}{key}: {shown(held.get(key))}, wanted {wanted}")


def shown(value: object) -> str:
    """A value in a message: JSON, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and bool(_SHA256.fullmatch(value))


def _is_triple(value: object) -> bool:
    """A NaN or an infinity is no number; `json` reads both."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(number) in (int, float) and 0 < number < float("inf") for number in value)
    )


def _is_safe(path: str) -> bool:
    """As `PurePosixPath` writes it, and inside its folder."""
    pure = PurePosixPath(path)
    return "\0" not in path and not pure.is_absolute() and ".." not in pure.parts and str(pure) == path != "."


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with a key twice is refused: who reads it would choose one of them."""
    held = dict(pairs)
    if len(held) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} twice in one object")
    return held
