"""Hits: one row for each time that a photon met a detector, in the order of the photons."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic

_REALS = ("time", "x", "y", "z", "dx", "dy", "dz", "wavelength", "weight", "path")
_WHOLE = [("photon", "<u8"), ("detector", "<u4"), ("scatters", "<u4")]
# photon: its number; scatters: before the hit; time: ns since the particle was at the source's position; x, y, z: where
# the photon meets the (oversized) sphere, m; dx, dy, dz: its direction; wavelength: nm; weight: share of it that is
# counted; path: its length, m
HITS = np.dtype([("seed", "<u8"), *_WHOLE, *((name, "<f8") for name in _REALS)])
COUNTS = ("absorbed", "detected", "escaped", "stopped", "scatters")

Hits = NDArray[Any]


def raw_dtype(double: bool) -> np.dtype[Any]:
    """As the kernel writes a hit."""
    real = "<f8" if double else "<f4"
    return np.dtype([*_WHOLE, *((name, real) for name in _REALS)])


def from_raw(raw: NDArray[Any], seed: int) -> Hits:
    """The kernel's hits in canonical order."""
    made = np.zeros(len(raw), HITS)
    made["seed"] = seed
    for name in raw.dtype.names or ():
        made[name] = raw[name]
    return ordered(made)


def ordered(hits: Hits) -> Hits:
    """By seed, photon, time, detector."""
    return hits[np.lexsort((hits["detector"], hits["time"], hits["photon"], hits["seed"]))]


def to_bytes(hits: Hits) -> bytes:
    """An .npz with a column for each field; the same hits are the same bytes."""
    file = io.BytesIO()
    columns: dict[str, Any] = {name: hits[name] for name in HITS.names or ()}
    np.savez_compressed(file, **columns)
    return file.getvalue()


def from_bytes(content: bytes, where: object) -> Hits:
    """Hits that `to_bytes` packed.

    Raises:
        BadInput: they are not.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            columns = {name: held[name] for name in HITS.names or ()}
        hits = np.empty(len(columns["photon"]), HITS)
        for name, column in columns.items():
            if column.dtype != HITS[name] or column.shape != hits.shape:
                raise ValueError(f"{name} is {column.dtype} of shape {column.shape}")
            hits[name] = column
    except Exception as fault:  # a damaged archive fails in many ways
        held_text = f"no hits ({type(fault).__name__}: {fault})"
        raise BadInput(where, held_text, "hits.npz of a run or a merge", "run that job again") from fault
    return hits


def save(path: Path, hits: Hits) -> None:
    """Writes an .npz, atomically."""
    write_atomic(path, to_bytes(hits))


def load(path: Path) -> Hits:
    """Hits of a file.

    Raises:
        BadInput: it cannot be read, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise BadInput(path, f"cannot be read ({fault.strerror})", "hits.npz", "name a run's folder or file") from fault
    return from_bytes(content, path)
