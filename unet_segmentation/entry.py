"""One prepared patient on disk: a folder that is whole or absent.

    images.npy    (z, x, y, channel) float16
    classes.npy   (z, x, y) uint8; missing where there is no truth
    places.npy    (n, 3) uint16, the places of all classes one after the other
    about.json    what they are, with the SHA-256 of each of them and of itself

NumPy's own format, version 1.0 (numpy.lib.format), so that anyone can look at them: np.load(..., mmap_mode="r").
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.files import sync_folder, write_atomic, write_durably
from unet_segmentation.prepare import Prepared

ABOUT, IMAGES, CLASSES, PLACES = "about.json", "images.npy", "classes.npy", "places.npy"
# Beside the entries: where one is written, and where the one before it goes
CORNERS = (".new", ".old")
# An open mapping holds a file descriptor, of which a process has 1024 by default; opening one again takes 20 us
OPEN = 256


class Damaged(Exception):
    """An entry is not what was written; says in words what is wrong with it."""


class Stored(Prepared):
    """A prepared patient whose arrays are memory-mapped where they are asked for; holds none of them."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        x, y, z = about["box"]
        fields = {
            "name": about["name"],
            "box": (tuple(x), tuple(y), tuple(z)),
            "shape": tuple(about["shape"]),
            "spacing": tuple(about["spacing"]),
            "intensities": tuple(about["intensities"]),
            "_folder": folder,
            "_arrays": about["arrays"],
            "_places": about["places"],
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # frozen

    @property
    def images(self) -> NDArray[np.float16]:
        return self._opened(IMAGES)

    @property
    def classes(self) -> NDArray[np.uint8] | None:
        return self._opened(CLASSES) if CLASSES in self._arrays else None

    @property
    def places(self) -> Mapping[int, NDArray[np.uint16]]:
        whole = self._opened(PLACES)
        return {int(value): whole[start:stop] for value, (start, stop) in self._places.items()}

    def _opened(self, file: str) -> NDArray[Any]:
        array = self._arrays[file]
        return _mapped(self._folder / file, array["dtype"], tuple(array["shape"]), array["sha256"])

    _folder: Path
    _arrays: Mapping[str, Any]
    _places: Mapping[str, tuple[int, int]]


def write(folder: Path, prepared: Prepared, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes an entry, replacing what was there; returns what its about.json holds.

    A kill at any moment leaves the old entry, the new one or none, and what `clean` removes.

    Args:
        folder: of the entry.
        prepared: the patient.
        facts: JSON values to keep with it.

    Raises:
        OSError: the disk is full, or the like; nothing is left behind.
    """
    arrays: dict[str, NDArray[Any]] = {IMAGES: prepared.images, PLACES: np.zeros((0, 3), np.uint16)}
    if prepared.classes is not None:
        arrays[CLASSES] = prepared.classes
    if prepared.places:
        arrays[PLACES] = np.concatenate(list(prepared.places.values()))
    stops = np.cumsum([0, *(len(where) for where in prepared.places.values())]).tolist()
    temporary, old = (folder.parent / corner / folder.name for corner in CORNERS)
    try:
        for place in (temporary, old.parent):
            place.mkdir(parents=True, exist_ok=True)
        about = {
            "name": prepared.name,
            "box": prepared.box,
            "shape": prepared.shape,
            "spacing": prepared.spacing,
            "intensities": prepared.intensities,
            "places": {str(value): stops[i : i + 2] for i, value in enumerate(prepared.places)},
            "arrays": {file: _write_array(temporary / file, array) for file, array in arrays.items()},
            **facts,
        }
        write_durably(temporary / ABOUT, _encoded(about))
        sync_folder(temporary)
        if folder.exists():
            folder.replace(old)
        temporary.replace(folder)
    except OSError as fault:
        fault.filename = fault.filename or str(folder)  # a write that fails does not say where
        raise
    finally:
        for rest in (temporary, old):
            _remove(rest)
    sync_folder(folder.parent)
    return about


def renew(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes an entry's about.json anew, atomically."""
    write_atomic(folder / ABOUT, _encoded(about))


def read(folder: Path) -> dict[str, Any]:
    """What an entry's about.json holds.

    Raises:
        FileNotFoundError: no such entry.
        Damaged: not as it was written.
    """
    if not folder.exists():
        raise FileNotFoundError(folder)
    try:
        content = (folder / ABOUT).read_bytes()
        about: dict[str, Any] = json.loads(content)
        del about["sha256"]
        whole = _encoded(about) == content
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise Damaged(f"{ABOUT} is unreadable") from fault
    if not whole:
        raise Damaged(f"{ABOUT} is not what was written")
    return about


def check(folder: Path, about: Mapping[str, Any]) -> None:
    """Reads an entry's arrays and compares their checksums; memory stays flat. It is done at every opening, because it
    is cheap: 61 MB of four BRATS 2015 patients take 0.05 s of a core, reading their 16 files 1 s.

    Raises:
        Damaged: one of them is not as it was written.
    """
    for file, array in about["arrays"].items():
        try:
            with (folder / file).open("rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                if size != array["bytes"]:
                    raise Damaged(f"{file} has {size} bytes, not {array['bytes']}")
                if hashlib.file_digest(opened, "sha256").hexdigest() != array["sha256"]:
                    raise Damaged(f"{file} is not what was written")
        except OSError as fault:
            raise Damaged(f"{file} is unreadable") from fault


def clean(folder: Path) -> None:
    """Removes what killed processes left of entries in `folder`, where nobody may be writing now."""
    for corner in CORNERS:
        shutil.rmtree(folder / corner, ignore_errors=True)


def size(about: Mapping[str, Any]) -> int:
    """Bytes of an entry's arrays."""
    return sum(int(array["bytes"]) for array in about["arrays"].values())


def _remove(path: Path) -> None:
    """A folder, or a file that lay where one belongs."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _encoded(about: Mapping[str, Any]) -> bytes:
    """The bytes of an about.json: a function of what it holds, its own checksum included."""
    digest = hashlib.sha256(json.dumps(about, allow_nan=False).encode()).hexdigest()
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in {**about, "sha256": digest}.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _write_array(path: Path, array: NDArray[Any]) -> dict[str, Any]:
    """Writes and flushes a C-contiguous array; its checksum is that of the file."""
    header, content = io.BytesIO(), array.reshape(-1).view(np.uint8).data
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    digest = hashlib.sha256(header.getvalue())
    digest.update(content)
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {
        "dtype": array.dtype.str,
        "shape": array.shape,
        "bytes": len(header.getvalue()) + array.nbytes,
        "sha256": digest.hexdigest(),
    }


@lru_cache(OPEN)
def _mapped(path: Path, dtype: str, shape: tuple[int, ...], sha256: str) -> NDArray[Any]:
    """An array that is read where it is touched. The checksum only tells one writing of a file from the next."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = len(content) - int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
