"""Segments patients with a trained model: slice by slice, whole axial slices, mirrored and averaged; NIfTI out.

    python -m unet_segmentation predict --model out/model.keras --data data --out predictions

What the model needs to know about its input (modalities in order, label convention) lies inside model.keras and is
checked.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime import devices
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic, write_json
from submit.runtime.progress import Progress
from unet_segmentation import backend, layouts, verify, volumes
from unet_segmentation.config import TrainConfig
from unet_segmentation.labels import Convention, conventions
from unet_segmentation.prepare import Prepared, restore

ABOUT = "segmentation.json"  # our member of the .keras archive, which Keras ignores
SLICES = 16  # a forward pass: memory stays small on any machine

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def save_model(path: Path, model: Any, about: dict[str, Any]) -> None:
    """Writes a .keras file with `about` inside it; atomic."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(ABOUT, json.dumps(about, indent=2))
        write_atomic(path, file.read_bytes())


def read_about(path: Path) -> dict[str, Any]:
    """What a model was trained for, without loading TensorFlow.

    Raises:
        BadInput: not a model of this trainer.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about: dict[str, Any] = json.loads(archive.read(ABOUT))
            return about
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as fault:
        raise BadInput(
            path, f"no model of this trainer ({fault})", "the model.keras that train wrote", "name it with --model"
        ) from fault


def segment(forward: Forward, prepared: Prepared, multiple: int) -> NDArray[np.uint8]:
    """Classes of one patient in the file's space, (x, y, z).

    Args:
        forward: images (n, x, y, channel) to class probabilities.
        prepared: the patient.
        multiple: what the sides of an image must be divisible by.
    """
    depth, height, width, channels = prepared.images.shape
    padded = tuple(-(-side // multiple) * multiple for side in (height, width))
    classes = np.empty((depth, height, width), np.uint8)
    for first in range(0, depth, SLICES):
        part = prepared.images[first : first + SLICES]
        images = np.zeros((len(part), *padded, channels), np.float32)
        images[:, :height, :width] = part
        # the brain is nearly symmetric, so its mirror image is a second opinion: less noise for twice the time
        probabilities = forward(images) + forward(images[:, ::-1])[:, ::-1]
        classes[first : first + SLICES] = probabilities.argmax(axis=-1)[:, :height, :width]
    return restore(classes, prepared)


def predict(model_path: Path, root: Path, out: Path) -> list[Path]:
    """Segments every patient in `root` and writes `out/<patient>.nii.gz`; returns the files.

    Raises:
        BadInput: no such model; the data's label convention or modalities are not the model's; a patient's file is at
            fault.
        BadMachine: a GPU was asked for and is not usable.
    """
    about = read_about(model_path)
    dataset = layouts.find(root)
    require_convention(about["convention"], dataset, model_path)
    modalities = layouts.channels((dataset,), tuple(about["modalities"]))
    where = backend.Devices(TrainConfig())
    devices.require_gpu(where.gpus)
    import keras

    reports = verify.verify(dataset, modalities, need_truth=False)
    prepared = verify.require(reports)
    forward = backend.forward(keras.saving.load_model(model_path, compile=False))
    progress = Progress(len(prepared), "predicting")
    written = []
    for number, patient in enumerate(prepared, 1):
        files = dataset.patients[number - 1]
        written.append(write(forward, patient, files, modalities, about, out))
        progress.update(number, patient.name)
    progress.close(len(prepared))
    write_json(
        out / "predictions.json",
        {"convention": about["convention"], "modalities": list(modalities), "model": str(model_path)},
    )
    return written


def write(
    forward: Forward,
    prepared: Prepared,
    patient: layouts.Patient,
    modalities: tuple[str, ...],
    about: dict[str, Any],
    out: Path,
) -> Path:
    """Segments one patient into `out/<patient>.nii.gz`, label values of the model's convention, in the first
    modality's space.
    """
    convention: Convention = conventions()[about["convention"]]
    labels = convention.decode(segment(forward, prepared, about["slice_multiple"]))
    path = out / f"{patient.name}.nii.gz"
    volumes.write_labels(path, labels, like=patient.images[modalities[0]])
    return path


def require_convention(name: str, dataset: layouts.Dataset, source: Path) -> None:
    """Refuses data whose labels mean something else than the model's: 4 is enhancing tumour here and a resection
    cavity there.

    Raises:
        BadInput: they differ.
    """
    if dataset.layout.convention.name != name:
        raise BadInput(
            dataset.folder,
            f"label convention {dataset.layout.convention.name} (layout {dataset.layout.name})",
            f"{name}, that of {source}",
            "use a model trained with this convention, or set data.layout if the layout was mistaken",
        )
