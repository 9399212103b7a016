from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_segmentation import prepare, volumes
from unet_segmentation.labels import conventions
from unet_segmentation.volumes import Volume

BRATS = conventions()["brats2017-2021"]


def volume(values: np.ndarray) -> Volume:
    return Volume(Path("x.nii"), values.astype(np.float32), np.eye(4), "")


def head(background: float) -> tuple[np.ndarray, np.ndarray]:
    inside = np.zeros((20, 24, 16), bool)
    inside[3:15, 5:20, 2:12] = True
    values = np.where(inside, np.random.default_rng(1).normal(40, 8, inside.shape), background)
    return values, inside


@pytest.mark.parametrize("background", [0.0, -3.5526617, 40.0])
def test_the_brain_is_what_is_not_background_whatever_its_value(background: float) -> None:
    values, inside = head(background)
    assert (prepare.brain([volume(values)], None) == inside).all()


def test_a_mask_file_is_thresholded_not_compared(brats2015: Path) -> None:
    folder = brats2015 / "train" / "brats_2013_pat0005_1"
    mask = volumes.read(folder / "brainmask.nii.gz")
    inside = prepare.brain([], mask)
    assert inside.mean() == pytest.approx(0.17067, abs=1e-4)
    # and without it nearly the same is found, although the background is -3.55
    flair = volumes.read(folder / "Flair_subtrMeanDivStd.nii.gz")
    assert flair.values.min() == prepare.background(flair.values) < -3
    assert (prepare.brain([flair], None) != inside).mean() < 1e-3


def test_z_scores_inside_the_crop() -> None:
    values, inside = head(-7)
    truth = np.zeros(values.shape)
    truth[5, 6, 3] = 4
    prepared = prepare.prepare("p", [volume(values), volume(values * 100)], inside, volume(truth), BRATS)
    assert prepared.box == ((3, 15), (5, 20), (2, 12))
    assert prepared.images.shape == (10, 12, 15, 2) and prepared.images.dtype == np.float16
    assert abs(prepared.images[..., 0].astype(float).mean()) < 1e-3
    assert prepared.images[..., 0].astype(float).std() == pytest.approx(1, abs=1e-2)
    assert np.allclose(prepared.images[..., 0], prepared.images[..., 1], atol=5e-3)
    assert prepared.classes is not None
    assert np.argwhere(prepared.classes).tolist() == [[1, 2, 1]] and prepared.classes.max() == 3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_cropping_and_restoring_is_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 12, 3))
    inside = rng.random(shape) < 0.1
    inside[tuple(rng.integers(0, side) for side in shape)] = True
    truth = np.where(inside, rng.choice([0, 1, 2, 4], shape), 0)
    prepared = prepare.prepare("p", [volume(rng.random(shape))], inside, volume(truth), BRATS)
    assert prepared.classes is not None
    assert (BRATS.decode(prepare.restore(prepared.classes, prepared)) == truth).all()


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_labels_are_written_in_the_space_of_the_image(tmp_path: Path, kind: type, ending: str) -> None:
    affine = np.array([[-1, 0, 0, 3], [0, -1, 0.1, 239], [0, 0.1, 2, -5], [0, 0, 0, 1]], float)
    image = kind(np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    like = tmp_path / f"flair{ending}"
    nibabel.save(image, like)
    assert volumes.read(like).values.shape == (5, 6, 7)
    labels = np.random.default_rng(2).choice([0, 1, 2, 4], (5, 6, 7)).astype(np.uint8)
    for name in ("a", "b"):
        volumes.write_labels(tmp_path / f"{name}.nii.gz", labels, like)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    written = nibabel.load(tmp_path / "a.nii.gz")
    assert np.allclose(written.affine, affine) and written.header.get_xyzt_units()[0] == "mm"
    assert written.header.get_data_dtype() == np.uint8
    assert (volumes.read(tmp_path / "a.nii.gz").values == labels).all()
