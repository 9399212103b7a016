# ruff: noqa: F821
"""Copies the runtime into job/, and notes the kit's version and the answers in osgdl.json."""

import sys

sys.path.insert(0, {{ cookiecutter.__kit_root | literal }})
from submit import rendering

rendering.after("training-job", {{ kit.answers(cookiecutter) | literal }})
