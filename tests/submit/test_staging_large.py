"""A set of 500 patients planned, staged and read back: seconds, and memory that does not grow with it.

`--soak`: 20 GB, which the destination takes on the disk; else 1 GB. The patients' files are hard links to a few that
nothing makes smaller, and to one that zstd makes small, so that the source takes little.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.submit.dataset_maker import content

ROOT = Path(__file__).parents[2]
PATIENTS, LIMIT_MB = 500, 500
CHILD = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
from submit import stage_plan, stage_store
from submit.origin_folder import FolderOrigin
from tests.submit.dataset_maker import UNCHECKED, stage
source, dest, project = map(Path, sys.argv[1:])
took, began = {}, time.monotonic()
def lap(what):
    global began
    took[what], began = time.monotonic() - began, time.monotonic()
planned = len(stage_plan.of_source(source, "htcondor").shards)
lap("plan")
done = stage(source, dest, project, UNCHECKED)
lap("stage")
again = stage(source, dest, project, UNCHECKED)
lap("stage again")
verified = stage_store.verify(done.manifest, FolderOrigin(dest, str(dest)))
lap("verify")
(line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(json.dumps({
    "seconds": took, "peak_mb": int(line.split()[1]) * 1024 / 1e6, "unchanged": again.unchanged, "planned": planned,
    "objects": len(done.objects), "good": sum(one.ok for one in verified),
}))
"""


@pytest.mark.slow
def test_500_patients(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    size = 10_000_000 if request.config.getoption("--soak") else 500_000
    if shutil.disk_usage(tmp_path).free < 1.2 * PATIENTS * 4 * size:
        pytest.skip(f"no {1.2 * PATIENTS * 4 * size / 1e9:.0f} GB free at {tmp_path}")
    source, pool = tmp_path / "large", tmp_path / "few"
    pool.mkdir()
    for number in range(15):
        (pool / f"{number}").write_bytes(content(f"{number}", size))
    (pool / "15").write_bytes(content("truth", size // 100) + bytes(size - size // 100))
    for number in range(PATIENTS):
        patient = source / f"Patient_{number:05}"
        patient.mkdir(parents=True)
        for channel, which in (("flair", number), ("t1", number + 5), ("t2", number + 9), ("seg", -1)):
            file = patient / f"{patient.name}_{channel}.raw"
            os.link(pool / f"{15 if which < 0 else which % 15}", file)
    command = [sys.executable, "-c", CHILD, str(source), str(tmp_path / "origin"), str(tmp_path)]
    environment = {**os.environ, "OSGDL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    shutil.rmtree(tmp_path / "origin", ignore_errors=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    total = PATIENTS * 4 * size
    lap = found["seconds"]
    print(f"\n{PATIENTS} patients, {total / 1e9:.1f} GB, {found['objects']} objects, peak {found['peak_mb']:.0f} MB")
    print("".join(f"  {what} {lap[what]:.1f} s, {total / 1e6 / lap[what]:.0f} MB/s\n" for what in lap))
    assert found["unchanged"] and found["good"] == found["objects"] == found["planned"] + 1
    assert found["peak_mb"] < LIMIT_MB
