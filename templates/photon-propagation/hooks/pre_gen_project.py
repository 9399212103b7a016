# ruff: noqa: F821
"""Refuses answers that cannot go into a submit file: the second check, for a replay, which skips the one at the
questions.
"""

import sys

sys.path.insert(0, {{ cookiecutter.__kit_root | literal }})
from submit import rendering

given, slug = {{ kit.answers(cookiecutter) | literal }}, {{ cookiecutter.__project_slug | literal }}
sys.exit(rendering.before("photon-propagation", given, slug))
