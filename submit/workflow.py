"""A DAGMan file as a rule sees it: its lines and the submit files of its nodes."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from submit.errors import KitError

_NODE = re.compile(r"\s*(?:JOB|NODE|FINAL|PROVISIONER|SERVICE)\s+(\S+)\s+(\S+)(.*)", re.IGNORECASE)
_DIR = re.compile(r"\bDIR\s+(\S+)", re.IGNORECASE)


class Workflow:
    """A .dag file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.folder = path.parent
        self.lines = text.split("\n")

    @classmethod
    def read(cls, path: Path) -> Workflow:
        """The file at `path`. Raises KitError when it cannot be read."""
        try:
            return cls(path, path.read_bytes().decode("utf-8", "surrogateescape"))
        except OSError as fault:
            raise KitError(f"{path}: {fault.strerror}; want a DAGMan file. Name one that is there.") from None

    @cached_property
    def nodes(self) -> dict[str, tuple[int, Path]]:
        """Name of each node -> its line and its submit file (which may be the name of an inline description)."""
        found = {}
        for number, line in enumerate(self.lines, 1):
            match = _NODE.match(line)
            if match and match.group(2) != "{":
                folder = _DIR.search(match.group(3))
                found[match.group(1)] = (number, self.folder / (folder.group(1) if folder else "") / match.group(2))
        return found

    @property
    def submit_files(self) -> list[Path]:
        """The nodes' submit files, each once, in the order of the file."""
        return list(dict.fromkeys(path for _, path in self.nodes.values()))
