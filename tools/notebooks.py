"""Runs notebooks from top to bottom, each in a fresh kernel, and stores them with their outputs.

    python tools/notebooks.py notebooks/1-*.ipynb

What a notebook writes goes into a temporary folder, where the next one finds it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CELL_S = 900


def run(notebook: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs. Raises nbclient's CellExecutionError at the first cell that fails."""
    book = nbformat.read(notebook, as_version=4)
    client = NotebookClient(book, timeout=CELL_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute()


def store(book: nbformat.NotebookNode, path: Path, folder: Path) -> None:
    """Without times and the names of this machine's folders; what a cell printed in one piece."""
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
        for output in cell.get("outputs", ()):
            if "text" in output:
                output.text = output.text.replace(str(folder), "~")
    nbformat.write(book, path)


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        before = next((one for one in joined if one.get("name", "") == output.get("name")), None)
        if output.output_type == "stream" and before is not None:
            before.text += output.text
        else:
            joined.append(output)
    return joined


def main(notebooks: Iterable[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(notebooks):
            began = time.monotonic()
            store(run(Path(name), Path(folder)), Path(name), Path(folder))
            print(f"{name}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
