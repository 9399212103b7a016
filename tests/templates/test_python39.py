"""What runs at render time runs on an access point: Python 3.9, and nothing installed but cookiecutter."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.templates.conftest import REPO, TEMPLATES, folder_of

PROVIDED = {*sys.stdlib_module_names, "cookiecutter", "jinja2", "submit"} - {"tomllib"}


def imported(module: ast.Module) -> set[str]:
    """Full names of what a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def reached() -> list[Path]:
    """The extension, the hooks, and every module of submit/ that they import, directly or not."""
    waiting = [
        path
        for folder in map(folder_of, TEMPLATES)
        for path in (folder / "local_extensions.py", *sorted((folder / "hooks").glob("*.py")))
    ]
    found: list[Path] = []
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.append(path)
        for name in imported(ast.parse(path.read_text())):
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                base = REPO.joinpath(*parts[:end])
                waiting += [file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()]
    return found


@pytest.mark.parametrize("path", sorted(reached()), ids=lambda path: str(path.relative_to(REPO)))
def test_it_is_python_39_and_needs_nothing(path: Path) -> None:
    module = ast.parse(path.read_text(), feature_version=(3, 9))
    assert {name.split(".")[0] for name in imported(module)} <= PROVIDED
    has_future = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
        for node in module.body
    )
    # `str | None` in an annotation is an error on 3.9 unless annotations stay text
    assert has_future or not any(isinstance(node, ast.arg) and node.annotation for node in ast.walk(module))


def test_the_chain_is_followed() -> None:
    names = {path.name for path in reached()}
    assert {
        "extension.py",
        "rendering.py",
        "answers.py",
        "images.py",
        "gpus.py",
        "units.py",
        "errors.py",
        "files.py",
    } <= names
    assert not names & {"project.py", "description.py", "cli.py", "data_json.py"}
