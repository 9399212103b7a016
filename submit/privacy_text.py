"""What identifies in texts: JSON sidecars, tables, headers of MetaImage and NRRD, and any other text."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from submit.privacy_nifti import opened
from submit.privacy_words import Hit, Seen, is_known_key, is_software, judge, key_says, plain_key, table, texts, words

LONGEST = 64 << 20  # bytes of a text that are looked at
DEEPEST = 200  # levels of a JSON value
HEADER = 1 << 20  # bytes of a header of MetaImage or NRRD; a real one has some hundreds
TABLES = {".csv": ",", ".tsv": "\t"}


class Unreadable(Exception):
    """Not what its name says; it never says what was held."""


def whole(path: Path) -> str:
    """A text of any encoding.

    Raises:
        Unreadable: longer than the gate reads, or bytes that are no text.
    """
    with opened(path) as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise Unreadable
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    if b"\0" in content:
        raise Unreadable
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def of_text(path: Path) -> list[Seen]:
    """Of any text: by line, so that a report says where."""
    prose = re.fullmatch(table()["prose"]["files"], path.name, re.IGNORECASE)
    place = "prose" if prose else "all"
    text, seen = whole(path), []
    line, last = 1, 0
    for hit in judge(text, place):
        line, last = line + text.count("\n", last, hit.start), hit.start
        seen.append(Seen(f"line {line}", hit.what, hit.serious))
    return list(dict.fromkeys(seen))


class Pairs(list[tuple[str, Any]]):
    """A JSON object with every pair that stands in it: a key can stand there twice, and a reader sees one."""


def load_json(path: Path) -> Any:
    """The value in a file, its objects as Pairs.

    Raises:
        Unreadable: no JSON.
    """
    try:
        return json.loads(whole(path), object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        raise Unreadable from None


def of_json(path: Path) -> list[Seen]:
    """Of every key and value, however deep."""
    return list(dict.fromkeys(of_value(load_json(path), "JSON", "")))


def of_value(value: Any, where: str, key: str, depth: int = 0) -> Iterator[Seen]:
    """Of a JSON value under `key`. Keys are said where the table knows them, others by their number."""
    if depth > DEEPEST:
        yield Seen(where, "is nested deeper than the gate reads")
    elif isinstance(value, Pairs):
        for number, (name, inner) in enumerate(value, 1):
            place = f"{where}, {name}" if is_known_key(name) else f"{where}, key {number}"
            for hit in judge(name):
                yield Seen(f"{where}, the name of key {number}", hit.what, hit.serious)
            yield from of_value(inner, place, name, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from of_value(inner, where, key, depth + 1)
    elif value is not None and not isinstance(value, bool):
        for hit in value_hits(key, value):
            yield Seen(where, hit.what, hit.serious)


def value_hits(key: str, value: object) -> list[Hit]:
    """What one value under one key is."""
    text = str(value)
    known = key_says(key, text)
    if known:
        return [known]
    plain = plain_key(key)
    if plain in words("keys_of_authors", "are"):
        return judge(text, "prose")
    if not isinstance(value, str):
        dated = re.search(r"date|birth|day", plain)
        if plain in ("age", "patientage", "ageatscan") and _above_89(text):
            return [Hit(0, len(text), "an age above 89")]
        return [hit for hit in judge(text) if hit.what == "a date"] if dated else []
    if plain in ("age", "patientage", "ageatscan") and _above_89(text):
        return [Hit(0, len(text), "an age above 89")]
    return judge(text, "header" if "time" in plain else "all")


def _above_89(text: str) -> bool:
    # HIPAA's rule: ages above 89 identify (45 CFR 164.514(b)(2)(i)(C)); DICOM writes 091Y
    number = re.fullmatch(r"\s*(\d{1,3}(?:\.\d*)?)\s*[yY]?\s*", text)
    return bool(number) and 89 < float(number[1] if number else 0) < 130


def load_table(path: Path) -> tuple[list[list[str]], str]:
    """The rows of a table, and what stands between its cells: `;` where a .csv begins with more of them than commas.

    Raises:
        Unreadable: no table.
    """
    text = whole(path)
    first = text.partition("\n")[0]
    delimiter = TABLES[Path(path.name.lower().removesuffix(".gz")).suffix]
    if delimiter == "," and first.count(";") > first.count(","):
        delimiter = ";"
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)), delimiter
    except csv.Error:
        raise Unreadable from None


def of_table(path: Path) -> list[Seen]:
    """Of every cell, once for a column and kind."""
    rows, _ = load_table(path)
    seen: dict[Seen, None] = {}
    heads = rows[0] if rows else []
    for row in rows:
        for number, cell in enumerate(row):
            head = heads[number] if number < len(heads) else ""
            place = f"column {number + 1} ({head.strip()})" if is_known_key(head) else f"column {number + 1}"
            for hit in judge(cell) if row is heads else value_hits(head, cell):
                seen.setdefault(Seen(place, hit.what, hit.serious))
    return list(seen)


def of_workbook(path: Path) -> list[Seen]:
    """Of the texts of an .xlsx, without the numbers."""
    seen: list[Seen] = []
    try:
        with zipfile.ZipFile(path) as book:
            for name in book.namelist():
                if re.fullmatch(r"xl/(sharedStrings|comments\d*|worksheets/[^/]+)\.xml", name):
                    if book.getinfo(name).file_size > LONGEST:
                        raise Unreadable
                    strings = re.findall(r"<t[^>]*>([^<]*)</t>", book.read(name).decode("utf-8", "replace"))
                    for text in strings:
                        seen += [Seen("a cell", hit.what, hit.serious) for hit in judge(text)]
                        if is_known_key(text):
                            seen.append(Seen("a cell", "is the head of a column that identifies"))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError):
        raise Unreadable from None
    return list(dict.fromkeys(seen))


def meta_lines(content: bytes) -> list[tuple[str, str, bytes]]:
    """Key, value and whole line of each line of a MetaImage's header, to ElementDataFile.

    Raises:
        Unreadable: no such header.
    """
    lines, at = [], 0
    while (end := content.find(b"\n", at)) >= 0 or at < len(content):
        line = content[at : end + 1] if end >= 0 else content[at:]
        key, equals, value = line.decode("latin-1").partition("=")
        if not equals:
            break
        lines.append((key.strip(), value.strip(), line))
        at += len(line)
        if key.strip() == "ElementDataFile":
            return lines
    raise Unreadable


def meta_hits(key: str, value: str) -> list[Hit]:
    """What one value of a header of MetaImage is. ITK writes DICOM's tags as keys, `0010|0010`."""
    tag = re.fullmatch(r"([0-9a-fA-F]{4})\|([0-9a-fA-F]{4})", key)
    if tag:
        from pydicom.datadict import keyword_for_tag

        key = keyword_for_tag(int(tag[1] + tag[2], 16)) or ""
    hits = [hit for text in texts(value.encode("latin-1")) for hit in value_hits(key, text)]
    if (
        not hits
        and key not in words("metaimage", "keys")
        and plain_key(key) in ("comment", "comments")
        and not is_software(value)
    ):
        hits = [Hit(0, len(value), "is free text, which a person must read", serious=False)]
    return hits


def of_metaimage(path: Path) -> list[Seen]:
    """Of a header of .mha or .mhd."""
    with path.open("rb") as file:
        lines = meta_lines(file.read(HEADER))
        local = lines[-1][1].upper() == "LOCAL"
        behind = b"" if local else file.read()
    seen: list[Seen] = []
    for number, (key, value, _) in enumerate(lines, 1):
        known = (
            is_known_key(key)
            or key in words("metaimage", "keys")
            or re.fullmatch(r"[0-9a-fA-F]{4}\|[0-9a-fA-F]{4}", key)
        )
        place = f"MetaImage {key}" if known else f"MetaImage line {number}"
        seen += [Seen(place, hit.what, hit.serious) for hit in (*judge(key), *meta_hits(key, value))]
        if key == "ElementDataFile" and not local:
            seen += [Seen(place, hit.what, hit.serious) for hit in judge(value, "name")]
    if behind:
        seen += [Seen("behind the header", hit.what, hit.serious) for text in texts(behind) for hit in judge(text)]
    return list(dict.fromkeys(seen))


def of_nrrd(path: Path) -> list[Seen]:
    """Of a header of .nrrd or .nhdr: lines to the first empty one (http://teem.sourceforge.net/nrrd/format.html)."""
    with path.open("rb") as file:
        head = re.split(rb"\r?\n\r?\n", file.read(HEADER), maxsplit=1)[0]
    if not head.startswith(b"NRRD"):
        raise Unreadable
    seen: list[Seen] = []
    for number, line in enumerate(head.decode("latin-1").splitlines()[1:], 2):
        key, _, value = line.lstrip("# ").partition(":")
        hits = meta_hits(key, value.lstrip("= ").strip()) if value else judge(line, "header")
        seen += [Seen(f"NRRD line {number}", hit.what, hit.serious) for hit in hits]
    return list(dict.fromkeys(seen))
