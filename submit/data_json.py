"""Writes data/images.json from data/images.toml: `python -m submit.data_json` (a make target; a test compares).

The TOML is for people, comments included; the JSON is for Python 3.9, which has no tomllib and is what access points
run.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from submit.runtime.files import write_atomic

DATA = Path(__file__).parent / "data"


def as_json(toml: Path) -> bytes:
    """The table of `toml` as indented JSON."""
    return (json.dumps(tomllib.loads(toml.read_text(encoding="utf-8")), indent=1) + "\n").encode()


if __name__ == "__main__":
    write_atomic(DATA / "images.json", as_json(DATA / "images.toml"))
