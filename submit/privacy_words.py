"""What identifies a person, in words: texts and keys judged by data/privacy.toml. Nothing here ever hands out a value:
a hit is a place in the text and a sentence from the table.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

TABLE = Path(__file__).parent / "data" / "privacy.toml"
LONGEST = 1 << 20  # characters of one text that are looked at; a longer one is looked at in pieces
NAME = "a person's name"
MAYBE = "may be a person's name"


class Hit(NamedTuple):
    """`text[start:end]` looks like `what`."""

    start: int
    end: int
    what: str
    serious: bool = True


class Seen(NamedTuple):
    """A finding inside one file: where in it, what it looks like, whether it stops the staging."""

    where: str
    what: str
    serious: bool = True


@cache
def table() -> dict[str, Any]:
    """data/privacy.toml."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


@cache
def words(section: str, name: str) -> frozenset[str]:
    """A list of words of the table."""
    return frozenset(table()[section][name].split())


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str, bool, str], ...]:
    rows = table()["pattern"]
    return tuple(
        (re.compile(row["find"], re.IGNORECASE), row["what"], row.get("serious", True), row.get("in", "all"))
        for row in rows
    )


@cache
def _software() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in table()["software"]["are"]), re.IGNORECASE)


@cache
def _gone() -> re.Pattern[str]:
    return re.compile(table()["dicom"]["gone"], re.IGNORECASE)


@cache
def _public_uids() -> re.Pattern[str]:
    return re.compile(table()["dicom"]["public_uids"])


def is_gone(value: str) -> bool:
    """Whether a value says that there is none: empty, "ANONYMOUS", "0000-00-00"."""
    text = value.strip(" \0\t\r\n^.,")
    return not text or bool(_gone().fullmatch(text)) or not re.search(r"[^\W_]", text.replace("0", ""))


def is_software(text: str) -> bool:
    """Whether nothing but what software writes about itself stands in a text."""
    return not re.search(r"[^\W_]", _software().sub("", text))


def is_public_uid(value: str) -> bool:
    """Whether a UID is the standard's own, a public archive's or a hashed one."""
    return bool(_public_uids().match(value.strip(" \0")))


def judge(text: str, place: str = "all") -> list[Hit]:
    """What in a text looks like a person, a date, a number of a record; in the order of the text.

    Args:
        text: any.
        place: "name" for a file's or folder's, "header" for the short texts of an image, "prose" for texts about a
            data set, in which people and dates are expected.
    """
    if len(text) > LONGEST:
        return [
            Hit(hit.start + at, hit.end + at, hit.what, hit.serious)
            for at in range(0, len(text), LONGEST - 200)
            for hit in judge(text[at : at + LONGEST], place)
        ]
    # same length, so that places stay places; zero-width and fullwidth characters would hide a value
    text = "".join(_plain(letter) for letter in text)
    text = _software().sub(lambda found: "\x00" * len(found[0]), text)
    hits: list[Hit] = []
    for pattern, what, serious, where in _patterns():
        if where in ("all", place):
            hits += [
                Hit(found.start(), found.end(), what, serious)
                for found in pattern.finditer(text)
                if not (what.startswith("a UID") and is_public_uid(found[0]))
            ]
    if place == "prose":
        allowed = set(table()["prose"]["whats"])
        return sorted(hit for hit in hits if hit.what in allowed or _labelled(text, hit))
    hits += _people(text, place)
    spans = [hit for hit in hits if not hit.what.startswith("a number as long")]
    return sorted(
        {hit for hit in hits if hit in spans or not any(one.start < hit.end and hit.start < one.end for one in spans)}
    )


def _plain(letter: str) -> str:
    if letter.isascii():
        return letter
    if unicodedata.category(letter) == "Cf":
        return "'"
    other = unicodedata.normalize("NFKC", letter)
    return other if len(other) == 1 else letter


def _labelled(text: str, hit: Hit) -> bool:
    return hit.what == NAME and "name" in text[hit.start : hit.end].lower()


def _bare(word: str) -> str:
    """`Müller`, `MULLER`, `O'Brien` as the table has them."""
    plain = unicodedata.normalize("NFKD", word.replace("ß", "ss"))
    return re.sub(r"[\W_]", "", "".join(one for one in plain if not unicodedata.combining(one))).lower()


_WORD = re.compile(
    r"[A-ZÀ-Þ]['’][A-ZÀ-Þ]?[^\W\d_A-ZÀ-Þ]+|[A-ZÀ-Þ]?[^\W\d_A-ZÀ-Þ]+(?:['’][^\W\d_]+)?|[A-ZÀ-Þ]['’]?[A-ZÀ-Þ]+|[^\W\d_]+"
)
_JOINED = re.compile(r"[^\W\d_]{6,40}")


def _people(text: str, place: str) -> Iterator[Hit]:
    """A given name beside a surname; in a name of a file also one alone, or both in one word."""
    given, surnames = words("words", "given"), words("words", "surnames")
    found = [(match.start(), match.end(), _bare(match[0])) for match in _WORD.finditer(text)]
    for (start, end, one), (begin, stop, two) in pairwise(found):
        between = text[end:begin]
        near = len(between) <= 2 and not re.search(r"[\w\x00/\\:;=]", between.replace("_", ""))
        if near and ((one in given and two in surnames) or (one in surnames and two in given)):
            yield Hit(start, stop, NAME)
    # Smith_J_John: a middle name or an initial between
    for (start, _, one), (_, _, middle), (_, stop, two) in zip(found, found[1:], found[2:], strict=False):
        short = stop - start <= len(one) + len(middle) + len(two) + 4
        if short and ((one in given and two in surnames) or (one in surnames and two in given)):
            yield Hit(start, stop, NAME)
    two_words = re.fullmatch(r"\s*[A-Z][a-zà-ÿ'’-]+[ ,_]{1,2}[A-Z][a-zà-ÿ'’-]+\s*", text)
    if place == "header" and two_words and not {word for _, _, word in found} & words("words", "imaging"):
        yield Hit(0, len(text), MAYBE, serious=False)
    if place == "name":
        for match in _JOINED.finditer(text):
            whole = _bare(match[0])
            parts = [(whole[:cut], whole[cut:]) for cut in range(2, len(whole) - 1)]
            if any((a in given and b in surnames) or (a in surnames and b in given) for a, b in parts):
                yield Hit(match.start(), match.end(), NAME)
        telling = [one for one in found if one[2] not in words("words", "imaging") and len(one[2]) > 1]
        yield from _alone(telling)


def _alone(telling: list[tuple[int, int, str]]) -> Iterator[Hit]:
    given, surnames = words("words", "given"), words("words", "surnames")
    if len(telling) == 1:
        start, end, word = telling[0]
        if word in (given | surnames) - words("words", "ambiguous"):
            yield Hit(start, end, MAYBE, serious=False)


def plain_key(key: str) -> str:
    """`PatientBirthDate`, `patient_birth_date`, `Patient's birth date` -> as the table writes keys."""
    return re.sub(r"[\W_]", "", key).lower()


@cache
def _keys() -> dict[str, tuple[str, bool]]:
    known = {key: (what, True) for what, row in table()["keys"].items() for key in row.split()}
    return {key: (what, False) for what, row in table()["weak_keys"].items() for key in row.split()} | known


def key_says(key: str, value: str) -> Hit | None:
    """What any value under `key` is, where the table knows; nothing for a value that says that there is none."""
    plain = plain_key(key)
    if is_gone(value):
        return None
    if plain in _keys():
        what, serious = _keys()[plain]
        if what.startswith("a UID") and is_public_uid(value):
            return None
        return Hit(0, len(value), what, serious)
    if plain in words("doubtful_keys", NAME) and _may_be_a_name(value):
        return Hit(0, len(value), MAYBE, serious=False)
    return None


def _may_be_a_name(value: str) -> bool:
    parts = [_bare(part) for part in re.split(r"[\s,]+", value) if part]
    shaped = re.fullmatch(r"\s*[A-ZÀ-Þ][\w'’.-]*(?:,? +[A-ZÀ-Þ][\w'’.-]*){1,3}\s*", value)
    return bool(shaped) and not set(parts) & words("words", "imaging") and not re.search(r"\d", value)


def is_known_key(key: str) -> bool:
    """Whether the table has it: only then may a report say it."""
    return plain_key(key) in _keys() or plain_key(key) in words("doubtful_keys", NAME)


def masked(text: str, hits: list[Hit]) -> str:
    """The text with everything in the hits starred: the first letter of each word stays, no digit does."""
    hidden = list(text)
    for hit in hits:
        for place in range(hit.start, min(hit.end, len(text))):
            first = place == hit.start or not text[place - 1].isalnum()
            longer = text[place].isalpha() and text[place + 1 : place + 2].isalpha() and place + 1 < hit.end
            if text[place].isalnum() and not (first and longer):
                hidden[place] = "*"
    return "".join(one if one.isprintable() else "?" for one in hidden)


def texts(content: bytes) -> list[str]:
    """The texts in a field of bytes: as UTF-8 or Latin-1, what follows a zero byte too, and UTF-16 taken apart."""
    if not content.strip(b"\0 "):
        return []
    read = _decoded(content)
    found = [re.sub(r"[\x00-\x08\x0b-\x1f]+", "\n", read)]
    if b"\0" in content.strip(b"\0"):
        found.append(_decoded(content.replace(b"\0", b"")))
    return found


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def of_bytes(content: bytes, where: str, place: str = "header") -> list[Seen]:
    """What is in a field of bytes, each kind once."""
    return list(
        dict.fromkeys(Seen(where, hit.what, hit.serious) for text in texts(content) for hit in judge(text, place))
    )
