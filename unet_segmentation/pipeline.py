"""Training batches. A batch is a pure function of (seed, step): a restarted run sees the images it would have seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from unet_segmentation.augment import augment
from unet_segmentation.config import AugmentConfig, TrainConfig
from unet_segmentation.prepare import Prepared

Batch = tuple[NDArray[np.float32], NDArray[np.int32]]

AHEAD = 4  # batches made in advance, enough to hide a slow one
WORKERS = 2


class Batches:
    """The batches of a run.

    Each image: a patient drawn uniformly; with probability `train.foreground` a slice with tumour, its patch placed
    over a tumour pixel, else any slice with brain, its patch placed anywhere; then augmented. Patients without tumour
    give any slice.
    """

    def __init__(self, patients: Sequence[Prepared], train: TrainConfig, variation: AugmentConfig) -> None:
        self._patients = patients
        self._train, self._variation = train, variation
        self._tumour = [np.flatnonzero(_classes(patient).any(axis=(1, 2))) for patient in patients]

    @property
    def slices(self) -> int:
        """Axial slices with brain of all patients: one epoch."""
        return sum(patient.images.shape[0] for patient in self._patients)

    def __getitem__(self, step: int) -> Batch:
        """Images (batch, patch, patch, channel) and classes (batch, patch, patch) of a step; steps count from 0."""
        rng = np.random.default_rng([self._train.seed, step])
        pairs = [self._one(rng)[1:] for _ in range(self._train.batch_size)]
        return np.stack([image for image, _ in pairs]), np.stack([classes for _, classes in pairs]).astype(np.int32)

    def patients_of(self, step: int) -> list[str]:
        """Names of the patients in a step's batch, for the message when training diverges there."""
        rng = np.random.default_rng([self._train.seed, step])
        return sorted({self._one(rng)[0] for _ in range(self._train.batch_size)})

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first .. last - 1 in order, made ahead in threads; a fault in one is raised here."""
        with ThreadPoolExecutor(WORKERS) as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                for step in range(first, last + AHEAD):
                    if step < last:
                        waiting.append(pool.submit(self.__getitem__, step))
                    if step >= first + AHEAD - 1 and waiting:
                        yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _one(self, rng: np.random.Generator) -> tuple[str, NDArray[np.float32], NDArray[np.uint8]]:
        index = int(rng.integers(len(self._patients)))
        patient, tumour = self._patients[index], self._tumour[index]
        patch = self._train.patch
        foreground = bool(rng.random() < self._train.foreground) and tumour.size > 0
        z = int(rng.choice(tumour)) if foreground else int(rng.integers(patient.images.shape[0]))
        image, classes = patient.images[z], _classes(patient)[z]
        if foreground:
            pixels = np.flatnonzero(classes)
            x, y = np.unravel_index(pixels[rng.integers(pixels.size)], classes.shape)
        else:
            x, y = rng.integers(classes.shape[0]), rng.integers(classes.shape[1])
        centre = _inside(int(x), classes.shape[0], patch), _inside(int(y), classes.shape[1], patch)
        varied, target = augment(rng, image, classes, centre, patch, self._variation)
        return patient.name, varied, target


def _classes(patient: Prepared) -> NDArray[np.uint8]:
    if patient.classes is None:
        raise ValueError(f"{patient.name}: no truth to train on")
    return patient.classes


def _inside(place: int, size: int, patch: int) -> float:
    """The nearest centre at which the patch does not reach beyond the slice, or the middle if it always does."""
    if size <= patch:
        return (size - 1) / 2
    return float(min(max(place, (patch - 1) / 2), size - 1 - (patch - 1) / 2))
