"""`osgdl sweep --halving`: the plan, the workflow, who goes on, and what is refused. Nothing runs here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import htcondor2
import pytest

from submit import check, halving, rungs, sweep_results, trials
from submit.description import Description
from submit.errors import KitError

SPACE = '[train]\nlearning_rate = { from = 1e-4, to = 1e-2, log = true }\nloss = ["dice", "dice+cross-entropy"]\n'


@pytest.fixture
def space(folder: Path) -> Path:
    path = folder / "space.toml"
    path.write_text(SPACE)
    return path


def planned(folder: Path, space: Path, count: int = 9, **more: Any) -> rungs.Plan:
    return rungs.planned(folder, trials.read(space), count, **more)


def score(folder: Path, rung: int, scores: dict[int, float], out: str = "sweep") -> None:
    for trial, dice in scores.items():
        place = folder / "results" / out / f"{trial:06}" / str(rung)
        place.mkdir(parents=True)
        (place / "metrics.json").write_text(json.dumps({"over_regions": {"dice": {"mean": dice}}, "loss": 1 - dice}))


def taken(folder: Path, node: str, out: str = "sweep") -> str:
    """What HTCondor expands the arguments of a node to."""
    text = f"place = {node}\n" + (folder / f"{out}.sub").read_text().replace(
        f"include : {out}/", f"include : {folder}/{out}/"
    )
    return str(htcondor2.Submit(text).expand("arguments"))


def test_the_best_third_trains_three_times_as_long(folder: Path, space: Path) -> None:
    plan = planned(folder, space)
    assert (plan.places, plan.budget, plan.amounts) == ((9, 3, 1), "train.epochs", (11, 33, 100))
    dag = halving.write(folder, space, plan)
    text = dag.read_text()
    assert "PARENT rung0-0 rung0-1 rung0-2 rung0-3 rung0-4 rung0-5 rung0-6 rung0-7 rung0-8 CHILD choose1\n" in text
    assert "PARENT choose1 CHILD rung1-0 rung1-1 rung1-2\n" in text and "PARENT rung2-0 CHILD end\n" in text
    assert text.count("SCRIPT POST rung") == 13, "a failed trial stops nothing"
    assert check.check([dag, folder / "sweep.sub"]) == []
    assert taken(folder, "rung0-3").startswith("\"train 'data' results/sweep/000003/0 'train.learning_rate=")
    score(folder, 0, {0: 0.1, 1: 0.5, 2: 0.3, 4: 0.7, 5: float("nan"), 6: 0.6})  # 3, 7 and 8 failed
    assert halving.choose(folder, "sweep", 1) == [4, 6, 1]
    assert taken(folder, "rung1-0").endswith("'train.epochs=33'\"") and "/000004/1 " in taken(folder, "rung1-0")
    score(folder, 1, {4: 0.5, 1: 0.8})
    assert halving.choose(folder, "sweep", 2) == [1]
    score(folder, 2, {1: 0.9})
    found = halving.gather(folder, "sweep")
    assert [(row.trial, row.rung, row.score) for row in found.rows[:5]] == [
        (1, 2, 0.9), (4, 1, 0.5), (6, 0, 0.6), (2, 0, 0.3), (0, 0, 0.1),
    ]  # fmt: skip
    said = sweep_results.text(found)
    assert said.split("\n")[1].split()[:3] == ["1", "2", "0.9000"] and said.endswith(
        "rung 0: 5 of 9\nrung 1: 2 of 3\nrung 2: 1 of 1"
    )
    assert (
        (folder / "sweep/results.csv").read_text().startswith("trial,rung,over_regions.dice.mean,train.learning_rate")
    )


def test_a_choice_is_made_once_and_the_same_wishes_change_nothing(folder: Path, space: Path) -> None:
    plan = planned(folder, space, 6, rungs=2, keep="1/2")
    halving.write(folder, space, plan)
    score(folder, 0, {0: 0.1, 1: 0.5, 2: 0.3})
    assert halving.choose(folder, "sweep", 1) == [1, 2, 0]
    score(folder, 0, {5: 0.9})  # it comes too late
    assert halving.choose(folder, "sweep", 1) == [1, 2, 0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "sweep.sub"}
    description = Description.read(folder / "train.sub")
    description.set("request_cpus", "3")
    description.write()
    before[folder / "train.sub"] = (folder / "train.sub").stat().st_mtime_ns
    halving.write(folder, space, plan)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "sweep.sub"}
    assert after | {folder: 0} == before | {folder: 0}
    assert Description.read(folder / "sweep.sub").get("request_cpus") == "3", "that one follows train.sub"
    with pytest.raises(KitError, match=r"--out='sweep': sweep/space\.toml is there"):
        halving.write(folder, space, planned(folder, space, 8, rungs=2, keep="1/2"))


def test_fewer_scores_than_places_leave_places_empty(folder: Path, space: Path) -> None:
    halving.write(folder, space, planned(folder, space))
    score(folder, 0, {3: 0.2})
    assert halving.choose(folder, "sweep", 1) == [3]
    assert [path.name for path in (folder / "sweep/places").glob("rung1*")] == ["rung1-0.sub"]
    assert "SCRIPT PRE rung1-1 /usr/bin/test -f sweep/places/rung1-1.sub\n" in (folder / "sweep.dag").read_text()
    assert "PRE_SKIP rung1-1 1\n" in (folder / "sweep.dag").read_text()


def test_lowest_and_by(folder: Path, space: Path) -> None:
    halving.write(folder, space, planned(folder, space, by="loss", lowest=True))
    score(folder, 0, {trial: trial / 10 for trial in range(9)})
    assert halving.choose(folder, "sweep", 1) == [8, 7, 6]
    assert halving.gather(folder, "sweep").by == "loss"
    with pytest.raises(KitError, match=r"--by='dise': no number of that name in metrics\.json"):
        halving.gather(folder, "sweep", "dise")


def test_optuna_takes_a_third_of_the_places_and_those_of_failed_trials(folder: Path, space: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is an extra: pip install '.[sweep]'")
    halving.write(folder, space, planned(folder, space, 18, sampler_name="tpe"))
    score(folder, 0, {trial: trial / 20 for trial in (1, 2, 3)})
    assert halving.choose(folder, "sweep", 1) == [3, 2, 1, 18, 19, 20]
    rows = (folder / "sweep/trials.csv").read_text().splitlines()
    assert len(set(row.partition(",")[2].rpartition(",")[0] for row in rows[1:])) == 21, "all are different"
    # cut short before the list was written: the same again
    (folder / "sweep/rung-1.csv").unlink()
    assert halving.choose(folder, "sweep", 1) == [3, 2, 1, 18, 19, 20]
    assert (folder / "sweep/trials.csv").read_text().splitlines() == rows


REFUSED = {
    "count": ({"count": 1}, "--halving=1: out of range"),
    "few": ({"count": 8}, "--halving=8: none of so many trials is left in rung 2; 9 or more"),
    "rungs": ({"rungs": 1}, "--rungs=1: out of range"),
    "keep": ({"keep": "3"}, "--keep='3': no share"),
    "word": ({"keep": "a"}, "--keep='a': no share"),
    "zero": ({"keep": "1/0"}, "--keep='1/0': no share"),
    "budget": ({"count": 2000, "rungs": 7}, "train.epochs='100': too few for 7 rungs: 1, 1, 1, 4"),
    "sampler": ({"sampler_name": "grid"}, "--sampler='grid': unknown; random or tpe is wanted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_planned(folder: Path, space: Path, case: str) -> None:
    wish, said = REFUSED[case]
    with pytest.raises(KitError) as refused:
        planned(folder, space, **wish)
    assert said in str(refused.value)


def test_other_refusals(folder: Path, space: Path) -> None:
    plan = planned(folder, space)
    space.write_text(SPACE + "epochs = [3, 4]\n")
    with pytest.raises(KitError, match=r"SPACE\.toml='train\.epochs': is the budget of the rungs"):
        planned(folder, space)
    space.write_text("[train]\npatch = [15, 32, 64]\nbatch_size = [1, 2, 3]\n")
    with pytest.raises(KitError, match=r"train\.patch[\s\S]*mend SPACE"):
        halving.write(folder, space, plan)
    assert not (folder / "sweep.dag").exists() and not (folder / "sweep").exists()
    with pytest.raises(KitError, match=r"halving\.json: .*No such file"):
        halving.choose(folder, "sweep", 1)
    space.write_text(SPACE)
    halving.write(folder, space, plan)
    with pytest.raises(KitError, match="RUNG=3: no rung to choose for; 1 to 2 are wanted"):
        halving.choose(folder, "sweep", 3)
    with pytest.raises(KitError, match="no trial of rung 0 has a score"):
        halving.choose(folder, "sweep", 1)
    (folder / "sweep/rung-0.csv").write_text("trial\nx\n")
    with pytest.raises(KitError, match=r"rung-0\.csv: .*a list of trials, as osgdl wrote it"):
        halving.choose(folder, "sweep", 1)
    (folder / "config.toml").write_text("[train\n")
    with pytest.raises(KitError, match=r"config\.toml: .*a configuration in TOML is wanted"):
        planned(folder, space)


def test_a_folder_that_no_machine_can_fill_is_refused(folder: Path, space: Path) -> None:
    (folder / "data/P1").mkdir(parents=True)
    (folder / "data").chmod(0o555)
    with pytest.raises(KitError, match=r"train\.sub:\d+: data: may not be written by its owner"):
        halving.write(folder, space, planned(folder, space))
