from __future__ import annotations

import numpy as np
import pytest

from unet_segmentation.predict import SLICES, segment
from unet_segmentation.prepare import Prepared


@pytest.mark.parametrize("depth", [1, SLICES, SLICES + 3])
def test_each_pixel_keeps_its_place(depth: int) -> None:
    """A network that reads the class off the pixel: mirroring, padding, slabs and cropping must leave it where it
    was.
    """
    truth = np.random.default_rng(1).integers(0, 4, (depth, 10, 13)).astype(np.uint8)
    box = ((2, 12), (1, 14), (3, 3 + depth))
    prepared = Prepared("p", truth[..., None].astype(np.float16), truth, box, (14, 15, depth + 5))
    seen = []

    def forward(images: np.ndarray) -> np.ndarray:
        seen.append(images.shape)
        return np.eye(4, dtype=np.float32)[images[..., 0].astype(int)]

    whole = segment(forward, prepared, multiple=8)
    assert (whole[2:12, 1:14, 3 : 3 + depth] == truth.transpose(1, 2, 0)).all()
    assert whole.sum() == truth.sum() and whole.shape == prepared.shape
    assert all(shape[1:] == (16, 16, 1) and shape[0] <= SLICES for shape in seen)
