"""Finds the patients of a data set, and who of them is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from submit.runtime.exit_codes import BadInput
from unet_segmentation import splits
from unet_segmentation.config import DataConfig
from unet_segmentation.labels import Convention
from unet_segmentation.naming import Layout, layouts, named
from unet_segmentation.patients import Patient, Source, Tree, gather, walk

__all__ = [
    "Dataset",
    "Layout",
    "Patient",
    "Source",
    "channels",
    "find",
    "layouts",
    "parts",
    "require_apart",
    "require_one_way",
    "split",
    "undivided",
]

PARTS = ("train", "validation")  # folders that say who is held out


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


def find(folder: Path, layout: str = "auto", like: Layout | None = None) -> Dataset:
    """The patients below `folder`, which may be the data set's own, one of its grades, or up to two above it.

    Args:
        folder: to look in; names that begin with a dot are passed over.
        layout: a name, a TOML file, or `auto`: the one that fits most patients.
        like: of a trained model: with `auto`, it and the layouts of the same convention are tried before all others.

    Raises:
        BadInput: no such folder or layout, no patient in it, two patients of one name, or two layouts that fit
            equally well and disagree on the labels.
    """
    chosen = named(layout) if layout != "auto" else None
    if not folder.is_dir():
        raise BadInput(folder, "no such folder", "a folder with one folder per patient", "name it with --data")
    candidates = [chosen] if chosen else list(layouts().values())
    tree = walk(folder, max(kind.depth for kind in (*candidates, *([like] if like else []))))
    if like is not None and chosen is None:
        own = [] if like in candidates else [like]
        found = _best(tree, [*own, *(kind for kind in candidates if _same(kind.convention, like.convention))])
        if found is not None:
            return found
    found = _best(tree, candidates)
    if found is not None:
        return found
    known = chosen.about if chosen else "; ".join(kind.about for kind in candidates)
    raise BadInput(
        folder,
        f"{len(tree.files)} files, none named as in a known layout",
        known,
        "name the folder above the patients' with --data, or describe your names in a file for data.layout",
    )


def split(root: Path, config: DataConfig, seed: int) -> tuple[Dataset, Dataset]:
    """The patients to train on and those to score, all patients of a person together: `train/` and `validation/`,
    else as `splits.drawn`.

    Raises:
        BadInput: as `find` and `splits.drawn`; the two folders have different layouts or share a person.
    """
    if _divided(root):
        require_one_way(config, f"{root} has train/ and validation/", "move all patients into one folder")
        both = parts(root, config.layout)
        require_apart(both)
        return both[0], both[1]
    everyone = undivided(root, config.layout)
    held_out = splits.drawn(everyone.patients, config, seed)
    training = tuple(patient for patient in everyone.patients if patient.name not in held_out)
    validation = tuple(patient for patient in everyone.patients if patient.name in held_out)
    return replace(everyone, patients=training), replace(everyone, patients=validation)


def parts(root: Path, layout: str) -> tuple[Dataset, ...]:
    """The training patients and those of `validation/`, or all in one.

    Raises:
        BadInput: as `find`; two layouts.
    """
    names = [name for name in PARTS if (root / name).is_dir()]
    found = tuple(find(root / name, layout) for name in names) or (find(root, layout),)
    if len({dataset.layout.name for dataset in found}) > 1:
        raise BadInput(
            root,
            f"train/ is {found[0].layout.name}, validation/ {found[1].layout.name}",
            "one layout",
            "--set data.layout=NAME",
        )
    return found


def undivided(root: Path, layout: str) -> Dataset:
    """The patients of a data set whose hold-out is still to be drawn.

    Raises:
        BadInput: as `find`; train/ and validation/ say already who is held out.
    """
    if _divided(root):
        raise BadInput(root, "has train/ and validation/", "patients in one folder", "move all into one, or name one")
    return find(root / "train" if (root / "train").is_dir() else root, layout)


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


def _divided(root: Path) -> bool:
    return all((root / name).is_dir() for name in PARTS)


def require_one_way(config: DataConfig, held: str, other: str) -> None:
    """Nothing, if the configuration does not say who is held out, where the data do.

    Raises:
        BadInput: both do; `other` mends it besides leaving the key out.
    """
    if config.splits or config.folds:
        key = "data.splits" if config.splits else "data.folds"
        raise BadInput(key, held, "one way to say who is held out", f"leave {key} out, or {other}")


def require_apart(datasets: Sequence[Dataset]) -> None:
    """Nothing, if the folders train/ and validation/ share no person, or there is but one.

    Raises:
        BadInput: they do.
    """
    if len(datasets) < 2:
        return
    training, validation = datasets
    found = splits.shared(training.patients, validation.patients)
    if found is not None:
        other, name = (patient.name for patient in found)
        raise BadInput(
            validation.folder,
            f"{name}, which is in train/ too" if other == name else f"{name}, the same person as {other} in train/",
            "patients never trained on",
            f"remove {name} from one",
        )


def _same(a: Convention, b: Convention) -> bool:
    return (a.labels, a.regions) == (b.labels, b.regions)


def _best(tree: Tree, candidates: list[Layout]) -> Dataset | None:
    found = [Dataset(tree.folder, kind, gather(tree, kind)) for kind in candidates]
    most = max(len(dataset.patients) for dataset in found)
    best = [dataset for dataset in found if len(dataset.patients) == most]
    if not most:
        return None
    other = next((d.layout for d in best if not _same(d.layout.convention, best[0].layout.convention)), None)
    if other is not None:
        raise _undecided(tree.folder, best[0].layout, other)
    twice = _twice(best[0].patients)
    if twice:
        raise BadInput(
            tree.folder,
            f"two patients of the name {twice[0].name}: {twice[0].folder} and {twice[1].folder}",
            "a name of its own for each",
            "rename one, or name the folder of one with --data",
        )
    return best[0]


def _undecided(folder: Path, one: Layout, other: Layout) -> BadInput:
    """Says which labels tell the two apart: those that only one of them has, or else all."""

    def only(a: Convention, b: Convention) -> str:
        extra = [f"{value} is {meaning}" for value, meaning in a.labels.items() if value not in b.labels]
        return f"{a.name}, where {' and '.join(extra)}" if extra else a.name

    pair = (one.convention, other.convention)
    said = f"{only(*pair)}, or {only(*pair[::-1])}"
    if one.convention.values == other.convention.values:
        said = " or ".join(convention.describe() for convention in pair)
    return BadInput(
        "data.layout",
        f"auto, and the files in {folder} are named as in both {one.name} and {other.name}, whose labels differ",
        f"one of them: {said}",
        f"--set data.layout={one.name}, or --set data.layout={other.name}",
    )


def _twice(patients: tuple[Patient, ...]) -> tuple[Patient, Patient] | None:
    return next(((a, b) for a, b in pairwise(patients) if a.name == b.name), None)
