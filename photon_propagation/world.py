"""Source, ice and detector of a run, as numbers and arrays: what the kernel and the reference compute from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_propagation import detector, ice, medium, source
from photon_propagation.settings import Config

Array = NDArray[np.float64]
# what is left of a budget that rounding used up at a layer's edge: 0 / 0 in a layer without absorption is no distance
TINY = 1e-30


@dataclass(frozen=True)
class World:
    """Everything that decides what a photon does.

    Attributes:
        config: the settings it was made from.
        ice: its table.
        grid: of the detectors.
        detectors: their positions, m; shape (detectors, 3).
        wavelengths, profile, acceptance: tables of `source` and `detector`.
    """

    config: Config
    ice: ice.Ice
    grid: detector.Grid
    detectors: Array
    wavelengths: Array
    profile: Array
    acceptance: Array

    def numbers(self) -> Mapping[str, int | float | tuple[float, ...]]:
        """The kernel's constants by their names; a float becomes a real."""
        config, table, cells = self.config, self.ice, self.grid
        x, y, z = source.axis(config.source)
        return {
            "SOURCE": source.KINDS.index(config.source.kind),
            "SOURCE_X": config.source.x_m,
            "SOURCE_Y": config.source.y_m,
            "SOURCE_Z": config.source.z_m,
            "AXIS_X": x,
            "AXIS_Y": y,
            "AXIS_Z": z,
            "LENGTH": config.source.length_m,
            "CASCADE_A": source.CASCADE_A,
            "CASCADE_B": source.CASCADE_B,
            "CASCADE_NORM": cascade_norm(),
            "WAVELENGTHS": len(self.wavelengths),
            "PROFILES": len(self.profile),
            "INDEX": medium.INDEX,
            "GROUP": medium.GROUP,
            "SPEED": medium.SPEED,
            "TWO_PI": 2 * math.pi,
            "LN_2": math.log(2),
            "TINY": TINY,
            "ALPHA": table.alpha,
            "KAPPA": table.kappa,
            "PURE_A": table.pure_a,
            "PURE_B": table.pure_b,
            "MEAN_COSINE": table.g,
            "F_SL": table.f_sl,
            "BETA_SL": (1 - table.g) / (1 + table.g),
            "BOTTOM": table.bottom,
            "THICKNESS": table.thickness,
            "LAYERS": len(table.layers),
            "WORLD": config.ice.world_m,
            "MOST_SCATTERS": config.run.most_scatters,
            "GRID_X": cells.corner[0],
            "GRID_Y": cells.corner[1],
            "GRID_Z": cells.corner[2],
            "CELL": cells.cell,
            "GRID_NX": cells.shape[0],
            "GRID_NY": cells.shape[1],
            "GRID_NZ": cells.shape[2],
            "RADIUS": config.detector.radius_m,
            "OVERSIZE": config.detector.oversize,
            "STOPS_AT_HIT": int(config.detector.oversize == 1),
            "ANGULAR": config.detector.angular,
            "ANGULARS": len(config.detector.angular),
            "WAVELENGTH_LOW": float(detector.WAVELENGTHS[0]),
            "ACCEPTANCES": len(self.acceptance),
        }

    def hash(self) -> str:
        """SHA-256 of the settings that decide what a photon does, and of the content of the files they name."""
        arrays = (self.detectors, self.acceptance)
        files = [self.ice.sha256, *(hashlib.sha256(array.astype("<f8").tobytes()).hexdigest() for array in arrays)]
        return hashlib.sha256(json.dumps([self.config.hash(), *files]).encode()).hexdigest()


def cascade_norm() -> float:
    """Share of the cascade's distribution of x = 1 - cos below 2, the backward direction."""
    return 1 - math.exp(-source.CASCADE_B * 2**source.CASCADE_A)


def build(config: Config) -> World:
    """Reads the files that the settings name.

    Raises:
        BadInput: one of them cannot be read or does not fit.
    """
    positions = detector.positions(config.detector)
    return World(
        config=config,
        ice=ice.read(config.ice.table, config.ice.depth_m),
        grid=detector.grid(positions, config.detector.radius_m * config.detector.oversize),
        detectors=positions,
        wavelengths=source.wavelengths(config.source),
        profile=source.profile(config.source),
        acceptance=detector.acceptance(config.detector),
    )
