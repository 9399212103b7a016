"""Predictions for data of a user's own layout, and of published ones that the model was not trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.unet_segmentation.predicting import GOOD, agree, expected, image_of, labels, note, painted, run, save
from unet_segmentation import layouts

OWN = """
modalities = { flair = "case_{patient}/FL", t1c = "case_{patient}/CE" }
[convention]
labels = { 1 = "rest", 2 = "oedema", 4 = "rim" }
regions = { whole = [1, 2, 4], core = [1, 4], enhancing = [4] }
"""


def own(phantoms: Path, folder: Path) -> Path:
    """A phantom without a truth, named as no data set that is known."""
    case = folder / "data" / "case_7"
    case.mkdir(parents=True)
    for kind, name in (("flair", "FL"), ("t1ce", "CE")):
        shutil.copy(image_of(phantoms, "Phantom_00003", kind), case / f"{name}.nii.gz")
    (folder / "own.toml").write_text(OWN)
    return folder / "data"


def test_a_user_s_own_layout_and_convention(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    """From a file, or as the model remembers it."""
    data, layout = (
        own(phantoms, tmp_path),
        layouts.find(own(phantoms, tmp_path / "b"), str(tmp_path / "own.toml")).layout,
    )
    told = {"convention": layout.convention.as_dict(), "layout": "own"}
    model = save(tmp_path / "model.keras", **told)
    assert run(model, data, tmp_path / "out") == 65
    assert "none named as in a known layout" in capsys.readouterr().err
    assert run(model, data, tmp_path / "out", "--layout", str(tmp_path / "own.toml")) == 0
    wanted = painted(expected(phantoms / "validation"))
    assert agree(labels(tmp_path / "out" / "7.nii.gz"), wanted)
    model = save(tmp_path / "model.keras", **told, layout_table=layout.as_dict())
    assert run(model, data, tmp_path / "again") == 0
    assert agree(labels(tmp_path / "again" / "7.nii.gz"), wanted)


@pytest.mark.parametrize(
    ("about", "layout", "message"),
    [
        ({}, "brats2099", "--layout: 'brats2099'; auto, brats2013, "),
        (
            {"modalities": ["flair", "dwi"]},
            "auto",
            "validation: layout brats2021 has flair, t1, t1c, t2; dwi, which ",
        ),
        ({"layout": "x", "layout_table": {"colour": 1}}, "auto", "layout_table: colour: not a key; "),
    ],
)
def test_layouts_that_do_not_fit(
    phantoms: Path, tmp_path: Path, about: dict[str, Any], layout: str, message: str, capsys: Any
) -> None:
    model = note(tmp_path / "model.keras", {**GOOD, **about})
    assert run(model, phantoms / "validation", tmp_path / "out", "--layout", layout) == 65
    error = capsys.readouterr().err
    assert message in error and "--set" not in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_layouts_of_one_naming_are_told_apart_by_the_model(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    """2023 and 2024 name files alike and mean other labels."""
    for name in ("brats2023", "brats2024"):
        kind = layouts.layouts()[name]
        case = tmp_path / name / "BraTS-GLI-00001-000"
        case.mkdir(parents=True)
        for modality, word in (("flair", "flair"), ("t1c", "t1ce")):
            file = f"{kind.modalities[modality][0].format(patient=case.name)}.nii.gz"
            shutil.copy(image_of(phantoms, "Phantom_00003", word), case.parent / file)
        model = save(tmp_path / f"{name}.keras", convention=kind.convention.as_dict(), layout=name)
        assert run(model, case.parent, tmp_path / f"{name}.out") == 0
        found = labels(tmp_path / f"{name}.out" / f"{case.name}.nii.gz")
        wanted = painted(expected(phantoms / "validation"))
        assert agree(found, np.where(wanted == 4, 3, wanted))
    nameless = save(tmp_path / "x.keras", convention=layouts.layouts()["brats2023"].convention.as_dict())
    assert run(nameless, tmp_path / "brats2023", tmp_path / "x") == 65
    assert " or --layout brats2024" in capsys.readouterr().err


def test_modalities_of_one_file(phantoms: Path, tmp_path: Path) -> None:
    """The Decathlon's four channels; its oedema is 1."""
    kind = layouts.layouts()["msd-task01"]
    images = {n: nibabel.load(image_of(phantoms, "Phantom_00003", n)) for n in ("flair", "t1", "t1ce", "t2")}
    values = np.stack([np.asarray(image.dataobj) for image in images.values()], -1)
    file = tmp_path / "data" / f"{kind.modalities['flair'][0].format(patient='BRATS_001')}.nii.gz"
    file.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(values, images["flair"].affine), file)
    model = save(tmp_path / "model.keras", convention=kind.convention.as_dict(), layout=kind.name)
    assert run(model, tmp_path / "data", tmp_path / "out", "--probabilities") == 0
    image = nibabel.load(tmp_path / "out" / "BRATS_001.nii.gz")
    assert image.shape == values.shape[:3] and (image.affine == images["flair"].affine).all()
    wanted = painted(expected(phantoms / "validation"))
    assert agree(labels(tmp_path / "out" / "BRATS_001.nii.gz"), np.choose(wanted, [0, 2, 1, 0, 3]))
    assert nibabel.load(tmp_path / "out" / "BRATS_001_core.nii.gz").shape == values.shape[:3]
