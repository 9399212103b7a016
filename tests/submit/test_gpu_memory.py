"""The estimate of GPU memory: its parts, its bounds, and bad files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from submit import gpu_memory
from submit.compatibility import data
from submit.errors import KitError
from submit.runtime.network import FORMAT, Network
from submit.units import mebibytes

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
        {"batch": 0},
        {"name": 3},
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
            gpu_memory.estimate(NET, batch, precision)


def test_honest_memory() -> None:
    assert gpu_memory.honest("40GB") == "37683MB"  # an A100 of 40 GB shows 40536
    with pytest.raises(KitError, match="has no unit"):
        gpu_memory.honest("40")


def test_a_card_is_asked_for_by_its_name() -> None:
    assert gpu_memory.memory("A100 40GB").gpus_minimum_memory == "39GB"  # shows 40536 MiB
    assert gpu_memory.memory("nvidia t4") == gpu_memory.memory("Tesla T4") == gpu_memory.memory("T4")
    assert gpu_memory.memory("H200").gpus_minimum_memory == f"{int(141 * 1024 * 0.92)}MB"
    for name in ("40GB", *(row["model"] for row in data()["gpus"])):
        found = gpu_memory.memory(name)
        assert name not in found.left_out
        asked = mebibytes(found.gpus_minimum_memory)
        for row in data()["gpus"]:
            if "advertised_mb" in row:
                assert (row["advertised_mb"] < asked) == (row["model"] in found.left_out)
    assert "A100 40GB" in gpu_memory.left_out(40 * 1024)  # the number on the box takes none


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("V100", r"several cards; want a size such as 40GB, or one of Tesla V100 16GB, Tesla V100 32GB\. Try"),
        ("Voodoo 2", "no such card; want a size such as 40GB, or one of "),
        ("", "is not a size; want a whole number"),
        ("-3GB", "is not a size"),
    ],
)
def test_what_is_no_card_is_refused(text: str, message: str) -> None:
    with pytest.raises(KitError, match=message) as refused:
        gpu_memory.memory(text)
    assert str(refused.value).startswith(f"memory={text!r}: ") and "\n" not in str(refused.value)
