"""Segments patients with a trained model, or with several as an ensemble; NIfTI out, in the space of the input.

    python -m unet_segmentation predict --model out/model.keras --data data --out predictions

What a model needs to know about its input (modalities in order, label convention, how it looks at a patient) lies
inside model.keras and is checked. Patients are read one ahead of the network and dropped when they are written, so
that memory does not grow with their number; what is there already is not made again.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from submit.runtime import devices
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic
from submit.runtime.progress import Progress
from unet_segmentation import backend, layouts, prepare, segment, verify, volumes
from unet_segmentation.labels import Convention
from unet_segmentation.layouts import Dataset, Layout, Patient
from unet_segmentation.prepare import Prepared
from unet_segmentation.record import Record, sha256
from unet_segmentation.segment import About, Forward, Options

ABOUT = "segmentation.json"  # our member of the .keras archive, which Keras ignores
FORMAT = 2  # of that member; 1 had a convention's name and one softmax over classes
KEYS: Mapping[str, type] = {
    "modalities": list,
    "convention": dict,
    "regions": list,
    "context": int,
    "dimensions": int,
    "patch": int,
    "depth": int,
    "multiple": int,
    "whole_slices": bool,
}


def save_model(path: Path, model: Any, about: About) -> None:
    """Writes a .keras file with `about` inside it; atomic."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(ABOUT, json.dumps({**about, "format": FORMAT}, indent=2))
        write_atomic(path, file.read_bytes())


def read_about(path: Path) -> dict[str, Any]:
    """What a model was trained for, without loading TensorFlow; the convention is checked too.

    Raises:
        BadInput: not a model of this trainer, or of another version of it.
    """
    mend = "name it with --model"
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read(ABOUT))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as fault:
        raise BadInput(path, f"no model of this trainer ({fault})", "the model.keras that train wrote", mend) from fault
    held = about.pop("format", 1) if isinstance(about, dict) else None
    if held != FORMAT:
        mend = "train again, or predict with the kit that trained it"
        raise BadInput(path, f"a model of format {held}", f"format {FORMAT}", mend)
    wrong = [key for key, kind in KEYS.items() if type(about.get(key)) is not kind]
    if wrong:
        raise BadInput(f"{path}: {ABOUT}", f"{wrong[0]} = {about.get(wrong[0])!r}", KEYS[wrong[0]].__name__, mend)
    convention = Convention.from_dict(about["convention"], f"{path}: {ABOUT}: convention")
    strange = [name for name in about["regions"] if name not in convention.regions]
    if strange or not about["regions"]:
        wanted = f"some of {', '.join(convention.regions)}"
        raise BadInput(f"{path}: {ABOUT}", f"regions = {about['regions']!r}", wanted, mend)
    return dict(about)


def predict(
    models: Sequence[Path],
    root: Path,
    out: Path,
    layout: str = "auto",
    options: Options | None = None,
    maps: bool = False,
    leave_out: bool = False,
) -> list[Path]:
    """Segments every patient in `root` into `out/<patient>.nii.gz`; returns the files, those already there among them.

    Args:
        models: one model.keras, or those of an ensemble.
        root: folder of patients.
        out: folder for the predictions.
        layout: of the data: a name, a file, or auto.
        options: how to segment; the default is `Options()`.
        maps: write the probability of each region too.
        leave_out: name patients at fault in predictions.json, and raise only if all are.

    Raises:
        BadInput: no such model; models that do not belong together; the data's label convention or modalities are not
            the model's; a patient's file is missing or at fault (patients without fault are segmented all the same).
        BadMachine: a GPU was asked for and is not usable.
    """
    options = options or Options()
    dataset, abouts = predictable(models, root, layout)
    options.require(abouts[0]["regions"])
    convention, modalities = Convention.from_dict(abouts[0]["convention"]), abouts[0]["modalities"]
    record = Record(out, abouts[0], options, maps, [sha256(path) for path in models])
    pending = {patient.name: patient for patient in dataset.patients if not record.holds(patient)}
    if len(pending) < len(dataset.patients):
        there = len(dataset.patients) - len(pending)
        print(f"{there} of {len(dataset.patients)} predictions are there, of these models and images", file=sys.stderr)
    if pending:
        devices.require_gpu(backend.devices().gpus)
        forwards = [backend.forward(backend.load_model(path)) for path in models]
        reports: list[verify.Report] = []
        ready = _streamed(pending.values(), modalities, convention, reports)
        write_all(forwards, ready, pending, abouts, out, options, record)
        record.leave_out(verify.faulty(reports, most=len(dataset.patients) - 1 if leave_out else 0))
    return [record.path(patient.name) for patient in dataset.patients if patient.name not in record.left_out]


def predictable(models: Sequence[Path], root: Path, layout: str = "auto") -> tuple[Dataset, list[dict[str, Any]]]:
    """The patients in `root`, who all have the images that the models need, and the models' descriptions.

    Raises:
        BadInput: as `predict`, but for faults of a file.
    """
    abouts = agreed(models)
    dataset = _dataset(root, layout, abouts[0], models[0])
    require_convention(Convention.from_dict(abouts[0]["convention"]), dataset, models[0])
    _require_images(dataset, abouts[0]["modalities"], models[0])
    return dataset, abouts


def write_all(
    forwards: Sequence[Forward],
    prepared: Iterable[Prepared],
    patients: Mapping[str, Patient],
    about: About | Sequence[About],
    out: Path,
    options: Options,
    record: Record | None = None,
) -> list[Path]:
    """Segments patient after patient into `out/<patient>.nii.gz`, label values of the model's convention in the space
    of the first modality's file, and writes `out/predictions.json`; shows a progress bar; returns the files.

    Args:
        forwards: one network or several.
        prepared: the patients, in memory one at a time if this is a generator.
        patients: their files, by name.
        about: the models' description, one for all or one each.
        out: folder for the predictions.
        options: how to segment.
        record: of what is in `out`; without one nothing is known about the models, and all is made anew.
    """
    first = about if isinstance(about, Mapping) else about[0]
    convention = Convention.from_dict(first["convention"])
    record = record or Record(out, first, options)
    progress = Progress(len(patients), "predicting")
    written: list[Path] = []
    try:
        for one in prepared:
            patient = patients[one.name]
            found = segment.probabilities(forwards, one, about, options)
            masks = segment.masks(found, first, options, one.spacing)
            path = record.path(one.name)
            labels = prepare.restore(convention.painted(masks, first["regions"]), one)
            volumes.write_labels(path, labels, like=patient.images[first["modalities"][0]])
            if record.maps:
                for index, region in enumerate(first["regions"]):
                    _write_map(record.path(one.name, region), found[..., index], one, like=path)
            record.add(patient)
            written.append(path)
            progress.update(len(written), one.name)
    finally:
        record.write()
    progress.close(len(written))
    return written


def agreed(models: Sequence[Path]) -> list[dict[str, Any]]:
    """The descriptions of an ensemble's models. They may look at a patient in different ways (2-D, 3-D), but must see
    the same channels and mean the same by what they say.

    Raises:
        BadInput: a file that is no model, or one that does not belong to the first.
    """
    abouts = [read_about(path) for path in models]
    for path, about in zip(models, abouts, strict=True):
        for key in ("modalities", "convention", "regions"):
            if about[key] != abouts[0][key]:
                held, wanted = (_shown(key, one[key]) for one in (about, abouts[0]))
                mend = "ensemble models that were trained alike, such as the folds of one training"
                raise BadInput(path, f"{key} {held}", f"{wanted}, as {models[0]}", mend)
    return abouts


def require_convention(convention: Convention, dataset: Dataset, source: Path) -> None:
    """Refuses data whose labels mean something else than the model's: 4 is enhancing tumour here and a resection
    cavity there. Data without a truth are refused too: the predictions would be written in a convention that is not
    that of the data set.

    Raises:
        BadInput: they differ.
    """
    held = dataset.layout.convention
    if held == convention:
        return
    names = held.name != convention.name  # enough to tell them apart
    raise BadInput(
        dataset.folder,
        f"label convention {held.name if names else held.describe()} (layout {dataset.layout.name})",
        f"{convention.name if names else convention.describe()}, that of {source}",
        "use a model trained with this convention, or name the right layout with --layout if this one is mistaken",
    )


def _dataset(root: Path, layout: str, about: About, source: Path) -> Dataset:
    """The patients below `root`; where the layout is to be found out, the model's own is tried first."""
    like = None
    if "layout_table" in about:  # a user's own, which may not lie on this machine
        like = Layout.from_dict(str(about.get("layout")), about["layout_table"], f"{source}: {ABOUT}: layout_table")
    elif about.get("layout") in layouts.layouts():
        like = layouts.layouts()[about["layout"]]
    try:
        return layouts.find(root, layout, like)
    except BadInput as fault:  # in a configuration's words
        if fault.where != "data.layout":
            raise
        mend = fault.mend.replace("--set data.layout=", "--layout ")
        raise BadInput("--layout", fault.held, fault.wanted, mend) from fault


def _require_images(dataset: Dataset, modalities: Sequence[str], source: Path) -> None:
    """Refuses patients that lack an image, before anything is read or written."""
    known = dataset.layout.modalities
    for name in modalities:
        if name not in known:
            held, wanted = f"layout {dataset.layout.name} has {', '.join(known)}", f"{name}, which {source} needs"
            raise BadInput(dataset.folder, held, wanted, f"name another --layout, or a model trained without {name}")
    missing = [(patient, name) for patient in dataset.patients for name in modalities if name not in patient.images]
    if missing:
        patient, name = missing[0]
        file = patient.expected[name]
        more = f" ({len(missing) - 1} more are missing)" if len(missing) > 1 else ""
        mend = f"add {patient.folder / file}, remove the patient, or use a model trained without {name}"
        raise BadInput(f"{patient.name}/{file}", "missing", f"the {name} image", mend + more)


def _streamed(
    patients: Iterable[Patient], modalities: Sequence[str], convention: Convention, reports: list[verify.Report]
) -> Iterator[Prepared]:
    """The patients without fault, checked and prepared, one ahead of the one in use; the reports of all are appended
    to `reports`.
    """

    def ready(patient: Patient) -> tuple[verify.Report, Prepared | None]:
        blind = dataclasses.replace(patient, truth=None)  # whether a truth is sound is for evaluate to say
        report = verify.inspect(blind, modalities, convention, need_truth=False)
        checked, report.checked = report.checked, None
        if checked is None:
            return report, None
        return report, prepare.prepare(patient.name, checked.images, checked.inside, None, convention)

    waiting = iter(patients)
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(ready, patient) for patient in itertools.islice(waiting, 1)]
        while ahead:
            report, one = ahead.pop().result()
            ahead = [pool.submit(ready, patient) for patient in itertools.islice(waiting, 1)]
            reports.append(report)
            if one is not None:
                yield one


def _write_map(path: Path, values: NDArray[np.float16], prepared: Prepared, like: Path) -> None:
    """Writes a region's probability (z, x, y) as float32, 0 outside of the crop, in the space of the labels `like`."""
    whole = np.zeros(prepared.shape, np.float32)
    whole[tuple(slice(start, stop) for start, stop in prepared.box)] = values.transpose(1, 2, 0)
    header = nibabel.load(like).header.copy()
    header.set_data_dtype(np.float32)
    write_atomic(path, volumes.compressed(nibabel.Nifti1Image(whole, None, header)))


def _shown(key: str, value: Any) -> str:
    if key == "convention":
        return Convention.from_dict(value).describe()
    return ", ".join(map(str, value))
