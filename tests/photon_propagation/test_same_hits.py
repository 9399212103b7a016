"""The same hits as a set, whatever became of the work: batches, buffers, kills, jobs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photon_propagation import hits, merge, opencl, world
from photon_propagation.run import read
from submit.runtime.exit_codes import BadInput

REPO = Path(__file__).resolve().parents[2]
PHOTONS = 16_000
NEAR = ("detector.strings=2", "detector.spacing_m=20", "detector.sensors=5", "detector.radius_m=0.5")


def in_batches(here: world.World, device: Any, count: int, capacity: int = opencl.FIRST_CAPACITY) -> hits.Hits:
    propagator = opencl.Propagator(here, device, capacity=capacity)
    edges = np.linspace(0, PHOTONS, count + 1).astype(int)
    parts = [propagator.batch(int(a), int(b - a)).hits for a, b in itertools.pairwise(edges)]
    return hits.from_raw(np.concatenate(parts), here.config.run.seed)


def test_one_batch_or_64(device: Any, worlds: Callable[..., world.World]) -> None:
    here = worlds(*NEAR, plain=False)
    one = in_batches(here, device, 1)
    assert len(one) > 100
    assert np.array_equal(in_batches(here, device, 64), one)
    other = in_batches(worlds(*NEAR, "run.seed=2", plain=False), device, 1)
    # a time alone may be that of another hit, in single precision
    assert not set(one[["time", "x", "y", "z"]].tolist()) & set(other[["time", "x", "y", "z"]].tolist())


def test_more_hits_than_room_are_noticed_and_computed_again(
    device: Any, worlds: Callable[..., world.World], capsys: pytest.CaptureFixture[str]
) -> None:
    here = worlds(*NEAR, plain=False)
    all_hits = in_batches(here, device, 1)
    capsys.readouterr()
    assert np.array_equal(in_batches(here, device, 4, capacity=1), all_hits)
    assert "computed again with room for them" in capsys.readouterr().err


class Job:
    """`run` in a folder of its own, in processes of its own."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        folder.mkdir()
        words = ("source.kind=point", *NEAR, f"run.next={PHOTONS}", "run.batch=500", *settings)
        sets = [word for setting in words for word in ("--set", setting)]
        self.command = [sys.executable, "-m", "photon_propagation", "run", "--out", "out", "--device", "cpu", *sets]

    def start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        return subprocess.Popen(
            self.command, cwd=self.folder, env=environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )

    def run(self) -> tuple[int, str]:
        started = self.start()
        said = started.communicate(timeout=300)[1]
        return started.returncode, said

    @property
    def out(self) -> Path:
        return self.folder / "out"


@pytest.fixture(scope="module")
def alone(device: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run."""
    job = Job(tmp_path_factory.mktemp("alone") / "job")
    code, said = job.run()
    assert code == 0, said
    return job.out


def bytes_of(out: Path) -> bytes:
    return (out / "hits.npz").read_bytes()


def test_killed_and_resumed(alone: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kills = 10 if request.config.getoption("--soak") else 2
    job = Job(tmp_path / "job", "checkpoint.every_batches=1", "run.batch=100")
    generations: list[str] = []
    for _ in range(kills):
        process = job.start()
        deadline = time.monotonic() + 200
        # two more batches than before are safe; then, in the middle of anything
        while process.poll() is None and time.monotonic() < deadline:
            now = sorted(path.name for path in job.folder.glob("checkpoint/[0-9]*"))
            if now and now[-1] >= (f"{int(generations[-1]) + 2:08}" if generations else "00000002"):
                break
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        generations = now
    code, said = job.run()
    assert code == 0, said
    assert bytes_of(job.out) == bytes_of(alone)
    assert read(job.out)[1]["counts"] == read(alone)[1]["counts"]


def test_left_by_85_and_run_again(alone: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "job", "checkpoint.leave_every_batches=12", "checkpoint.evicted_every_minutes=0")
    codes = []
    while not codes or codes[-1] == 85:
        code, said = job.run()
        codes.append(code)
    assert codes == [85, 85, 0], said
    assert bytes_of(job.out) == bytes_of(alone)


def test_eight_jobs_merged(alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from photon_propagation import cli

    for number in range(8):
        first, end = number * PHOTONS // 8, (number + 1) * PHOTONS // 8
        words = ["source.kind=point", *NEAR, f"run.first={first}", f"run.next={end}", "run.batch=700"]
        words += [f"checkpoint.folder={tmp_path / f'checkpoint-{number}'}"]
        sets = [word for setting in words for word in ("--set", setting)]
        assert cli.main(["run", "--out", str(tmp_path / f"out-{number}"), "--device", "cpu", *sets]) == 0
    parts = [str(tmp_path / f"out-{number}") for number in range(8)]
    merged = tmp_path / "merged" / "hits.npz"
    capsys.readouterr()
    assert cli.main(["merge", *parts, "--out", str(merged), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["runs"] == 8 and about["ranges"] == [[1, 0, PHOTONS]] and about["missing"] == []
    assert merged.read_bytes() == bytes_of(alone)
    _, whole = read(alone)
    for name in ("counts", "photons", "hits", "weight", "real_photons", "world_sha256"):
        assert about[name] == whole[name]
    # a merge with a gap, which a merge of merges fills
    gap = merge.merge([tmp_path / f"out-{number}" for number in (0, 2, 3, 4, 5, 6, 7)], tmp_path / "gap.npz")
    assert gap["missing"] == [[1, 2000, 4000]]
    merge.merge([tmp_path / "gap.npz", tmp_path / "out-1"], tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == bytes_of(alone)
    assert "photons 2000 to 3999 of seed 1 are in no run" in capsys.readouterr().err
    with pytest.raises(BadInput, match=r"photon 6000 of seed 1, which .* has too"):
        merge.merge([merged, tmp_path / "out-3"], tmp_path / "twice.npz")
    assert not (tmp_path / "twice.npz").exists()


def test_other_worlds_are_not_merged(alone: Path, tmp_path: Path) -> None:
    from photon_propagation import cli

    words = ("source.kind=point", *NEAR, "run.first=16000", "run.next=16100", "ice.table=uniform")
    sets = [word for setting in words for word in ("--set", setting)]
    sets += ["--set", f"checkpoint.folder={tmp_path / 'checkpoint'}"]
    assert cli.main(["run", "--out", str(tmp_path / "other"), "--device", "cpu", *sets]) == 0
    with pytest.raises(BadInput, match=r"other ice\.table than .*alone"):
        merge.merge([alone, tmp_path / "other"], tmp_path / "merged.npz")


def test_a_checkpoint_of_other_photons_is_refused(tmp_path: Path) -> None:
    assert Job(tmp_path / "job").run()[0] == 0
    job = Job(tmp_path / "other", "run.seed=2", f"checkpoint.folder={tmp_path / 'job' / 'checkpoint'}")
    code, said = job.run()
    assert code == 65 and "a checkpoint with another seed" in said and "Traceback" not in said
