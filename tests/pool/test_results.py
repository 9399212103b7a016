"""Large results on their way to the OSDF, from inside the image: one archive, a name for every start."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from submit import osdf_local, stage_lines
from tests.conftest import Condor
from tests.pool.conftest import render, submit

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("osdf")]

DEST = "osdf:///ospool/ap40/data/osgdl-tests/results"
# fails at its first start: the retry must not find the name taken, nor large.tar missing
TRAINER = """\
import os, sys, pathlib
from submit.runtime import classad
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(out / "model.keras").write_bytes(bytes(3_000_000))
(out / "metrics.json").write_text("{}")
sys.exit(0 if classad.job_ad().text("MachineAttrMachine1") else 1)
"""


def test_large_results_go_to_the_osdf_and_the_rest_comes_home(condor: Condor, image: str, tmp_path: Path) -> None:
    folder = render(tmp_path)
    (folder / "data").mkdir()
    (folder / "data" / "x").touch()
    (folder / "job/unet_segmentation/__main__.py").write_text(TRAINER)
    shutil.rmtree(osdf_local.origin(DEST), ignore_errors=True)
    stage_lines.results(DEST, [folder / "train.sub"], "1MB")
    job = submit(condor, folder)
    history = job.wait("done", "held")
    assert history.exit_code == 0, history
    home = folder / "results" / f"{job.cluster}.0"
    assert sorted(path.name for path in home.iterdir()) == ["large.json", "metrics.json", "preflight.json"]
    assert not (folder / "large.tar").exists()
    (archive,) = osdf_local.origin(DEST).rglob("*.tar")
    # HTCondor expands it to 0 at the first start, to 2 at the second
    assert (len(history.starts), archive.parent.name) == (2, f"{job.cluster}.0-2")
    with tarfile.open(archive) as packed:
        assert packed.getnames() == [f"results/{job.cluster}.0/model.keras"]
    shutil.rmtree(osdf_local.origin(DEST), ignore_errors=True)
