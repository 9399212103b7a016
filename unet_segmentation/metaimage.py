"""MetaImage (.mha), the format of BRATS 2013 and 2015, read by SimpleITK. ITK has the last word on the numbers; whether
the file is whole is looked at here first, because ITK reads a damaged compressed file without an error.

Header: lines of `Key = value`, the last of them `ElementDataFile = LOCAL`, then the voxels, x fastest, as they are or
as one zlib stream (https://itk.org/Wiki/ITK/MetaIO/Documentation).
"""

from __future__ import annotations

import math
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic

ENDING = ".mha"
COMMENT = "Comment"
LONGEST_HEADER = 1 << 16  # bytes; a real one has some hundreds
# bytes of a voxel, by ElementType; unsigned ones have the same
SIZES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # ITK's x runs to the left and y to the back


def decode(path: Path, content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Values (x, y, z) and the affine (4, 4) to RAS mm.

    Args:
        path: of the file.
        content: all of it.

    Raises:
        BadInput: torn, no MetaImage, not three axes of single numbers, or SimpleITK is not installed.
    """
    _check_whole(path, content)
    sitk = _simpleitk(path)
    try:
        image = sitk.ReadImage(str(path))
        kinds = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
        if kinds != (3, 1):
            held = f"{kinds[0]} axes, {kinds[1]} numbers a voxel"
            raise BadInput(path, held, "one volume of three axes", "split it into a file per modality")
        values = np.array(sitk.GetArrayViewFromImage(image), np.float32).transpose(2, 1, 0)
    except RuntimeError as fault:
        raise _torn(path, str(fault).strip().splitlines()[-1]) from fault
    return values, _affine(image)


def affine(path: Path) -> NDArray[np.float64]:
    """The affine (4, 4) to RAS mm, from the header alone.

    Raises:
        BadInput: no MetaImage, or SimpleITK is not installed.
    """
    sitk = _simpleitk(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as fault:
        raise _torn(path, str(fault).strip().splitlines()[-1]) from fault
    return _affine(reader)


def comment(path: Path, content: bytes) -> str:
    """What a whole file says about itself; empty where it does not.

    Raises:
        BadInput: no MetaImage.
    """
    return _header(path, content)[0].get(COMMENT, "")


def write(path: Path, values: NDArray[Any], to_ras: NDArray[np.float64], note: str = "") -> None:
    """Writes values (x, y, z), compressed, by SimpleITK; `to_ras` is an affine (4, 4) without shear, `note` what the
    file says about itself. Atomic.

    Raises:
        BadInput: SimpleITK is not installed.
    """
    sitk = _simpleitk(path)
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    to_lps = LPS_TO_RAS @ to_ras[:3, :3]  # its own inverse
    steps = np.linalg.norm(to_lps, axis=0)
    image.SetSpacing(steps.tolist())
    image.SetDirection((to_lps / steps).ravel().tolist())
    image.SetOrigin((LPS_TO_RAS @ to_ras[:3, 3]).tolist())
    if note:
        image.SetMetaData(COMMENT, note)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"image{ENDING}"
        sitk.WriteImage(image, str(whole), True)
        write_atomic(path, whole.read_bytes())


def _affine(image: Any) -> NDArray[np.float64]:
    """From a SimpleITK image or reader of three axes."""
    turn = np.array(image.GetDirection(), np.float64).reshape(3, 3)
    found = np.eye(4)
    found[:3, :3] = LPS_TO_RAS @ turn @ np.diag(image.GetSpacing())
    found[:3, 3] = LPS_TO_RAS @ np.array(image.GetOrigin())
    return found


def _check_whole(path: Path, content: bytes) -> None:
    header, start = _header(path, content)
    try:
        sides = [int(word) for word in header["DimSize"].split()]
        size = SIZES[header["ElementType"].removeprefix("MET_").replace("UCHAR", "CHAR").removeprefix("U")]
        needed = math.prod(sides) * size * int(header.get("ElementNumberOfChannels", "1"))
    except (KeyError, ValueError) as fault:
        raise _torn(path, f"its header makes no sense: {fault}") from fault
    held = len(content) - start
    if header.get("CompressedData", "False").lower() == "true":
        stream = zlib.decompressobj()
        try:
            held = len(stream.decompress(content[start:], needed + 1))
            held += len(stream.flush()) if not stream.eof else 0
        except zlib.error as fault:
            raise _torn(path, str(fault)) from fault
        if not stream.eof:
            raise _torn(path, "its compressed data end too early")
    if held != needed:
        raise _torn(path, f"{held} bytes of voxels instead of {needed}")


def _header(path: Path, content: bytes) -> tuple[dict[str, str], int]:
    """The header's keys, and where the voxels begin."""
    header: dict[str, str] = {}
    start = 0
    while start < LONGEST_HEADER and (end := content.find(b"\n", start, LONGEST_HEADER)) >= 0:
        key, equals, value = content[start:end].decode("latin-1").partition("=")
        if not equals:
            break
        header[key.strip()] = value.strip()
        start = end + 1
        if key.strip() == "ElementDataFile":
            if header[key.strip()] != "LOCAL":
                mend = "write it again as one .mha file"
                raise BadInput(path, f"voxels in another file, {header[key.strip()]}", "voxels in this one", mend)
            return header, start
    raise _torn(path, "no header of a MetaImage")


def _torn(path: Path, why: str) -> BadInput:
    return BadInput(path, f"unreadable ({why})", "a whole MetaImage file", "copy it again")


def _simpleitk(path: Path) -> Any:
    try:
        import SimpleITK
    except ImportError as fault:
        raise BadInput(
            path, "a MetaImage, which SimpleITK reads", "SimpleITK installed", "pip install 'osg-dl-kit[mha]'"
        ) from fault
    return SimpleITK
