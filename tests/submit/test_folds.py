"""`osgdl folds`: the workflow of a local folder and of staged data, as HTCondor and `osgdl check` read it."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import htcondor2
import pytest

from submit import check, folds, project, stage_lines
from submit.description import Description
from submit.errors import KitError
from submit.runtime.manifest import Manifest
from submit.workflow import Workflow
from tests.submit import manifests
from unet_segmentation import phantom

SIZE = (32, 32, 32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with four phantoms in data/."""
    folder = project.new(
        "unet-segmentation", {"ospool_project": "BrainTumours"}, tmp_path_factory.mktemp("made"), ask=False
    )
    phantom.write(folder / "data", phantom.parts(4, None), 1, "brats2021", SIZE)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


def nodes(folder: Path, dag: str = "folds.dag") -> dict[str, tuple[str, dict[str, str]]]:
    """Of each node its submit file, and what it says."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for line in (folder / dag).read_text().splitlines():
        words = line.split(None, 2)
        if words[:1] == ["JOB"]:
            found[words[1]] = (words[2], {})
        if words[:1] == ["VARS"]:
            for part in words[2].split('" '):
                name, _, value = part.partition('="')
                found[words[1]][1][name] = value.removesuffix('"')
    return found


def arguments(folder: Path, node: tuple[str, dict[str, str]]) -> str:
    """As HTCondor expands them: VARS stand above the file."""
    name, said = node
    given = "".join(f"{key} = {value}\n" for key, value in said.items())
    parsed = htcondor2.Submit(given + (folder / name).read_text())
    return str(parsed.expand("arguments")) + " <- " + str(parsed.expand("transfer_input_files"))


def test_a_local_folder_is_split_by_the_trainer(folder: Path) -> None:
    done = folds.write(folder, 2)
    assert (done.dag, done.count, done.report) == (folder / "folds.dag", 2, "results/folds/report/report.html")
    assert done.said.count("2 patients") == 2
    found = nodes(folder)
    assert list(found) == ["train-0", "train-1", "report-0"]
    assert arguments(folder, found["train-1"]) == (
        "\"train 'data' results/folds/train-1 'data.splits=splits.json' 'data.fold=1'\""
        " <- job, config.toml, data, folds/splits.json"
    )
    assert arguments(folder, found["report-0"]) == (
        "\"evaluate 'data' results/folds/report 'train-0/predictions' 'train-1/predictions'\""
        " <- job, config.toml, results/folds/train-0, results/folds/train-1, data, "
    )
    text = done.dag.read_text()
    assert "PARENT train-0 train-1 CHILD report-0" in text and text.count("1 UNLESS-EXIT 65") == 3
    assert check.check([done.dag]) == []
    assert {path.name for path in Workflow.read(done.dag).submit_files} == {"train.sub", "evaluate.sub"}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    folds.write(folder, 2)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "done again, nothing changes"


def test_a_layout_of_ones_own_travels_to_the_training_and_to_the_report(folder: Path) -> None:
    (folder / "mine.toml").write_text((folder / "job/unet_segmentation/layouts.toml").read_text())
    config = folder / "config.toml"
    config.write_text(config.read_text().replace('layout = "auto"', 'layout = "brats2021"'))
    folds.write(folder, 2, "named")
    assert "mine.toml" not in (folder / "named.dag").read_text()
    one = """\
about = "mine"
modalities = { flair = "{patient}/{patient}_flair" }
truth = "{patient}/{patient}_seg"
[convention]
labels = { 1 = "core", 2 = "oedema", 4 = "enhancing" }
regions = { whole = [1, 2, 4] }
paint = { whole = 2 }
"""
    (folder / "mine.toml").write_text(one)
    config.write_text(config.read_text().replace('layout = "brats2021"', 'layout = "mine.toml"'))
    with contextlib.chdir(folder):
        folds.write(Path(), 2)
    found = nodes(folder)
    assert found["train-0"][1]["data_objects"] == "folds/splits.json, mine.toml"
    assert arguments(folder, found["report-0"]).endswith(", data, mine.toml")


def stage(folder: Path, count: int = 2, parts: tuple[str, ...] = ("training", "validation"), **more: Any) -> Manifest:
    """What `osgdl stage --splits` leaves: manifests in staged/, and a train.sub of a job for each fold."""
    whole = manifests.make(count, dataset=manifests.dataset(count), **more)
    manifests.write(folder, whole)
    trains = []
    for number in range(count):
        held = f"p{number}"
        rest = [f"p{other}" for other in range(count) if other != number]
        split = {"training": rest, "validation": [held]}
        for part in parts:
            wanted = {"training": rest, "validation": [held], "all": [*rest, held]}[part]
            needed = tuple(shard for shard in whole.shards if set(shard.patients) & set(wanted))
            view = {"of": whole.sha256(), "fold": number, "part": part}
            path = manifests.write(folder, replace(whole, split=split, view=view, shards=needed))
            trains += [path] if part != "validation" else []
    stage_lines.use_folds(trains, [folder / "train.sub"])
    return whole


def test_staged_folds_get_their_own_shards_and_a_prediction_each(folder: Path) -> None:
    whole = stage(folder, 3, size=4 * 10**9)
    done = folds.write(folder)
    found = nodes(folder)
    assert list(found) == [*(f"{kind}-{at}" for kind in ("train", "predict") for at in range(3)), "report-0"]
    sent = arguments(folder, found["predict-1"])
    assert sent.split(" <- ")[0].endswith(" results/folds/predict-1 'model.keras'\"")
    assert "job, results/folds/train-1/model.keras, staged/brats-manifest-" in sent
    assert sent.count("osdf:///") == 1 and whole.shards[1].name in sent
    train = arguments(folder, found["train-1"])
    assert train.count("osdf:///") == 2 and whole.shards[1].name not in train and train.startswith("\"train 'brats-")
    report = arguments(folder, found["report-0"])
    assert "'predict-0' 'predict-1' 'predict-2'" in report and report.count("osdf:///") == 3
    text = done.dag.read_text()
    assert all(f"PARENT train-{at} CHILD predict-{at}\n" in text for at in range(3))
    assert "PARENT predict-0 predict-1 predict-2 CHILD report-0" in text
    # the submit files: one job each, with disk for the largest
    assert Description.read(folder / "train.sub").queue() == "queue 1"
    asked = [int((Description.read(folder / name).get("request_disk") or "").removesuffix("GB")) for name in
             ("predict.sub", "train.sub", "evaluate.sub")]  # fmt: skip
    assert asked == sorted(asked) and asked[0] < asked[1] < asked[2]
    assert {finding.rule.id for finding in check.check([done.dag])} <= {"OSG303", "OSG304"}, (
        "more disk than GPU machines keep"
    )
    again = done.dag.read_bytes()
    assert folds.write(folder).count == 3 and done.dag.read_bytes() == again
    with pytest.raises(KitError, match="--folds=5: 3 are staged"):
        folds.write(folder, 5)


def test_a_training_that_has_the_patients_held_out_scores_them_itself(folder: Path) -> None:
    stage(folder, parts=("all", "validation"))
    folds.write(folder)
    found = nodes(folder)
    assert list(found) == ["train-0", "train-1", "report-0"]
    assert found["report-0"][1]["scored"] == "'train-0/predictions' 'train-1/predictions'"


def test_other_splits_of_the_same_data_are_told_apart(folder: Path) -> None:
    whole = stage(folder)
    listed = Description.read(folder / "train.sub").queue()
    view = {"of": whole.sha256(), "fold": 0, "part": "training"}
    other = replace(whole, split={"training": ["p0"], "validation": ["p1"]}, view=view)
    manifests.write(folder, other)
    folds.write(folder)
    assert nodes(folder)["train-0"][1]["data_objects"].endswith(whole.shards[1].name)
    description = Description.read(folder / "train.sub")
    assert description.queue() != listed
    description.set("data", f"staged/{whole.file_name()}")
    description.write()
    with pytest.raises(KitError, match="has two sets of folds of it"):
        folds.write(folder, out="more")


def test_staged_data_that_cannot_be(folder: Path) -> None:
    path = manifests.write(folder, manifests.make(2))
    stage_lines.use(path, [folder / "train.sub"])
    with pytest.raises(KitError, match="was staged without folds"):
        folds.write(folder)
    whole = stage(folder, 3)
    for one in sorted((folder / "staged").glob("*.json")):
        if b'"fold": 1' in one.read_bytes() or b'"fold":1' in one.read_bytes():
            one.unlink()
            break
    with pytest.raises(KitError, match=r"has folds 0, 2 \("):
        folds.write(folder)
    (folder / "staged" / whole.file_name()).unlink()
    with pytest.raises(KitError, match="the manifest of the whole data is not beside it"):
        folds.write(folder)
    path = manifests.write(
        folder, manifests.make(2, kind="prepared", dataset={**manifests.dataset(2), "kind": "prepared"})
    )
    description = Description.read(folder / "train.sub")
    description.set_queue("queue 1")
    description.set("data", f"staged/{path.name}")
    description.write()
    with pytest.raises(KitError, match="prepared patients"):
        folds.write(folder)
    path.write_text("{}")
    with pytest.raises(KitError, match="a manifest that `osgdl stage` wrote is wanted"):
        folds.write(folder)
    description.set_queue("queue data, data_objects from staged/none.txt")
    description.write()
    with pytest.raises(KitError, match=r"none\.txt: No such file"):
        folds.write(folder)


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"--out='\.\./x': no name"):
        folds.write(folder, 2, "../x")
    with pytest.raises(KitError, match=r"train\.sub: not there"):
        folds.write(tmp_path / "nowhere")
    with pytest.raises(KitError, match=r"folds: 9; 2 to 4[\s\S]*cannot be split, as said above"):
        folds.write(folder, 9)
    assert not (folder / "folds.dag").exists() and not (folder / "folds").exists()
    folds.write(folder, 2)
    with pytest.raises(KitError, match=r"--out='folds': folds/splits\.json is there"):
        folds.write(folder, 3)
    description = Description.read(folder / "train.sub")
    description.set("data", "data.tar.gz")
    description.write()
    with pytest.raises(KitError, match=r"data='data\.tar\.gz': no folder here and not staged by folds"):
        folds.write(folder, 2, "other")


def test_a_folder_that_no_machine_can_fill_is_refused(folder: Path) -> None:
    patient = sorted((folder / "data").iterdir())[1]
    for file in patient.iterdir():
        file.chmod(0o444)  # travels well
    (folder / "data/notes").mkdir(mode=0o555)  # so does an empty folder
    folds.write(folder, 2)
    patient.chmod(0o555)
    said = rf"train\.sub:\d+: data/{patient.name}: may not be written by its owner[^\n]*Run chmod -R u\+w data$"
    with pytest.raises(KitError, match=said):
        folds.write(folder, 2, "other")
    assert not (folder / "other.dag").exists()


def test_a_submit_file_that_would_win_over_a_node_is_refused(folder: Path) -> None:
    train = folder / "train.sub"
    text = train.read_text()
    train.write_text(text.replace("$(settings:)", ""))
    with pytest.raises(KitError, match=r"train\.sub:\d+: arguments have no \$\(settings:\)"):
        folds.write(folder, 2)
    train.write_text(text.replace("if ! defined data\n    data = data\nendif", "data = data"))
    with pytest.raises(KitError, match=r"train\.sub:\d+: data is set for every job; each job has its own"):
        folds.write(folder, 2)
    train.write_text(text.replace("if ! defined result", "if ! defined other"))
    with pytest.raises(KitError, match="result is set for every job"):
        folds.write(folder, 2)
