"""Real Keras models of one pixel-wise layer, whose answer is known from the images alone, from the command line to the
NIfTI files.
"""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from submit.runtime.exit_codes import BadInput
from unet_segmentation import cli, layouts, predict, record, verify
from unet_segmentation.labels import conventions
from unet_segmentation.segment import Options

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "model.keras")


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


def test_what_the_model_says_lies_in_the_space_of_the_image(phantoms: Path, model: Path, tmp_path: Path) -> None:
    assert run(model, phantoms / "train", tmp_path, "--probabilities") == 0
    for name in ("Phantom_00001", "Phantom_00002"):
        folder = phantoms / "train" / name
        like, image = nibabel.load(image_of(folder, name, "t1ce")), nibabel.load(tmp_path / f"{name}.nii.gz")
        wanted = expected(folder)
        assert image.get_data_dtype() == np.uint8 and (image.affine == like.affine).all()
        assert image.header.get_xyzt_units() == like.header.get_xyzt_units()
        assert image.header["sform_code"] == like.header["sform_code"]
        assert agree(labels(tmp_path / f"{name}.nii.gz"), painted(wanted))
        assert set(np.unique(labels(tmp_path / f"{name}.nii.gz"))) == {0, 1, 2, 4}
        for index, region in enumerate(ABOUT["regions"]):
            image = nibabel.load(tmp_path / f"{name}_{region}.nii.gz")
            assert image.get_data_dtype() == np.float32 and (image.affine == like.affine).all()
            assert np.abs(image.get_fdata() - wanted[..., index]).max() < 0.02  # the images are in 16 bits
    held = json.loads((tmp_path / "predictions.json").read_bytes())
    assert held["convention"] == ABOUT["convention"] and held["modalities"] == ["t1c", "flair"]
    assert sorted(held["patients"]) == ["Phantom_00001", "Phantom_00002"]


@pytest.mark.parametrize(
    "about",
    [
        {"context": 1},
        {"whole_slices": False},
        {"dimensions": 3, "depth": 8, "whole_slices": False},
    ],
    ids=["context", "patches", "blocks"],
)
def test_other_geometries_say_the_same(phantoms: Path, tmp_path: Path, about: dict[str, Any]) -> None:
    path = save(tmp_path / "model.keras", **about)
    assert run(path, phantoms / "validation", tmp_path / "out", "--overlap", "0.25", "--no-flips") == 0
    folder = phantoms / "validation" / "Phantom_00003"
    assert agree(labels(tmp_path / "out" / "Phantom_00003.nii.gz"), painted(expected(folder)))


def test_thresholds_and_small_components(phantoms: Path, model: Path, tmp_path: Path) -> None:
    folder = phantoms / "validation" / "Phantom_00003"
    words = ("--threshold", "whole=0.2", "--threshold", "enhancing=0.9")
    assert run(model, phantoms / "validation", tmp_path, *words) == 0
    loose = labels(tmp_path / "Phantom_00003.nii.gz")
    assert agree(loose, painted(expected(folder), 0.2, 0.5, 0.9))
    assert run(model, phantoms / "validation", tmp_path, *words, "--smallest", "1e6") == 0
    assert (labels(tmp_path / "Phantom_00003.nii.gz") > 0).sum() < (loose > 0).sum()


def test_an_ensemble_is_the_mean_of_its_models(phantoms: Path, model: Path, tmp_path: Path) -> None:
    """A 2-D and a 3-D model, 3 logits apart."""
    other = save(tmp_path / "b.keras", bias=3, dimensions=3, depth=8, whole_slices=False)
    assert run([model, other], phantoms / "validation", tmp_path / "out") == 0
    folder = phantoms / "validation" / "Phantom_00003"
    wanted = (expected(folder) + expected(folder, bias=3)) / 2
    found = labels(tmp_path / "out" / "Phantom_00003.nii.gz")
    assert agree(found, painted(wanted)) and not agree(found, painted(expected(folder)))


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"modalities": ["flair", "t1c"]}, "b.keras: modalities flair, t1c; t1c, flair, as "),
        (
            {"regions": ["whole", "enhancing", "core"]},
            "b.keras: regions whole, enhancing, core; whole, core, enhancing, as",
        ),
        (
            {"convention": conventions()["brats2023"].as_dict()},
            "b.keras: convention brats2023: 1 = necrotic tumour core, 2 =",
        ),
    ],
    ids=["modalities", "regions", "convention"],
)
def test_models_that_do_not_belong_together(
    phantoms: Path, model: Path, tmp_path: Path, about: dict[str, Any], message: str, capsys: Any
) -> None:
    other = note(tmp_path / "b.keras", {**ABOUT, "format": predict.FORMAT, **about})
    assert run([model, other], phantoms / "validation", tmp_path / "out") == 65
    error = capsys.readouterr().err
    assert message in error and "trained alike" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def note(path: Path, about: Any) -> Path:
    """As much of a model file as is read before TensorFlow is loaded."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("segmentation.json", json.dumps(about))
    return path


GOOD = {**ABOUT, "format": predict.FORMAT}


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"convention": "brats2017-2021", "slice_multiple": 8},
            "a model of format 1; format 2; train again, or predict",
        ),
        ([], "a model of format None; format 2"),
        ({**GOOD, "format": 3}, "a model of format 3; format 2"),
        ({**GOOD, "context": "one"}, "segmentation.json: context = 'one'; int; "),
        ({**GOOD, "dimensions": True}, "segmentation.json: dimensions = True; int; "),
        (
            {name: value for name, value in GOOD.items() if name != "regions"},
            "segmentation.json: regions = None; list; ",
        ),
        ({**GOOD, "regions": ["kidney"]}, "segmentation.json: regions = ['kidney']; some of whole, core, enhancing; "),
        ({**GOOD, "convention": {"name": "x"}}, "segmentation.json: convention.labels: missing; "),
    ],
)
def test_a_model_s_note_is_checked(tmp_path: Path, about: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        predict.read_about(note(tmp_path / "model.keras", about))
    assert message in str(caught.value)


def test_the_note_comes_back(model: Path) -> None:
    assert predict.read_about(model) == ABOUT


def test_what_is_there_is_not_made_again(data: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    out, train = tmp_path / "out", data / "train"
    files = [out / f"Phantom_0000{number}.nii.gz" for number in (1, 2)]

    def made(models: Path | list[Path] = model, *more: str) -> list[bool]:
        """Which of the two were written."""
        before = [file.stat().st_ino if file.exists() else 0 for file in files]
        capsys.readouterr()
        assert run(models, train, out, *more) == 0
        return [file.stat().st_ino != inode for file, inode in zip(files, before, strict=True)]

    assert made() == [True, True]
    first = [file.read_bytes() for file in files]
    assert made() == [False, False]
    assert "2 of 2 predictions are there, of these models and images" in capsys.readouterr().err
    files[0].unlink()
    assert made() == [True, False]
    assert "1 of 2 predictions are there" in capsys.readouterr().err
    files[1].write_bytes(files[1].read_bytes()[:-20])
    assert made() == [False, True]
    assert [file.read_bytes() for file in files] == first
    assert made(model, "--threshold", "core=0.6") == [True, True]
    assert made(model, "--threshold", "core=0.6", "--probabilities") == [True, True]
    (out / "Phantom_00002_core.nii.gz").unlink()
    assert made(model, "--threshold", "core=0.6", "--probabilities") == [False, True]
    assert made([model, model], "--threshold", "core=0.6") == [True, True]
    assert made() == [True, True]
    image = image_of(train, "Phantom_00002", "flair")
    image.write_bytes(gzip.compress(gzip.decompress(image.read_bytes()), 1))
    assert made() == [False, True]
    unused = image_of(train, "Phantom_00002", "t2")
    unused.unlink()
    assert made() == [False, False]
    (out / "predictions.json").write_text("{")
    assert made() == [True, True]


def test_data_of_another_convention(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    """Refused without a truth too: what would be written means something else than the layout says."""
    shutil.copytree(phantoms / "validation", tmp_path / "data")
    next((tmp_path / "data").rglob("*_seg.nii.gz")).unlink()
    model = note(tmp_path / "model.keras", {**GOOD, "convention": conventions()["brats2023"].as_dict()})
    assert run(model, tmp_path / "data", tmp_path / "out", "--layout", "brats2021") == 65
    error = capsys.readouterr().err
    assert f"data: label convention brats2017-2021 (layout brats2021); brats2023, that of {model}; " in error
    assert "--layout" in error and not (tmp_path / "out").exists()


def test_a_convention_of_the_same_name_and_other_meaning(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    swapped = {**BRATS.as_dict(), "labels": {"1": "oedema", "2": "necrosis", "4": "enhancing tumour"}}
    model = note(tmp_path / "model.keras", {**GOOD, "convention": swapped})
    assert run(model, phantoms / "validation", tmp_path / "out") == 65
    assert "1 = oedema, 2 = necrosis" in capsys.readouterr().err


def test_predictions_of_another_convention_are_not_mixed(
    phantoms: Path, model: Path, tmp_path: Path, capsys: Any
) -> None:
    held = {"convention": conventions()["brats2023"].as_dict(), "patients": {}}
    (tmp_path / "predictions.json").write_text(json.dumps(held))
    assert run(model, phantoms / "validation", tmp_path) == 65
    assert "predictions.json: predictions of convention brats2023; brats2017-2021, as those to come; " in (
        capsys.readouterr().err
    )


def test_a_missing_image_is_said_before_any_work(data: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    image_of(data, "Phantom_00002", "flair").unlink()
    assert run(model, data / "train", tmp_path / "out") == 65
    error = capsys.readouterr().err
    assert error.startswith("Phantom_00002/Phantom_00002_flair.nii.gz: missing; the flair image; add ")
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_faulty_patient_does_not_stop_the_others(data: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    image = image_of(data, "Phantom_00001", "flair")
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    assert run(model, data / "train", tmp_path) == 65
    assert "Phantom_00001/Phantom_00001_flair.nii.gz: unreadable (" in capsys.readouterr().err
    assert not (tmp_path / "Phantom_00001.nii.gz").exists() and (tmp_path / "Phantom_00002.nii.gz").exists()
    image.write_bytes(whole)
    assert run(model, data / "train", tmp_path) == 0
    assert "1 of 2 predictions are there" in capsys.readouterr().err


def test_a_truth_that_is_wrong_is_no_matter(data: Path, model: Path, tmp_path: Path) -> None:
    next((data / "validation").rglob("*_seg.nii.gz")).write_bytes(b"")
    assert run(model, data / "validation", tmp_path) == 0


def test_patients_are_read_one_ahead(phantoms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    inspect = verify.inspect

    def seen(patient: layouts.Patient, *arguments: Any, **more: Any) -> Any:
        read.append(patient.name)
        return inspect(patient, *arguments, **more)

    monkeypatch.setattr(verify, "inspect", seen)
    first, second = layouts.find(phantoms / "train").patients
    reports: list[verify.Report] = []
    stream = predict._streamed([first, second, first, second], ("flair",), BRATS, reports)
    assert read == []
    assert next(stream).name == first.name
    assert len(read) <= 2
    assert [one.name for one in stream] == [second.name, first.name, second.name]
    assert len(reports) == 4 and all(report.checked is None for report in reports)


def test_a_long_run_notes_what_it_wrote(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed in the middle goes on behind the last note."""
    monkeypatch.setattr(record, "WRITE_EVERY_S", 0)
    dataset = layouts.find(phantoms / "train")
    patients = {patient.name: patient for patient in dataset.patients}
    stream = predict._streamed(dataset.patients, ("t1c", "flair"), BRATS, [])
    notes = []

    def forward(images: np.ndarray) -> np.ndarray:
        file = tmp_path / "predictions.json"
        notes.append(len(json.loads(file.read_bytes())["patients"]) if file.exists() else None)
        return np.zeros((*images.shape[:-1], 3), np.float32)

    told = record.Record(tmp_path, ABOUT, Options(), models=["hash"])
    written = predict.write_all([forward], stream, patients, ABOUT, tmp_path, Options(), told)
    assert [path.name for path in written] == ["Phantom_00001.nii.gz", "Phantom_00002.nii.gz"]
    assert notes[0] is None and notes[-1] == 1
    assert not labels(written[0]).any()
    again = record.Record(tmp_path, ABOUT, Options(), models=["hash"])
    assert all(again.holds(patient) for patient in dataset.patients)
    assert not record.Record(tmp_path, ABOUT, Options()).holds(dataset.patients[0])


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


def test_options_are_checked_before_any_work(phantoms: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    for words, message in (
        (["--threshold", "cavity=0.4"], "--threshold: cavity; a region of the model: whole, core, enhancing; "),
        (["--threshold", "core:0.4"], "--threshold: 'core:0.4'; REGION=PROBABILITY; "),
        (["--overlap", "1.5"], "--overlap: 1.5; 0 or more, below 1; "),
        (["--smallest", "small"], "command line: argument --smallest: invalid float value: 'small'; "),
    ):
        assert run(model, phantoms / "validation", tmp_path / "out", *words) == 65
        assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "out").exists()


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


def test_real_patients(brats2015: Path, tmp_path: Path) -> None:
    """The background is -3.5 there, and the brain lies in a mask of its own."""
    data = tmp_path / "data"
    folder = next(path for path in sorted((brats2015 / "validation").iterdir()) if path.is_dir())
    shutil.copytree(folder, data / folder.name)
    model = save(tmp_path / "model.keras", convention=conventions()["brats2013-2015"].as_dict())
    assert run(model, data, tmp_path / "out") == 0
    path = tmp_path / "out" / f"{folder.name}.nii.gz"
    like, mask = (nibabel.load(folder / f"{name}.nii.gz") for name in ("T1c_subtrMeanDivStd", "brainmask"))
    assert (nibabel.load(path).affine == like.affine).all() and nibabel.load(path).shape == like.shape
    found, inside = labels(path), np.asarray(mask.dataobj) > 0.5
    assert set(np.unique(found)) == {0, 1, 2, 4} and not found[~inside].any()
