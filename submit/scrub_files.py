"""How one file is cleaned, by its kind, and the proof that voxels and affine are what they were."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from submit import privacy_dicom, privacy_nifti, privacy_text, scrub_dicom
from submit.privacy_words import is_known_key, is_software, judge, texts, words

CHUNK = 1 << 20
# (source, target, what stands instead of what identifies in names, who is who in DICOM)
Cleaner = Callable[[Path, Path, Mapping[str, str], scrub_dicom.Persons], None]


def cleaner(path: Path) -> Cleaner | None:
    """What cleans a file, None where only a person can."""
    plain = path.name.lower().removesuffix(".gz")
    if privacy_dicom.is_dicom(path):
        return _dicom
    if path.name.lower().endswith(privacy_nifti.ENDINGS):
        return _half if plain.endswith(".img") else _nifti
    if plain.endswith((".mha", ".mhd")):
        return _metaimage
    if plain.endswith(".json"):
        return _json
    return _table if plain.endswith(tuple(privacy_text.TABLES)) else None


def proof(path: Path) -> tuple[str, str]:
    """SHA-256 of the bytes of the voxels, and of those that say where they lie; empty for what has none.

    Raises:
        Unreadable: the voxels are not all there.
    """
    plain = path.name.lower().removesuffix(".gz")
    if privacy_dicom.is_dicom(path):
        return scrub_dicom.proof(path)
    if path.name.lower().endswith(privacy_nifti.ENDINGS):
        if plain.endswith(".img"):
            return "", ""  # its cleaner copies its bytes, and its header is the other half
        return _proof_of_nifti(path)
    if plain.endswith((".mha", ".mhd")):
        with path.open("rb") as file:
            lines = privacy_text.meta_lines(file.read(privacy_text.HEADER))
            file.seek(sum(len(line) for _, _, line in lines))
            voxels = _sha256(file, None) if lines[-1][1].upper() == "LOCAL" else ""
        kept = words("metaimage", "keys") - {"ElementDataFile", "ID", "ParentID"}
        return voxels, hashlib.sha256("\n".join(f"{k}={v}" for k, v, _ in lines if k in kept).encode()).hexdigest()
    return "", ""


def _proof_of_nifti(path: Path) -> tuple[str, str]:
    with privacy_nifti.opened(path) as file:
        header = privacy_nifti.parse(file.read(540))
        voxels = ""
        if header.single:
            file.seek(header.start)
            voxels = _sha256(file, header.size)
    return voxels, hashlib.sha256(header.geometry).hexdigest()


def _sha256(file: BinaryIO, size: int | None) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(file, size):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: BinaryIO, size: int | None) -> Iterator[bytes]:
    """`size` bytes, or all that are left."""
    left = size
    while left is None or left > 0:
        chunk = file.read(CHUNK if left is None else min(CHUNK, left))
        if not chunk:
            if left:
                raise privacy_nifti.Unreadable
            return
        left = None if left is None else left - len(chunk)
        yield chunk


@contextmanager
def _into(target: Path, packed: bool) -> Iterator[BinaryIO]:
    """A gzip without a file's name and without a time."""
    with target.open("wb") as plain:
        if not packed:
            yield plain
            return
        with gzip.GzipFile("", "wb", 6, plain, mtime=0) as file:
            yield file  # type: ignore[misc]


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _nifti(source: Path, target: Path, codes: Mapping[str, str], persons: scrub_dicom.Persons) -> None:
    """The text fields and all extensions go; the voxels move up to where the extensions were."""
    with privacy_nifti.opened(source) as file, _into(target, _is_packed(source)) as into:
        header = privacy_nifti.parse(file.read(540))
        raw = bytearray(header.raw)
        for _, start, size in header.texts:
            # the mark of a phantom stays one
            if not all(is_software(text) for text in texts(header.raw[start : start + size])):
                raw[start : start + size] = bytes(size)
        if not header.kind:
            raw[36:40] = raw[36:38] + bytes(2)
            into.write(bytes(raw))
            return
        start = len(raw) + 4 if header.single else header.start
        # the voxels of a pair are in the .img, where they begin is that file's business
        if header.single:
            # the standard wants a multiple of 16: 352 and 544 are
            raw[_start_field(header)] = _start_bytes(header, start)
        into.write(bytes(raw) + bytes(4))
        if header.single:
            file.seek(header.start)
            for chunk in _chunks(file, header.size):
                into.write(chunk)


def _start_field(header: privacy_nifti.Header) -> slice:
    return slice(168, 176) if header.kind == 2 else slice(108, 112)


def _start_bytes(header: privacy_nifti.Header, start: int) -> bytes:
    import struct

    return struct.pack(f"{header.order}{'q' if header.kind == 2 else 'f'}", start)


def _half(source: Path, target: Path, codes: Mapping[str, str], persons: scrub_dicom.Persons) -> None:
    """The .img of a pair: its voxels, and nothing behind them."""
    plain = source.name[: -7 if source.name.lower().endswith(".gz") else -4]
    for ending in (".hdr", ".hdr.gz", ".HDR"):
        other = source.with_name(plain + ending)
        if other.is_file():
            with privacy_nifti.opened(other) as file:
                header = privacy_nifti.parse(file.read(540))
            break
    else:
        raise privacy_nifti.Unreadable
    start = 0 if header.start < len(header.raw) else header.start
    with privacy_nifti.opened(source) as file, _into(target, _is_packed(source)) as into:
        for chunk in _chunks(file, start + header.size):
            into.write(chunk)


def _metaimage(source: Path, target: Path, codes: Mapping[str, str], persons: scrub_dicom.Persons) -> None:
    """Lines of other keys than MetaIO's own go, and those in which something was found."""
    with source.open("rb") as file, target.open("wb") as into:
        lines = privacy_text.meta_lines(file.read(privacy_text.HEADER))
        for key, value, line in lines[:-1]:
            own = key in words("metaimage", "keys") or (key == "Comment" and is_software(value))
            if own and not privacy_text.meta_hits(key, value):
                into.write(line)
        key, value, line = lines[-1]
        if value.upper() == "LOCAL":
            into.write(line)
            file.seek(sum(len(each) for _, _, each in lines))
            for chunk in _chunks(file, None):
                into.write(chunk)
        else:
            name = _renamed(value, codes)
            # a file that is not in the data set has no new name
            name = "missing.raw" if judge(name, "name") else name
            into.write(f"{key} = {name}\n".encode("latin-1"))


def _renamed(text: str, codes: Mapping[str, str]) -> str:
    for was, code in codes.items():
        text = text.replace(was, code)
    return text


def _json(source: Path, target: Path, codes: Mapping[str, str], persons: scrub_dicom.Persons) -> None:
    value = _clean_value(privacy_text.load_json(source), "", codes)
    content = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    with _into(target, _is_packed(source)) as into:
        into.write(content)


GONE = object()


def _clean_value(value: Any, key: str, codes: Mapping[str, str]) -> Any:
    """The value without what identifies; GONE where nothing is left of it."""
    if isinstance(value, privacy_text.Pairs):
        cleaned = ((name, _clean_value(inner, name, codes)) for name, inner in value if not judge(name))
        return {name: inner for name, inner in cleaned if inner is not GONE}
    if isinstance(value, list):
        return [inner for inner in (_clean_value(one, key, codes) for one in value) if inner is not GONE]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        value = _renamed(value, codes)
    return GONE if privacy_text.value_hits(key, value) else value


def _table(source: Path, target: Path, codes: Mapping[str, str], persons: scrub_dicom.Persons) -> None:
    """Cells in which something was found are empty; no row and no column goes."""
    rows, delimiter = privacy_text.load_table(source)
    heads = rows[0] if rows else []
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    for row in rows:
        cells = []
        for number, cell in enumerate(row):
            head = heads[number] if number < len(heads) else ""
            cell = _renamed(cell, codes)
            found = judge(cell) if row is heads and not is_known_key(cell) else ()
            found = found if row is heads else privacy_text.value_hits(head, cell)
            cells.append("" if found else cell)
        writer.writerow(cells)
    with _into(target, _is_packed(source)) as into:
        into.write(text.getvalue().encode("utf-8", "replace"))


def _dicom(source: Path, target: Path, codes: Mapping[str, str], persons: scrub_dicom.Persons) -> None:
    scrub_dicom.clean(source, target, persons)
