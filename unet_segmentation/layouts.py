"""Layouts: which file of a patient's folder is what. They are data, in layouts.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from submit.runtime.exit_codes import BadInput
from unet_segmentation.config import DataConfig
from unet_segmentation.labels import Convention, conventions

ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Layout:
    """File names of one kind of data set, each without its ending; `{patient}` stands for the folder's name."""

    name: str
    about: str
    patient: str
    convention: Convention
    modalities: Mapping[str, tuple[str, ...]]
    truth: tuple[str, ...]
    mask: tuple[str, ...]


@dataclass(frozen=True)
class Patient:
    """One patient's files; what is not there is left out of `images`, or None.

    `expected` names the missing files, for messages.
    """

    name: str
    folder: Path
    images: Mapping[str, Path]
    truth: Path | None
    mask: Path | None
    expected: Mapping[str, str]


@dataclass(frozen=True)
class Dataset:
    """The patients below one folder, sorted by name."""

    folder: Path
    layout: Layout
    patients: tuple[Patient, ...]

    def modalities(self) -> tuple[str, ...]:
        """Every modality that at least one patient has, in the layout's order."""
        return tuple(
            name for name in self.layout.modalities if any(name in patient.images for patient in self.patients)
        )


@cache
def layouts() -> Mapping[str, Layout]:
    """All layouts of layouts.toml by name."""
    text = resources.files(__package__).joinpath("layouts.toml").read_text(encoding="utf-8")
    return {
        name: Layout(
            name=name,
            about=table["about"],
            patient=table["patient"],
            convention=conventions()[table["convention"]],
            modalities={modality: tuple(names) for modality, names in table["modalities"].items()},
            truth=tuple(table["truth"]),
            mask=tuple(table["mask"]),
        )
        for name, table in tomllib.loads(text).items()
    }


def find(folder: Path, layout: str = "auto") -> Dataset:
    """The patients in `folder`, one folder each.

    Raises:
        BadInput: no such folder or layout, or no patient in it.
    """
    if layout != "auto" and layout not in layouts():
        raise BadInput(
            "data.layout", repr(layout), f"auto, {', '.join(layouts())}", f"--set data.layout={next(iter(layouts()))}"
        )
    if not folder.is_dir():
        raise BadInput(folder, "no such folder", "a folder with one folder per patient", "name it with --data")
    candidates = list(layouts().values()) if layout == "auto" else [layouts()[layout]]
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [
        Dataset(folder, kind, tuple(p for p in (_patient(f, kind) for f in folders) if p is not None))
        for kind in candidates
    ]
    best = max(found, key=lambda dataset: len(dataset.patients))
    if not best.patients:
        known = "; ".join(kind.about for kind in candidates)
        raise BadInput(
            folder,
            f"{len(folders)} folders, none with files of a known layout",
            known,
            "name the folder above the patients' with --data",
        )
    return best


def split(root: Path, config: DataConfig, seed: int) -> tuple[Dataset, Dataset]:
    """The patients to train on and those to score: `train/` and `validation/`, or a hold-out drawn with `seed`, whole
    patients at a time.

    Raises:
        BadInput: as `find`; the two folders have different layouts; one patient alone cannot be split; a patient is
            in both.
    """
    if (root / "train").is_dir() and (root / "validation").is_dir():
        training, validation = (find(root / name, config.layout) for name in ("train", "validation"))
        if training.layout != validation.layout:
            raise BadInput(
                root,
                f"train/ is {training.layout.name}, validation/ {validation.layout.name}",
                "one layout",
                "--set data.layout=NAME",
            )
        both = {p.name for p in training.patients} & {p.name for p in validation.patients}
        if both:
            raise BadInput(
                root / "validation",
                f"{min(both)}, which is in train/ too",
                "patients never trained on",
                f"remove {min(both)} from one",
            )
        return training, validation
    everyone = find(root / "train" if (root / "train").is_dir() else root, config.layout)
    count = len(everyone.patients)
    if count < 2:
        raise BadInput(
            everyone.folder,
            "1 patient",
            "2 or more: one is held out",
            f"add patients, or make {root}/train and {root}/validation",
        )
    held_out = min(max(round(count * config.validation_fraction), 1), count - 1)
    drawn = set(np.random.default_rng([seed, 0]).permutation(count)[:held_out].tolist())
    kept = tuple(patient for index, patient in enumerate(everyone.patients) if index not in drawn)
    held = tuple(patient for index, patient in enumerate(everyone.patients) if index in drawn)
    return Dataset(everyone.folder, everyone.layout, kept), Dataset(everyone.folder, everyone.layout, held)


def channels(datasets: tuple[Dataset, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The modalities to use, in channel order: those wanted, or all that any patient has (a patient that lacks one
    then fails the checks).

    Raises:
        BadInput: a modality that the layout does not know.
    """
    layout = datasets[0].layout
    for name in wanted:
        if name not in layout.modalities:
            example = f"--set 'data.modalities=[\"{next(iter(layout.modalities))}\"]'"
            raise BadInput(
                "data.modalities", repr(name), f"some of {', '.join(layout.modalities)} (layout {layout.name})", example
            )
    if wanted:
        return wanted
    present = {name for dataset in datasets for name in dataset.modalities()}
    return tuple(name for name in layout.modalities if name in present)


def _patient(folder: Path, layout: Layout) -> Patient | None:
    """The patient in `folder`, or None if the folder holds no image of this layout."""
    if not re.fullmatch(layout.patient, folder.name):
        return None
    images = {}
    expected = {}
    for modality, names in layout.modalities.items():
        path = _existing(folder, names)
        if path is not None:
            images[modality] = path
        expected[modality] = names[0].format(patient=folder.name) + ENDINGS[0]
    for kind, names in (("truth", layout.truth), ("mask", layout.mask)):
        if names:
            expected[kind] = names[0].format(patient=folder.name) + ENDINGS[0]
    if not images:
        return None
    return Patient(
        folder.name, folder, images, _existing(folder, layout.truth), _existing(folder, layout.mask), expected
    )


def _existing(folder: Path, names: tuple[str, ...]) -> Path | None:
    for name in names:
        for ending in ENDINGS:
            path = folder / (name.format(patient=folder.name) + ending)
            if path.is_file():
                return path
    return None
