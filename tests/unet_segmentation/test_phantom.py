from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from unet_segmentation import cli, layouts, phantom, volumes

MODALITIES = ("flair", "t1", "t1c", "t2")


def files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".csv"
    }


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        phantom.write(tmp_path / name, {"": 1}, seed, size=(32, 32, 32))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(set(files(tmp_path / "a").values()) & set(files(tmp_path / "c").values())) == 0
    assert len(files(tmp_path / "a")) == 5


@pytest.mark.parametrize("layout", ["brats2015", "brats2024", "msd-task01", "deepmedic2015"])
def test_the_same_seed_makes_the_same_bytes_in_every_layout(tmp_path: Path, layout: str) -> None:
    for name in ("a", "b"):
        phantom.write(tmp_path / name, {"": 1}, 1, layout, (32, 32, 32))
    assert files(tmp_path / "a") == files(tmp_path / "b") != {}


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


AMBIGUOUS = ("brats2023", "brats2024")
WITHOUT_TRUTH = ("msd-task01-test",)


@pytest.mark.parametrize("layout", [name for name in layouts.layouts() if name not in WITHOUT_TRUTH])
def test_every_layout_is_written_found_and_verified(tmp_path: Path, layout: str, capsys: Any) -> None:
    words = ["--size", "40", "48", "32", "--layout", layout, "--patients", "4"]
    assert cli.main(["phantom", "--out", str(tmp_path), *words]) == 0
    chosen = ["--set", f"data.layout={layout}"] if layout in AMBIGUOUS else []
    capsys.readouterr()
    assert cli.main(["verify", "--json", "--data", str(tmp_path), *chosen]) == 0
    report = json.loads(capsys.readouterr().out)
    kind = layouts.layouts()[layout]
    assert report["layout"] == layout and report["faults"] == [] and report["warnings"] == []
    assert report["modalities"] == list(kind.modalities) and len(report["patients"]) == 4
    people = Counter(facts["subject"] for facts in report["patients"].values())
    assert sorted(people.values()) == ([2, 2] if layout in phantom.TIME_POINTS else [1] * 4)
    grades = Counter(facts["grade"] for facts in report["patients"].values())
    assert grades == ({"HGG": 2, "LGG": 2} if kind.grades or kind.grade_file else {"": 4})
    # the same brains everywhere, in each convention's own words
    images, labels = phantom.phantom(np.random.default_rng([1, 1]), (40, 48, 32))
    patients = layouts.find(tmp_path, layout).patients
    first = next(p for p in patients if np.array_equal(volumes.read(p.truth).values > 0, labels > 0))
    truth = volumes.read(first.truth).values
    own = layouts.layouts()["brats2021"].convention
    cavity = (
        kind.convention.region(truth, "cavity") if "cavity" in kind.convention.regions else np.zeros_like(labels, bool)
    )
    for region in ("whole", "core", "enhancing"):
        assert np.array_equal(kind.convention.region(truth, region), own.region(labels, region) & ~cavity)
    for modality, source in first.images.items():
        values = volumes.read(*source).values
        if kind.mask:
            assert abs(values[images["flair"] > 0].mean()) < 1e-3
        else:
            assert np.array_equal(values, images[modality])
        assert nibabel.aff2axcodes(volumes.read(*source).affine) == ("L", "P", "S")


def test_a_person_is_never_on_both_sides(tmp_path: Path) -> None:
    written = phantom.write(tmp_path, {"train": 3, "validation": 2}, 1, "brats2023", (32, 32, 32))
    assert written == [
        f"BraTS-GLI-{name}" for name in ("00001-000", "00001-001", "00002-000", "00003-000", "00003-001")
    ]


def test_the_decathlon_s_patients_to_segment(tmp_path: Path) -> None:
    phantom.write(tmp_path, {"": 1}, 1, "msd-task01-test", (32, 32, 32))
    (patient,) = layouts.find(tmp_path).patients
    assert patient.truth is None and nibabel.load(patient.images["t2"].path).shape == (32, 32, 32, 4)


def test_a_layout_of_one_s_own(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('modalities = { t1c = "scans/{patient}_1" }\ntruth = "masks/{patient}"\nconvention = "brats2023"\n')
    words = ["--out", str(tmp_path / "data"), "--patients", "2", "--size", "32", "32", "32"]
    assert cli.main(["phantom", *words, "--layout", str(path)]) == 0
    assert f"--out out --set data.layout={path}" in capsys.readouterr().out
    assert (tmp_path / "data" / "scans" / "Phantom_00002_1.nii.gz").is_file()
    assert cli.main(["verify", "--data", str(tmp_path / "data"), "--set", f"data.layout={path}"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'modalities = { ct = "{patient}/ct" }\nconvention = "brats2023"',
            "; a layout of brain tumours with some of flair, t1, t1c, t2: brats2013, ",
        ),
        (
            'modalities = { t1 = "{patient}/t1" }\n[convention]\nlabels = { 1 = "x" }\nregions = { organ = [1] }',
            "; a layout of brain tumours with some of flair",
        ),
        (
            'modalities = { t1 = "{patient}/t1" }\nconvention = "brats2023"\npatient = "K.*"',
            "patients named K.*; a pattern that Phantom_00001 fits; loosen `patient` in the layout",
        ),
    ],
)
def test_a_layout_that_phantoms_do_not_fit(tmp_path: Path, text: str, message: str, capsys: Any) -> None:
    (tmp_path / "x.toml").write_text(text)
    assert cli.main(["phantom", "--out", str(tmp_path / "out"), "--layout", str(tmp_path / "x.toml")]) == 65
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "4"], "--split: 4; TRAIN:VALIDATION"),
        (["--split", "0:2"], "--split: 0:2; "),
        (["--patients", "0"], "--patients: 0; 1 or more"),
        (["--layout", "brats2022"], "data.layout: 'brats2022'; auto, brats2013, "),
        (["--size", "8", "8", "8"], "--size: 8 8 8; three numbers, 32 to 512"),
        (["--seed", "-1"], "--seed: -1; 0 or more"),
    ],
)
def test_what_cannot_be_made(tmp_path: Path, words: list[str], message: str, capsys: Any) -> None:
    assert cli.main(["phantom", "--out", str(tmp_path / "out"), *words]) == 65
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)
    assert not (tmp_path / "out").exists()
