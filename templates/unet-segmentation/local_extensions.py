"""Gives the templates the functions of the kit this file lies in, whether that is a clone, an archive or an installed
wheel.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jinja2 import Environment
from jinja2.ext import Extension

# Up to the folder that holds submit/runtime: how many steps that is differs between a clone and a wheel
ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "submit" / "runtime").is_dir())
sys.path.insert(0, str(ROOT))

from submit import rendering  # noqa: E402


class Kit(Extension):
    """`kit.NAME` in a template is `submit.rendering.NAME`; `| literal` makes a Python literal, so that no answer
    becomes code.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["kit"] = rendering
        environment.filters["literal"] = ascii
