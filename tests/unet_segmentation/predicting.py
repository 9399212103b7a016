"""Real Keras models of one pixel-wise layer, whose answer is known from the images alone, and the command that
predicts.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from unet_segmentation import cli, predict
from unet_segmentation.labels import conventions

BRATS = conventions()["brats2017-2021"]
ABOUT: dict[str, Any] = {
    "modalities": ["t1c", "flair"],  # not the layout's order
    "convention": BRATS.as_dict(),
    "regions": ["whole", "core", "enhancing"],
    "context": 0,
    "dimensions": 2,
    "patch": 16,
    "depth": 1,
    "multiple": 8,
    "whole_slices": True,
}
# whole where FLAIR is above 1 standard deviation, core where T1c is above 1, enhancing where it is above 1.5
KERNEL = np.array([[0, 8, 8], [8, 0, 0]], np.float32)  # (channel, region)
BIAS = np.array([-8, -8, -12], np.float32)


def save(path: Path, bias: float = 0, **about: Any) -> Path:
    """A model file; `bias` is added to every logit."""
    import keras

    told = {**ABOUT, **about}
    dimensions, context = told["dimensions"], told["context"]
    channels = len(told["modalities"])
    inputs = keras.Input((*[None] * dimensions, channels * (2 * context + 1)))
    kind = keras.layers.Conv3D if dimensions == 3 else keras.layers.Conv2D
    layer = kind(len(told["regions"]), 1, activation="sigmoid", dtype="float32")
    model = keras.Model(inputs, layer(inputs))
    kernel = np.zeros((channels * (2 * context + 1), len(BIAS)), np.float32)
    kernel[context * channels : context * channels + 2] = KERNEL
    layer.set_weights([kernel.reshape(*[1] * dimensions, *kernel.shape), BIAS + np.float32(bias)])
    predict.save_model(path, model, told)
    return path


def run(models: Path | list[Path], data: Path, out: Path, *more: str) -> int:
    named = [word for path in ([models] if isinstance(models, Path) else models) for word in ("--model", str(path))]
    return cli.main(["predict", *named, "--data", str(data), "--out", str(out), *more])


def image_of(data: Path, patient: str, kind: str) -> Path:
    return next(data.rglob(f"{patient}_{kind}.nii.gz"))


def expected(folder: Path, bias: float = 0) -> np.ndarray:
    """Probabilities (x, y, z, region) that the model must give, from the files alone; 0 outside of the brain's box."""
    images = {
        n: np.asarray(nibabel.load(next(folder.rglob(f"*_{n}.nii.gz"))).dataobj, float) for n in ("t1ce", "flair")
    }
    inside = (images["t1ce"] != 0) | (images["flair"] != 0)
    scores = [np.where(inside, (v - v[inside].mean()) / v[inside].std(), 0) for v in images.values()]
    found = 1 / (1 + np.exp(-(np.stack(scores, -1) @ KERNEL.astype(float) + BIAS + bias)))
    box = np.zeros(inside.shape, bool)
    box[tuple(slice(p.min(), p.max() + 1) for p in np.nonzero(inside))] = True
    return np.where(box[..., None], found, 0)


def painted(probabilities: np.ndarray, *thresholds: float) -> np.ndarray:
    whole, core, enhancing = (probabilities[..., i] > (thresholds or [0.5] * 3)[i] for i in range(3))
    return np.select([enhancing, core, whole], [4, 1, 2])


def labels(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def agree(found: np.ndarray, wanted: np.ndarray) -> bool:
    """But for voxels so close to a threshold that 16 bits decide."""
    return found.shape == wanted.shape and bool((found != wanted).mean() < 1e-3 < (wanted > 0).mean())


def note(path: Path, about: Any) -> Path:
    """As much of a model file as is read before TensorFlow is loaded."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("segmentation.json", json.dumps(about))
    return path


GOOD = {**ABOUT, "format": predict.FORMAT}
