"""The trainer's configuration: five sections of a TOML file, every key with its type, range and meaning.

    [train]
    steps = 2000
    learning_rate = 1e-3

A key or a value that does not fit is refused in one line; nothing is guessed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from submit.runtime import configuration
from submit.runtime.configuration import setting
from submit.runtime.exit_codes import BadInput


@dataclass(frozen=True)
class DataConfig:
    """Which files, which regions, and who is held out."""

    layout: str = setting("auto", "name of a layout in layouts.toml, or a TOML file of one; auto: the one that fits")
    modalities: tuple[str, ...] = setting(
        (), "channels in order, such as ['flair', 't1c']; empty: all that the patients have"
    )
    regions: tuple[str, ...] = setting(
        (), "what the network marks, such as ['whole']; empty: every region of the label convention"
    )
    validation_fraction: float = setting(0.2, "share of patients held out where nothing else says who is", 0.01, 0.9)
    splits: str = setting("", "splits.json to take the fold from; empty: drawn with the seed")
    folds: int = setting(0, "of a cross-validation; 0: one hold-out", 0, 100)
    fold: int = setting(0, "which of the folds is held out, from 0", 0, 99)
    cache: str = setting("", "where prepared patients lie; empty: `prepared` in the output folder")
    synthetic: bool = setting(
        False, "train on phantoms on a real pool's machine too, and on phantoms together with real patients"
    )


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    dimensions: int = setting(2, "2: axial slices, 3: blocks of them", 2, 3)
    context: int = setting(0, "neighbouring slices on either side that a slice is seen with (2.5-D)", 0, 8)
    width: int = setting(16, "feature maps of the first level, doubled at each further one", 1, 256)
    levels: int = setting(4, "resolution levels", 2, 7)
    normalisation: str = setting("instance", "after each convolution", choices=("instance", "none"))
    initialisation: str = setting(
        "he", "of the weights; normal: N(0, 0.01), that of Dong et al.", choices=("he", "normal")
    )
    deep_supervision: bool = setting(False, "the loss sees the coarser levels too")


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation. One epoch is as many images as the training patients have axial slices with brain in them."""

    steps: int = setting(0, "optimiser steps in all; 0: as many as `minutes` or `epochs` makes", 0, 10**9)
    minutes: float = setting(
        0.0, "as many steps as fit, by the speed of the first ones; not looked at if `steps` is set", 0.0, 10**5
    )
    epochs: int = setting(40, "epochs in all; not looked at if `steps` or `minutes` is set", 1, 10**6)
    batch_size: int = setting(8, "images a step, over all devices together", 1, 4096)
    patch: int = setting(128, "side of the square a training image shows, in pixels", 16, 1024)
    depth: int = setting(32, "slices of a training block where `model.dimensions` is 3", 4, 512)
    foreground: float = setting(0.8, "share of training images placed on a voxel of tumour", 0.0, 1.0)
    loss: str = setting("dice+cross-entropy", "what is made small", choices=("dice+cross-entropy", "dice"))
    learning_rate: float = setting(1e-3, "of Adam at its highest", 1e-8, 1.0)
    schedule: str = setting(
        "cosine", "cosine: a warm-up, then down to 0; constant: the same throughout", choices=("cosine", "constant")
    )
    warm_up: float = setting(
        0.0, "share of the steps in which the rate rises; 0: a twentieth, at most 100 steps, none if constant", 0.0, 0.5
    )
    average: float = setting(
        0.99, "decay a step of the averaged weights that are kept, smaller at first; 0: the last weights", 0.0, 0.99999
    )
    validate_epochs: int = setting(10, "score the held-out patients after so many epochs; 0: only at the end", 0, 10**6)
    precision: str = setting(
        "auto", "of the arithmetic; auto: bfloat16 where it is fast", choices=("auto", "float32", "bfloat16")
    )
    split: int = setting(
        1, "parts a batch is computed in, one after the other: less GPU memory, the same sums", 1, 4096
    )
    compile: bool = setting(False, "let XLA compile the step (TensorFlow; JAX always does)")
    deterministic: str = setting(
        "auto", "the same bytes for the same seed; auto: on the CPU", choices=("auto", "on", "off")
    )
    seed: int = setting(1, "of the initial weights, the batches and the hold-out", 0, 2**31 - 1)


@dataclass(frozen=True)
class AugmentConfig:
    """How training images are varied; every number 0 and both flips false is no augmentation."""

    flip: bool = setting(True, "mirror left-right, half of the time")
    flip_vertical: bool = setting(False, "mirror front-back, half of the time")
    rotation: float = setting(20.0, "degrees either way", 0.0, 180.0)
    shift: float = setting(0.1, "of the patch's side either way", 0.0, 0.5)
    shear: float = setting(0.0, "sideways by up to this share of the height", 0.0, 0.9)
    zoom: float = setting(0.15, "larger and smaller by up to this share", 0.0, 0.9)
    elastic: float = setting(0.0, "standard deviation of an elastic displacement, in pixels", 0.0, 100.0)
    elastic_scale: float = setting(24.0, "how far apart its control points lie, in pixels", 4.0, 512.0)
    scale: float = setting(0.2, "contrast of each modality, multiplied by 1 plus or minus this", 0.0, 0.9)
    offset: float = setting(0.2, "brightness of each modality, in standard deviations of the brain", 0.0, 5.0)
    gamma: float = setting(0.3, "exponent of each modality's intensities, between 1/(1 + this) and 1 + this", 0.0, 5.0)
    noise: float = setting(0.1, "standard deviation of Gaussian noise at most, in those of the brain", 0.0, 5.0)
    drop_modality: float = setting(0.0, "share of training images that miss one modality", 0.0, 1.0)


@dataclass(frozen=True)
class CheckpointConfig:
    """What survives a kill. Nothing here changes the result, so nothing here enters the configuration's hash."""

    folder: str = setting("", "where; empty: `checkpoint` in the output folder")
    every_steps: int = setting(200, "save after so many steps; 0: never for this reason", 0, 10**9)
    every_minutes: float = setting(10.0, "save after so many minutes; 0: never for this reason", 0.0, 10**5)
    leave_every_steps: int = setting(0, "save and leave with exit code 85 after so many steps; 0: never", 0, 10**9)
    leave_every_minutes: float = setting(
        0.0, "save and leave with exit code 85 after so many minutes; 0: never for this reason", 0.0, 10**5
    )
    evicted_every_minutes: float = setting(
        0.0,
        "time between two evictions to begin with: leave as often as loses least, by what it costs here and by the "
        "evictions seen, at the latest after `leave_every_minutes`; 0: always after these",
        0.0,
        10**7,
    )
    start: str = setting("", "a folder of checkpoints to begin from where `folder` holds none")
    until: float = setting(
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
        return configuration.as_dict(self)

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
    wanted = f"a TOML file, or a recipe: {', '.join(recipes())}"
    file = None if path is None else _file(path)
    config = configuration.load(Config(), file, assignments, "train.steps=2000", wanted)
    _check_together(config)
    return config


def _file(path: Path | str) -> Path:
    """The file of a recipe that is named without a folder and an ending, else the path as it is."""
    path = Path(path)
    recipe = resources.files(__package__).joinpath("recipes", f"{path}.toml")
    named = path.name == str(path) and not path.suffix and recipe.is_file()
    return Path(str(recipe)) if named else path


def recipes() -> list[str]:
    """Names of the recipes that come with the trainer."""
    folder = resources.files(__package__).joinpath("recipes")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


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
