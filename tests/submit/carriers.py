"""Clean files of every carrier, and identifiers planted in them. Values are planted; ids of tests name the places."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SHAPE = (12, 12, 10)
SIDECAR = {
    "Modality": "MR",
    "MagneticFieldStrength": 3,
    "EchoTime": 0.0027,
    "ConversionSoftwareVersion": "v1.0.20220720",
}


def voxels() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 900, SHAPE).astype(np.int16)


def nifti(
    *,
    version: int = 1,
    order: str = "<",
    extensions: tuple[tuple[int, bytes], ...] = (),
    behind: bytes = b"",
    **fields: bytes,
) -> bytes:
    """A NIfTI file of random voxels with texts in its header."""
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(voxels(), np.diag([-2.0, -2.0, 2.5, 1.0]))
    header = image.header.as_byteswapped(order) if order == ">" else image.header
    image = kind(voxels(), image.affine, header)
    raw = bytearray(image.to_bytes())
    texts = {1: {"data_type": 4, "db_name": 14, "descrip": 148, "aux_file": 228, "intent_name": 328}}
    texts[2] = {"descrip": 240, "aux_file": 320, "intent_name": 508, "unused_str": 525}
    for name, value in fields.items():
        at = texts[version][name]
        raw[at : at + len(value)] = value
    length = 348 if version == 1 else 540
    body = raw[length + 4 :]
    blob = b""
    for code, content in extensions:
        size = (len(content) + 8 + 15) // 16 * 16
        blob += struct.pack(f"{order}2i", size, code) + content.ljust(size - 8, b"\0")
    if blob:
        raw[length] = 1
    start = length + 4 + len(blob)
    if version == 1:
        raw[108:112] = struct.pack(f"{order}f", start)
    else:
        raw[168:176] = struct.pack(f"{order}q", start)
    return bytes(raw[: length + 4]) + blob + bytes(body) + behind


def pair(folder: Path, **fields: bytes) -> Path:
    """x.hdr and x.img; the header's path."""
    image = nibabel.Nifti1Pair(voxels(), np.eye(4))
    nibabel.save(image, folder / "x.img")
    raw = bytearray((folder / "x.hdr").read_bytes())
    for name, value in fields.items():
        at = {"descrip": 148, "aux_file": 228}[name]
        raw[at : at + len(value)] = value
    (folder / "x.hdr").write_bytes(bytes(raw))
    return folder / "x.hdr"


def analyze(at: int, value: bytes) -> bytes:
    """A header of Analyze 7.5 with one text."""
    image = nibabel.AnalyzeImage(voxels(), np.eye(4))
    raw = bytearray(image.header.binaryblock)
    raw[at : at + len(value)] = value
    return bytes(raw)


def mha(lines: str = "", local: str = "LOCAL") -> bytes:
    """A MetaImage; `lines` before its last key."""
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 12 12 10\n"
        f"ElementType = MET_SHORT\n{lines}ElementDataFile = {local}\n"
    )
    return head.encode() + (voxels().tobytes() if local == "LOCAL" else b"")


def dicom(change: Callable[[FileDataset], None] = lambda data: None, *, removed: bool = True) -> bytes:
    """A DICOM file; `removed`: one whose identities are, as a public archive has it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(prefix="1.3.6.1.4.1.14519.5.2.1.")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.Manufacturer, data.SeriesDescription = "MR", "SIEMENS", "t1 mprage sag"
    data.Rows = data.Columns = 16
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelSpacing, data.ImagePositionPatient = [0.9, 0.9], [0, 0, 4.5]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelData = np.arange(256, dtype=np.uint16).tobytes()
    if removed:
        data.PatientIdentityRemoved, data.LongitudinalTemporalInformationModified = "YES", "MODIFIED"
    change(data)
    whole = io.BytesIO()
    data.save_as(whole, enforce_file_format=True)
    return whole.getvalue()


def named(content: bytes, name: bytes = b"", comment: bytes = b"") -> bytes:
    """A gzip that says a file's name or a comment."""
    packed = gzip.compress(content, mtime=0)
    flags = (8 if name else 0) | (16 if comment else 0)
    texts = (name + b"\0" if name else b"") + (comment + b"\0" if comment else b"")
    return packed[:3] + bytes([flags]) + packed[4:10] + texts + packed[10:]


def sidecar(**more: Any) -> bytes:
    """A JSON file as dcm2niix writes it, and more."""
    return json.dumps(SIDECAR | more).encode()
