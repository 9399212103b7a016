"""The table of what runs where, and the bounds made from it: no GPU is shut out that works, none let in that fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import compatibility, gpus_table, image_bounds, image_contents
from submit.compatibility import Bounds, data, number, of_framework
from submit.errors import ImageError, KitError

NEWEST = max(row["max_supported_version"] for row in data()["drivers"])
# one tag for each image of the table, and the framework that is in it
IMAGES = {
    "registry.example/htc/tensorflow:2.15": ("tensorflow", "2.15", None),
    "/cvmfs/singularity.opensciencegrid.org/htc/pytorch:2.3.1-cuda11.8": ("torch", "2.3", "cu118"),
    "opensciencegrid/tensorflow-gpu:2.3-cuda-10.1": ("tensorflow", "2.3", None),
    "docker://tensorflow/tensorflow:1.14.0-gpu-py3": ("tensorflow", "1.14", None),
    "tensorflow/tensorflow:2.5.0-gpu": ("tensorflow", "2.5", None),
    "tensorflow/tensorflow:2.12.0-gpu": ("tensorflow", "2.12", None),
    "tensorflow/tensorflow:2.17.0-gpu": ("tensorflow", "2.17", None),
    "pytorch/pytorch:2.9.0-cuda12.6-cudnn9-runtime": ("torch", "2.9", "cu126"),
    "pytorch/pytorch:1.13.1-cuda11.6-cudnn8-devel": ("torch", "1.13", "cu116"),
    "deepmi/fastsurfer:cu124-v2.4": ("torch", "2.4", "cu124"),
    "docker://tensorflow/tensorflow:2.15.0.post1-gpu": ("tensorflow", "2.15", None),
}
# images of which only the CUDA is known; NVIDIA's want its exact version (None: the major is enough)
CUDA_IMAGES = {
    "htc/rocky:9-cuda-12.6.0": ("12.6", None),
    "htc/rocky:8-cuda-11.0.3": ("11.0", None),
    "projectmonai/monai": ("12.6", None),
    "neuronets/nobrainer:latest": ("13.0", None),
    "nvidia/cuda:12.6.0-cudnn-devel-rockylinux9": ("12.6", None),
    "registry.example/nvidia/pytorch:24.05-py3": ("12.4", None),
    "registry.example/nvidia/pytorch:24.10-py3": ("12.6", None),
    "registry.example/nvidia/pytorch:25.02-py3": ("12.8", None),
    "registry.example/nvidia/pytorch:25.10-py3": ("13.0", None),
    "registry.example/nvidia/tensorflow:25.02-tf2-py3": ("12.8", 12080),
    "registry.example/nvidia/tensorflow:23.03-tf1-py3": ("12.1", None),
}
NO_GPU = [
    "tensorflow/tensorflow:2.18.0-gpu",
    "tensorflow/tensorflow:latest-gpu",
    "tensorflow/tensorflow:2.17.0",
    "docker://tensorflow/tensorflow",
    "htc/freesurfer:8.1.0",
]


def framework_rows() -> Iterator[Any]:
    for row in data()["frameworks"]:
        yield pytest.param(row, id=f"{row['name']}-{row['first']}-{row.get('variant', '')}")


def bounds_of(row: Any) -> Bounds:
    return of_framework(row["name"], row["first"], row.get("variant"))


def drivers_of(gpu: Any) -> list[int]:
    """The CUDA APIs that a host of this GPU may advertise: from its architecture's first toolkit to its last driver."""
    first = min(row["version"] for row in data()["cuda"] if number(row["capability_max"]) >= number(gpu["capability"]))
    last = {row["branch"]: row["max_supported_version"] for row in data()["drivers"]}.get(
        gpu.get("last_driver"), NEWEST
    )
    versions = [row["max_supported_version"] for row in data()["drivers"]]
    return [v for v in versions if min(compatibility.runtime(first), last) <= v <= last]


def runs(row: Any, gpu: Any, api: int) -> bool | None:
    """From first principles, not from the bounds: code for the GPU, a cuDNN and a CUDA for it, a driver for the CUDA.

    True: it runs. False: it is known to fail. None: PTX alone, which the driver may compile, or not.
    """
    major, capability = int(gpu["capability"].split(".")[0]), float(gpu["capability"])
    cuda = next(c for c in data()["cuda"] if c["version"] == row["cuda"])
    needed = (
        int(cuda["version"].split(".")[0]) * 1000
        if cuda["minor_version_compat"]
        else compatibility.runtime(cuda["version"])
    )
    if api < needed or capability < float(cuda["capability_min"]):
        return False
    if row.get("limit_max") and capability > float(row["limit_max"]):
        return False
    if row.get("limit_min") and capability < float(row["limit_min"]):
        return False
    if tuple(map(int, (row.get("cudnn") or "0.0").split(".")[:2])) >= (9, 11) and capability < 7.5:
        return False
    if any(int(code.split(".")[0]) == major and float(code) <= capability for code in row["sass"]):
        return True  # a cubin runs on its own major, same or higher minor
    return None if any(float(code) <= capability for code in row.get("ptx", [])) else False


@pytest.mark.parametrize("row", list(framework_rows()))
def test_no_gpu_that_runs_is_shut_out_and_none_that_fails_let_in(row: Any) -> None:
    bounds = bounds_of(row)
    for gpu in data()["gpus"]:
        for api in drivers_of(gpu):
            expected = runs(row, gpu, api)
            admitted = bounds.admits(gpu["capability"], api)
            assert expected is None or admitted == expected, f"{gpu['model']}, CUDA API {api}: runs {expected}"
            assert not (expected is None and admitted), f"{gpu['model']}: PTX alone is no plan"


@pytest.mark.parametrize(("image", "held"), list(IMAGES.items()))
def test_an_image_has_the_bounds_of_what_it_holds(image: str, held: tuple[str, str, str | None]) -> None:
    found, row = image_bounds.bounds(image), of_framework(*held)
    for command in gpus_table.COMMANDS:
        assert getattr(found, command) == getattr(row, command)


def test_every_image_row_is_met_by_an_example() -> None:
    examples = [
        *IMAGES,
        *NO_GPU,
        *CUDA_IMAGES,
        "htc/deeplabcut:3.0.0rc4",
    ]
    names = [
        re.sub(r"^(docker://|/cvmfs/singularity.opensciencegrid.org/)?([\w-]+(\.[\w-]+)+/)?", "", e) for e in examples
    ]
    for row in data()["images"]:
        assert any(re.fullmatch(row["match"], name) for name in names), row["match"]
    for example in examples:
        assert isinstance(image_bounds.bounds(example), Bounds)


@pytest.mark.parametrize(("image", "holds"), list(CUDA_IMAGES.items()))
def test_an_image_known_by_its_cuda_lets_in_what_that_cuda_runs_on(image: str, holds: tuple[str, int | None]) -> None:
    bounds, (version, exact) = image_bounds.bounds(image), holds
    cuda = next(row for row in data()["cuda"] if row["version"] == version)
    least = exact or 1000 * int(version.split(".")[0])
    for gpu in data()["gpus"]:
        inside = float(cuda["capability_min"]) <= float(gpu["capability"]) <= float(cuda["capability_max"])
        for api in drivers_of(gpu):
            admitted = bounds.admits(gpu["capability"], api)
            assert not admitted or (inside and api >= least), f"{gpu['model']}, CUDA API {api}"
            if not any("release notes" in reason for reason in bounds.reasons):  # which know of fewer
                assert admitted == (inside and api >= least), f"{gpu['model']}, CUDA API {api}"


def test_every_framework_in_an_image_must_run() -> None:
    """DeepLabCut's image: TensorFlow 2.10 beside PyTorch 2.4."""
    bounds = image_bounds.bounds("registry.example/htc/deeplabcut:3.0.0rc4")
    held = [r for r in data()["frameworks"] if (r["name"], r["first"]) == ("tensorflow", "2.10")]
    held += [r for r in data()["frameworks"] if (r["first"], r.get("variant")) == ("2.4", "cu121")]
    assert len(held) == 2
    for gpu in data()["gpus"]:
        for api in drivers_of(gpu):
            assert bounds.admits(gpu["capability"], api) == all(runs(row, gpu, api) for row in held), gpu["model"]


@pytest.mark.parametrize("row", [row for row in framework_rows() if row.values[0]["newest_cudnn"]])  # type: ignore[index]
def test_the_newest_cudnn_lets_in_no_gpu_before_turing(row: Any) -> None:
    """Whatever else bounds it: a row's own limits never loosen what cuDNN wants."""
    for version in ("9.11", "9.28.0.1"):
        bounds = of_framework(row["name"], row["first"], row.get("variant"), cudnn=version)
        for gpu in data()["gpus"]:
            for api in drivers_of(gpu):
                expected = runs({**row, "cudnn": version}, gpu, api)
                assert bounds.admits(gpu["capability"], api) == bool(expected), f"{gpu['model']}, cuDNN {version}"
    newest = of_framework(row["name"], row["first"], row.get("variant"), newest_cudnn=True)
    assert newest.gpus_minimum_capability == "7.5"


@pytest.mark.parametrize("image", NO_GPU)
def test_an_image_that_sees_no_gpu_is_said_so(image: str) -> None:
    found = image_bounds.bounds(image)
    assert not found.usable and found.warnings and not found.admits("8.0", NEWEST)


def test_the_facts_agree_where_they_are_at_hand(request: pytest.FixtureRequest) -> None:
    """The bounds, made by the rules, are those of the table that the data comes from, row by row."""
    import tomllib

    table = Path(__file__).parents[3] / "shared" / "facts" / "compatibility.toml"
    if not table.is_file():
        pytest.skip("the compatibility table is not here")
    facts = tomllib.loads(table.read_text())["frameworks"]
    assert len(facts) == len(data()["frameworks"])
    for fact, row in zip(facts, data()["frameworks"], strict=True):
        bounds = bounds_of(row)
        assert (bounds.gpus_minimum_capability, bounds.gpus_maximum_capability) == (fact["cap_min"], fact["cap_max"])
        assert compatibility.runtime(bounds.gpus_minimum_runtime) == fact["gpus_minimum_runtime"]
        assert compatibility.runtime(bounds.strict_runtime) == fact["strict_runtime"]


def test_every_row_names_its_sources_and_how_sure_it_is() -> None:
    sources = data()["sources"]
    for table in ("cuda", "drivers", "cudnn", "frameworks", "gpus", "images"):
        for row in data()[table]:
            assert row["confidence"] in ("high", "medium", "low"), row
            assert row["sources"] and set(row["sources"]) <= set(sources), row
            for key in ("first", "last", "version", "cuda", "cudnn", "capability", "capability_min", "capability_max"):
                assert re.fullmatch(r"\d+(\.\d+)*", row.get(key, "0")), row
            for code in (*row.get("sass", ()), *row.get("ptx", ())):
                assert re.fullmatch(r"\d+\.\d", code), row
    named = {key for rows in data().values() if isinstance(rows, list) for row in rows for key in row["sources"]}
    assert named == set(sources), "a source that no row names"
    for gpu in data()["gpus"]:
        if "advertised_mb" in gpu:  # 0.92 of the number on the box takes every card of that name
            assert compatibility.HONEST * gpu["memory_gb"] * 1024 <= gpu["advertised_mb"] < gpu["memory_gb"] * 1024


@pytest.mark.parametrize("text", ["torch==2.8+cpu", "tensorflow-cpu==2.21", "tensorflow_cpu==2.21"])
def test_a_build_without_cuda_is_said_so(text: str) -> None:
    name, version = text.split("==")
    version, _, variant = version.partition("+")
    found = of_framework(name, version, variant or None)
    assert not found.usable and found.warnings == ("this build has no CUDA: it computes on the CPU",)


@pytest.mark.parametrize(
    ("driver", "api"),
    [("535.104.05", 12020), ("R580", 13000), ("550.54.14", 12040), ("418.39", 10010), ("430.64", 10010)],
)
def test_a_driver_brings_a_cuda(driver: str, api: int) -> None:
    assert compatibility.of_driver(driver) == api


@pytest.mark.parametrize("driver", ["12.4", "340.29", "999.1", "", "new"])
def test_what_is_no_driver_is_refused(driver: str) -> None:
    with pytest.raises(
        ImageError, match=r"^driver='.*': (no such version in the data; want one of 384, |not a version)"
    ):
        compatibility.of_driver(driver)


def test_traps() -> None:
    old = of_framework("torch", "2.13")
    assert not old.admits("7.0", 13000)  # a V100 with driver 580 passes the runtime floor alone
    assert any("V100 with driver 580" in trap for trap in old.warnings)
    both = "both bounds: a GTX 1080 with driver R580 passes runtime >= 12.0, and this has no code for it"
    assert both in of_framework("torch", "2.8").reasons
    assert image_bounds.bounds("tensorflow==2.21").gpus_minimum_capability == "6.0"
    newest = image_bounds.bounds("tensorflow[and-cuda]==2.21.0")
    assert newest.gpus_minimum_capability == "7.5" and any("nothing pins" in reason for reason in newest.reasons)
    assert any("cuDNN" in trap for trap in image_bounds.bounds("tensorflow==2.21").warnings)
    assert image_bounds.bounds("tensorflow[and-cuda]==2.19").gpus_minimum_capability == "6.0"  # pins it itself
    assert not of_framework("tensorflow", "2.21").admits("12.0", NEWEST)
    assert of_framework("torch", "2.4", "cu118").gpus_minimum_runtime == "11.0"
    assert of_framework("tensorflow", "2.3").gpus_minimum_runtime == "10.1"  # no minor-version compatibility yet


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keras==3.1", r"^framework='keras': unknown; want one of jax, tensorflow, torch\. Try "),
        (
            "torch==9.9",
            r"^torch='9.9': no such version in the data; want one of 1\.13, .*2\.15\. Try 2\.15, or add a row",
        ),
        ("torch==2.8+cu118", r"^torch 2\.8='cu118': no such build; want one of cu126, cu128, cu129"),
        ("docker://nobody/nothing:1", r"^image='docker://nobody/nothing:1': nothing is known"),
        ("", r"^image='': nothing is known"),
        ("torch==3.0", r"Try 2\.15, or add a row"),
        ("tensorflow==1.4", r"Try 1\.12, or add a row"),
        ("torch==2", r"Try 2\.15, or add a row"),
        ("jax==0.4", r"^jax='0\.4': its builds differ, .* 0\.4\.12 to 0\.4\.25 \(cuda11\), .*Try 0\.4\.26\.$"),
        ("jax==0.4.3", r"^jax='0\.4\.3': no such version in the data; want one of 0\.4\.4, "),
        ("jax[cuda13]==0.4.30", r"^jax 0\.4\.30='cuda13': no such build; want one of cuda12"),
        ("nvidia/cuda:12.7.1-base", r"^CUDA='12\.7\.1': no such version .*Try 12\.6, or"),
        ("pytorch/pytorch:2.8.0-cuda12.7-cudnn9-devel", r"^torch 2\.8\.0='cu127': no such build"),
        ("nowhere.sif", r"^image='nowhere.sif': no such file"),
        ("nowhere/container.def", r"^image='nowhere/container.def': No such file"),
    ],
)
def test_what_is_unknown_is_one_line_that_helps(text: str, message: str) -> None:
    with pytest.raises(ImageError, match=message) as refused:
        image_contents.bounds(text)
    assert "\n" not in str(refused.value)


@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"\A(tensorflow|torch|jax|tf)(\[[\w,-]{0,9}\])?==[\d.+cu]{1,12}\Z"),
        st.from_regex(
            r"\A(docker://)?((tensorflow/tensorflow|nvidia/cuda|htc/rocky|opensciencegrid/tensorflow-gpu):[\d.a-z-]{0,9}"
            r"|(py|h)torch/pytorch:[\d.rc]{0,6}-cuda[\d.]{0,5}-cudnn\d?-(runtime|devel))(-gpu)?\Z"
        ),
    )
)
def test_any_text_gives_bounds_or_one_line(text: str) -> None:
    try:
        assert isinstance(image_bounds.bounds(text), Bounds)
    except KitError as error:
        assert "\n" not in str(error)


def test_the_json_has_the_commands_as_keys() -> None:
    held = json.loads(gpus_table.as_json(image_bounds.bounds("tensorflow==2.21"), "10GB"))
    assert [held[command] for command in (*gpus_table.COMMANDS, "gpus_minimum_memory")] == [
        "6.0",
        "9.0",
        "12.0",
        "10GB",
    ]
    assert held["reasons"] and held["sources"] and held["confidence"] == "high"
    assert "Tesla V100 16GB" in held["gpus"]["admitted"] and "RTX 5090" in held["gpus"]["refused"]


def test_what_memory_leaves_out_is_not_among_the_cards() -> None:
    shown = gpus_table.cards(image_bounds.bounds("torch==2.8"), "39GB")
    assert "T4" in shown["refused"] and "A100 40GB" in shown["admitted"]


@pytest.mark.parametrize(
    ("text", "floor"),
    [
        ("jax[cuda12]==0.10", "7.5"),
        ("torch==2.8.0rc1", "7.0"),
        ("docker://localhost:5000/tensorflow/tensorflow:2.17.0-gpu", "6.0"),
    ],
)
def test_forms_that_pip_and_registries_write(text: str, floor: str) -> None:
    assert image_bounds.bounds(text).gpus_minimum_capability == floor


def test_the_text_is_lines_for_a_submit_file() -> None:
    from submit.description import Description

    shown = gpus_table.text(image_bounds.bounds("torch==2.8"), explain=True, memory="10GB")
    description = Description(shown + "\nqueue\n")
    assert description.get("gpus_minimum_capability") == "7.0" and description.get("gpus_minimum_memory") == "10GB"
    assert all(len(line) <= 120 for line in shown.split("\n"))
