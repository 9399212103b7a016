"""Gives the template the functions of the kit this file lies in, whether that is a clone, an archive or an installed
wheel. The same in every template: cookiecutter finds it in the template's own folder alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Up to the folder that holds submit/runtime: how many steps that is differs between a clone and a wheel
ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "submit" / "runtime").is_dir())
sys.path.insert(0, str(ROOT))

from submit.extension import Kit  # noqa: E402

__all__ = ["Kit"]
