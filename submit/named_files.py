"""The files of a workflow, all under one name that its user chose: OUT.dag, OUT.sub, OUT/, results/OUT/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from submit.errors import KitError, wrong
from submit.runtime.files import write_atomic

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def require_name(out: str) -> None:
    """Nothing, where it is a name for files and for a submit file.

    Raises:
        KitError: it is none.
    """
    if not _NAME.fullmatch(out):
        raise KitError(wrong("--out", out, "no name", "letters, digits and . _ - are wanted", "E.g. --out first"))


def missing(project: Path, out: str, wanted: Mapping[Path, bytes]) -> Mapping[Path, bytes]:
    """What is to be written of these files: all, or nothing where each of them is there with these bytes.

    Raises:
        KitError: other files of that name are there, or results.
    """
    if all(path.is_file() and path.read_bytes() == content for path, content in wanted.items()):
        return {}
    for path in (*wanted, project / out, project / "results" / out):
        if path.exists():
            mend = f"Choose another with --out, or remove {out}.*, {out}/ and results/{out}/"
            raise KitError(wrong("--out", out, f"{path.relative_to(project)} is there", "a new name is wanted", mend))
    return wanted


def write(wanted: Mapping[Path, bytes]) -> None:
    """Writes them in this order, each whole or not at all."""
    for path, content in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
