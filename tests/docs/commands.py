"""What the pages tell a reader to type: fenced blocks without a language are command lines, `text` ones are not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# what may stand before a command
_BEFORE = re.compile(r"(do|\w+=.*)$", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the line of its page on which it begins."""

    page: Path
    line: int
    text: str


def blocks(page: Path, language: str = "") -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 2, match[2])
        for match in _FENCE.finditer(text)
        if match[1] == language
    ]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a block, those inside $(...) too; NAME=VALUE before a command are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        while inner := re.search(r"\$\(([^()]*)\)", line):
            yield from commands(inner[1])
            line = line.replace(inner[0], "OUTPUT")
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|"):
                while words and _BEFORE.match(words[0]):
                    words.pop(0)
                if words and words[0] not in ("for", "done"):
                    yield words
                words = []
            else:
                words.append(word)


def inline(page: Path) -> list[str]:
    """The `osgdl ...` in a page's running text and tables."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [span.replace("\\|", "|") for span in re.findall(r"`(osgdl [^`]+)`", text)]
