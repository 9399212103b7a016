"""Empty files, named and laid out as those of a data set."""

from __future__ import annotations

from pathlib import Path

BRATS = ("flair", "t1", "t1ce", "t2", "seg")
GLIOMA = ("t2f", "t1n", "t1c", "t2w", "seg")


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def make(folder: Path, patient: str, names: tuple[str, ...] = BRATS, ending: str = ".nii.gz", dash: str = "_") -> None:
    touch(folder, *(f"{patient}/{patient}{dash}{name}{ending}" for name in names))
