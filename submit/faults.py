"""The faults that `osgdl try` knows, as `data/faults.toml` describes them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from submit.errors import KitError, wrong

FAULTS_FILE = Path(__file__).parent / "data" / "faults.toml"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault; the file says what each field means."""

    name: str
    where: str
    what: str
    comes: str
    seconds: float
    lines: tuple[str, ...] = ()
    before: bool = False


def load(file: Path = FAULTS_FILE) -> dict[str, Fault]:
    """Name -> fault, in the order of the file."""
    rows = tomllib.loads(file.read_text())["fault"]
    return {row["name"]: Fault(**{**row, "lines": tuple(row.get("lines", ()))}) for row in rows}


def chosen(names: str) -> list[Fault]:
    """The faults of a comma-separated list, in its order. Raises KitError for a name that is none."""
    known = load()
    found = []
    for name in filter(None, (word.strip() for word in names.split(","))):
        if name not in known:
            raise KitError(
                wrong("faults", name, "no such fault", "a list of names is wanted", "See them: osgdl try --faults list")
            )
        found.append(known[name])
    return found


def table() -> str:
    """All of them, for a person."""
    known = load().values()
    width = max(len(fault.name) for fault in known)
    return "\n".join(f"{fault.name:<{width}}  {fault.what}" for fault in known)
