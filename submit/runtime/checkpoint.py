"""A store of checkpoints that knows bytes and JSON only: atomic, checksummed, the two newest kept.

    checkpoint/
      00000041/            a generation, made under a temporary name and renamed when it is whole on the disk
        manifest.json      the caller's state, and size and SHA-256 of every blob
        weights.npz ...    the blobs
      00000042/

Nothing is unpickled. A generation that fails its checksums is skipped, and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from submit.runtime.files import sync_folder, write_durably

KEPT = 2  # the newest and one to fall back on
MANIFEST = "manifest.json"
_GENERATION = re.compile(r"[0-9]{8,}")
_TEMPORARY = ".saving-"
_BLOB = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Snapshot:
    """A whole checkpoint: the caller's JSON state and named bytes."""

    state: Mapping[str, Any]
    blobs: Mapping[str, bytes]


class Damaged(Exception):
    """A generation that is not what was saved; says which file and how."""


class Store:
    """Checkpoints in one folder, for one writer.

    Example:
        store = Store(Path("checkpoint"))
        snapshot = store.load()
        step = snapshot.state["step"] if snapshot else 0
        store.save({"step": step + 1}, {"weights": b"..."})
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder = folder
        self._kept = kept
        self._damaged: set[str] = set()

    def save(self, state: Mapping[str, Any], blobs: Mapping[str, bytes]) -> Path:
        """Makes a new generation; when this returns, it is on the disk, and whenever the process dies an earlier one
        still is.

        Raises:
            ValueError: a blob's name is not a plain file name, or the state is not JSON.
            OSError: the disk is full or broken; no generation is lost.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_stale()
        newest = self._generations()
        name = f"{int(newest[0]) + 1 if newest else 1:08d}"
        temporary = self.folder / f"{_TEMPORARY}{name}"
        temporary.mkdir()
        files = {}
        for blob, content in blobs.items():
            if not _BLOB.fullmatch(blob) or blob == MANIFEST:
                raise ValueError(f"{blob!r}: a blob's name must be a plain file name")
            write_durably(temporary / blob, content)
            files[blob] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        body = {"state": state, "files": files}
        manifest = {"sha256": _digest(body), **body}
        write_durably(temporary / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False).encode())
        sync_folder(temporary)
        final = self.folder / name
        temporary.rename(final)
        sync_folder(self.folder)
        whole = [generation for generation in self._generations() if generation not in self._damaged]
        for generation in set(self._generations()) - set(whole[: self._kept]):
            shutil.rmtree(self.folder / generation, ignore_errors=True)
        return final

    def load(self) -> Optional[Snapshot]:
        """The newest whole checkpoint, or None if there is none; a damaged one is named on stderr and passed over."""
        self._remove_stale()
        for generation in self._generations():
            try:
                return _read(self.folder / generation)
            except Damaged as fault:
                self._damaged.add(generation)
                print(f"checkpoint {self.folder / generation} is damaged ({fault}); passed over", file=sys.stderr)
        return None

    def _generations(self) -> list[str]:
        """Names of the generations, newest first."""
        if not self.folder.is_dir():
            return []
        named = [path.name for path in self.folder.iterdir() if _GENERATION.fullmatch(path.name)]
        return sorted(named, key=int, reverse=True)

    def _remove_stale(self) -> None:
        """A process killed while saving leaves a temporary folder behind."""
        for path in self.folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _read(folder: Path) -> Snapshot:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        body = {"state": manifest["state"], "files": manifest["files"]}
        if _digest(body) != manifest["sha256"]:
            raise Damaged(f"{MANIFEST} does not match its checksum")
        blobs = {}
        for name, expected in body["files"].items():
            content = (folder / name).read_bytes()
            if len(content) != expected["bytes"]:
                raise Damaged(f"{name} has {len(content)} bytes, saved were {expected['bytes']}")
            if hashlib.sha256(content).hexdigest() != expected["sha256"]:
                raise Damaged(f"{name} does not match its checksum")
            blobs[name] = content
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise Damaged(f"{type(fault).__name__}: {fault}") from fault
    return Snapshot(state=body["state"], blobs=blobs)
