"""What identifies in a DICOM file or data set: the tags of the standard's basic profile (PS3.15 annex E), private ones,
texts wherever they are, burned-in annotations. Reads no pixels.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from submit.privacy_words import Seen, is_gone, is_public_uid, judge, of_bytes, table, words

ENDINGS = (".dcm", ".dicom", ".ima", ".dic")
LARGE = 1 << 16  # bytes from which a value is left on the disk: pixels
DATES = {"DA": "a date", "DT": "a date", "TM": "a time of day"}
BINARY = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN", "US", "SS", "UL", "SL", "FL", "FD", "SV", "UV", "AT"})
# pixel data of every kind: not looked into
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
# what the standard's own texts say of a de-identified file
METHOD = frozenset({"PatientIdentityRemoved", "DeidentificationMethod", "LongitudinalTemporalInformationModified"})


class Unreadable(Exception):
    """Not a DICOM file, or a torn one; it never says what was held."""


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom's warnings and log lines repeat values: none of them gets out."""
    logger = logging.getLogger("pydicom")
    was = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was


def is_dicom(path: Path) -> bool:
    """By its ending, or by DICM at byte 128."""
    if path.name.lower().endswith(ENDINGS):
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def examine(path: Path) -> list[Seen]:
    """Every finding in one DICOM file.

    Raises:
        Unreadable: not one, or torn.
    """
    with path.open("rb") as file:
        head = file.read(132)
        file.seek(0)
        seen = of_bytes(head[:128], "the preamble") if head[128:] == b"DICM" else []
        return seen + of_dataset(file)


def of_dataset(file: BinaryIO) -> list[Seen]:
    """Every finding in a data set with or without preamble and file meta information.

    Raises:
        Unreadable: not one, or torn.
    """
    import pydicom
    from pydicom.datadict import dictionary_has_tag

    with quiet():
        try:
            data = pydicom.dcmread(file, defer_size=LARGE, force=True)
            # force reads anything as tags and lengths: one tag of the standard must be there
            if not any(dictionary_has_tag(tag) for tag in list(data.keys())):
                raise Unreadable
            removed = _word(data, "PatientIdentityRemoved") == "YES"
            moved = _word(data, "LongitudinalTemporalInformationModified") in ("MODIFIED", "REMOVED")
            meta = getattr(data, "file_meta", None)
            seen = list(_elements(meta, True, True)) if meta else []
            seen += _elements(data, removed, removed and moved)
            seen += _picture(data)
        except Unreadable:
            raise
        except Exception:  # pydicom raises whatever its parts do, and says the value
            raise Unreadable from None
    return list(dict.fromkeys(seen))


def _word(data: Any, keyword: str) -> str:
    value = data.get(keyword)
    return str(value).strip().upper() if value is not None else ""


@cache
def identifying() -> frozenset[str]:
    """Keywords of the basic profile whose kind of value doesn't say it."""
    return words("dicom", "remove") | words("dicom", "blank")


def _elements(data: Any, removed: bool, moved: bool) -> Iterator[Seen]:
    """`removed`: the file says that identities are; `moved`: that its dates are not the true ones."""
    private = 0
    for tag in list(data.keys()):
        raw = data.get_item(tag)
        if int(tag) in PIXELS or (raw is not None and raw.value is None and getattr(raw, "length", 0) > LARGE):
            private += tag.is_private
            continue
        element = data[tag]
        if element.VR == "SQ":
            private += tag.is_private
            for item in element.value or ():
                yield from _elements(item, removed, moved)
            continue
        if tag.is_private:
            private += tag.element > 0xFF  # those below reserve a block: a name of the maker
            where = f"({tag.group:04X},{tag.element:04X}) private"
            yield from _texts(where, element)
            continue
        where = f"({tag.group:04X},{tag.element:04X}) {element.keyword or 'unknown tag'}"
        found = list(_element(where, tag, element, removed, moved))
        yield from found or (() if element.keyword in METHOD else _texts(where, element))
    if private:
        yield Seen("private tags", "holds what only their maker knows", serious=not removed)


def _element(where: str, tag: Any, element: Any, removed: bool, moved: bool) -> Iterator[Seen]:
    values = [str(value) for value in _several(element.value)]
    if all(is_gone(value) for value in values):
        return
    keyword, kind = element.keyword, element.VR
    if tag.group & 0xFF00 == 0x5000 or (tag.group & 0xFF00 == 0x6000 and tag.element in (0x3000, 0x4000)):
        yield Seen(
            f"({tag.group:04X},{tag.element:04X}) overlay or curve", "may have writing in it", serious=not removed
        )
    elif kind in DATES:
        # one and the same dummy, for files in which the standard wants a date
        if not moved and not all(re.fullmatch(r"19000101.*|0+(?:\.0+)?|0*", value) for value in values):
            yield Seen(where, DATES[kind])
    elif kind == "UI":
        own = keyword.endswith("UID") and tag.group != 2 and not all(is_public_uid(value) for value in values)
        if own and not removed:
            yield Seen(where, "a UID, which leads to the clinic's record")
    elif kind == "PN":
        if not removed or keyword != "PatientName" or any("^" in value.strip("^") for value in values):
            yield Seen(where, "a person's name")
    elif keyword == "PatientID":
        if not removed:
            yield Seen(where, "a record number")
    elif keyword == "PatientAge":
        # 90 stands for that and above
        if any(value[:3].isdigit() and int(value[:3]) > 90 and value[3:4] in ("Y", "") for value in values):
            yield Seen(where, "an age above 89")
    elif keyword in identifying() and keyword != "ConfidentialityCode":
        yield Seen(where, "is on DICOM's list of what identifies")


def _several(value: Any) -> list[Any]:
    from pydicom.multival import MultiValue

    return list(value) if isinstance(value, (list, tuple, MultiValue)) else [value]


def _texts(where: str, element: Any) -> Iterator[Seen]:
    for value in _several(element.value):
        if isinstance(value, bytes):
            yield from of_bytes(value[:LARGE], where)
        elif element.VR not in BINARY and element.VR not in ("UI", "DS", "IS") and value is not None:
            for hit in judge(str(value), "header"):
                yield Seen(where, hit.what, hit.serious)


def _picture(data: Any) -> Iterator[Seen]:
    if _word(data, "BurnedInAnnotation") == "YES":
        yield Seen("(0028,0301) BurnedInAnnotation", "says that writing is in the picture itself")
    elif re.fullmatch(table()["dicom"]["pictures"], str(data.get("SOPClassUID", ""))) and not _word(
        data, "BurnedInAnnotation"
    ):
        yield Seen("(0008,0016) SOPClassUID", "is a kind of picture that may have writing in it", serious=False)
    if _word(data, "RecognizableVisualFeatures") == "YES":
        yield Seen("(0028,0302) RecognizableVisualFeatures", "says that a face can be recognised", serious=False)
