"""What a submit file sends along: entries of its lists, and the scripts among them."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

# a script longer than this is not read: it is no wrapper, or no text
LONGEST_SCRIPT = 1_000_000  # bytes


@dataclass(frozen=True)
class Transfer:
    """One entry of a transfer list: as written, macros expanded, and where it is if it is a local path."""

    text: str
    path: Path | None

    @property
    def is_url(self) -> bool:
        """An osdf://, http:// or other URL."""
        return self.path is None

    @property
    def name(self) -> str:
        """What it is called in the job's folder."""
        return self.text.split("?")[0].rstrip("/").rsplit("/", 1)[-1]


def read_script(path: Path) -> str:
    """The text of a script; empty where the file is missing, too long, or no text."""
    try:
        if path.is_file() and path.stat().st_size <= LONGEST_SCRIPT:
            return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        pass
    return ""


def unfillable(path: Path, seconds: float = math.inf) -> Path | None:
    """The first folder, `path` or one below it, that holds something and that its owner may not write into. HTCondor
    makes folders on a machine with the permissions that they have here, and then cannot put their files in: hold 13
    (seen on 25.14.1). Files without write permission travel well.

    Args:
        path: a file or folder.
        seconds: to look for at most.
    """
    end = time.monotonic() + seconds
    for folder, folders, names in os.walk(path):
        if (folders or names) and not Path(folder).stat().st_mode & 0o200:
            return Path(folder)
        if time.monotonic() > end:
            break
    return None
