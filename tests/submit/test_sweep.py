"""`osgdl sweep`: the files, going on, what the trainer refuses, and the table of results. Nothing runs here."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from submit import check, sweep, sweep_results
from submit.description import Description
from submit.errors import KitError
from submit.submission import Submission

KEYS = ("train.batch_size", "train.loss")
TRIALS = [("4", "dice"), ("8", "dice"), ("8", '"dice+cross-entropy"')]


def finish(folder: Path, number: int, out: str = "sweep", **metrics: object) -> None:
    place = folder / "results" / out / sweep.folder(number)
    place.mkdir(parents=True)
    (place / "metrics.json").write_text(json.dumps(metrics))


def test_one_submit_file_queues_every_trial(folder: Path) -> None:
    done = sweep.write(folder, KEYS, TRIALS)
    assert (done.file, done.waiting) == (folder / "sweep.sub", [0, 1, 2])
    job = Submission.read(done.file)
    assert (job.jobs, job.value("max_idle"), job.value("settings")) == (
        3, "2000", "'train.batch_size=4' 'train.loss=dice'",
    )  # fmt: skip
    assert job.value("arguments").startswith("\"train 'data' results/sweep/000000 'train.batch_size=4'")
    assert check.check([done.file]) == []
    own = [line for line in (folder / "train.sub").read_text().split("\n") if line.startswith("#")]
    assert [line for line in done.file.read_text().split("\n") if line.startswith("#")][1:] == own
    assert (folder / "sweep/trials.csv").read_text().split("\n")[:2] == [
        "trial,train.batch_size,train.loss,folder", "000000,4,dice,results/sweep/000000",
    ]  # fmt: skip


def test_it_goes_on_where_results_are_missing(folder: Path) -> None:
    sweep.write(folder, KEYS, TRIALS[:2])
    finish(folder, 1)
    (folder / "results/sweep/000000").mkdir()  # came home without its end
    again = sweep.write(folder, (), ())
    assert again.waiting == [0] and (folder / "sweep/trials.txt").read_text().count("\n") == 1
    assert sweep.write(folder, KEYS, TRIALS).waiting == [0, 2], "a larger sweep begins with the same trials"
    assert sweep.write(folder, KEYS, TRIALS[:1]).trials == TRIALS, "none is forgotten"
    with pytest.raises(KitError, match="--out='sweep': holds other trials"):
        sweep.write(folder, KEYS, TRIALS[1:])


def test_jobs_in_the_queue_are_not_queued_again(folder: Path) -> None:
    sweep.write(folder, KEYS, TRIALS)
    log = folder / "logs/sweep.log"
    begun = "".join(
        f"{number} (017.{proc}.000) 2026-11-24 20:40:28 {kind} submitted from host: <127.0.0.1:1>\n...\n"
        for number, proc, kind in (("035", "-01", "Cluster"), ("000", "000", "Job"))
    )
    first = "009 (017.000.000) 2026-11-24 20:40:51 Job was aborted.\n\tvia condor_rm\n...\n"
    for text in (begun, begun + first):  # what is not materialised yet has no event of its own
        log.write_text(text)
        with pytest.raises(KitError, match=r"sweep\.log: cluster 17 is in the queue;.*condor_rm 17"):
            sweep.write(folder, (), ())
    removed = (
        "036 (017.-01.000) 2026-11-24 20:40:51 Cluster removed\n\tMaterialized 1 jobs from 3 items.\tIncomplete\n...\n"
    )
    log.write_text(begun + first + removed)
    assert sweep.write(folder, (), ()).waiting == [0, 1, 2]


def test_what_the_trainer_would_refuse_is_not_queued(folder: Path) -> None:
    with pytest.raises(KitError, match=r"train\.batch_size: 0; 1 to 4096[\s\S]*mend SPACE"):
        sweep.write(folder, KEYS, [*TRIALS, ("0", "dice")])
    assert not (folder / "sweep.sub").exists() and not (folder / "sweep").exists()
    # together: a patch of 24 does not fit five levels
    with pytest.raises(KitError, match=r"train\.patch"):
        sweep.write(folder, ("train.patch", "model.levels"), [("24", "3"), ("24", "5")])
    many = [(str(n), "dice") for n in range(1, 5000)]
    with pytest.raises(KitError, match=r"train\.batch_size: 4999"):
        sweep.write(folder, KEYS, many)


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"train\.sub: not there"):
        sweep.write(tmp_path / "nowhere", KEYS, TRIALS)
    with pytest.raises(KitError, match="no name"):
        sweep.write(folder, KEYS, TRIALS, "a b")
    with pytest.raises(KitError, match=r"trials\.csv: No such file"):
        sweep.write(folder, (), ())
    finish(folder, 0, "taken")
    with pytest.raises(KitError, match="files of that name are there"):
        sweep.write(folder, KEYS, TRIALS, "taken")
    (folder / "sweep").mkdir()
    for text in ("number,folder\n", "trial,a,folder\n000000,1\n", "trial,a,folder\n000001,1,x\n", ""):
        (folder / "sweep/trials.csv").write_text(text)
        with pytest.raises(KitError, match=r"trials\.csv: .*; what `osgdl sweep SPACE.toml` writes is wanted"):
            sweep.read(folder, "sweep")
    description = Description.read(folder / "train.sub")
    description.set_queue("queue 5")
    description.write()
    with pytest.raises(KitError, match="queue 5; want `queue 1`"):
        sweep.write(folder, KEYS, TRIALS, "other")
    description.set("arguments", '"train"')
    description.write()
    with pytest.raises(KitError, match=r"arguments have no \$\(settings:\)"):
        sweep.write(folder, KEYS, TRIALS, "other")


def test_a_folder_that_no_machine_can_fill_is_refused(folder: Path) -> None:
    (folder / "data/P1").mkdir(parents=True)
    (folder / "data").chmod(0o555)
    with pytest.raises(KitError, match=r"train\.sub:\d+: data: may not be written by its owner"):
        sweep.write(folder, KEYS, TRIALS)


def test_a_hundred_thousand_trials_are_written_in_two_seconds(folder: Path) -> None:
    listed = [(str(1 + at % 4096), f"{at % 1000 / 1000 + 1e-6!r}", str(at)) for at in range(100_000)]
    began = time.perf_counter()
    done = sweep.write(folder, ("train.batch_size", "train.learning_rate", "train.seed"), listed)
    seconds = time.perf_counter() - began
    assert len(done.waiting) == 100_000
    assert seconds < 6, f"{seconds:.1f} s; 2 s on a machine that does nothing else"


def test_results_best_first(folder: Path) -> None:
    sweep.write(folder, KEYS, TRIALS)
    finish(folder, 0, over_regions={"dice": {"mean": 0.5}}, mean_dice={"whole": 0.9})
    finish(folder, 2, over_regions={"dice": {"mean": 0.75}}, mean_dice={"whole": 0.1})
    found = sweep_results.gather(folder)
    assert [(row.trial, row.score) for row in found.rows] == [(2, 0.75), (0, 0.5), (1, None)]
    lines = sweep_results.text(found).split("\n")
    assert lines[0].split() == ["trial", "over_regions.dice.mean", *KEYS] and lines[-1] == "2 of 3 trials have results"
    assert [line.split()[0] for line in lines[1:-1]] == ["2", "0"]
    rows = (folder / "sweep/results.csv").read_text().split("\n")
    assert rows[1].startswith("2,0.75,8,") and rows[3].startswith("1,,8,dice")
    assert [row.trial for row in sweep_results.gather(folder, by="mean_dice.whole", lowest=True).rows] == [2, 0, 1]
    with pytest.raises(KitError, match=r"--by='dise': no number of that name in metrics\.json; it has mean_dice, over"):
        sweep_results.gather(folder, by="dise")


def test_results_that_are_scored_elsewhere_or_damaged(folder: Path) -> None:
    sweep.write(folder, KEYS, TRIALS)
    finish(folder, 0, dice={}, best_validation={"step": 3, "dice": 0.4})
    finish(folder, 1)
    (folder / "results/sweep/000001/metrics.json").write_text("{")
    found = sweep_results.gather(folder)
    assert (found.by, found.scored, found.rows[0].score) == ("best_validation.dice", 1, 0.4)
