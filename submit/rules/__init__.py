"""The rules of `osgdl check`, a module per family: each function looks for one rule of data/rules/."""

from __future__ import annotations

from importlib import import_module

FAMILIES = ("syntax", "gpu", "container", "files", "scripts", "checkpoint", "policy", "protection", "workflow")


def load() -> None:
    """Imports every family, which registers its functions."""
    for family in FAMILIES:
        import_module(f"submit.rules.{family}")
