"""A training that takes seconds, as the command line starts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unet_segmentation import cli

# a network and images as small as the real thing allows: seconds to train
TINY = (
    "model.width=4",
    "model.levels=2",
    "train.patch=32",
    "train.batch_size=4",
    "train.steps=12",
    "checkpoint.every_steps=5",
)


def words(data: Path, out: Path, *changes: str) -> list[str]:
    settings = [word for change in (*TINY, *changes) for word in ("--set", change)]
    return ["train", "--data", str(data), "--out", str(out), *settings]


def result(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def until_done(data: Path, out: Path, *changes: str) -> int:
    """Runs the command again as long as it leaves with 85, as HTCondor does; returns the number of restarts."""
    for restarts in range(50):
        code = cli.main(words(data, out, *changes))
        if code != 85:
            assert code == 0
            return restarts
    raise AssertionError("it never ends")
