"""The settings: five sections of a TOML file, every key with its type, range and meaning.

    [source]
    kind = "cascade"
    energy_gev = 1e4

A key or a value that does not fit is refused in one line; nothing is guessed. z points up and is 0 at `ice.depth_m`.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from submit.runtime.exit_codes import BadInput

MOST_BATCH = 2**22


def _setting(
    default: Any, about: str, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"about": about, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class SourceConfig:
    """Where the light comes from."""

    kind: str = _setting(
        "cascade",
        "point: isotropic; beam: all along the direction; track, cascade: Cherenkov light",
        choices=("point", "beam", "track", "cascade"),
    )
    x_m: float = _setting(0.0, "of the point, of the beginning of a track or cascade", -1e5, 1e5)
    y_m: float = _setting(0.0, "the same", -1e5, 1e5)
    z_m: float = _setting(0.0, "the same, upwards from ice.depth_m", -1e5, 1e5)
    zenith_deg: float = _setting(0.0, "of the direction of flight: 0 is upwards, 180 downwards", 0.0, 180.0)
    azimuth_deg: float = _setting(0.0, "of the direction of flight, from x to y", -360.0, 360.0)
    energy_gev: float = _setting(1e4, "of a cascade: its length and its light; of a track: its light", 1.0, 1e9)
    length_m: float = _setting(500.0, "of a track", 0.001, 1e5)
    wavelength_nm: float = _setting(0.0, "of every photon; 0: the Cherenkov spectrum", 0.0, 600.0)


@dataclass(frozen=True)
class IceConfig:
    """What the light goes through."""

    table: str = _setting("layered", "layered or uniform, which come with the program, or the file of a table")
    depth_m: float = _setting(1950.0, "where z is 0", 0.0, 1e5)
    world_m: float = _setting(2000.0, "a photon that scatters farther than this from (0, 0, 0) has escaped", 1.0, 1e5)


@dataclass(frozen=True)
class DetectorConfig:
    """What sees the light: spheres."""

    layout: str = _setting(
        "strings", "strings: a square grid of them; one: a single sensor; or a file of `x y z` lines"
    )
    strings: int = _setting(5, "on a side of the square, about (0, 0)", 1, 100)
    spacing_m: float = _setting(125.0, "between strings", 0.5, 1e4)
    sensors: int = _setting(20, "on a string, about z = 0", 1, 1000)
    sensor_spacing_m: float = _setting(17.0, "between sensors", 0.5, 1e4)
    distance_m: float = _setting(50.0, "of the single sensor, along x", 0.5, 1e4)
    radius_m: float = _setting(0.1651, "of a sensor", 1e-3, 100.0)
    oversize: float = _setting(
        5.0, "makes a sensor so many times wider across the photon's way, and a hit count 1/oversize**2", 1.0, 100.0
    )
    acceptance: str = _setting(
        "toy", "toy: what comes with the program; all: 1 everywhere; or a file of `nm share` lines"
    )
    angular: tuple[float, ...] = _setting(
        (0.5, 0.5), "polynomial in the cosine between the photon's way and upwards, by rising powers"
    )


@dataclass(frozen=True)
class RunConfig:
    """Which photons."""

    first: int = _setting(0, "number of the first photon", 0, 2**62)
    next: int = _setting(1_000_000, "number after that of the last photon", 1, 2**62)
    seed: int = _setting(1, "of all random numbers", 0, 2**63 - 1)
    batch: int = _setting(2**18, "photons computed at once", 1, MOST_BATCH)
    precision: str = _setting("single", "of the arithmetic", choices=("single", "double"))
    most_scatters: int = _setting(100_000, "a photon that scatters so often is stopped, and counted", 1, 2**30)
    most_hits: int = _setting(
        50_000_000, "more in one job are refused: they would not fit into its memory and its checkpoints", 1, 2**31
    )


@dataclass(frozen=True)
class CheckpointConfig:
    """What survives a kill. Nothing here changes the result, so nothing here enters the settings' hash."""

    folder: str = _setting("checkpoint", "where")
    every_batches: int = _setting(0, "save after so many batches; 0: never for this reason", 0, 10**9)
    every_minutes: float = _setting(10.0, "save after so many minutes; 0: never for this reason", 0.0, 10**5)
    leave_every_batches: int = _setting(0, "save and leave with exit code 85 after so many batches; 0: never", 0, 10**9)
    leave_every_minutes: float = _setting(
        60.0, "save and leave with exit code 85 after so many minutes; 0: never for this reason", 0.0, 10**5
    )
    evicted_every_minutes: float = _setting(
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
        sections: dict[str, dict[str, Any]] = json.loads(json.dumps(dataclasses.asdict(self)))
        return sections

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
    config = Config()
    if path is not None:
        try:
            sections = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as fault:
            raise BadInput(
                path, f"cannot be read ({fault.strerror})", "a TOML file", "name it with --config"
            ) from fault
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
            wanted = "lines such as `[run]` and `seed = 2`"
            raise BadInput(path, f"not TOML ({fault})", wanted, f"edit {path}") from fault
        for name, section in sections.items():
            if not isinstance(section, Mapping):
                wanted = f"a section: {_known(Config)}"
                raise BadInput(name, f"outside of a section, {section!r}", wanted, f"move it in {path}")
            for key, value in section.items():
                config = _with(config, name, key, value, f"edit {path}")
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        name, dot, key = target.strip().partition(".")
        if not equals or not dot:
            example = "write for example --set run.seed=2"
            raise BadInput(f"--set {assignment}", "no assignment", "section.key=value", example)
        config = _with(config, name, key, _toml_value(text.strip()), f"change --set {assignment}")
    _check_together(config)
    return config


def _toml_value(text: str) -> Any:
    """A bare word is a string, so that `--set source.kind=track` needs no quotes inside quotes."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def _with(config: Config, section: str, key: str, value: Any, mend: str) -> Config:
    if section not in {f.name for f in fields(Config)}:
        raise BadInput(section, "not a section of the settings", _known(Config, section), mend)
    old = getattr(config, section)
    known = {f.name: f for f in fields(old)}
    where = f"{section}.{key}"
    if key not in known:
        raise BadInput(where, "not a key of the settings", _known(type(old), key), mend)
    checked = _checked(where, value, getattr(old, key), known[key].metadata, mend)
    return dataclasses.replace(config, **{section: dataclasses.replace(old, **{key: checked})})


def _known(kind: Any, given: str = "") -> str:
    names = [f.name for f in fields(kind)]
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return (f"did you mean {near[0]}? " if near else "") + f"valid are {', '.join(names)}"


def _number(value: Any) -> Any:
    """A whole number as a float where a float can hold it."""
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53
    return float(value) if whole else value


def _checked(where: str, value: Any, default: Any, about: Mapping[str, Any], mend: str) -> Any:
    """The value in the type of its default, in range."""
    if isinstance(default, tuple):
        numbers = [_number(item) for item in value] if isinstance(value, list) else []
        if not 1 <= len(numbers) <= 16 or not all(isinstance(n, float) and math.isfinite(n) for n in numbers):
            raise BadInput(where, repr(value), f"a list of 1 to 16 numbers: {about['about']}", mend)
        return tuple(numbers)
    if isinstance(default, float):
        value = _number(value)
    if type(value) is not type(default):
        kind = {int: "a whole number", float: "a number", str: "a text"}[type(default)]
        raise BadInput(where, repr(value), f"{kind}: {about['about']}", mend)
    low, high = about["low"], about["high"]
    if low is not None and not low <= value <= high:
        raise BadInput(where, repr(value), f"{low} to {high}: {about['about']}", mend)
    if about["choices"] and value not in about["choices"]:
        raise BadInput(where, repr(value), f"one of {', '.join(about['choices'])}: {about['about']}", mend)
    if value == "":
        raise BadInput(where, "''", about["about"], mend)
    return value


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
