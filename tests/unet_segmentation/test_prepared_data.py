"""Training from a prepared folder alone: the same network, and a refusal of what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from submit.runtime import dataset
from submit.runtime.exit_codes import BadInput
from tests.unet_segmentation import training
from unet_segmentation import cli, config, entry, facts, intake, predict

PATIENT = "Phantom_00002"


def prepare(data: Path, folder: Path, *settings: str) -> int:
    words = [word for change in settings for word in ("--set", change)]
    return cli.main(["prepare", "--data", str(data), "--out", str(folder), *words])


@pytest.fixture(scope="module")
def made(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "prepared"
    assert prepare(phantoms, folder) == 0
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(made, tmp_path / "store"))


@pytest.fixture(scope="module")
def out(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training from it leaves."""
    place = tmp_path_factory.mktemp("out")
    assert cli.main(training.words(made, place, "train.validate_epochs=1", "train.steps=40")) == 0
    return place


def refused(store: Path, tmp_path: Path, *settings: str) -> str:
    with pytest.raises(BadInput) as raised:
        intake.load_data(config.load(None, settings), store, tmp_path / "out")
    return str(raised.value)


def edit(store: Path, **changes: Any) -> None:
    held = json.loads((store / "dataset.json").read_text())
    (store / "dataset.json").write_text(json.dumps({**held, **changes}))


def renew(store: Path, **changes: Any) -> None:
    """Changes a patient's about.json, its checksum too."""
    about = entry.read(store / PATIENT)
    entry.renew(store / PATIENT, {**about, **changes})


def test_dataset_json_says_what_is_there(made: Path, phantoms: Path) -> None:
    held = dataset.read(made / "dataset.json")
    assert (held["kind"], held["synthetic"], held["layout"]) == ("prepared", True, "brats2021")
    assert held["parts"] == {"training": ["Phantom_00001", "Phantom_00002"], "validation": ["Phantom_00003"]}
    files = {path for patient in held["patients"].values() for path in patient["paths"]}
    there = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert there - files == {"dataset.json", "fingerprint.json", ".lock"}


def test_the_network_is_that_of_the_files_bit_for_bit(made: Path, trained: Path, tmp_path: Path) -> None:
    assert cli.main(training.words(made, tmp_path)) == 0
    found, wanted = training.result(tmp_path), training.result(trained)
    assert found["weights_sha256"] == wanted["weights_sha256"]
    assert found["provenance"]["dataset_sha256"] == wanted["provenance"]["dataset_sha256"]
    mine, theirs = (predict.read_about(folder / "model.keras") for folder in (tmp_path, trained))
    for about in (mine, theirs):
        del about["config"]["checkpoint"]
    assert mine == theirs


def test_it_goes_on_with_what_the_files_began(made: Path, phantoms: Path, trained: Path, tmp_path: Path) -> None:
    assert cli.main(training.words(phantoms, tmp_path, "checkpoint.leave_every_steps=7")) == 85
    assert training.until_done(made, tmp_path) == 0
    assert training.result(tmp_path)["weights_sha256"] == training.result(trained)["weights_sha256"]


def test_folds_are_drawn_as_of_the_files(phantoms: Path, tmp_path: Path) -> None:
    data, settings = tmp_path / "data", config.load(None, ["data.folds=3", "data.fold=1"])
    for part in ("train", "validation"):
        shutil.copytree(phantoms / part, data, dirs_exist_ok=True)
    assert prepare(data, tmp_path / "store") == 0
    found, wanted = (intake.load_data(settings, path, tmp_path / "out") for path in (tmp_path / "store", data))
    assert found.facts["parts"] == wanted.facts["parts"]
    assert found.facts["sha256"] == wanted.facts["sha256"]
    assert [one.name for one in found.training] == [one.name for one in wanted.training]


def test_it_scores_while_it_trains_and_says_where_the_rest_is_scored(
    out: Path, made: Path, phantoms: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    held = training.result(out)
    assert (held["scored"], held["dice"], held["steps"]) == ("elsewhere", {}, 40)
    assert 0 <= held["best_validation"]["dice"] <= 1
    assert (out / "best.keras").is_file()
    page = (out / "report.html").read_text()
    assert "scored elsewhere" in page
    assert f"predict --model {out}/model.keras" in page
    assert "Not real" in page

    assert cli.main(training.words(made, out, "train.validate_epochs=1", "train.steps=40")) == 0  # it is done
    said = capsys.readouterr().out
    for command in held["score_with"]:  # they run as they stand
        assert f"           {command}\n" in said
        words = command.replace("HELD-OUT", str(phantoms / "validation")).split()[3:]
        assert cli.main(words) == 0
    assert list(training.result(out / "scores")["dice"]) == ["Phantom_00003"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda store: shutil.rmtree(store / PATIENT), f"{PATIENT}: missing; every patient of dataset.json"),
        (lambda store: (store / PATIENT / "images.npy").write_bytes(b""), "images.npy has 0 bytes, not "),
        (lambda store: (store / PATIENT / "about.json").write_text("{}"), "about.json is unreadable"),
        (lambda store: renew(store, settings={}), "prepared with other settings"),
        (lambda store: renew(store, name="Phantom_00001"), "prepared of Phantom_00001"),
        (lambda store: renew(store, arrays={"images.npy": {}}), "prepared without a truth"),
        (lambda store: edit(store, modalities=["t1"]), "prepared with other settings"),
        (lambda store: edit(store, sha256="?"), 'dataset.json: sha256: "?", wanted 64 hexadecimal digits'),
        (lambda store: edit(store, layout_table=None), "layout_table"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused(store: Path, tmp_path: Path, damage: Any, said: str) -> None:
    damage(store)
    found = refused(store, tmp_path)
    assert said in found
    assert "prepare the data again: python -m unet_segmentation prepare" in found or "layout_table" in said


def test_one_wrong_byte_is_seen(store: Path, tmp_path: Path) -> None:
    images = store / PATIENT / "images.npy"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    assert "images.npy is not what was written" in refused(store, tmp_path)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('data.modalities=["flair"]', "prepared of flair, t1, t1c, t2; flair, as data.modalities says; prepare the"),
        ("data.layout=brats2024", "as data.layout says; prepare the data again"),
        ("data.folds=3", "says who is held out; one way to say who is held out; leave data.folds out"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(made: Path, tmp_path: Path, setting: str, said: str) -> None:
    assert said in refused(made, tmp_path, setting)


def test_one_patient_in_both_parts_is_refused(phantoms: Path, tmp_path: Path) -> None:
    """Its files have other names and the same bytes: seen where folds are drawn from what was one folder."""
    data = Path(shutil.copytree(phantoms / "train", tmp_path / "data"))
    for source in (data / "Phantom_00001").iterdir():
        copy = data / "Phantom_00009" / source.name.replace("00001", "00009")
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(source, copy)
    assert prepare(data, tmp_path / "store") == 0
    (tmp_path / "splits.json").write_text(
        json.dumps(
            {"format": 1, "folds": [{"validation": ["Phantom_00009"]}, {"validation": ["Phantom_00001", PATIENT]}]}
        )
    )
    found = refused(tmp_path / "store", tmp_path, f"data.splits={tmp_path}/splits.json")
    assert "the same bytes as Phantom_00001/" in found


def test_preparing_that_fails_leaves_no_dataset_json(store: Path, data: Path) -> None:
    (data / "train" / PATIENT / f"{PATIENT}_t1.nii.gz").write_bytes(b"torn")
    assert prepare(data, store) == 65
    assert not (store / "dataset.json").exists()


@pytest.mark.parametrize("content", ['{"name": "BRATS", "modality": {"0": "FLAIR"}}', "[]", "{", '{"kind": "files"}'])
@pytest.mark.parametrize("command", ["verify", "prepare"])
def test_the_decathlons_own_dataset_json_is_not_written_over(
    command: str, content: str, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "dataset.json"
    place.write_text(content)
    assert facts.kind_of(place) == ""
    assert cli.main([command, "--data", str(phantoms), "--out", str(place if command == "verify" else tmp_path)]) == 65
    assert f"{place}: there, and not written by verify or prepare; a new file; name another" in capsys.readouterr().err
    assert place.read_text() == content


def test_its_own_is(made: Path, phantoms: Path, store: Path, tmp_path: Path) -> None:
    assert prepare(phantoms, store) == 0
    assert (store / "dataset.json").read_bytes() == (made / "dataset.json").read_bytes()
    assert (facts.kind_of(store / "dataset.json"), facts.kind_of(tmp_path / "no.json")) == ("prepared", "")
