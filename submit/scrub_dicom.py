"""DICOM files without what identifies: the basic profile of PS3.15 annex E, the pixels as they were."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submit.privacy_dicom import PIXELS, Unreadable, identifying, quiet
from submit.privacy_words import is_public_uid, judge, words

# PS3.16, CID 7050: what was done, in the standard's own word
METHOD = "Basic Application Confidentiality Profile, osgdl stage --scrub"
GEOMETRY = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "BitsAllocated",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
)
TEXTS = frozenset({"LO", "SH", "ST", "LT", "UT", "UC", "AE", "CS"})
# the file's own header: who wrote it, and notes (PS3.10, 7.1)
META = ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "ReceivingApplicationEntityTitle")
META_NOTES = ("PrivateInformationCreatorUID", "PrivateInformation", "ImplementationVersionName")


@dataclass
class Persons:
    """One person's files get one code. UIDs are hashed with a key that nobody keeps: a plain hash of a number that has
    few values is found by trying them all.
    """

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    codes: dict[bytes, str] = field(default_factory=dict, repr=False)

    def code(self, identity: str) -> str:
        """`person-0001`, the same for the same identity."""
        digest = hmac.digest(self.key, identity.encode("utf-8", "replace"), "sha256")
        return self.codes.setdefault(digest, f"person-{len(self.codes) + 1:04d}")

    def uid(self, uid: str) -> str:
        """Another UID, the same for the same; the standard's own stay (PS3.5, B.2: 2.25 and a number)."""
        if is_public_uid(uid) and not uid.startswith("2.25."):
            return uid
        digest = hmac.digest(self.key, uid.encode("utf-8", "replace"), "sha256")
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def clean(source: Path, target: Path, persons: Persons) -> None:
    """Writes `target`.

    Raises:
        Unreadable: cannot be read, or pydicom cannot write what it read.
    """
    import pydicom

    with quiet():
        try:
            data = pydicom.dcmread(source, force=True)
            identity = f"{data.get('PatientID', '')}\0{data.get('PatientName', '')}"
            syntax = getattr(data.file_meta, "TransferSyntaxUID", None)
            _clean(data, persons)
            data.PatientName = data.PatientID = persons.code(identity)
            data.PatientIdentityRemoved = "YES"
            data.DeidentificationMethod = METHOD
            data.LongitudinalTemporalInformationModified = "REMOVED"
            for keyword in (*META, *META_NOTES):
                if keyword in data.file_meta:
                    delattr(data.file_meta, keyword)
            _clean(data.file_meta, persons)
            data.preamble = bytes(128)
            if syntax is None:
                implicit, little = data.original_encoding
                data.save_as(target, implicit_vr=bool(implicit), little_endian=bool(little), enforce_file_format=False)
            else:
                data.save_as(target, enforce_file_format=False)
        except Exception:  # pydicom raises whatever its parts do, and says the value
            raise Unreadable from None


def _clean(data: Any, persons: Persons) -> None:
    for tag in list(data.keys()):
        if int(tag) in PIXELS:
            continue
        if tag.is_private or tag.group & 0xFF00 == 0x5000 or (tag.group & 0xFF00 == 0x6000):
            del data[tag]
            continue
        element = data[tag]
        keyword, kind = element.keyword, element.VR
        if keyword in words("dicom", "remove") or int(tag) >= 0xFFFA0000:
            del data[tag]
        elif kind == "SQ":
            for item in element.value or ():
                _clean(item, persons)
        elif kind == "UI":
            several = isinstance(element.value, (list, tuple)) or hasattr(element.value, "append")
            values = [persons.uid(str(uid)) for uid in (element.value if several else [element.value or ""]) if uid]
            element.value = values if several else "".join(values)
        elif kind in ("DA", "DT", "TM", "PN") or keyword in identifying():
            element.value = b"" if kind in ("OB", "OW", "UN") else ("" if kind in TEXTS | {"PN"} else None)
        elif keyword == "PatientAge" or (kind in TEXTS and any(judge(str(element.value), "header"))):
            element.value = _young(str(element.value)) if keyword == "PatientAge" else ""


def _young(age: str) -> str:
    """Ages above 89 are one group (45 CFR 164.514(b)(2)(i)(C))."""
    return "090Y" if age[:3].isdigit() and int(age[:3]) > 89 and age[3:4] in ("", "Y") else age


def proof(path: Path) -> tuple[str, str]:
    """SHA-256 of the pixels' bytes and of what says where they lie.

    Raises:
        Unreadable: cannot be read.
    """
    import pydicom

    with quiet():
        try:
            data = pydicom.dcmread(path, force=True)
            pixels = hashlib.sha256()
            for tag in sorted(PIXELS):
                if tag in data:
                    value = data.get_item(tag).value
                    pixels.update(value if isinstance(value, bytes) else repr(value).encode())
            where = "\n".join(f"{keyword}={data.get(keyword, '')}" for keyword in GEOMETRY)
        except Exception:
            raise Unreadable from None
    return pixels.hexdigest(), hashlib.sha256(where.encode()).hexdigest()
