"""Named NumPy arrays as bytes for a checkpoint, and back: an npz without pickles."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from submit.runtime.exit_codes import BadInput


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes. Types that NumPy has not, such as bfloat16, are written bit by bit, and `restored` knows them."""
    held = io.BytesIO()
    np.savez(held, **{name: _plain(np.asarray(array)) for name, array in arrays.items()})
    return held.getvalue()


def unpack(blob: bytes) -> dict[str, np.ndarray]:
    """The arrays that `pack` was given, those of foreign types as unsigned integers."""
    with np.load(io.BytesIO(blob), allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def restored(blob: bytes, wanted: Sequence[tuple[str, Any, tuple[int, ...]]]) -> list[np.ndarray]:
    """The arrays in the order of `wanted`: name, type and shape of each.

    Raises:
        BadInput: the checkpoint holds others, for the model was changed since.
    """
    saved, found = unpack(blob), []
    changed = sorted(set(saved) - {name for name, _, _ in wanted})
    for name, dtype, shape in wanted:
        array = saved.get(name)
        if array is None or array.shape != tuple(shape) or array.dtype != _plain(np.empty(0, dtype)).dtype:
            changed.append(name)
        else:
            found.append(array if array.dtype == dtype else array.view(dtype))
    if changed:
        what = f"{len(set(changed))} arrays that do not fit the model, such as {changed[0]}"
        raise BadInput("checkpoint", what, "one of this model", "undo the change, or start anew: rm -r checkpoint")
    return found


def _plain(array: np.ndarray) -> np.ndarray:
    if array.dtype.hasobject:
        raise TypeError(f"an array of {array.dtype}: only numbers can be saved")
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array
