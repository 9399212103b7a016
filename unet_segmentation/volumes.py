"""NIfTI in and out, and nothing else. Arrays are (x, y, z) as in the file, z the axial slice; affines map voxels to
RAS millimetres.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic

# 1 is three times as fast as nibabel's default and costs 10 % in size on label maps
COMPRESSION = 1


@dataclass(frozen=True)
class Volume:
    """One file: float32 values (x, y, z), scaling applied, and the affine (4, 4) in mm."""

    path: Path
    values: NDArray[np.float32]
    affine: NDArray[np.float64]


def read(path: Path) -> Volume:
    """Reads a whole NIfTI file.

    Raises:
        BadInput: torn, not NIfTI, or not three-dimensional; names the file.
    """
    try:
        image = nibabel.load(path)
        shape = tuple(n for n in image.shape if n != 1) if len(image.shape) > 3 else image.shape
        if len(shape) != 3 or 0 in shape:
            raise BadInput(
                path,
                f"shape {'x'.join(map(str, image.shape))}",
                "one volume of three axes",
                "split it into a file per modality",
            )
        values = np.asarray(image.dataobj, np.float32).reshape(shape)
    except (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, ValueError, OverflowError) as fault:
        if isinstance(fault, MemoryError):
            raise
        raise BadInput(
            path,
            f"unreadable ({_first_line(fault)})",
            "a whole NIfTI file",
            f"copy it again; `gzip -t {path.name}` tests it",
        ) from fault
    return Volume(path, values, np.asarray(image.affine, np.float64))


def write_labels(path: Path, labels: NDArray[np.uint8], like: Path) -> None:
    """Writes label values (x, y, z) as .nii.gz in the space of the image `like`: its affine, its qform and sform, its
    units. Atomic, and the same values give the same bytes.
    """
    header = nibabel.load(like).header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_max"] = header["cal_min"] = 0
    header["descrip"] = b"osg-dl-kit unet_segmentation"
    image = nibabel.Nifti1Image(labels, None, header)
    write_atomic(path, compressed(image))


def compressed(image: Any) -> bytes:
    """A nibabel image as the bytes of a .nii.gz file; no time stamp, so that equal images are equal files."""
    return gzip.compress(image.to_bytes(), COMPRESSION, mtime=0)


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0] if lines else type(fault).__name__
