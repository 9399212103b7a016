"""NIfTI in and out, and nothing else. Arrays are (x, y, z) as in the file, z the axial slice; affines map voxels to
RAS millimetres.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic

# 1 is three times as fast as nibabel's default and costs 10 % in size on label maps
COMPRESSION = 1
NIFTI2_HEADER = 540  # bytes, the file's first number; 348 in NIfTI-1 (https://nifti.nimh.nih.gov/nifti-2)


@dataclass(frozen=True)
class Volume:
    """One file: float32 values (x, y, z), scaling applied, the affine (4, 4) in mm, and the SHA-256 of the file."""

    path: Path
    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    sha256: str


def read(path: Path) -> Volume:
    """Reads a whole NIfTI file, plain or gzipped, to its very end: only there gzip compares its checksum, and a lazy
    reader never gets there.

    Raises:
        BadInput: torn, not NIfTI, or not three-dimensional; names the file.
    """
    try:
        content = path.read_bytes()
        plain = gzip.decompress(content) if path.name.endswith(".gz") else content
        kind = nibabel.Nifti2Image if int.from_bytes(plain[:4], "little") == NIFTI2_HEADER else nibabel.Nifti1Image
        image = kind.from_bytes(plain)
        if len([side for side in image.shape if side != 1]) > 3 or len(image.shape) < 3:
            held = f"shape {'x'.join(map(str, image.shape))}"
            raise BadInput(path, held, "one volume of three axes", "split it into a file per modality")
        values = np.asarray(image.dataobj, np.float32).reshape(image.shape[:3])
    except (
        OSError,
        EOFError,
        zlib.error,
        ImageFileError,
        HeaderDataError,
        WrapStructError,
        ValueError,
        OverflowError,
    ) as fault:
        mend = f"copy it again; `gzip -t {path.name}` tests it"
        raise BadInput(path, f"unreadable ({_first_line(fault)})", "a whole NIfTI file", mend) from fault
    return Volume(path, values, np.asarray(image.affine, np.float64), hashlib.sha256(content).hexdigest())


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
