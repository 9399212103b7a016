"""A tar read from front to back, by a reader that believes nothing it says.

Ours and not `tarfile`: in the Pythons of old images that one holds a header of any size in memory, loops on negative
sizes (CVE-2025-8194), fills in the holes of sparse files, takes a kind that it does not know for a file, and ends in
silence where a tar is torn between two members. This one knows the formats that GNU tar, bsdtar and tarfile write
(POSIX.1-1988 ustar, POSIX.1-2001 pax, GNU long names), and refuses what is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional, Protocol

BLOCK = 512
CHUNK = 1 << 20
LONGEST_HEADER = 1 << 20  # bytes of all pax headers and long names before a member; Linux allows paths of 4096 bytes
LONGEST_PADDING = 1 << 26  # bytes of zeros after the end mark; tapes had records of 10 KiB

_FILE, _FOLDER = (b"0", b"\0", b"7"), b"5"
_KINDS = {
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a file with holes",
}
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ")


class Damaged(Exception):
    """No tar, or not all of one."""


class Readable(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` of them, none at the end."""


@dataclass(frozen=True)
class Member:
    """As its header says: `kind` is "file", "folder", or in words what it is instead."""

    name: str
    bytes: int
    kind: str


class Content:
    """The bytes of the member that the iterator stands at."""

    def __init__(self, stream: Readable, size: int) -> None:
        self._stream, self.left = stream, size

    def read(self, size: int = CHUNK, /) -> bytes:
        """At most `size` of them, none at the end; Damaged where the tar ends first."""
        if not self.left:
            return b""
        content = self._stream.read(min(size, self.left))
        if not content:
            raise Damaged("it ends inside a member")
        self.left -= len(content)
        return content


def members(stream: Readable) -> Iterator[tuple[Member, Content]]:
    """Each member and its bytes, which are skipped where nobody reads them. `stream` is read to its very end.

    Raises:
        Damaged: a header is wrong, the end mark is missing, or something follows it.
    """
    longer: dict[str, bytes] = {}  # what headers before a member's own say of it
    headers = 0  # bytes of these
    while True:
        block = _exactly(stream, BLOCK)
        if not any(block):
            break
        kind, size, name = _header(block)
        if kind in (b"x", b"g", b"L", b"K"):
            headers += BLOCK + size
            if headers > LONGEST_HEADER:
                raise Damaged(f"headers of {headers:,} bytes before a member")
            content = _exactly(stream, -(-size // BLOCK) * BLOCK)[:size]
            if kind == b"x":
                longer.update(_records(content))
            elif kind == b"g":
                bad = sorted({"path", "size", "linkpath"} & set(_records(content)))
                if bad:
                    raise Damaged(f"a header that gives all members one {bad[0]}")
            elif kind == b"L":
                longer["path"] = content.rstrip(b"\0")
            continue
        member = _member(kind, size, name, longer)
        longer, headers = {}, 0
        content_of = Content(stream, member.bytes)
        yield member, content_of
        while content_of.read():
            pass
        _exactly(stream, -member.bytes % BLOCK)
    if headers:
        raise Damaged("a header without its member")
    if any(_exactly(stream, BLOCK)):
        raise Damaged("one zero block inside it")
    padding = 0
    while True:
        content = stream.read(CHUNK)
        if not content:
            return
        padding += len(content)
        if padding > LONGEST_PADDING or content.count(0) != len(content):
            raise Damaged("bytes after its end-of-archive mark")


def _exactly(stream: Readable, size: int) -> bytes:
    content = b""
    while len(content) < size:
        more = stream.read(size - len(content))
        if not more:
            raise Damaged("it ends before the end-of-archive mark")
        content += more
    return content


def _header(block: bytes) -> tuple[bytes, int, bytes]:
    """Kind, size and name."""
    bare = block[:148] + b" " * 8 + block[156:]
    # old tars summed signed characters
    sums = (sum(bare), sum(bare) - 256 * sum(byte > 127 for byte in bare))
    if _number(block[148:156]) not in sums:
        raise Damaged("a header whose checksum is wrong")
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0]
    if block[257:263] == b"ustar\0" and prefix:
        name = prefix + b"/" + name
    return block[156:157], _number(block[124:136]), name


def _member(kind: bytes, size: int, name: bytes, longer: dict[str, bytes]) -> Member:
    if "size" in longer:
        if not re.fullmatch(rb"[0-9]{1,19}", longer["size"]):
            raise Damaged("a size that is no number")
        size = int(longer["size"])
    name = longer.get("path", name)
    text = name.decode("utf-8", "surrogateescape")
    if any(key.startswith("GNU.sparse.") for key in longer):
        return Member(text, size, "a file with holes")
    if kind == _FOLDER or (kind == b"\0" and name.endswith(b"/")):
        return Member(text, size, "folder")
    if kind in _FILE:
        return Member(text, size, "file")
    return Member(text, size, _KINDS.get(kind, "of a kind that nobody knows"))


def _number(field: bytes) -> int:
    """Octal digits, or a binary number after a byte of 0x80 (GNU, star)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise Damaged("a header with a number that is none")
    return int(digits or b"0", 8)


def _records(content: bytes) -> dict[str, bytes]:
    """Of a pax header: `LENGTH KEY=VALUE` and a line end each."""
    found = {}
    at = 0
    while at < len(content):
        match: Optional[re.Match[bytes]] = _RECORD.match(content, at)
        end = at + int(match[1]) if match else 0
        key, equals, value = content[match.end() : end - 1].partition(b"=") if match else (b"", b"", b"")
        if not equals or not key or end > len(content) or content[end - 1 : end] != b"\n":
            raise Damaged("a pax header that is none")
        found[key.decode("utf-8", "surrogateescape")] = value
        at = end
    return found
