"""Many settings checked in one go, as `osgdl sweep` does before it queues a job for each."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def ask(given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unet_segmentation.settings"]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)


def test_settings_that_a_training_takes() -> None:
    done = ask(json.dumps([["train.steps=4", "model.width=8"], []]))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('[["train.steps=4"], ["train.stepps=4"]]', "train.stepps: not a key"),
        ("{", "standard input"),
        ("3", "not iterable"),
    ],
)
def test_the_first_that_it_refuses_is_named(given: str, said: str) -> None:
    done = ask(given)
    assert done.returncode == 65 and said in done.stderr
