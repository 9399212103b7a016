"""The example's data: small noisy images of stripes that lie or stand. Made up; to be replaced by yours.

    PYTHONPATH=job python3 job/stripes.py data

    data/train.npz, data/validation.npz    x: N x 16 x 16 float32, y: N int64, 0 lying, 1 standing
    data/synthetic.json                    says that the data are made up

Where your images are not so small, read one when it is needed, in `batch`.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json

SIDE = 16  # pixels
NOISE = 1.0  # standard deviation, for stripes of -1 to 1
MARK = "synthetic.json"


@dataclass(frozen=True)
class Samples:
    """Images N x SIDE x SIDE, and the class of each."""

    x: np.ndarray
    y: np.ndarray

    def batch(self, size: int, seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The images of one step: a function of seed and step alone, so that a resumed training is the same one."""
        epoch, at = divmod(step, self.steps(size))
        order = np.random.default_rng((seed, epoch)).permutation(len(self.y))
        chosen = order[at * size : (at + 1) * size]
        return self.x[chosen], self.y[chosen]

    def steps(self, size: int) -> int:
        """In one epoch; images that fill no whole batch are left out, other ones in each epoch."""
        return max(1, len(self.y) // size)


def make(count: int, seed: int) -> Samples:
    """`count` images, drawn by `seed`."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 2, count)
    place = np.arange(SIDE) * draw.uniform(0.5, 1.5, (count, 1)) + draw.uniform(0, 2 * np.pi, (count, 1))
    lying = np.broadcast_to(np.sin(place)[:, :, None], (count, SIDE, SIDE))
    x = np.where(y[:, None, None] == 1, lying.transpose(0, 2, 1), lying)
    return Samples((x + draw.normal(0, NOISE, x.shape)).astype(np.float32), y)


def write(folder: Path, seed: int, counts: tuple[int, int] = (1000, 200)) -> None:
    """Makes the data set."""
    folder.mkdir(parents=True)
    for name, count, own in zip(("train", "validation"), counts, (2 * seed, 2 * seed + 1), strict=True):
        made = make(count, own)
        np.savez(folder / f"{name}.npz", x=made.x, y=made.y)
    write_json(folder / MARK, {"made_by": "stripes.py", "seed": seed})


def read(folder: Path) -> tuple[Samples, Samples]:
    """To train on, and to score on.

    Raises:
        BadInput: a file is missing, damaged, or holds something else.
    """
    return _read(folder / "train.npz"), _read(folder / "validation.npz")


def made_up(folder: Path) -> str:
    """By what the data were made up; empty: they were not."""
    mark = folder / MARK
    if not mark.exists():
        return ""
    about = json.loads(mark.read_text())
    return f"made up by {about['made_by']} with seed {about['seed']}"


def _read(file: Path) -> Samples:
    wanted = f"x: N x {SIDE} x {SIDE}, y: N numbers 0 or 1"
    try:
        with np.load(file, allow_pickle=False) as held:
            x, y = held["x"], held["y"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as fault:
        what = f"{type(fault).__name__}: {fault}"
        raise BadInput(file, what, wanted, "write your own reader, or try job/stripes.py") from fault
    if x.ndim != 3 or x.shape[1:] != (SIDE, SIDE) or y.shape != x.shape[:1] or not len(y) or not set(y) <= {0, 1}:
        raise BadInput(file, f"x: {x.shape}, y: {y.shape}", wanted, "write your own reader, or mend the file")
    return Samples(x.astype(np.float32), y.astype(np.int64))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Makes the example's data.")
    options.add_argument("folder", type=Path)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    write(given.folder, given.seed)
    print(f"{given.folder}: {made_up(given.folder)}")
