"""Heads are noticed, brains are not: phantoms with skull and scalp painted around them, in noisy air."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from submit import privacy, privacy_skull
from unet_segmentation import metaimage
from unet_segmentation.anatomy import phantom, spacing

SIZE = (64, 72, 56)
BRIGHT = {"t1": (1150.0, 90.0), "t1c": (1150.0, 90.0), "t2": (700.0, 60.0), "flair": (800.0, 70.0)}


def brain(seed: int) -> dict[str, Any]:
    return phantom(np.random.default_rng(seed), SIZE)[0]


def painted(values: Any, fat: float, bone: float, *, noise: float, seed: int = 1) -> Any:
    """Fluid, bone and scalp around a brain, and air with noise."""
    rng = np.random.default_rng(seed)
    inside = ndimage.binary_fill_holes(values > 0)
    away = ndimage.distance_transform_edt(~inside, sampling=spacing(SIZE))
    head = values.astype(np.float32)
    head[(away > 0) & (away <= 2)] = 250
    head[(away > 2) & (away <= 9)] = bone
    head[(away > 9) & (away <= 16)] = fat
    return np.hypot(head + rng.normal(0, noise, SIZE), rng.normal(0, noise, SIZE)).astype(np.float32)


def saved(path: Path, values: Any) -> Path:
    affine = np.diag([*spacing(SIZE), 1.0])
    if path.suffix == ".mha":
        metaimage.write(path, values, affine)
    else:
        nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


@pytest.mark.parametrize("modality", BRIGHT)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_head_is_noticed_and_its_brain_is_not(modality: str, seed: int, tmp_path: Path) -> None:
    values = brain(seed)[modality]
    assert privacy_skull.shows_a_head(saved(tmp_path / "brain.nii.gz", values)) is False
    for noise in (0.0, 25.0):
        head = painted(values, *BRIGHT[modality], noise=noise)
        assert privacy_skull.shows_a_head(saved(tmp_path / "head.nii.gz", head)) is True


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha"])
def test_of_every_format(name: str, tmp_path: Path) -> None:
    values = brain(1)["t1"]
    assert privacy_skull.shows_a_head(saved(tmp_path / name, painted(values, 1150.0, 90.0, noise=25.0))) is True
    normalised = ((values - 500.0) / 250).astype(np.float32)
    assert privacy_skull.shows_a_head(saved(tmp_path / name, normalised)) is False


@pytest.mark.parametrize("modality", BRIGHT)
def test_a_childs_head_is_smaller_than_a_brain_may_be(modality: str, tmp_path: Path) -> None:
    values, affine = brain(2)[modality], np.diag([*(0.85 * step for step in spacing(SIZE)), 1.0])
    for name, picture, is_head in (
        ("brain", values, False),
        ("head", painted(values, *BRIGHT[modality], noise=15.0), True),
    ):
        nibabel.save(nibabel.Nifti1Image(picture, affine), tmp_path / f"{name}.nii.gz")
        assert privacy_skull.shows_a_head(tmp_path / f"{name}.nii.gz") is is_head


def test_other_organs_are_no_heads(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    body = ndimage.gaussian_filter(rng.normal(0, 1, SIZE), 2).astype(np.float32) * 300 + 500
    assert privacy_skull.shows_a_head(saved(tmp_path / "slab.nii.gz", body)) is False


def test_labels_say_nothing_and_the_next_file_is_taken(tmp_path: Path) -> None:
    values = brain(1)["t1"]
    saved(tmp_path / "case_a.nii.gz", (values > 0).astype(np.uint8))
    assert privacy_skull.shows_a_head(tmp_path / "case_a.nii.gz") is None
    saved(tmp_path / "case_b.nii.gz", painted(values, 1150.0, 90.0, noise=0.0))
    findings = privacy.examine(tmp_path, list(tmp_path.iterdir()))
    assert [(one.path, one.where, one.what, one.serious) for one in findings] == [
        ("case_b.nii.gz", "the picture", privacy.HEAD, False)
    ]


def test_every_patient_of_a_flat_folder_is_looked_at(tmp_path: Path) -> None:
    names = [tmp_path / f"BRATS_{number:03d}_{part}.nii.gz" for number in range(6) for part in ("t1", "flair", "seg")]
    groups = privacy_skull.candidates(names)
    assert len(groups) == 6 and all(group[0].name.endswith("t1.nii.gz") for group in groups)
    assert len(privacy_skull.candidates(names[:6])) == 1  # one folder of one patient


def test_what_is_no_picture_says_nothing(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "small.nii")
    (tmp_path / "torn.nii.gz").write_bytes(b"\x1f\x8b torn")
    (tmp_path / "torn.mha").write_bytes(b"NDims = 3\n")
    nibabel.save(nibabel.Nifti1Image(np.zeros(SIZE, np.float32), np.eye(4)), tmp_path / "empty.nii")
    for file in tmp_path.iterdir():
        assert not privacy_skull.shows_a_head(file)
