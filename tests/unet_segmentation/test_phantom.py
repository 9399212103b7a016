from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from unet_segmentation import cli, phantom

MODALITIES = ("flair", "t1", "t1c", "t2")


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.gz")}


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        phantom.write(tmp_path / name, {"": 1}, seed, size=(32, 32, 32))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(set(files(tmp_path / "a").values()) & set(files(tmp_path / "c").values())) == 0
    assert len(files(tmp_path / "a")) == 5


def test_it_looks_like_a_brain_with_a_tumour() -> None:
    images, labels = phantom.phantom(np.random.default_rng([1, 1]), (60, 70, 48))
    brain = images["flair"] > 0
    assert 0.1 < brain.mean() < 0.35
    assert all(((images[m] > 0) == brain).all() for m in MODALITIES)  # skull-stripped, all alike
    assert not labels[~brain].any()
    assert [int(v) for v in np.unique(labels)] == [0, 1, 2, 4]
    assert 0.01 < (labels > 0).sum() / brain.sum() < 0.35

    def mean(modality: str, where: Any) -> float:
        return float(images[modality][where].mean())

    healthy = brain & (labels == 0)
    assert mean("flair", labels == 2) > 1.3 * mean("flair", healthy)  # oedema is bright on FLAIR
    assert mean("t1c", labels == 4) > 1.4 * mean("t1c", healthy)  # the rim takes up contrast
    assert mean("t1c", labels == 4) > 1.4 * mean("t1c", labels == 1)
    assert mean("t2", labels > 0) > mean("t2", healthy)
    assert mean("t1", labels > 0) < mean("t1", healthy)


@pytest.mark.parametrize(("layout", "stem"), [("brats2021", "Phantom_00001"), ("brats2020", "BraTS20_Phantom_00001")])
def test_it_passes_the_checks_of_its_layout(tmp_path: Path, layout: str, stem: str, capsys: Any) -> None:
    words = ["phantom", "--out", str(tmp_path), "--split", "1:1", "--size", "32", "36", "32", "--layout", layout]
    assert cli.main(words) == 0
    assert (tmp_path / "train" / stem / f"{stem}_t1ce.nii.gz").is_file()
    assert cli.main(["verify", "--data", str(tmp_path)]) == 0
    assert f"layout     {layout}" in capsys.readouterr().out
    image = nibabel.load(tmp_path / "train" / stem / f"{stem}_flair.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header.get_zooms() == pytest.approx((6.0, 224 / 36, 5.5), rel=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "4"], "--split: 4; TRAIN:VALIDATION"),
        (["--split", "0:2"], "--split: 0:2; "),
        (["--patients", "0"], "--patients: 0; 1 or more"),
        (["--layout", "deepmedic2015"], "--layout: deepmedic2015; brats2020 or brats2021"),
        (["--size", "8", "8", "8"], "--size: 8 8 8; three numbers, 32 to 512"),
        (["--seed", "-1"], "--seed: -1; 0 or more"),
    ],
)
def test_what_cannot_be_made(tmp_path: Path, words: list[str], message: str, capsys: Any) -> None:
    assert cli.main(["phantom", "--out", str(tmp_path / "out"), *words]) == 65
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)
    assert not (tmp_path / "out").exists()
