"""`osgdl ensemble`: networks under names of their own, patients in chunks, what is left, one folder of predictions."""

from __future__ import annotations

import contextlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from submit import check, ensemble, eventlog
from submit.cli import app
from submit.description import Description
from submit.errors import KitError
from submit.submission import Submission
from tests.submit import manifests
from unet_segmentation import layouts


def network(path: Path, **more: Any) -> None:
    """A model's file, without its weights."""
    layout = layouts.layouts()["brats2021"]
    about = {
        "modalities": ["flair", "t1c"], "convention": layout.convention.as_dict(), "regions": ["whole", "core"],
        "context": 0, "dimensions": 2, "patch": 32, "depth": 0, "multiple": 4, "whole_slices": False,
        "layout": "brats2021", "format": 2, **more,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("segmentation.json", json.dumps(about))


@pytest.fixture
def ready(folder: Path) -> Path:
    """A project with the networks of three folds, and five patients."""
    for fold in range(3):
        network(folder / f"results/folds/train-{fold}/model.keras", number=fold)
    for patient in range(5):  # no file is read before a job does
        for kind in ("flair", "t1", "t1ce", "t2", "seg"):
            name = f"BraTS2021_{patient:05}"
            file = folder / "data" / name / f"{name}_{kind}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return folder


def come_home(folder: Path, chunk: int, patients: list[str], out: str = "ensemble", **more: Any) -> None:
    place = folder / f"results/{out}/chunks/{chunk:04}"
    place.mkdir(parents=True)
    for name in patients:
        (place / f"{name}.nii.gz").write_bytes(name.encode())
    record = {"convention": {}, "regions": [], "patients": {name: {"models": ["0"]} for name in patients}, **more}
    (place / "predictions.json").write_text(json.dumps(record))


def queued(folder: Path, out: str = "ensemble") -> list[list[str]]:
    return [line.split(None, 2) for line in (folder / out / "chunks.txt").read_text().splitlines()]


def test_each_job_gets_its_own_patients_and_all_networks(ready: Path) -> None:
    done = ensemble.write(ready, each=2)
    assert (done.models, done.patients, done.waiting) == ([f"train-{n}.keras" for n in range(3)], 5, [0, 1, 2])
    assert queued(ready) == [[f"{n:04}", f"ensemble/chunks/{n:04}/data"] for n in range(3)]
    patients = sorted(path.name for path in (ready / "data").iterdir())
    assert [sorted(path.name for path in (ready / row[1]).iterdir()) for row in queued(ready)] == [
        patients[:2], patients[2:4], patients[4:],
    ]  # fmt: skip
    linked = next((ready / "ensemble/chunks").rglob("*_flair.nii.gz"))
    assert linked.samefile(ready / "data" / linked.parent.name / linked.name)
    job = Submission.read(done.file)
    assert job.jobs == 3 and job.value("arguments") == (
        "\"predict 'data' results/ensemble/chunks/0000 'models' --leave-out-faulty\""
    )  # fmt: skip
    assert job.value("transfer_input_files") == "job, ensemble/models, ensemble/chunks/0000/data,"
    assert check.check([done.file]) == []


def test_what_came_home_is_gathered_and_what_is_left_is_queued(ready: Path) -> None:
    ensemble.write(ready, each=2)
    names = sorted(path.name for path in (ready / "data").iterdir())
    come_home(ready, 1, names[2:4])
    (ready / "results/ensemble/chunks/0000").mkdir()  # without its end
    network(ready / "results/folds/train-0/model.keras", number=9)  # trained again: not that of this ensemble
    done = ensemble.write(ready)
    assert done.waiting == [0, 2] and [row[0] for row in queued(ready)] == ["0000", "0002"]
    come_home(ready, 2, names[4:])
    (ready / "results/ensemble/chunks/0000").rmdir()
    come_home(ready, 0, names[:2])
    done = ensemble.write(ready)
    assert done.waiting == [] and done.predictions == ready / "results/ensemble/predictions"
    assert sorted(path.name for path in done.predictions.iterdir()) == [
        *(f"{name}.nii.gz" for name in names), "predictions.json",
    ]  # fmt: skip
    assert sorted(json.loads((done.predictions / "predictions.json").read_text())["patients"]) == names
    with pytest.raises(KitError, match="--out='ensemble': holds other networks, data or chunks"):
        ensemble.write(ready, models=["results/folds/train-0/model.keras"])
    with pytest.raises(KitError, match="--out='ensemble': holds other networks, data or chunks"):
        ensemble.write(ready, each=3)


def test_who_was_left_out_is_said_at_the_end(ready: Path) -> None:
    ensemble.write(ready, each=2)
    names = sorted(path.name for path in (ready / "data").iterdir())
    faults = {
        names[0]: f"{names[0]}/a.nii.gz: empty; a volume; add it",
        names[3]: f"{names[3]}/b: torn; a volume; mend it",
    }
    come_home(ready, 0, names[1:2], left_out={names[0]: faults[names[0]]})
    come_home(ready, 1, names[2:3], left_out={names[3]: faults[names[3]]})
    come_home(ready, 2, names[4:])
    done = ensemble.write(ready)
    assert (done.waiting, done.left_out) == ([], faults)
    record = json.loads((done.predictions / "predictions.json").read_text())
    assert (sorted(record["patients"]), record["left_out"]) == ([names[1], names[2], names[4]], faults)
    with contextlib.chdir(ready):
        said = CliRunner().invoke(app, ["ensemble"]).stdout
        told = json.loads(CliRunner().invoke(app, ["ensemble", "--json"]).stdout)
    assert said.splitlines()[1:] == [f"left out: {fault}" for fault in faults.values()]
    assert told["left_out"] == faults


def test_an_older_project_does_not_hand_on_an_option(ready: Path) -> None:
    script = ready / "run.sh"
    script.write_text(script.read_text().replace(ensemble.GO_ON, "x"))
    assert ensemble.GO_ON not in Submission.read(ensemble.write(ready).file).value("arguments")


def test_networks_of_one_name(ready: Path) -> None:
    for place in ("a/one.keras", "b/one.keras", "results/12.0/model.keras", "results/12.0/best.keras"):
        network(ready / place)
    done = ensemble.write(ready, ["a/*.keras", "b/one.keras", str(ready / "results/12.0/*.keras")], out="more")
    assert done.models == ["12.0.keras", "12.0x.keras", "one.keras", "onex.keras"]


def test_staged_patients_go_by_their_shards(ready: Path) -> None:
    whole = manifests.make(5, dataset=manifests.dataset(5))
    path = manifests.write(ready, whole)
    done = ensemble.write(ready, data=f"staged/{path.name}", each=2)
    assert (done.patients, done.chunks) == (5, 3)
    rows = queued(ready)
    assert [row[2].count("osdf:///") for row in rows] == [2, 2, 1] and whole.shards[2].name in rows[1][2]
    job = Submission.read(done.file)
    sent = [part.strip() for part in job.value("transfer_input_files").split(",")]
    assert sent == ["job", "ensemble/models", rows[0][1], *(part.strip() for part in rows[0][2].split(","))]
    assert job.value("arguments").split()[1] == f"'{Path(rows[0][1]).name}'"
    assert check.check([done.file]) == []


def test_a_job_in_the_queue_is_not_queued_again(ready: Path) -> None:
    done = ensemble.write(ready)
    log = ready / "logs/ensemble.log"
    event = "000 (012.000.000) 2026-11-24 20:40:28 Job submitted from host: <127.0.0.1:1>\n...\n"
    log.write_text(event)
    assert eventlog.in_queue(log) == [12]
    with pytest.raises(KitError, match=r"logs/ensemble\.log: cluster 12 is in the queue"):
        ensemble.write(ready)
    log.write_text(event + "009 (012.000.000) 2026-11-24 20:40:51 Job was aborted.\n\tvia condor_rm\n...\n")
    assert ensemble.write(ready).waiting == done.waiting == [0]


def test_refusals(ready: Path) -> None:
    with pytest.raises(KitError, match=r"--models='none/\*\.keras': no such file"):
        ensemble.write(ready, ["none/*.keras"])
    with pytest.raises(KitError, match="--each=0: no number of patients"):
        ensemble.write(ready, each=0)
    with pytest.raises(KitError, match=r"data='data\.zip': neither a folder here nor a manifest"):
        ensemble.write(ready, data="data.zip")
    prepared = manifests.make(2, kind="prepared", dataset={**manifests.dataset(2), "kind": "prepared"})
    path = manifests.write(ready, prepared)
    with pytest.raises(KitError, match="prepared patients, without the images"):
        ensemble.write(ready, data=f"staged/{path.name}")
    (ready / "empty").mkdir()
    with pytest.raises(KitError, match=r"none named as in a known layout[\s\S]*data='empty': cannot be predicted"):
        ensemble.write(ready, data="empty")
    network(ready / "other.keras", modalities=["t2"])
    with pytest.raises(KitError, match="modalities t2; flair, t1c, as"):
        ensemble.write(ready, ["results/folds/train-0/model.keras", "other.keras"])
    assert not [path for path in ready.glob("*ensemble*") if path.name != ".ensemble.draft"]
    (ready / "results/taken").mkdir()
    with pytest.raises(KitError, match="--out='taken': results/taken is there"):
        ensemble.write(ready, out="taken")
    (ready / "ensemble").mkdir()
    (ready / "ensemble/ensemble.json").write_text("{}")
    with pytest.raises(KitError, match=r"ensemble\.json: something is missing"):
        ensemble.write(ready)
    description = Description.read(ready / "predict.sub")
    description.set_queue("queue 2")
    description.write()
    with pytest.raises(KitError, match=r"predict\.sub:\d+: queue 2; want `queue 1`"):
        ensemble.write(ready, out="next")


def test_a_shard_of_many_patients_is_a_job_and_one_of_nobody_goes_to_all(ready: Path) -> None:
    whole = manifests.make(3)
    many, nobody = replace(whole.shards[0], patients=("p0", "p2", "p3")), replace(whole.shards[2], patients=())
    path = manifests.write(ready, replace(whole, shards=(many, whole.shards[1], nobody)))
    done = ensemble.write(ready, data=f"staged/{path.name}", each=2)
    assert (done.patients, done.chunks) == (4, 2)
    assert all(nobody.name in row[2] for row in queued(ready))
    path = manifests.write(ready, replace(whole, shards=(nobody,)))
    with pytest.raises(KitError, match="does not say whose the files are"):
        ensemble.write(ready, data=f"staged/{path.name}", out="other")
