"""Patients that never were: labelled, BraTS-like, skull-stripped brains with a tumour, for demonstrations and tests, in
the files of any layout of brain tumours. The same seed gives the same bytes. Every file says what it is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic
from submit.runtime.progress import Progress
from unet_segmentation import metaimage, synthetic
from unet_segmentation.anatomy import SIGNAL, phantom, spacing
from unet_segmentation.labels import Convention, conventions
from unet_segmentation.naming import Layout, layouts, named
from unet_segmentation.volumes import compressed

__all__ = ["SIZE", "parts", "phantom", "write"]

SIZE = (96, 112, 64)  # 2 mm in plane: small enough to train on in a minute of CPU time
REGIONS = ("whole", "core", "enhancing")
CAVITY_DEPTH = 1  # voxels of necrosis around a cavity


class _Name(NamedTuple):
    """What a patient is called in a layout: person and, in layouts that have them, time point; grade folder."""

    patient: str
    grade: str = ""


def _alternating(number: int, grades: tuple[str, str]) -> str:
    return grades[(number - 1) % 2]


# The name of person n's time point t (from 1), which layouts without time points never make 2. The grades alternate;
# in BRATS 2013 both grades number their patients from 1.
NAMES: Mapping[str, Callable[[int, int], _Name]] = {
    "brats2013": lambda n, t: _Name(f"{(n + 1) // 2:04d}", _alternating(n, ("HG", "LG"))),
    "brats2015": lambda n, t: _Name(f"brats_phantom_pat{n:04d}_{t}", _alternating(n, ("HGG", "LGG"))),
    "brats2017-2019": lambda n, t: _Name(f"Brats18_Phantom_{n}_{t}", _alternating(n, ("HGG", "LGG"))),
    "brats2020": lambda n, t: _Name(f"BraTS20_Phantom_{n:05d}"),
    "brats2023": lambda n, t: _Name(f"BraTS-GLI-{n:05d}-{t - 1:03d}"),
    "brats2024": lambda n, t: _Name(f"BraTS-GLI-{n:05d}-{t + 99:03d}"),
    "msd-task01": lambda n, t: _Name(f"BRATS_{n:03d}"),
    "msd-task01-test": lambda n, t: _Name(f"BRATS_{n:03d}"),
    "deepmedic2015": lambda n, t: _Name(f"brats_phantom_pat{n:04d}_{t}"),
}
TIME_POINTS = ("brats2015", "brats2023", "brats2024")  # two of each person


def parts(patients: int, split: str | None) -> dict[str, int]:
    """Folder name to number of patients: {"": 6}, or {"train": 4, "validation": 2} for "4:2".

    Raises:
        BadInput: not two whole numbers of at least 1, or no patients at all.
    """
    if split is None:
        if patients < 1:
            raise BadInput("--patients", str(patients), "1 or more", "--patients 6")
        return {"": patients}
    words = split.split(":")
    if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise BadInput("--split", split, "TRAIN:VALIDATION, two numbers of at least 1", "--split 4:2")
    return {"train": int(words[0]), "validation": int(words[1])}


def write(
    out: Path, counts: Mapping[str, int], seed: int, layout: str = "brats2021", size: tuple[int, ...] = SIZE
) -> list[str]:
    """Writes phantoms as `out[/part]/Phantom_00001/Phantom_00001_flair.nii.gz` and so on; returns the patients' names.

    Args:
        out: folder to write into.
        counts: as from `parts`.
        seed: phantom n is a pure function of (seed, n, size).
        layout: whose files are written: a name, or a TOML file of one that has all four modalities at most and the
            regions of a brain tumour. Where a layout has time points, a person has two (not one brain at two times:
            two phantoms under one person's name).
        size: voxels in x, y, z, at least 32 each.

    Raises:
        BadInput: a layout of something else, or a size out of range.
    """
    kind = named(layout)
    if set(kind.modalities) - set(SIGNAL) or not set(REGIONS) <= set(kind.convention.regions):
        wanted = f"a layout of brain tumours with some of {', '.join(SIGNAL)}: {', '.join(layouts())}"
        raise BadInput("--layout", layout, wanted, "--layout brats2021")
    if len(size) != 3 or min(size) < 32 or max(size) > 512:
        raise BadInput("--size", " ".join(map(str, size)), "three numbers, 32 to 512", "--size 96 112 64")
    if not 0 <= seed < 2**31:
        raise BadInput("--seed", str(seed), "0 or more", "--seed 1")
    written: list[str] = []
    progress = Progress(sum(counts.values()), "phantoms")
    person = 0
    for part, count in counts.items():
        grades = {}
        for index in range(count):
            again = kind.name in TIME_POINTS and index % 2 == 1  # never across parts
            person += not again
            name = _name(kind, person, 2 if again else 1)
            number = len(written) + 1
            images, labels = phantom(np.random.default_rng([seed, number]), (size[0], size[1], size[2]))
            _write_patient(out / part, kind, name, number, images, labels)
            grades[name.patient] = _alternating(person, ("HGG", "LGG"))
            written.append(name.patient)
            progress.update(number, name.patient)
        _write_grades(out / part, kind, grades)
    progress.close(len(written))
    return written


def _name(kind: Layout, person: int, time: int) -> _Name:
    known = NAMES.get(kind.name)
    name = known(person, time) if known else _Name(f"Phantom_{person:05d}", next(iter(kind.grades), ""))
    if not re.fullmatch(kind.patient, name.patient):
        held = f"patients named {kind.patient}"
        raise BadInput("--layout", held, f"a pattern that {name.patient} fits", "loosen `patient` in the layout")
    return name


def _write_patient(
    folder: Path, kind: Layout, name: _Name, number: int, images: Mapping[str, NDArray[Any]], labels: NDArray[np.uint8]
) -> None:
    """One patient in the files of a layout."""
    brain = images["flair"] > 0
    if kind.mask:  # DeepMedic's data: normalised, the background a negative constant
        images = {name: _normalised(values, brain) for name, values in images.items()}
    files: dict[str, dict[int, NDArray[Any]]] = {}
    for modality in kind.modalities:
        files.setdefault(_file(kind, modality, name, number), {})[kind.channels.get(modality, 0)] = images[modality]
    for path, channels in files.items():
        stacked = [channels.get(index, np.zeros_like(images["flair"])) for index in range(max(channels) + 1)]
        _write(folder / path, np.stack(stacked, -1) if kind.channels else stacked[0])
    if kind.truth:
        _write(folder / _file(kind, "truth", name, number), _painted(labels, kind.convention))
    if kind.mask:
        _write(folder / _file(kind, "mask", name, number), brain.astype(np.uint8))


def _file(kind: Layout, what: str, name: _Name, number: int) -> str:
    """`*` stands for a running number in BRATS: of the file, and in the truth of how many images there are."""
    text = kind.templates[what][0].filled(name.patient, name.grade, str(number))
    ending = ".nii.gz" if ".nii.gz" in kind.endings else kind.endings[0]
    return text + ending


def _painted(labels: NDArray[np.uint8], convention: Convention) -> NDArray[np.uint8]:
    """The labels of `phantom`, which are those of BraTS 2021, in another convention."""
    own = conventions()["brats2017-2021"]
    if (own.labels, own.regions) == (convention.labels, convention.regions):
        return labels
    masks = {name: own.region(labels, name) for name in REGIONS}
    if "cavity" in convention.regions:  # after treatment: the middle of the necrosis, which looks much like fluid
        cavity = ndimage.binary_erosion(masks["core"] & ~masks["enhancing"], iterations=CAVITY_DEPTH)
        masks = {**{name: where & ~cavity for name, where in masks.items()}, "cavity": cavity}
    return convention.painted(np.stack(list(masks.values()), -1), tuple(masks))


def _normalised(values: NDArray[Any], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    inside = values[brain].astype(np.float64)
    scaled: NDArray[np.float32] = ((values - inside.mean()) / inside.std()).astype(np.float32)
    return scaled


def _write_grades(folder: Path, kind: Layout, grades: Mapping[str, str]) -> None:
    if kind.grade_file:
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow([kind.grade_file["grade"], kind.grade_file["patient"]])
        rows.writerows([grade, patient] for patient, grade in grades.items())
        write_atomic(folder / kind.grade_file["file"], text.getvalue().encode())


def _write(path: Path, values: NDArray[Any]) -> None:
    """As BraTS stores it: x to the left, y to the back, z up."""
    steps = spacing(values.shape[:3])
    affine = np.diag([-steps[0], -steps[1], steps[2], 1.0])
    affine[1, 3] = steps[1] * (values.shape[1] - 1)
    if path.name.endswith(metaimage.ENDING):
        metaimage.write(path, values, affine, synthetic.MARK)
        return
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = synthetic.MARK.encode()
    write_atomic(path, compressed(image) if path.name.endswith(".gz") else image.to_bytes())
