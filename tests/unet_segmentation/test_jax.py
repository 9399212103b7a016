"""The JAX backend passes the same tests: run again in a process of their own, for Keras takes one backend a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# of TensorFlow's own: its precision, its errors
OTHERWISE = "not bfloat16 and not gpu_too_small"
QUICK = "everything_is_there or left_and_came_back or context or 3-D"
LONG = "papers_network or deep_supervision or any_size or size_by_hand or labels_stay_labels"  # each shape is compiled


@pytest.mark.slow
@pytest.mark.xdist_group("exactness")
@pytest.mark.parametrize("name", ["augment", "model", "train", "train_refused"])
def test_the_same_tests_pass(
    name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What compiles for long in the soak alone."""
    pytest.importorskip("jax")
    soak = request.config.getoption("--soak")
    if name == "train_refused" and not soak:
        pytest.skip("what a training refuses runs on JAX with --soak alone")
    some = QUICK if name == "train" else f"not ({LONG})"
    chosen = OTHERWISE if soak else f"{OTHERWISE} and ({some})"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-k", chosen]
    compiled = tmp_path_factory.getbasetemp() / "jax"  # what one test compiled serves the next
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run([*command, str(HERE / f"test_{name}.py")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    print(done.stdout.splitlines()[-1])
