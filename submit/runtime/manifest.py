"""`NAME-manifest-HASH.json`: what was staged, written where data leave, read where they arrive.

    {"format": 1, "name": "brats", "at": "osdf:///ospool/ap40/data/jane/brats", "kind": "files", "synthetic": false,
     "dataset": {...}, "split": {"training": ["p1"], "validation": ["p2"]},
     "view": {"of": "<sha256 of the whole manifest>", "fold": 0, "part": "all"},
     "privacy": {"checked": true, "findings": 0, "override": null},
     "shards": [{"name": "brats-0000-3f9a1c0d2b7e.tar.zst", "bytes": 123, "sha256": "...", "compression": "zstd",
                 "unpacked_bytes": 456, "patients": ["p1"],
                 "files": {"p1/p1_flair.nii.gz": {"bytes": 456, "sha256": "..."}}}]}

`at`: where the objects lie. `kind`, `dataset`: see dataset.py; null where nobody looked into the data. `split` is null
where nobody is held out yet. `view` is null for the whole; a view lists the shards that one fold's jobs need ("part":
training, validation or all). `override`: the reason somebody typed for letting findings pass. The file's name carries
the first 12 digits of its own SHA-256, that of a shard those of the shard's. No times and no machines stand in it: the
same data at the same place give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Optional

from submit.runtime import dataset as dataset_json
from submit.runtime.dataset import once, shown

FORMAT = 1
DIGITS = 12  # of a SHA-256, in names: two of ten thousand objects share them once in five million times
COMPRESSIONS = {"none": ".tar", "zstd": ".tar.zst"}
PARTS = ("training", "validation", "all")
FILE_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})-manifest-(?P<hash>[0-9a-f]{12})\.json")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_PART, _LONGEST_PATH = 255, 4096  # bytes: NAME_MAX and PATH_MAX of Linux


class Damaged(Exception):
    """No manifest: says which field, what it holds, what is wanted."""


@dataclass(frozen=True)
class File:
    """A member of a shard."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Shard:
    """An object: a tar, compressed or not, of `files` by their path in the data set's folder."""

    name: str
    bytes: int
    sha256: str
    compression: str
    unpacked_bytes: int
    patients: tuple[str, ...]
    files: Mapping[str, File]


@dataclass(frozen=True)
class Manifest:
    """The fields of the file, as its head explains them."""

    name: str
    at: str
    kind: str
    synthetic: bool
    dataset: Optional[Mapping[str, Any]]
    split: Optional[Mapping[str, Any]]
    view: Optional[Mapping[str, Any]]
    privacy: Mapping[str, Any]
    shards: tuple[Shard, ...]

    @property
    def bytes(self) -> int:
        """Of all shards, as they travel."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def unpacked_bytes(self) -> int:
        """Of all files."""
        return sum(shard.unpacked_bytes for shard in self.shards)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        shards = []
        for shard in self.shards:
            files = {path: {"bytes": file.bytes, "sha256": file.sha256} for path, file in shard.files.items()}
            shards.append({**vars(shard), "patients": list(shard.patients), "files": files})
        return {"format": FORMAT, **vars(self), "shards": shards}

    def encoded(self) -> bytes:  # type: ignore[valid-type]
        """The bytes of the file."""
        return (json.dumps(self.as_dict(), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()

    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.encoded()).hexdigest()

    def file_name(self) -> str:
        """The only name that it may have."""
        return f"{self.name}-manifest-{self.sha256()[:DIGITS]}.json"


def read(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        Damaged: it cannot be read, is none, or its name does not carry its hash.
    """
    match = FILE_NAME.fullmatch(path.name)
    if not match:
        raise Damaged(f"{path.name}, wanted NAME-manifest-HASH.json")
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise Damaged(f"cannot be read ({fault.strerror})") from fault
    found = hashlib.sha256(content).hexdigest()
    if found[:DIGITS] != match["hash"]:
        raise Damaged(f"its SHA-256 begins with {found[:DIGITS]}, wanted {match['hash']}, as its name says")
    manifest = parse(content)
    if manifest.name != match["name"]:
        raise Damaged(f"name: {manifest.name}, wanted {match['name']}, as its file's name says")
    return manifest


def parse(content: bytes) -> Manifest:
    """The manifest in these bytes.

    Raises:
        Damaged: a field is wrong.
    """
    try:
        held = json.loads(content.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as fault:
        raise Damaged(f"no JSON ({fault})") from fault
    if not isinstance(held, dict):
        raise Damaged("no JSON object")
    wanted = {"format", "name", "at", "kind", "synthetic", "dataset", "split", "view", "privacy", "shards"}
    if set(held) != wanted:
        raise Damaged(f"its keys are {', '.join(sorted(held))}; wanted {', '.join(sorted(wanted))}")
    _want(held["format"] == FORMAT and type(held["format"]) is int, "format", held["format"], str(FORMAT))
    _want(_matches(NAME, held["name"]), "name", held["name"], "letters, digits and . _ -")
    _want(isinstance(held["at"], str) and held["at"] != "", "at", held["at"], "a URL or a folder")
    _want(held["kind"] in dataset_json.KINDS, "kind", held["kind"], " or ".join(dataset_json.KINDS))
    _want(type(held["synthetic"]) is bool, "synthetic", held["synthetic"], "true or false")
    if held["dataset"] is not None:
        try:
            dataset_json.check(held["dataset"])
        except dataset_json.Damaged as fault:
            raise Damaged(f"dataset: {fault}") from fault
    _check_split(held["split"])
    _check_view(held["view"])
    _check_privacy(held["privacy"])
    _want(isinstance(held["shards"], list) and held["shards"] != [], "shards", held["shards"], "one or more")
    shards = tuple(_shard(f"shards[{number}]", shard) for number, shard in enumerate(held["shards"]))
    _check_together(shards)
    made = Manifest(**{key: held[key] for key in wanted - {"format", "shards"}}, shards=shards)
    if made.encoded() != content:  # else one manifest had two hashes
        raise Damaged("written in another form; wanted keys in order, an indent of 1, a line's end")
    return made


def _shard(where: str, held: object) -> Shard:
    fields = {"name", "bytes", "sha256", "compression", "unpacked_bytes", "patients", "files"}
    if not isinstance(held, dict) or set(held) != fields:
        raise Damaged(f"{where}: {shown(held)}, wanted {', '.join(sorted(fields))}")
    _want(_is_count(held["bytes"]), f"{where}.bytes", held["bytes"], "a whole number")
    _want(_matches(_SHA256, held["sha256"]), f"{where}.sha256", held["sha256"], "64 hexadecimal digits")
    known = isinstance(held["compression"], str) and held["compression"] in COMPRESSIONS
    _want(known, f"{where}.compression", held["compression"], " or ".join(COMPRESSIONS))
    ending = f"-{held['sha256'][:DIGITS]}{COMPRESSIONS[held['compression']]}"
    good = isinstance(held["name"], str) and held["name"].endswith(ending)
    _want(good and is_safe(held["name"]) and "/" not in held["name"], f"{where}.name", held["name"], f"NAME{ending}")
    _want(_is_names(held["patients"]), f"{where}.patients", held["patients"], "different names")
    if not isinstance(held["files"], dict) or not held["files"]:
        raise Damaged(f"{where}.files: {shown(held['files'])}, wanted one or more")
    files = {}
    for path, file in held["files"].items():
        _want(is_safe(path), f"{where}.files", path, "a relative path without ..")
        if not isinstance(file, dict) or set(file) != {"bytes", "sha256"} or not _is_count(file["bytes"]):
            raise Damaged(f"{where}.files.{path}: {shown(file)}, wanted bytes and sha256")
        _want(
            _matches(_SHA256, file["sha256"]), f"{where}.files.{path}.sha256", file["sha256"], "64 hexadecimal digits"
        )
        files[path] = File(**file)
    total = sum(file.bytes for file in files.values())
    _want(
        held["unpacked_bytes"] == total, f"{where}.unpacked_bytes", held["unpacked_bytes"], f"{total}, the files' sum"
    )
    return Shard(**{**held, "patients": tuple(held["patients"]), "files": files})


def _check_together(shards: tuple[Shard, ...]) -> None:
    """No object twice; no path twice, and none that is a folder of another."""
    names = [shard.name for shard in shards]
    _want(len(set(names)) == len(names), "shards", names, "different names")
    paths: set[str] = set()
    for shard in shards:
        for path in shard.files:
            _want(path not in paths, f"{shard.name}.files", path, "a path that no other file has")
            paths.add(path)
    for path in paths:
        above = path
        while "/" in above:
            above = above.rpartition("/")[0]
            _want(above not in paths, "files", path, f"a path that does not lead through the file {above}")


def _check_split(held: object) -> None:
    if held is None:
        return
    if not isinstance(held, dict) or set(held) != {"training", "validation"} or not all(map(_is_names, held.values())):
        raise Damaged(f"split: {shown(held)}, wanted null, or names for training and validation")
    both = sorted(set(held["training"]) & set(held["validation"]))
    _want(not both, "split", both, "every patient in one part")


def _check_view(held: object) -> None:
    if held is None:
        return
    if not isinstance(held, dict) or set(held) != {"of", "fold", "part"}:
        raise Damaged(f"view: {shown(held)}, wanted null, or of, fold and part")
    _want(_matches(_SHA256, held["of"]), "view.of", held["of"], "64 hexadecimal digits")
    _want(_is_count(held["fold"]), "view.fold", held["fold"], "a number from 0 on")
    _want(held["part"] in PARTS, "view.part", held["part"], ", ".join(PARTS))


def _check_privacy(held: object) -> None:
    if not isinstance(held, dict) or set(held) != {"checked", "findings", "override"}:
        raise Damaged(f"privacy: {shown(held)}, wanted checked, findings and override")
    _want(type(held["checked"]) is bool, "privacy.checked", held["checked"], "true or false")
    _want(_is_count(held["findings"]), "privacy.findings", held["findings"], "a number from 0 on")
    override = held["override"]
    _want(override is None or (isinstance(override, str) and override != ""), "privacy.override", override, "a reason")


def is_safe(path: object) -> bool:
    """A path as PurePosixPath writes it, printable, inside its folder, and not too long for Linux."""
    if not isinstance(path, str) or not path.isprintable():
        return False
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return False
    pure = PurePosixPath(path)
    short = len(encoded) < _LONGEST_PATH and all(len(part.encode()) <= _LONGEST_PART for part in pure.parts)
    return short and not pure.is_absolute() and ".." not in pure.parts and str(pure) == path != "."


def _want(true: object, field: str, held: object, wanted: str) -> None:
    if not true:
        raise Damaged(f"{field}: {shown(held)}, wanted {wanted}")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_names(value: object) -> bool:
    if not isinstance(value, list):
        return False
    return all(isinstance(name, str) and name for name in value) and len(set(value)) == len(value)
