"""The runtime must load in any image: Python 3.9 and nothing but the standard library."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "submit" / "runtime"
FILES = sorted(RUNTIME.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_python_3_9_and_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name.startswith("submit.runtime") or name.split(".")[0] in sys.stdlib_module_names, name


def test_it_runs_on_python_3_9() -> None:
    python = shutil.which("python3.9")
    if not python or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip("no python3.9 here")
    modules = "; ".join(f"import submit.runtime.{path.stem}" for path in FILES if path.stem != "__init__")
    subprocess.run([python, "-W", "error", "-c", modules], cwd=RUNTIME.parents[1], check=True)
