"""Writes the JSON that is read at render time and in the job from the TOML that people edit: `python -m
submit.data_json` (a make target; a test compares).

The TOML has the comments; access points and images may have Python 3.9, which has no tomllib.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from submit.runtime.files import write_atomic

HERE = Path(__file__).parent
# failures.json lies with the runtime, because it travels with the job
WRITTEN = {
    HERE / "data" / "images.toml": HERE / "data" / "images.json",
    HERE / "data" / "compatibility.toml": HERE / "data" / "compatibility.json",
    HERE / "data" / "failures.toml": HERE / "runtime" / "failures.json",
}


def as_json(toml: Path) -> bytes:
    """The table of `toml` as indented JSON."""
    return (json.dumps(tomllib.loads(toml.read_text(encoding="utf-8")), indent=1) + "\n").encode()


if __name__ == "__main__":
    for toml, target in WRITTEN.items():
        write_atomic(target, as_json(toml))
