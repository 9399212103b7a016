"""Detectors: where they stand, the cells they are looked up in, and what share of the photons they count."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photon_propagation.ice import TABLES, content_of, numbers
from photon_propagation.settings import DetectorConfig
from submit.runtime.exit_codes import BadInput

CELL_M = 25.0  # a few free paths
MOST_CELLS = 2**21
MOST_DETECTORS = 1_000_000
WAVELENGTHS = np.arange(300.0, 601.0)  # of the acceptance's table; nm


@dataclass(frozen=True)
class Grid:
    """Cubes that list the detectors they touch: cell (i, j, k) is number (k * ny + j) * nx + i.

    Attributes:
        corner: of the first cell, m.
        cell: its side, m.
        shape: cells in x, y, z.
        begins: where a cell's detectors begin among the members; one more at the end.
        members: numbers of detectors.
    """

    corner: tuple[float, float, float]
    cell: float
    shape: tuple[int, int, int]
    begins: NDArray[np.uint32]
    members: NDArray[np.uint32]


def positions(detector: DetectorConfig) -> NDArray[np.float64]:
    """x, y, z of each; shape (detectors, 3).

    Raises:
        BadInput: a file that cannot be read, or a line that is not three numbers.
    """
    if detector.layout == "one":
        return np.array([[detector.distance_m, 0.0, 0.0]])
    if detector.layout == "strings":
        across = _about_zero(detector.strings, detector.spacing_m)
        up = _about_zero(detector.sensors, detector.sensor_spacing_m)
        return np.array(list(itertools.product(across, across, up)))
    rows = _rows(Path(detector.layout), "detector.layout", ("x", "y", "z"))
    if len(rows) > MOST_DETECTORS or np.abs(rows).max() > 1e5:
        held = f"{len(rows)} detectors, the farthest at {np.abs(rows).max():g} m"
        raise BadInput(detector.layout, held, f"at most {MOST_DETECTORS}, within 1e5 m", f"edit {detector.layout}")
    return rows


def acceptance(detector: DetectorConfig) -> NDArray[np.float64]:
    """Share of the photons counted at each of WAVELENGTHS.

    Raises:
        BadInput: a file that cannot be read, or a line that is not a wavelength and a share.
    """
    if detector.acceptance == "all":
        return np.ones_like(WAVELENGTHS)
    toy = detector.acceptance == "toy"
    path = TABLES / "toy.txt" if toy else Path(detector.acceptance)
    rows = _rows(path, "detector.acceptance", ("nm", "share"))
    if (np.diff(rows[:, 0]) <= 0).any() or rows[:, 1].min() < 0 or rows[:, 1].max() > 1:
        raise BadInput(path, "wavelengths that do not rise, or shares out of 0 to 1", "`nm share`", f"edit {path}")
    return np.asarray(np.interp(WAVELENGTHS, rows[:, 0], rows[:, 1], left=0, right=0))


def grid(positions: NDArray[np.float64], reach: float) -> Grid:
    """Cells that list every detector whose sphere of radius `reach` (m) touches them."""
    low, high = positions.min(axis=0) - reach, positions.max(axis=0) + reach
    # a little room: the last cell's far edge belongs to no cell
    size = (high - low) * 1.0001 + 1e-3
    cell = max(CELL_M, float((size.prod() / MOST_CELLS) ** (1 / 3)), float(size.max()) / 4096)
    while np.ceil(size / cell).prod() > MOST_CELLS:
        cell *= 1.1
    shape = np.ceil(size / cell).astype(int)
    lists: dict[int, list[int]] = {}
    first = np.floor((positions - reach - low) / cell - 1e-4).astype(int).clip(0, shape - 1)
    last = np.floor((positions + reach - low) / cell + 1e-4).astype(int).clip(0, shape - 1)
    for number, (begin, end) in enumerate(zip(first, last, strict=True)):
        for k, j, i in itertools.product(*(range(begin[axis], end[axis] + 1) for axis in (2, 1, 0))):
            lists.setdefault(int((k * shape[1] + j) * shape[0] + i), []).append(number)
    counts = np.zeros(int(shape.prod()) + 1, np.uint32)
    for number, members in lists.items():
        counts[number + 1] = len(members)
    members = [member for _, found in sorted(lists.items()) for member in found]
    corner = (float(low[0]), float(low[1]), float(low[2]))
    sides = (int(shape[0]), int(shape[1]), int(shape[2]))
    return Grid(corner, cell, sides, np.cumsum(counts, dtype=np.uint32), np.array(members, np.uint32))


def _about_zero(count: int, spacing: float) -> NDArray[np.float64]:
    return np.asarray((np.arange(count) - (count - 1) / 2) * spacing, np.float64)


def _rows(path: Path, key: str, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Lines of numbers; # begins a comment."""
    lines = content_of(path, key).decode("utf-8", "replace").splitlines()
    texts = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    rows = [numbers(f"{path}:{number}", text, names, f"edit {path}") for number, text in texts if text]
    if not rows:
        raise BadInput(path, "no line", f"lines `{' '.join(names)}`", f"edit {path}")
    return np.array(rows)
