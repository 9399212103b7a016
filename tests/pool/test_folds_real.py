"""Five folds of real patients and phantoms by one command to one report, through a failure and a rescue; and folds and
an ensemble of staged patients.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from submit import osdf_local
from tests.conftest import Condor
from tests.pool.conftest import osgdl, render, submit
from tests.pool.dags import done, run_dag
from tests.pool.test_folds import INJECTED
from tests.pool.test_trainer import SIZE, configure
from unet_segmentation import cli as trainer
from unet_segmentation import phantom

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("folds-real")]

DEST = "osdf:///ospool/ap40/data/osgdl-tests/folds"


def small(folder: Path) -> Path:
    """A rendered project that trains for seconds."""
    made = render(folder)
    configure(made, "train", steps=4, batch_size=2, patch=32)
    configure(made, "model", width=4, levels=3)
    return made


def report(folder: Path) -> dict[str, Any]:
    assert "Mean Dice by fold" in (folder / "results/folds/report/report.html").read_text()
    return dict(json.loads((folder / "results/folds/report/metrics.json").read_text()))


def test_five_folds_of_real_patients_and_phantoms(
    request: pytest.FixtureRequest, condor: Condor, image: str, brats2015: Path, tmp_path: Path
) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("five folds take two minutes, test_folds.py has two of them: make soak")
    folder = small(tmp_path)
    phantom.write(folder / "data", phantom.parts(6, None), 1, "deepmedic2015", SIZE)
    for patient in sorted(brats2015.glob("*/*/")):
        shutil.copytree(patient, folder / "data" / patient.name)
        (folder / "data" / patient.name).chmod(0o755)  # HTCondor sends no folder that cannot be written to
    configure(folder, "data", synthetic="true", modalities='["flair", "t1c"]')
    main, config = folder / "job/unet_segmentation/__main__.py", folder / "config.toml"
    main.write_text(INJECTED + main.read_text())
    config.write_text(config.read_text() + "# broken\n")
    osgdl(folder, "folds")
    said = run_dag(condor, folder)
    rescue = (folder / "folds.dag.rescue001").read_text()
    assert "EXITING WITH STATUS 1" in said and rescue.count("\nDONE train-") == 4 and "DONE train-1" not in rescue

    config.write_text(config.read_text().replace("# broken\n", ""))
    said = run_dag(condor, folder)
    assert "EXITING WITH STATUS 0" in said and "train-0 job" not in said
    found = report(folder)
    assert [len(fold["patients"]) for fold in found["folds"]] == [2] * 5
    assert sorted(found["scores"]) == sorted(path.name for path in (folder / "data").iterdir())
    assert "6 of 10" in found["provenance"]["synthetic"]


@pytest.fixture(scope="module")
def staged(condor: Condor, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four phantoms on the pool's OSDF, staged for two folds."""
    folder = small(tmp_path_factory.mktemp("staged"))
    phantom.write(folder / "patients", phantom.parts(4, None), 1, "brats2021", SIZE)
    words = ["split", "--data", str(folder / "patients"), "--out", str(folder / "splits.json"), "--folds", "2"]
    assert trainer.main(words) == 0
    shutil.rmtree(osdf_local.origin(DEST), ignore_errors=True)
    osgdl(folder, "stage", "patients", DEST, "--local", "--splits", "splits.json")
    yield folder
    shutil.rmtree(osdf_local.origin(DEST), ignore_errors=True)


def test_staged_folds_to_one_report(condor: Condor, staged: Path) -> None:
    osgdl(staged, "folds")
    assert "EXITING WITH STATUS 0" in run_dag(condor, staged)
    splits = json.loads((staged / "splits.json").read_text())
    found = report(staged)
    assert [sorted(fold["patients"]) for fold in found["folds"]] == [fold["validation"] for fold in splits["folds"]]
    assert len(found["scores"]) == 4


def test_the_folds_predict_staged_patients_together(condor: Condor, staged: Path) -> None:
    """After the folds: theirs are the networks."""
    whole = next(path for path in (staged / "staged").glob("*.json") if '"view": null' in path.read_text())
    said = osgdl(staged, "ensemble", "--data", f"staged/{whole.name}", "--each", "2")
    assert "2 networks, 4 patients" in said
    count = len((staged / "ensemble/chunks.txt").read_text().splitlines())
    job = replace(submit(condor, staged, "ensemble.sub"), log=staged / "logs/ensemble.log")
    done(job, count)
    assert "0 of" in osgdl(staged, "ensemble")
    assert len(list((staged / "results/ensemble/predictions").glob("*.nii.gz"))) == 4
