"""The texts in a NIfTI file (1 and 2, either byte order, .nii, .nii.gz, .hdr with .img) and in its forebear Analyze:
fields of the header, extensions, and whatever lies between and behind. Reads headers, not voxels.

Layout of the bytes: nifti1.h, nifti2.h and nifti1_io.h of the NIfTI Data Format Working Group; Analyze 7.5: the Mayo
Clinic's dbh.h. Extensions: https://nifti.nimh.nih.gov/nifti-1/documentation/faq, "ecode".
"""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from submit import privacy_dicom
from submit.privacy_words import Seen, of_bytes

ENDINGS = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
LONGEST = 16 << 20  # bytes of extensions that are looked at; a real one has some kilobytes
DICOM, AFNI, COMMENT = 2, 4, 6  # ecodes
# where texts lie: name, first byte, bytes
TEXTS_1 = (
    ("data_type", 4, 10),
    ("db_name", 14, 18),
    ("descrip", 148, 80),
    ("aux_file", 228, 24),
    ("intent_name", 328, 16),
)
TEXTS_2 = (("descrip", 240, 80), ("aux_file", 320, 24), ("intent_name", 508, 16), ("unused_str", 525, 15))
TEXTS_ANALYZE = (
    ("data_type", 4, 10),
    ("db_name", 14, 18),
    ("vox_units", 56, 4),
    ("cal_units", 60, 8),
    ("descrip", 148, 80),
    ("aux_file", 228, 24),
    ("originator", 253, 10),
    ("generated", 263, 10),
    ("scannum", 273, 10),
    ("patient_id", 283, 10),
    ("exp_date", 293, 10),
    ("exp_time", 303, 10),
)
ANALYZE_KEYS = {"patient_id": "a record number", "exp_date": "a date", "exp_time": "a time of day"}


class Unreadable(Exception):
    """Not what its name says, or torn; it never says what was held."""


@dataclass(frozen=True)
class Header:
    """A header as bytes and the little that is needed of it. `kind` 1 or 2, 0 for Analyze; `order` "<" or ">";
    `start`: byte at which the voxels begin, 0 in an .img; `size`: bytes of the voxels.
    """

    raw: bytes
    kind: int
    order: str
    dims: tuple[int, ...]
    datatype: int
    bits: int
    spacing: tuple[float, ...]
    start: int
    size: int
    single: bool

    @property
    def texts(self) -> tuple[tuple[str, int, int], ...]:
        """Name, first byte and bytes of each text field."""
        return {0: TEXTS_ANALYZE, 1: TEXTS_1, 2: TEXTS_2}[self.kind]

    @property
    def geometry(self) -> bytes:
        """The bytes that say where the voxels lie: dim, pixdim, qform, sform."""
        spans = ((16, 80), (104, 168), (344, 500)) if self.kind == 2 else ((40, 56), (76, 108), (252, 328))
        return b"".join(self.raw[start:end] for start, end in spans[: 2 if self.kind == 0 else 3])


def parse(raw: bytes) -> Header:
    """From the first 540 bytes of a file (348 are enough for NIfTI-1).

    Raises:
        Unreadable: no header of the kind.
    """
    for order in "<>":
        if len(raw) < 348:
            break
        length = struct.unpack(f"{order}i", raw[:4])[0]
        magic = raw[344:348]
        if length == 540 and raw[4:8] in (b"n+2\0", b"ni2\0") and len(raw) >= 540:
            count, *sides = struct.unpack(f"{order}8q", raw[16:80])
            datatype, bits = struct.unpack(f"{order}2h", raw[12:16])
            steps = struct.unpack(f"{order}8d", raw[104:168])
            (start,) = struct.unpack(f"{order}q", raw[168:176])
            return _header(raw[:540], 2, order, count, sides, datatype, bits, steps, start, raw[4:7] == b"n+2")
        if length == 348:
            count, *sides = struct.unpack(f"{order}8h", raw[40:56])
            datatype, bits = struct.unpack(f"{order}2h", raw[70:74])
            steps = struct.unpack(f"{order}8f", raw[76:108])
            (at,) = struct.unpack(f"{order}f", raw[108:112])
            if magic not in (b"n+1\0", b"ni1\0"):
                return _header(raw[:348], 0, order, count, sides, datatype, bits, steps, 0, False)
            start = int(at) if math.isfinite(at) else -1
            return _header(raw[:348], 1, order, count, sides, datatype, bits, steps, start, magic == b"n+1\0")
    raise Unreadable


def _header(
    raw: bytes,
    kind: int,
    order: str,
    count: int,
    sides: list[int],
    datatype: int,
    bits: int,
    steps: tuple[float, ...],
    start: int,
    single: bool,
) -> Header:
    if not 1 <= count <= 7 or min(sides[:count]) < 1 or bits < 0 or start < 0 or start > 1 << 40:
        raise Unreadable
    dims = tuple(sides[:count])
    size = (math.prod(dims) * bits + 7) // 8
    least = len(raw) + 4 if single else 0
    # 0 is written by some and read as "right behind the header"
    return Header(raw, kind, order, dims, datatype, bits, steps[1 : count + 1], max(start, least), size, single)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where they are a gzip, whatever its name says."""
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=plain) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            yield plain


def examine(path: Path) -> list[Seen]:
    """Every finding in one file of NIfTI or Analyze, or in the voxels' half of one.

    Raises:
        Unreadable: torn, or not one.
    """
    seen = gzip_names(path)
    with opened(path) as file:
        # the pair's other half has voxels alone, and what is behind them is looked at with the header at hand
        if path.name.lower().removesuffix(".gz").endswith(".img"):
            return seen + _behind_the_pair(path, file)
        header = parse(file.read(540))
        for name, start, size in header.texts:
            field = header.raw[start : start + size]
            found = of_bytes(field, f"NIfTI {name}" if header.kind else f"Analyze {name}")
            if name in ANALYZE_KEYS and not found and re.search(rb"[1-9A-Za-z]", field):
                found = [Seen(f"Analyze {name}", ANALYZE_KEYS[name])]
            seen += found
        file.seek(len(header.raw))
        if header.start - len(header.raw) > LONGEST:
            return [*seen, Seen("NIfTI extensions", "is longer than the gate reads")]
        # of a header alone: all that follows it
        rest = file.read(header.start - len(header.raw) if header.single else LONGEST)
        seen += extensions(rest, header.order) if header.kind else of_bytes(rest, "behind the header")
        if header.single:
            seen += _behind(path, file, header)
    return seen


def extensions(rest: bytes, order: str) -> list[Seen]:
    """What lies between a header and the voxels: four bytes of which the first says whether extensions follow."""
    seen: list[Seen] = of_bytes(rest[1:4], "NIfTI extension flag")
    at, number = 4, 0
    while rest[:1] not in (b"", b"\0") and at + 8 <= len(rest):
        size, code = struct.unpack(f"{order}2i", rest[at : at + 8])
        if size < 8 or at + size > len(rest):
            break
        number += 1
        seen += _extension(rest[at + 8 : at + size], code, number)
        at += size
    return seen + of_bytes(rest[at:], "between the NIfTI header and the voxels")


def _extension(content: bytes, code: int, number: int) -> list[Seen]:
    kind = {DICOM: "DICOM", AFNI: "AFNI", COMMENT: "comment"}.get(code, f"code {code}")
    where = f"NIfTI extension {number} ({kind})"
    if not content.strip(b"\0 \n"):
        return []
    # of_bytes also where DICOM was read: what its reader took for padding
    seen = of_bytes(content, where, "header" if code == COMMENT else "all")
    if code == DICOM or content[128:132] == b"DICM":
        try:
            inside = privacy_dicom.of_dataset(io.BytesIO(content))
        except privacy_dicom.Unreadable:
            inside = [] if seen else [Seen("", "cannot be read, so cannot be checked")]
        seen = [Seen(f"{where} {one.where}".rstrip(), one.what, one.serious) for one in inside] or seen
    elif code != AFNI and not seen:
        what = (
            "is free text, which a person must read"
            if code == COMMENT
            else "is of a kind that the gate cannot look into"
        )
        seen = [Seen(where, what, serious=False)]
    return seen


def gzip_names(path: Path) -> list[Seen]:
    """What a gzip says in its own header: the file's first name, a comment, extra bytes (RFC 1952)."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if head[:2] != b"\x1f\x8b" or len(head) < 10:
        return []
    flags, at = head[3], 10
    seen: list[Seen] = []
    if flags & 4 and len(head) >= 12:
        size = int.from_bytes(head[10:12], "little")
        seen += of_bytes(head[12 : 12 + size], "gzip extra field")
        at = 12 + size
    for flag, what in ((8, "gzip file name"), (16, "gzip comment")):
        if flags & flag:
            end = head.find(b"\0", at)
            end = len(head) if end < 0 else end
            seen += of_bytes(head[at:end], what, "name")
            at = end + 1
    return seen


def _behind(path: Path, file: BinaryIO, header: Header) -> list[Seen]:
    """What follows the voxels; only read where the file is longer than they are."""
    end = header.start + header.size
    if not _longer(path, end):
        return []
    file.seek(end)
    return of_bytes(file.read(LONGEST), "behind the voxels")


def _behind_the_pair(path: Path, file: BinaryIO) -> list[Seen]:
    gz = ".gz" if path.name.lower().endswith(".gz") else ""
    stem = path.name[: -4 - len(gz)]
    for name in (f"{stem}.hdr{gz}", f"{stem}.hdr", f"{stem}.hdr.gz", f"{stem}.HDR"):
        if (path.parent / name).is_file():
            with opened(path.parent / name) as other:
                header = parse(other.read(540))
            # its own vox_offset says where they begin in the .img
            start = 0 if header.start < len(header.raw) else header.start
            if not _longer(path, start + header.size):
                return []
            file.seek(start + header.size)
            return of_bytes(file.read(LONGEST), "behind the voxels")
    raise Unreadable


def _longer(path: Path, end: int) -> bool:
    """Whether the unpacked file has more than `end` bytes, by the size that a gzip ends with (modulo 4 GiB)."""
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        length = plain.seek(0, 2)
        if not packed:
            return length > end
        plain.seek(max(0, length - 4))
        size = int.from_bytes(plain.read(4), "little")
    return size != end % (1 << 32)
