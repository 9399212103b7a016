"""The trainer's configuration: five sections of a TOML file, every key with its type, range and meaning.

    [train]
    steps = 2000
    learning_rate = 1e-3

A key or a value that does not fit is refused in one line; nothing is guessed.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from submit.runtime.exit_codes import BadInput


def _setting(
    default: Any, about: str, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"about": about, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class DataConfig:
    """Which files, which regions, and who is held out."""

    layout: str = _setting("auto", "name of a layout in layouts.toml, or a TOML file of one; auto: the one that fits")
    modalities: tuple[str, ...] = _setting(
        (), "channels in order, such as ['flair', 't1c']; empty: all that the patients have"
    )
    regions: tuple[str, ...] = _setting(
        (), "what the network marks, such as ['whole']; empty: every region of the label convention"
    )
    validation_fraction: float = _setting(0.2, "share of patients held out where nothing else says who is", 0.01, 0.9)
    splits: str = _setting("", "splits.json to take the fold from; empty: drawn with the seed")
    folds: int = _setting(0, "of a cross-validation; 0: one hold-out", 0, 100)
    fold: int = _setting(0, "which of the folds is held out, from 0", 0, 99)
    cache: str = _setting("", "where prepared patients lie; empty: `prepared` in the output folder")
    synthetic: bool = _setting(
        False, "train on phantoms on a real pool's machine too, and on phantoms together with real patients"
    )


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    dimensions: int = _setting(2, "2: axial slices, 3: blocks of them", 2, 3)
    context: int = _setting(0, "neighbouring slices on either side that a slice is seen with (2.5-D)", 0, 8)
    width: int = _setting(16, "feature maps of the first level, doubled at each further one", 1, 256)
    levels: int = _setting(4, "resolution levels", 2, 7)
    normalisation: str = _setting("instance", "after each convolution", choices=("instance", "none"))
    initialisation: str = _setting(
        "he", "of the weights; normal: N(0, 0.01), that of Dong et al.", choices=("he", "normal")
    )
    deep_supervision: bool = _setting(False, "the loss sees the coarser levels too")


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation. One epoch is as many images as the training patients have axial slices with brain in them."""

    steps: int = _setting(0, "optimiser steps in all; 0: as many as `minutes` or `epochs` makes", 0, 10**9)
    minutes: float = _setting(
        0.0, "as many steps as fit, by the speed of the first ones; not looked at if `steps` is set", 0.0, 10**5
    )
    epochs: int = _setting(40, "epochs in all; not looked at if `steps` or `minutes` is set", 1, 10**6)
    batch_size: int = _setting(8, "images a step, over all devices together", 1, 4096)
    patch: int = _setting(128, "side of the square a training image shows, in pixels", 16, 1024)
    depth: int = _setting(32, "slices of a training block where `model.dimensions` is 3", 4, 512)
    foreground: float = _setting(0.8, "share of training images placed on a voxel of tumour", 0.0, 1.0)
    loss: str = _setting("dice+cross-entropy", "what is made small", choices=("dice+cross-entropy", "dice"))
    learning_rate: float = _setting(1e-3, "of Adam at its highest", 1e-8, 1.0)
    schedule: str = _setting(
        "cosine", "cosine: a warm-up, then down to 0; constant: the same throughout", choices=("cosine", "constant")
    )
    warm_up: float = _setting(
        0.0, "share of the steps in which the rate rises; 0: a twentieth, at most 100 steps, none if constant", 0.0, 0.5
    )
    average: float = _setting(
        0.99, "decay a step of the averaged weights that are kept; 0: the last weights", 0.0, 0.99999
    )
    validate_epochs: int = _setting(
        10, "score the held-out patients after so many epochs; 0: only at the end", 0, 10**6
    )
    precision: str = _setting(
        "auto", "of the arithmetic; auto: bfloat16 where it is fast", choices=("auto", "float32", "bfloat16")
    )
    split: int = _setting(
        1, "parts a batch is computed in, one after the other: less GPU memory, the same sums", 1, 4096
    )
    compile: bool = _setting(False, "let XLA compile the step (TensorFlow; JAX always does)")
    deterministic: str = _setting(
        "auto", "the same bytes for the same seed; auto: on the CPU", choices=("auto", "on", "off")
    )
    seed: int = _setting(1, "of the initial weights, the batches and the hold-out", 0, 2**31 - 1)


@dataclass(frozen=True)
class AugmentConfig:
    """How training images are varied; every number 0 and both flips false is no augmentation."""

    flip: bool = _setting(True, "mirror left-right, half of the time")
    flip_vertical: bool = _setting(False, "mirror front-back, half of the time")
    rotation: float = _setting(20.0, "degrees either way", 0.0, 180.0)
    shift: float = _setting(0.1, "of the patch's side either way", 0.0, 0.5)
    shear: float = _setting(0.0, "sideways by up to this share of the height", 0.0, 0.9)
    zoom: float = _setting(0.15, "larger and smaller by up to this share", 0.0, 0.9)
    elastic: float = _setting(0.0, "standard deviation of an elastic displacement, in pixels", 0.0, 100.0)
    elastic_scale: float = _setting(24.0, "how far apart its control points lie, in pixels", 4.0, 512.0)
    scale: float = _setting(0.2, "contrast of each modality, multiplied by 1 plus or minus this", 0.0, 0.9)
    offset: float = _setting(0.2, "brightness of each modality, in standard deviations of the brain", 0.0, 5.0)
    gamma: float = _setting(0.3, "exponent of each modality's intensities, between 1/(1 + this) and 1 + this", 0.0, 5.0)
    noise: float = _setting(0.1, "standard deviation of Gaussian noise at most, in those of the brain", 0.0, 5.0)
    drop_modality: float = _setting(0.0, "share of training images that miss one modality", 0.0, 1.0)


@dataclass(frozen=True)
class CheckpointConfig:
    """What survives a kill. Nothing here changes the result, so nothing here enters the configuration's hash."""

    folder: str = _setting("", "where; empty: `checkpoint` in the output folder")
    every_steps: int = _setting(200, "save after so many steps; 0: never for this reason", 0, 10**9)
    every_minutes: float = _setting(10.0, "save after so many minutes; 0: never for this reason", 0.0, 10**5)
    leave_every_steps: int = _setting(0, "save and leave with exit code 85 after so many steps; 0: never", 0, 10**9)
    leave_every_minutes: float = _setting(
        0.0, "save and leave with exit code 85 after so many minutes; 0: never for this reason", 0.0, 10**5
    )
    evicted_every_minutes: float = _setting(
        0.0,
        "time between two evictions to begin with: leave as often as loses least, by what it costs here and by the "
        "evictions seen, at the latest after `leave_every_minutes`; 0: always after these",
        0.0,
        10**7,
    )
    start: str = _setting("", "a folder of checkpoints to begin from where `folder` holds none")
    until: float = _setting(
        1.0,
        "share of the steps after which the job is done: its work goes into `handed-on` in the output folder",
        0.0001,
        1.0,
    )


@dataclass(frozen=True)
class Config:
    """All five sections."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain JSON values."""
        sections: dict[str, dict[str, Any]] = json.loads(json.dumps(dataclasses.asdict(self)))
        return sections

    def hash(self) -> str:
        """SHA-256 of everything that decides the result: all sections but `checkpoint`, all keys but `data.cache` and
        `data.synthetic`.
        """
        decisive = {name: section for name, section in self.as_dict().items() if name != "checkpoint"}
        del decisive["data"]["cache"], decisive["data"]["synthetic"]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def load(path: Path | str | None = None, assignments: Iterable[str] = ()) -> Config:
    """The defaults, changed by a TOML file or a recipe and then by `section.key=value` assignments, whose values are
    TOML too. A recipe is named without an ending: `dong2017`.

    Raises:
        BadInput: a file that is no TOML, an unknown section or key, a value of the wrong type or out of range.
    """
    config = Config()
    if path is not None:
        path = Path(path)
        recipe = resources.files(__package__).joinpath("recipes", f"{path}.toml")
        source = recipe if path.name == str(path) and not path.suffix and recipe.is_file() else path
        try:
            sections = tomllib.loads(source.read_text(encoding="utf-8"))
        except OSError as fault:
            wanted = f"a TOML file, or a recipe: {', '.join(recipes())}"
            raise BadInput(path, f"cannot be read ({fault.strerror})", wanted, "name it with --config") from fault
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
            raise BadInput(
                path, f"not TOML ({fault})", "lines such as `[train]` and `steps = 2000`", f"edit {path}"
            ) from fault
        for name, section in sections.items():
            if not isinstance(section, Mapping):
                raise BadInput(
                    name, f"outside of a section, {section!r}", f"a section: {_known(Config)}", f"move it in {path}"
                )
            for key, value in section.items():
                config = _with(config, name, key, value, f"edit {path}")
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        name, dot, key = target.strip().partition(".")
        if not equals or not dot:
            raise BadInput(
                f"--set {assignment}", "no assignment", "section.key=value", "write for example --set train.steps=2000"
            )
        config = _with(config, name, key, _toml_value(text.strip()), f"change --set {assignment}")
    _check_together(config)
    return config


def recipes() -> list[str]:
    """Names of the recipes that come with the trainer."""
    folder = resources.files(__package__).joinpath("recipes")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def _toml_value(text: str) -> Any:
    """A bare word is a string, so that `--set checkpoint.folder=checkpoint` needs no quotes inside quotes."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def _with(config: Config, section: str, key: str, value: Any, mend: str) -> Config:
    if section not in {f.name for f in fields(Config)}:
        raise BadInput(section, "not a section of the configuration", _known(Config, section), mend)
    old = getattr(config, section)
    known = {f.name: f for f in fields(old)}
    where = f"{section}.{key}"
    if key not in known:
        raise BadInput(where, "not a key of the configuration", _known(type(old), key), mend)
    checked = _checked(where, value, getattr(old, key), known[key].metadata, mend)
    return dataclasses.replace(config, **{section: dataclasses.replace(old, **{key: checked})})


def _known(kind: Any, given: str = "") -> str:
    names = [f.name for f in fields(kind)]
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return (f"did you mean {near[0]}? " if near else "") + f"valid are {', '.join(names)}"


def _checked(where: str, value: Any, default: Any, about: Mapping[str, Any], mend: str) -> Any:
    """The value in the type of its default, in range."""
    if isinstance(default, tuple):
        if (
            not isinstance(value, list)
            or not all(isinstance(item, str) and item for item in value)
            or len(set(value)) < len(value)
        ):
            raise BadInput(where, repr(value), "a list of different names such as ['flair', 't1c']", mend)
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= 2**53 else value
    if type(value) is not type(default):
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(default)]
        raise BadInput(where, repr(value), f"{kind}: {about['about']}", mend)
    low, high = about["low"], about["high"]
    if low is not None and not low <= value <= high:
        raise BadInput(where, repr(value), f"{low} to {high}: {about['about']}", mend)
    if about["choices"] and value not in about["choices"]:
        raise BadInput(where, repr(value), f"one of {', '.join(about['choices'])}: {about['about']}", mend)
    return value


def _check_together(config: Config) -> None:
    multiple = 2 ** (config.model.levels - 1)
    sides = {"patch": config.train.patch, **({"depth": config.train.depth} if config.model.dimensions == 3 else {})}
    for key, side in sides.items():
        if side % multiple:
            raise BadInput(
                f"train.{key}",
                str(side),
                f"a multiple of {multiple}: {config.model.levels} levels halve it {config.model.levels - 1} times",
                f"--set train.{key}={-(-side // multiple) * multiple}",
            )
    if config.model.dimensions == 3 and config.model.context:
        raise BadInput(
            "model.context", str(config.model.context), "0 where model.dimensions is 3", "--set model.context=0"
        )
    if config.data.folds and config.data.fold >= config.data.folds:
        raise BadInput(
            "data.fold",
            str(config.data.fold),
            f"0 to {config.data.folds - 1}: data.folds is {config.data.folds}",
            "--set data.fold=0",
        )
