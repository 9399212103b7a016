"""Workflows of the rendered project on the pool: successive halving, a chain of jobs, an ensemble in chunks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Condor
from tests.pool.conftest import osgdl, render, submit
from tests.pool.dags import done, run_dag
from tests.pool.test_trainer import SIZE, configure
from unet_segmentation import phantom

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("workflows")]

SPACE = '[train]\nlearning_rate = { from = 1e-4, to = 1e-2, log = true }\nloss = ["dice", "dice+cross-entropy"]\n'
# before the trainer: trial 1 crashes, trial 2 has wrong input
INJECTED = """\
import sys
_crash, _wrong = %r
if _crash in sys.argv: raise SystemExit(1)
if _wrong in sys.argv: raise SystemExit(65)
"""


@pytest.fixture(scope="module")
def project(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four phantoms, to train on for seconds."""
    folder = render(tmp_path_factory.mktemp("workflows"))
    phantom.write(folder / "data", phantom.parts(4, None), 1, "brats2021", SIZE)
    configure(folder, "train", steps=12, batch_size=2, patch=32)
    configure(folder, "model", width=4, levels=3)
    (folder / "space.toml").write_text(SPACE)
    return folder


def metrics(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / "results" / name / "metrics.json").read_text()))


@pytest.fixture(scope="module")
def chain(condor: Condor, project: Path) -> Path:
    """A training in three jobs, and the same in one."""
    osgdl(project, "chain", "--links", "3")
    assert "0 errors, 0 warnings" in osgdl(project, "check", "chain.dag")
    whole = submit(condor, project, "train.sub", "result=results/whole")
    assert "EXITING WITH STATUS 0" in run_dag(condor, project, "chain.dag")
    assert whole.wait("done", "held").exit_code == 0
    return project


def test_a_chain_is_the_whole_training_bit_for_bit(chain: Path) -> None:
    for link in (0, 1):
        assert (chain / f"results/chain/link-{link}/handed-on").is_dir()
        assert not (chain / f"results/chain/link-{link}/metrics.json").exists()
    last, whole = metrics(chain, "chain/link-2"), metrics(chain, "whole")
    assert last["steps"] == 12 and last["weights_sha256"] == whole["weights_sha256"]
    assert last["dice"] == whole["dice"]


def test_networks_predict_together_in_chunks(condor: Condor, chain: Path) -> None:
    words = ("ensemble", "--models", "results/whole/model.keras", "--models", "results/chain/*/model.keras")
    assert "2 networks, 4 patients; 2 of 2 jobs" in osgdl(chain, *words, "--each", "2")
    assert "0 errors, 0 warnings" in osgdl(chain, "check", "ensemble.sub")
    job = replace(submit(condor, chain, "ensemble.sub"), log=chain / "logs/ensemble.log")
    done(job, 2)
    shutil.rmtree(chain / "results/ensemble/chunks/0001")
    assert "1 of 2 jobs to queue, 1 have results" in osgdl(chain, "ensemble")
    job = replace(submit(condor, chain, "ensemble.sub"), log=chain / "logs/ensemble.log")
    done(job, 1)
    assert "0 of 2 jobs to queue" in osgdl(chain, "ensemble")
    found = chain / "results/ensemble/predictions"
    assert len(list(found.glob("*.nii.gz"))) == 4
    record = json.loads((found / "predictions.json").read_text())["patients"]
    assert len(record) == 4 and all(len(one["models"]) == 2 for one in record.values())
    words = ("predictions=results/ensemble/predictions", "result=results/scored")
    assert submit(condor, chain, "evaluate.sub", *words).wait("done", "held").exit_code == 0
    assert len(metrics(chain, "scored")["scores"]) == 4


def test_one_patient_at_fault_does_not_cost_the_others_of_its_chunk(condor: Condor, chain: Path) -> None:
    shutil.copytree(chain / "data", chain / "new")
    names = sorted(path.name for path in (chain / "new").iterdir() if path.is_dir())
    torn = next((chain / "new" / names[1]).glob("*_flair.nii.gz"))
    torn.write_bytes(torn.read_bytes()[:-20])
    words = ("ensemble", "--models", "results/whole/model.keras", "--data", "new", "--each", "3", "--out", "torn")
    osgdl(chain, *words)
    job = replace(submit(condor, chain, "torn.sub"), log=chain / "logs/torn.log")
    done(job, 2)
    said = osgdl(chain, "ensemble", "--out", "torn")
    assert "0 of 2 jobs to queue" in said and f"left out: {names[1]}/{torn.name}: unreadable (" in said
    found = chain / "results/torn/predictions"
    assert sorted(path.name for path in found.glob("*.nii.gz")) == [
        f"{name}.nii.gz" for name in names if name != names[1]
    ]


def test_the_best_of_many_trials_go_on_through_failed_ones_and_a_rescue(condor: Condor, project: Path) -> None:
    tpe = ["--sampler", "tpe"] if _optuna() else []
    osgdl(project, "sweep", "space.toml", "--halving", "6", "--rungs", "2", "--keep", "1/2", "--out", "halved", *tpe)
    assert "0 errors, 0 warnings" in osgdl(project, "check", "halved.dag")
    rates = [(project / f"halved/places/rung0-{at}.sub").read_text().split("'")[1] for at in (1, 2)]
    main, plan = project / "job/unet_segmentation/__main__.py", project / "halved/halving.json"
    clean, planned = main.read_text(), plan.read_text()
    main.write_text(INJECTED % (rates,) + clean)
    plan.write_text("{")  # a choice that fails
    try:
        assert "EXITING WITH STATUS 1" in run_dag(condor, project, "halved.dag")
    finally:
        main.write_text(clean)
        plan.write_text(planned)
    assert "what `osgdl sweep --halving` wrote is wanted" in (project / "logs/halved.txt").read_text()
    said = run_dag(condor, project, "halved.dag")
    assert "EXITING WITH STATUS 0" in said and "rung0-0 job" not in said, (project / "logs/halved.txt").read_text()

    found = json.loads(osgdl(project, "sweep", "results", "--out", "halved", "--json"))
    assert found["rungs"] == [{"trials": 6, "scored": 4}, {"trials": 3, "scored": 3}]
    best = found["trials"][0]
    assert best["rung"] == 1 and metrics(project, f"{best['folder'].removeprefix('results/')}")["steps"] == 12
    assert {row["trial"] for row in found["trials"] if row["score"] is None} == {1, 2}
    fresh = [row for row in found["trials"] if row["trial"] >= 6]
    assert len(fresh) == (1 if tpe else 0)
    assert json.loads((project / best["folder"] / "model.json").read_text())["config"]["train"]["steps"] == 12


def _optuna() -> bool:
    try:
        import optuna  # noqa: F401
    except ImportError:
        return False
    return True
