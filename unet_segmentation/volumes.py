"""Image files in and label files out, and nothing else: NIfTI, and MetaImage to read. Arrays are (x, y, z) as in the
file, z the axial slice; affines map voxels to RAS millimetres.
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
from unet_segmentation import metaimage
from unet_segmentation.patients import Source

# 1 is three times as fast as nibabel's default and costs 10 % in size on label maps
COMPRESSION = 1
# bytes, the file's first number, of either byte order; 348 in NIfTI-1 (https://nifti.nimh.nih.gov/nifti-2)
NIFTI2_HEADER = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
GZIP = 31  # zlib's window bits for a gzip stream, whose checksum it then compares (zlib manual, inflateInit2)
SCANNER = 1  # NIfTI's code for a space of the scanner's own millimetres (NIFTI_XFORM_SCANNER_ANAT)


@dataclass(frozen=True)
class Volume:
    """One image: float32 values (x, y, z), scaling applied, the affine (4, 4) in mm, the SHA-256 of the file, and what
    its header says about it.
    """

    path: Path
    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    sha256: str
    note: str = ""


@dataclass(frozen=True)
class File:
    """A file that was read whole: one reading serves all its channels.

    Attributes:
        path: of the file.
        data: (x, y, z) or (x, y, z, channel) as stored, not to be written to.
        scaling: slope and intercept that make intensities of what is stored.
        affine: (4, 4) to RAS mm.
        sha256: of the file.
        note: what its header says about it: NIfTI's `descrip`, MetaImage's Comment.
    """

    path: Path
    data: NDArray[Any]
    scaling: tuple[float, float]
    affine: NDArray[np.float64]
    sha256: str
    note: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    def volume(self, channel: int | None = None) -> Volume:
        """One channel, or the only one.

        Raises:
            BadInput: no such channel, or more than one where one is wanted.
        """
        held = f"shape {'x'.join(map(str, self.shape))}"
        if channel is None:
            if len(self.shape) < 3 or any(side != 1 for side in self.shape[3:]):
                raise BadInput(self.path, held, "one volume of three axes", "split it into a file per modality")
            values = self.data.reshape(self.shape[:3], order="F")
            return Volume(self.path, self._scaled(values), self.affine, self.sha256, self.note)
        if len(self.shape) != 4 or channel >= self.shape[3]:
            wanted = f"four axes, the last of more than {channel}: channel {channel} is wanted"
            raise BadInput(self.path, held, wanted, "give data.layout the data set's own, or export it again")
        return Volume(self.path, self._scaled(self.data[..., channel]), self.affine, self.sha256, self.note)

    def _scaled(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        if self.scaling == (1, 0):
            return raw.astype(np.float32, copy=False)
        values = np.empty(raw.shape, np.float32, order="F")
        for z in range(raw.shape[-1]):  # a slice of float64 stays in the cache; a volume is 70 MB, twice
            values[..., z] = raw[..., z] * np.float64(self.scaling[0]) + self.scaling[1]
        return values


def read(path: Path, channel: int | None = None) -> Volume:
    """One image of a file; `read_file` and then `volume` where several channels of one file are wanted.

    Raises:
        BadInput: as `read_file` and `File.volume`.
    """
    return read_file(path).volume(channel)


def read_file(path: Path) -> File:
    """Reads a whole file, .nii, .nii.gz or .mha, to its very end: only there gzip compares its checksum, and a lazy
    reader never gets there.

    Raises:
        BadInput: torn, of another kind, or .mha where SimpleITK is not installed; names the file.
    """
    try:
        content = path.read_bytes()
        if path.name.endswith(metaimage.ENDING):
            values, affine = metaimage.decode(path, content)
            note = metaimage.comment(path, content)
            return File(path, values, (1, 0), affine, hashlib.sha256(content).hexdigest(), note)
        plain = _inflated(content) if path.name.endswith(".gz") else np.frombuffer(content, np.uint8)
        kind = nibabel.Nifti2Image if plain[:4].tobytes() in NIFTI2_HEADER else nibabel.Nifti1Image
        size = kind.header_class.sizeof_hdr
        header = kind.header_class(plain[:size].tobytes(), check=False)
        image = kind.from_bytes(plain[: max(size, int(header["vox_offset"]))].tobytes())
        stored = image.dataobj
        if stored.dtype.kind not in "biuf":
            raise ValueError(f"voxels of type {image.header.get_value_label('datatype')}, not numbers")
        # as nibabel, without its two copies
        data: NDArray[Any] = np.ndarray(stored.shape, stored.dtype, plain, stored.offset, order="F")
        scaling = (1.0, 0.0) if stored.slope is None else (float(stored.slope), float(stored.inter))
        note = header["descrip"].item().partition(b"\0")[0].decode("latin-1")
    except _UNREADABLE as fault:
        raise _unreadable(path, fault) from fault
    return File(path, data, scaling, np.asarray(image.affine, np.float64), hashlib.sha256(content).hexdigest(), note)


def write_labels(path: Path, labels: NDArray[np.uint8], like: Source | Path) -> None:
    """Writes label values (x, y, z) as .nii.gz in the space of the image `like`: its affine, its qform and sform, its
    units. Atomic, and the same values give the same bytes.
    """
    source = like if isinstance(like, Path) else like.path
    if source.name.endswith(metaimage.ENDING):
        image = nibabel.Nifti1Image(labels, None)
        image.header.set_xyzt_units("mm")
        for place in (image.set_sform, image.set_qform):
            place(metaimage.affine(source), code=SCANNER)
    else:
        header = nibabel.load(source).header.copy()
        header["pixdim"][4:] = 1  # of the axes that a label file does not have
        image = nibabel.Nifti1Image(labels, None, header)
    image.header.set_data_dtype(np.uint8)
    image.header.set_slope_inter(1, 0)
    image.header["cal_max"] = image.header["cal_min"] = 0
    image.header["descrip"] = b"osg-dl-kit unet_segmentation"
    write_atomic(path, compressed(image))


def compressed(image: Any) -> bytes:
    """A nibabel image as the bytes of a .nii.gz file; no time stamp, so that equal images are equal files."""
    return gzip.compress(image.to_bytes(), COMPRESSION, mtime=0)


_UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    ValueError,
    TypeError,
    OverflowError,
)


PIECE = 1 << 20  # bytes decompressed at a time: they stay in a core's cache until they are copied


def _inflated(content: bytes) -> NDArray[np.uint8]:
    """As gzip.decompress, in half its time: into one array of the length that the file's last four bytes tell
    (RFC 1952, ISIZE), whose memory comes in large pages. It is left the files of several members, and the faulty ones
    for its better words.
    """
    whole = np.empty(int.from_bytes(content[-4:], "little"), np.uint8)
    stream, left, place = zlib.decompressobj(GZIP), content, 0
    view = whole.data
    try:
        while not stream.eof:
            piece = stream.decompress(left, PIECE)
            view[place : place + len(piece)] = piece
            place, left = place + len(piece), stream.unconsumed_tail
            if not piece and not left and not stream.eof:
                break
    except (zlib.error, ValueError):  # damaged, or longer than told
        pass
    if stream.eof and not stream.unused_data and place == whole.size:
        return whole
    return np.frombuffer(gzip.decompress(content), np.uint8)


def _unreadable(path: Path, fault: BaseException) -> BadInput:
    mend = f"copy it again; `gzip -t {path.name}` tests it" if path.name.endswith(".gz") else "copy it again"
    return BadInput(path, f"unreadable ({_first_line(fault)})", "a whole NIfTI file", mend)


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0] if lines else type(fault).__name__
