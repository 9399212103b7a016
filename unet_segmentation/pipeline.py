"""Training batches. A batch is a pure function of (seed, step): a restarted run sees the images it would have seen.

The host only picks slices and draws numbers; resampling and intensities are computed by the device that trains
(`augment.vary`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_segmentation import augment
from unet_segmentation.config import Config
from unet_segmentation.prepare import Prepared

Batch = dict[str, NDArray[np.generic]]

AHEAD = 4  # batches made in advance, enough to hide a slow one
WORKERS = 2


class Batches:
    """The batches of a run.

    Each image: a patient drawn uniformly; with probability `train.foreground` centred on a voxel of tumour, of a class
    drawn uniformly from those the patient has (the enhancing rim is small, and would be seen seldom), else any place in
    the brain's box. Patients without tumour give any place.

    Args:
        patients: prepared, with classes.
        config: of the run.
        attempt: 0; after a training that diverged 1, which draws other batches.
    """

    def __init__(self, patients: Sequence[Prepared], config: Config, attempt: int = 0) -> None:
        self._patients = patients
        self._config = config
        self._seed = [config.train.seed] if not attempt else [config.train.seed, attempt]
        self._sides = tuple(max(patient.images.shape[axis] for patient in patients) for axis in (1, 2))
        self.channels = int(patients[0].images.shape[3])
        solid = config.model.dimensions == 3
        # slices of an image around the drawn one, and of its truth
        self._before, self._after = (
            (config.train.depth // 2, config.train.depth - config.train.depth // 2)
            if solid
            else (config.model.context, config.model.context + 1)
        )
        self._truth = slice(None) if solid else slice(config.model.context, config.model.context + 1)

    @property
    def slices(self) -> int:
        """Axial slices with brain of all patients: one epoch."""
        return sum(patient.images.shape[0] for patient in self._patients)

    @property
    def epoch(self) -> int:
        """Steps that show as many slices as there are."""
        shown = self._config.train.batch_size * (self._config.train.depth if self._config.model.dimensions == 3 else 1)
        return max(1, -(-self.slices // shown))

    def __getitem__(self, step: int) -> Batch:
        """The input of `augment.vary` for a step; steps count from 0."""
        rng = np.random.default_rng([*self._seed, step])
        size, depth = self._config.train.batch_size, self._before + self._after
        # one pixel of zeros around each slice
        sides = tuple(side + 2 for side in self._sides)
        images = np.zeros((size, *sides, depth, self.channels), np.float16)
        classes = np.zeros((size, *sides, len(range(depth)[self._truth])), np.uint8)
        drawn = []
        for index in range(size):
            patient, z, centre = self._place(rng)
            shape = patient.images.shape
            low, high = max(z - self._before, 0), min(z + self._after, shape[0])
            first = low - (z - self._before)
            there = (index, slice(1, shape[1] + 1), slice(1, shape[2] + 1))
            images[*there, first : first + high - low] = patient.images[low:high].transpose(1, 2, 0, 3)
            truth = np.zeros((depth, *shape[1:3]), np.uint8)
            truth[first : first + high - low] = _classes(patient)[low:high]
            classes[there] = truth[self._truth].transpose(1, 2, 0)
            drawn.append(augment.draw(rng, centre, self._config.train.patch, self.channels, self._config.augment))
        images = images.reshape(size, *sides, depth * self.channels)
        return {"images": images, "classes": classes, **{name: np.stack([d[name] for d in drawn]) for name in drawn[0]}}

    def patients_of(self, step: int) -> list[str]:
        """Names of the patients in a step's batch, for the message when training diverges there."""
        rng = np.random.default_rng([*self._seed, step])
        names = set()
        for _ in range(self._config.train.batch_size):
            patient, _, centre = self._place(rng)
            augment.draw(rng, centre, self._config.train.patch, self.channels, self._config.augment)
            names.add(patient.name)
        return sorted(names)

    def since(self, first: int, ahead: Callable[[Batch], Any] = dict) -> Generator[Any, None, None]:
        """The batches of step `first` and all after it in order, made in threads and put through `ahead` there; a
        fault in one is raised here. Close it when done.
        """
        with ThreadPoolExecutor(WORKERS) as pool:
            waiting: deque[Future[Any]] = deque()
            try:
                for step in count(first):
                    waiting.append(pool.submit(lambda at: ahead(self[at]), step))
                    if len(waiting) >= AHEAD:
                        yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def again(self, attempt: int) -> Batches:
        """The same with the batches of another attempt."""
        return Batches(self._patients, self._config, attempt)

    def _place(self, rng: np.random.Generator) -> tuple[Prepared, int, tuple[float, float]]:
        """A patient, a slice, and the pixel of it in the middle of the patch."""
        patient = self._patients[int(rng.integers(len(self._patients)))]
        depth, width, height = patient.images.shape[:3]
        if rng.random() < self._config.train.foreground and patient.places:
            voxels = patient.places[int(rng.choice(sorted(patient.places)))]
            z, x, y = (int(place) for place in voxels[rng.integers(len(voxels))])
        else:
            z, x, y = (int(rng.integers(side)) for side in (depth, width, height))
        patch = self._config.train.patch
        return patient, z, (_inside(x, width, patch), _inside(y, height, patch))


def _classes(patient: Prepared) -> NDArray[np.uint8]:
    if patient.classes is None:
        raise ValueError(f"{patient.name}: no truth to train on")
    return patient.classes


def _inside(place: int, size: int, patch: int) -> float:
    """The nearest centre at which the patch does not reach beyond the slice, or the middle if it always does."""
    if size <= patch:
        return (size - 1) / 2
    return float(min(max(place, (patch - 1) / 2), size - 1 - (patch - 1) / 2))
