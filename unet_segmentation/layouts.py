"""Finds the patients of a data set, and who of them is held out."""

from __future__ import annotations

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
    else a fold of `data.splits`, else fold `data.fold` of `data.folds` drawn with `seed`, else a hold-out drawn so.

    Raises:
        BadInput: as `find` and `splits.read`; the two folders have different layouts or share a person; one person
            alone cannot be split; no such fold.
    """
    if _divided(root):
        return _two_folders(root, config)
    everyone = undivided(root, config.layout)
    if config.splits:
        folds = splits.read(Path(config.splits), everyone.patients)
    elif config.folds:
        folds = splits.folds(everyone.patients, config.folds, seed)
    else:
        folds = (splits.hold_out(everyone.patients, config.validation_fraction, seed),)
    if config.fold >= len(folds):
        where = config.splits or ("data.folds" if config.folds else "")
        wanted = f"0 to {len(folds) - 1}, as {where} has" if where else "0, as there are no folds"
        mend = "--set data.fold=0" if where else "set data.folds or data.splits"
        raise BadInput("data.fold", str(config.fold), wanted, mend)
    held_out = set(folds[config.fold])
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


def _two_folders(root: Path, config: DataConfig) -> tuple[Dataset, Dataset]:
    if config.splits or config.folds:
        key = "data.splits" if config.splits else "data.folds"
        raise BadInput(
            key,
            f"{root} has train/ and validation/",
            "one way to say who is held out",
            f"leave {key} out, or move all patients into one folder",
        )
    training, validation = parts(root, config.layout)
    people = {patient.subject: patient.name for patient in training.patients}
    for patient in validation.patients:
        if patient.subject in people:
            other = people[patient.subject]
            who = patient.name if other == patient.name else f"{patient.name}, the same person as {other}"
            raise BadInput(
                root / "validation",
                f"{who}, which is in train/ too" if other == patient.name else f"{who} in train/",
                "patients never trained on",
                f"remove {patient.name} from one",
            )
    return training, validation


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
