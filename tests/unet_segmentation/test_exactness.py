"""The kill trial: a training that is killed again and again ends with the bytes of one that nobody stopped.

Real processes of the real command on tiny phantoms. A chain is one output folder: its run is started, killed at a
seeded moment, started again, until it is through; then its weights' hash must be the undisturbed run's, and the next
chain begins, until enough kills are counted. What is killed where is drawn so that all parts of a run are hit:

    how      SIGKILL; SIGTERM, upon which the run saves and leaves with 85; SIGKILL and the newest checkpoint torn
    when     start-up, training, saving (between the first and the last byte of a checkpoint), the end
             (scores, pictures)

`--soak`: 200 kills with TensorFlow, half in float32 and half in bfloat16, and 20 with JAX; without it 8 and 2.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from submit.runtime.checkpoint import Store

ROOT = Path(__file__).parents[2]
STEPS = 200
EVERY = 7  # steps a checkpoint
SETTINGS = (
    "model.width=4",
    "model.levels=2",
    "train.patch=32",
    "train.batch_size=4",
    f"train.steps={STEPS}",
    f"checkpoint.every_steps={EVERY}",
)
PRECISIONS = ("float32", "bfloat16")
PHASES = ("start-up", "training", "saving", "end")
KINDS = ("SIGKILL", "SIGTERM", "SIGKILL, torn")
LIMIT = 300.0  # seconds until a run that neither ends nor gets killed counts as stuck


@dataclass
class Run:
    """A run's process and what can be seen of it from outside."""

    out: Path
    process: subprocess.Popen[str]
    before: int  # the newest generation when it started
    logged: int  # bytes in the log when it started

    @classmethod
    def start(cls, data: Path, out: Path, backend: str, precision: str) -> Run:
        settings = [word for change in (*SETTINGS, f"train.precision={precision}") for word in ("--set", change)]
        command = [sys.executable, "-m", "unet_segmentation", "train", "--data", str(data), "--out", str(out)]
        temporary = out.parent / "temporary"  # TensorFlow's compiler leaves files there when it is killed
        for folder in (out, temporary):
            folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)}
        with (out / "log.txt").open("a") as log:
            logged, before = log.tell(), generation(out)
            process = subprocess.Popen(
                [*command, *settings], cwd=ROOT, env=environment, stdout=log, stderr=log, text=True
            )
        return cls(out, process, before, logged)

    @property
    def phase(self) -> str:
        """Where the run is, by the files it made and by what it says when it goes on from a checkpoint."""
        if saving(self.out):
            return "saving"
        if generation(self.out) == self.before and "resumed" not in self.log():
            return "start-up"
        return "end" if through(self.out) else "training"

    def wait(self, phase: str) -> bool:
        """Until it is there (True), or past it, or ended (False)."""
        began = time.monotonic()
        while self.process.poll() is None:
            now = "saving" if phase == "saving" and saving(self.out) else self.phase
            if now == phase:
                return True
            if now == "end":
                return False
            if time.monotonic() - began > LIMIT:
                self.process.kill()
                raise AssertionError(f"stuck before {phase}: {self.log()}")
            time.sleep(0.0005 if phase == "saving" else 0.01)
        return False

    def log(self) -> str:
        """What it wrote so far."""
        with (self.out / "log.txt").open() as log:
            log.seek(self.logged)
            return log.read()


@dataclass
class Trial:
    """The kills of one backend and precision."""

    data: Path
    folder: Path
    backend: str
    precision: str
    kills: int
    expected: str = ""
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    restarts: list[int] = field(default_factory=list)  # of each chain

    def undisturbed(self) -> None:
        """The run that nobody stops."""
        run = Run.start(self.data, self.folder / "undisturbed", self.backend, self.precision)
        assert run.process.wait(LIMIT) == 0, run.log()
        self.expected = weights(run.out)

    def run(self) -> None:
        """Chains, until enough kills are counted; each must end with the expected weights."""
        self.undisturbed()
        chance = random.Random(f"{self.backend} {self.precision}")
        plan: list[tuple[str, str]] = []
        pairs = [(kind, phase) for kind in KINDS for phase in PHASES]
        while len(plan) < self.kills:  # every pair of how and when once before one comes twice, the end's last
            some = chance.sample(pairs, min(len(pairs), self.kills - len(plan)))
            plan += sorted(some, key=lambda pair: pair[1] == "end")
        while plan:
            self._chain(plan, chance)

    def _chain(self, plan: list[tuple[str, str]], chance: random.Random) -> None:
        out, restarts = self.folder / f"{len(self.restarts)}", 0
        while True:
            run = Run.start(self.data, out, self.backend, self.precision)
            if plan and self._kill(run, *plan[0], chance):
                plan.pop(0)
                restarts += 1
                continue
            assert run.process.wait(LIMIT) == 0, run.log()
            break
        assert weights(out) == self.expected, f"{self.backend} {self.precision}, {restarts} restarts: other weights"
        self.restarts.append(restarts)

    def _kill(self, run: Run, kind: str, phase: str, chance: random.Random) -> bool:
        """Kills the run at a moment of the phase; whether it died of it."""
        if not run.wait(phase):
            return False
        longest = {"start-up": 4.0, "training": 0.3, "saving": 0.003, "end": 1.0}[phase]
        time.sleep(chance.uniform(0, longest))
        seen = run.phase
        name = "SIGTERM" if kind == "SIGTERM" else "SIGKILL"
        run.process.send_signal(getattr(signal, name))
        code = run.process.wait(LIMIT)
        if code == 0:  # it was through already
            return False
        allowed = {"SIGKILL": {-signal.SIGKILL}, "SIGTERM": {-signal.SIGTERM, 85}}[name]
        assert code in allowed, f"{name} in {seen}: exit code {code}: {run.log()}"
        if name == "SIGKILL" and seen in ("training", "saving"):
            seen = "saving" if saving(run.out) else "training"  # what it left behind knows better
        if kind.endswith("torn") and not tear(run.out / "checkpoint", chance):
            kind = name
        self.counted[kind, seen] += 1
        return True


def generation(out: Path) -> int:
    """The newest checkpoint's number; 0 without one."""
    return max((int(path.name) for path in (out / "checkpoint").glob("[0-9]*")), default=0)


def saving(out: Path) -> bool:
    """Whether a checkpoint is being written, or was when the process died."""
    return any((out / "checkpoint").glob(".saving-*"))


def through(out: Path) -> bool:
    """Whether the newest checkpoint is that of the last step, or the trained model is there."""
    if (out / "model.keras").exists():
        return True
    try:
        manifest = json.loads((out / "checkpoint" / f"{generation(out):08d}" / "manifest.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(manifest["state"]["progress"]["step"] >= STEPS)


def weights(out: Path) -> str:
    return str(json.loads((out / "metrics.json").read_text())["weights_sha256"])


def tear(folder: Path, chance: random.Random) -> bool:
    """Damages the newest generation as a disk or a killed transfer does; False if there is none."""
    newest = generation(folder.parent)
    if not newest:
        return False
    files = sorted((folder / f"{newest:08d}").iterdir())
    file = chance.choice(files)
    content = bytearray(file.read_bytes())
    way = chance.choice(["half", "empty", "flipped", "gone"])
    if way == "gone":
        file.unlink()
        return True
    if way == "flipped":
        for place in chance.sample(range(len(content)), 4):
            content[place] ^= 1 << chance.randrange(8)
    file.write_bytes(bytes(content) if way == "flipped" else content[: len(content) // 2 if way == "half" else 0])
    assert damaged(folder, newest), f"{file} {way}: the damage is not seen"
    return True


def damaged(folder: Path, number: int) -> bool:
    """Whether the store passes this generation over, asked on a copy of it alone."""
    with tempfile.TemporaryDirectory() as alone:
        shutil.copytree(folder / f"{number:08d}", Path(alone) / f"{number:08d}")
        return Store(Path(alone)).load() is None


@pytest.mark.slow
@pytest.mark.xdist_group("exactness")
@pytest.mark.parametrize(("backend", "soak", "ci"), [("tensorflow", 200, 8), ("jax", 20, 2)], ids=["tensorflow", "jax"])
def test_killed_again_and_again(
    backend: str,
    soak: int,
    ci: int,
    phantoms: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    whole = request.config.getoption("--soak")
    kills = (soak if whole else ci) // len(PRECISIONS)
    if not whole:  # in the soak each start compiles anew
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
        monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    trials = [Trial(phantoms, tmp_path / precision, backend, precision, kills) for precision in PRECISIONS]
    began = time.monotonic()
    with ThreadPoolExecutor(len(trials)) as pool:
        for done in [pool.submit(trial.run) for trial in trials]:
            done.result()
    chains = sum(len(trial.restarts) for trial in trials)
    print(f"\n{backend}: {time.monotonic() - began:.0f} s, {chains} chains, all the same bytes")
    total: Counter[tuple[str, str]] = sum((trial.counted for trial in trials), Counter())
    for (kind, phase), count in sorted(total.items()):
        print(f"  {count:4} x {kind:14} in {phase}")
    assert total.total() == kills * len(PRECISIONS)
    assert trials[0].expected != trials[1].expected, "bfloat16 gave the weights of float32"
