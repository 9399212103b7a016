"""What the real queue says that its jobs use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from submit import stage_uses
from submit.stage_uses import Use
from tests.conftest import Condor

URL = "osdf:///ospool/ap40/data/osg/uses"
SHARD, OTHER, MANIFEST = "uses-0123456789ab.tar.zst", "uses-abcdefabcdef.tar", "uses-manifest-123456789abc.json"
SUBMIT = """
executable = /bin/true
transfer_executable = false
request_cpus = 1
request_memory = 128MB
request_disk = 1GB
+ProjectName = "OSGDL_Tests"
hold = true
"""
STAGED = f"transfer_input_files = {MANIFEST}, {URL}/{SHARD}, {URL}/{OTHER}?directread\nqueue 1\n"
PLAIN = f"transfer_input_files = {URL}/plain.bin\nqueue 1\n"


pytestmark = [pytest.mark.pool, pytest.mark.slow]


@pytest.mark.skipif(shutil.which("condor_q") is not None, reason="this machine has a queue of its own")
def test_a_held_job_uses_what_it_would_get(condor: Condor, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{}")
    clusters = []
    for name, lines in (("staged", STAGED), ("plain", PLAIN)):
        (tmp_path / f"{name}.sub").write_text(SUBMIT + lines)
        done = condor.run(["condor_submit", "-terse", f"{name}.sub"], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        clusters.append(done.stdout.split(".")[0])
    try:
        found = [use for use in stage_uses.of_queue() if use.who in {f"job {cluster}.0" for cluster in clusters}]
        assert found == [Use(f"job {clusters[0]}.0", name) for name in (MANIFEST, SHARD, OTHER)]
    finally:
        condor.run(["condor_rm", *clusters], cwd=tmp_path)
    assert not [use for use in stage_uses.of_queue() if use.who == f"job {clusters[0]}.0"]
