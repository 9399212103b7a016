"""The estimate of GPU memory: its parts, its bounds, and bad files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from submit import gpu_memory
from submit.errors import KitError
from submit.runtime.network import FORMAT, Network

NET = Network(
    "unet", parameters=2**20, activations=2**18, inputs=2**10, optimizer_slots=2, batch=8, precision="float32"
)


def test_the_parts_are_what_the_counts_say() -> None:
    found = gpu_memory.estimate(NET)
    assert found.weights == 16  # weights, gradients, two moments: 4 x 4 bytes x 1 Mi
    assert found.activations == pytest.approx(8 * (1 + gpu_memory.BACKWARD) + 8 / 256)
    half = gpu_memory.estimate(NET, precision="bfloat16")
    assert half.activations == pytest.approx(found.activations / 2) and half.weights == 18
    assert gpu_memory.estimate(NET, batch=16).activations == pytest.approx(2 * found.activations)
    assert found.gpus_minimum_memory == "1536MB"


def test_a_file_comes_back_and_a_bad_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    NET.write(file)
    assert gpu_memory.of_file(file) == gpu_memory.estimate(NET)
    whole = {"format": FORMAT, **dataclasses.asdict(NET)}
    for change in (
        {"parameters": -1},
        {"parameters": "many"},
        {"precision": "int4"},
        {"format": 9},
        {"activations": True},
    ):
        file.write_text(json.dumps({**whole, **change}))
        with pytest.raises(KitError, match=str(file)):
            gpu_memory.of_file(file)
    for text in ("", "[]", "{", "\x00"):
        file.write_text(text)
        with pytest.raises(KitError, match=r"a model\.json that the trainer wrote"):
            gpu_memory.of_file(file)
    with pytest.raises(KitError, match="No such file"):
        gpu_memory.of_file(tmp_path / "none.json")
    for batch, precision in ((0, "float32"), (-3, "float32"), (1, "int8")):
        with pytest.raises(KitError, match="want"):
            gpu_memory.estimate(NET, batch or -1, precision)


def test_honest_memory() -> None:
    assert gpu_memory.honest("40GB") == "37683MB"  # an A100 of 40 GB shows 40536
    with pytest.raises(KitError, match="has no unit"):
        gpu_memory.honest("40")
