"""The settings: five sections of a TOML file, every key with its type, range and meaning.

    [source]
    kind = "cascade"
    energy_gev = 1e4

A key or a value that does not fit is refused in one line; nothing is guessed. z points up and is 0 at `ice.depth_m`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from submit.runtime import configuration
from submit.runtime.configuration import setting
from submit.runtime.exit_codes import BadInput

MOST_BATCH = 2**22


@dataclass(frozen=True)
class SourceConfig:
    """Where the light comes from."""

    kind: str = setting(
        "cascade",
        "point: isotropic; beam: all along the direction; track, cascade: Cherenkov light",
        choices=("point", "beam", "track", "cascade"),
    )
    x_m: float = setting(0.0, "of the point, of the beginning of a track or cascade", -1e5, 1e5)
    y_m: float = setting(0.0, "the same", -1e5, 1e5)
    z_m: float = setting(0.0, "the same, upwards from ice.depth_m", -1e5, 1e5)
    zenith_deg: float = setting(0.0, "of the direction of flight: 0 is upwards, 180 downwards", 0.0, 180.0)
    azimuth_deg: float = setting(0.0, "of the direction of flight, from x to y", -360.0, 360.0)
    energy_gev: float = setting(1e4, "of a cascade: its length and its light; of a track: its light", 1.0, 1e9)
    length_m: float = setting(500.0, "of a track", 0.001, 1e5)
    wavelength_nm: float = setting(0.0, "of every photon; 0: the Cherenkov spectrum", 0.0, 600.0)


@dataclass(frozen=True)
class IceConfig:
    """What the light goes through."""

    table: str = setting("layered", "layered or uniform, which come with the program, or the file of a table")
    depth_m: float = setting(1950.0, "where z is 0", 0.0, 1e5)
    world_m: float = setting(2000.0, "a photon that scatters farther than this from (0, 0, 0) has escaped", 1.0, 1e5)


@dataclass(frozen=True)
class DetectorConfig:
    """What sees the light: spheres."""

    layout: str = setting("strings", "strings: a square grid of them; one: a single sensor; or a file of `x y z` lines")
    strings: int = setting(5, "on a side of the square, about (0, 0)", 1, 100)
    spacing_m: float = setting(125.0, "between strings", 0.5, 1e4)
    sensors: int = setting(20, "on a string, about z = 0", 1, 1000)
    sensor_spacing_m: float = setting(17.0, "between sensors", 0.5, 1e4)
    distance_m: float = setting(50.0, "of the single sensor, along x", 0.5, 1e4)
    radius_m: float = setting(0.1651, "of a sensor; an IceCube DOM's", 1e-3, 100.0)
    oversize: float = setting(
        5.0,
        "makes a sensor so many times wider across the photon's direction, and a hit count 1/oversize**2",
        1.0,
        100.0,
    )
    acceptance: str = setting(
        "toy", "toy: what comes with the program; all: 1 everywhere; or a file of `nm share` lines"
    )
    angular: tuple[float, ...] = setting(
        (0.5, 0.5),
        "polynomial in the cosine between the photon's direction and upwards, by rising powers; the default is a toy",
    )


@dataclass(frozen=True)
class RunConfig:
    """Which photons."""

    first: int = setting(0, "number of the first photon", 0, 2**62)
    next: int = setting(1_000_000, "number after that of the last photon", 1, 2**62)
    seed: int = setting(1, "of all random numbers", 0, 2**63 - 1)
    batch: int = setting(2**18, "photons computed at once", 1, MOST_BATCH)
    precision: str = setting("single", "of the arithmetic", choices=("single", "double"))
    most_scatters: int = setting(100_000, "a photon that scatters so often is stopped, and counted", 1, 2**30)
    most_hits: int = setting(
        50_000_000, "more in one job are refused: they would not fit into its memory and its checkpoints", 1, 2**31
    )


@dataclass(frozen=True)
class CheckpointConfig:
    """What survives a kill. Nothing here changes the result, so nothing here enters the settings' hash."""

    folder: str = setting("checkpoint", "where")
    every_batches: int = setting(0, "save after so many batches; 0: never for this reason", 0, 10**9)
    every_minutes: float = setting(10.0, "save after so many minutes; 0: never for this reason", 0.0, 10**5)
    leave_every_batches: int = setting(0, "save and leave with exit code 85 after so many batches; 0: never", 0, 10**9)
    leave_every_minutes: float = setting(
        60.0, "save and leave with exit code 85 after so many minutes; 0: never for this reason", 0.0, 10**5
    )
    evicted_every_minutes: float = setting(
        600.0,
        "time between two evictions to begin with: leave as often as loses least, at the latest after "
        "`leave_every_minutes`; 0: always after these",
        0.0,
        10**7,
    )


@dataclass(frozen=True)
class Config:
    """All five sections."""

    source: SourceConfig = field(default_factory=SourceConfig)
    ice: IceConfig = field(default_factory=IceConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    run: RunConfig = field(default_factory=RunConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain JSON values."""
        return configuration.as_dict(self)

    def hash(self) -> str:
        """SHA-256 of everything that decides what a photon does: all but `checkpoint`, and of `run` the precision and
        the number of scatters. The files that are named enter by their content (`world.World.hash`).
        """
        sections = self.as_dict()
        del sections["checkpoint"]
        sections["run"] = {key: sections["run"][key] for key in ("precision", "most_scatters")}
        return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()


def load(path: Path | str | None = None, assignments: Iterable[str] = ()) -> Config:
    """The defaults, changed by a TOML file and then by `section.key=value` assignments, whose values are TOML too.

    Raises:
        BadInput: a file that is no TOML, an unknown section or key, a value of the wrong type or out of range.
    """
    file = None if path is None else Path(path)
    config = configuration.load(Config(), file, assignments, "run.seed=2", "a TOML file")
    _check_together(config)
    return config


def _check_together(config: Config) -> None:
    run, wavelength = config.run, config.source.wavelength_nm
    if run.next <= run.first:
        wanted = f"more than run.first, which is {run.first}"
        raise BadInput("run.next", str(run.next), wanted, f"--set run.next={run.first + 1}")
    if 0 < wavelength < 300:
        wanted = "0, or 300 to 600: where the index of refraction is known"
        raise BadInput("source.wavelength_nm", str(wavelength), wanted, "--set source.wavelength_nm=400")


def described() -> str:
    """A TOML file with every key at its default, and what it means."""
    lines = []
    for section in fields(Config):
        lines += [f"[{section.name}]"]
        for key in fields(section.default_factory):  # type: ignore[arg-type]
            value = list(key.default) if isinstance(key.default, tuple) else key.default
            about = key.metadata["about"]
            choices = f" ({', '.join(key.metadata['choices'])})" if key.metadata["choices"] else ""
            lines += [f"# {about}{choices}", f"{key.name} = {json.dumps(value)}"]
        lines += [""]
    return "\n".join(lines).strip()
