"""The tutorial from top to bottom, notebook by notebook in one folder; on the pool of the tests where one needs it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest

from tests.conftest import REPO
from tools import notebooks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("notebooks")]

BOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
ALONE = "4-photons"  # no pool, no image, nothing of the other notebooks
CASES = [pytest.param(book, id=book.stem, marks=() if book.stem == ALONE else pytest.mark.pool) for book in BOOKS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first notebook makes the project that the others use."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.parametrize("book", CASES)
def test_a_notebook_runs_from_top_to_bottom(
    folder: Path,
    book: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if book.stem == ALONE:
        pytest.importorskip("pyopencl", reason="no pyopencl: pip install -e '.[photons]'")
    else:
        for needed in ("condor", "image"):
            request.getfixturevalue(needed)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = notebooks.run(book, folder)
    said = [output for cell in done.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in said) >= 1


@pytest.mark.parametrize("book", BOOKS, ids=[path.stem for path in BOOKS])
def test_a_notebook_is_stored_with_its_outputs(book: Path) -> None:
    stored = nbformat.read(book, as_version=4)
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert not re.search(r"(/(tmp|root|home|work)/|site-packages)", book.read_text())
