"""What an image holds, read from its recipe or by Apptainer, and the bounds that follow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from submit import gpus_table, image_contents
from submit.compatibility import Bounds
from submit.errors import ImageError, ToolMissing


def test_a_definition_is_read_by_its_pins_else_by_its_base(tmp_path: Path) -> None:
    file = tmp_path / "container.def"
    file.write_text(
        "Bootstrap: docker\nFrom: python:3.12\n%post\n pip install tensorflow==2.21.0 nvidia-cudnn-cu12==9.10.2.21\n"
    )
    pinned = image_contents.bounds(str(file))
    assert pinned.gpus_minimum_capability == "6.0" and not any("cuDNN" in trap for trap in pinned.warnings)
    file.write_text("Bootstrap: docker\nFrom: python:3.12\n%post\n pip install tensorflow[and-cuda]==2.21.0\n")
    assert image_contents.bounds(str(file)).gpus_minimum_capability == "7.5"
    file.write_text(
        "Bootstrap: docker\nFrom: pytorch/pytorch:2.9.0-cuda12.6-cudnn9-runtime\n%post\n pip install nibabel==5.4.2\n"
    )
    assert image_contents.bounds(str(file)).gpus_maximum_capability == "9.0"
    file.write_text("Bootstrap: docker\nFrom: x/y:1\n%post\n pip install tensorflow==2.21.0 torch==2.13.0+cu130\n")
    both = image_contents.bounds(str(file))
    assert (both.gpus_minimum_capability, both.gpus_maximum_capability, both.gpus_minimum_runtime) == (
        "7.5",
        "9.0",
        "13.0",
    )
    file.write_text("Bootstrap: docker\nFrom: x/y:1\n%post\n pip install numpy==2.0\n")
    with pytest.raises(ImageError, match="nothing is known"):
        image_contents.bounds(str(file))


@pytest.mark.parametrize(
    ("base", "installed", "expected"),
    [
        ("python:3.12", "torch==2.8.0 --index-url https://example.org/whl/cu126", ("5.0", "9.0", "12.0")),
        ("python:3.12", "'jax[cuda13]==0.11.0'", ("7.5", "12.1", "13.0")),
        ("python:3.12", "'jax[cuda12]==0.11.0'", ("7.5", "12.1", "12.0")),  # not the default build
        ("python:3.12", "'jax[cuda12]==0.10.0'", ("7.5", "12.1", "12.0")),  # the newest cuDNN
        ("python:3.12", "'jax[cuda12]==0.10.0' nvidia-cudnn-cu12==9.10.2.21", ("5.2", "12.1", "12.0")),
        ("python:3.12", "tensorflow[and-cuda]==2.21.0 'nvidia-cudnn-cu12<=9.10.2.21'", ("6.0", "9.0", "12.0")),
        ("tensorflow/tensorflow:2.17.0-gpu", "nibabel", ("6.0", "9.0", "12.0")),
        ("a/b:1\n%post\n true\nBootstrap: docker\nFrom: htc/pytorch:2.3.1-cuda11.8", "x", ("3.7", "9.0", "11.0")),
        ("python:3.12", "torch==2.8.0+cpu tensorflow[and-cuda]==2.19.0", ("6.0", "9.0", "12.0")),
    ],
)
def test_what_a_definition_installs(tmp_path: Path, base: str, installed: str, expected: tuple[str, ...]) -> None:
    file = tmp_path / "container.def"
    said = "# torch==1.13\n%help\n jax==0.4.30\n"
    file.write_text(f"Bootstrap: docker\nFrom: {base}\n\n%post\n    pip install \\\n    {installed}\n{said}")
    found = image_contents.bounds(str(file))
    assert tuple(getattr(found, command) for command in gpus_table.COMMANDS) == expected


def test_traps_of_a_definition(tmp_path: Path) -> None:
    file = tmp_path / "container.def"

    def of(installed: str, base: str = "python:3.12") -> Bounds:
        file.write_text(f"Bootstrap: docker\nFrom: {base}\n%post\n    pip install {installed}\n")
        return image_contents.bounds(str(file))

    assert image_contents.NO_CUDA in of("tensorflow==2.21.0").warnings
    assert image_contents.NO_CUDA not in of("tensorflow==2.21.0", "nvidia/cuda:12.5.1-cudnn-runtime").warnings
    assert not of("tensorflow-cpu==2.21.0").usable
    two = of("'tensorflow[and-cuda]==2.19.0' torch==2.15.0+cu130")
    assert two.confidence == "medium" and any("two CUDA majors" in trap for trap in two.warnings)
    none = of("torch==2.7.0+cu128 tensorflow==1.12")
    assert not none.usable and any("no GPU runs both" in trap for trap in none.warnings)
    for installed in ("tensorflow[and-cuda]", "numpy 'torch>=2.4'", "jax"):
        with pytest.raises(ImageError, match=r"(and-cuda\]|torch|jax) without a version; want it pinned: "):
            of(installed)


def test_a_sif_is_read_by_what_python_has_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real Apptainer opens one in tests/pool; here are the packages that matter."""
    (tmp_path / "x.sif").touch()
    said = ""
    monkeypatch.setattr(image_contents.apptainer, "output", lambda words, folder: said)

    def of(**packages: str) -> Bounds:
        nonlocal said
        said = "WARNING: of Apptainer\n" + json.dumps({k.replace("_", "-"): v for k, v in packages.items()}) + "\n"
        return image_contents.bounds(str(tmp_path / "x.sif"))

    assert of(torch="2.8.0").gpus_minimum_capability == "7.0"
    assert of(tensorflow="2.21.0", nvidia_cudnn_cu12="9.28.0.1").gpus_minimum_capability == "7.5"
    assert of(jax="0.10.0", jax_cuda13_plugin="0.10.0", nvidia_cudnn_cu13="9.20").gpus_minimum_runtime == "13.0"
    assert image_contents.NO_CUDA in of(tensorflow="2.21.0").warnings
    assert not of(tensorflow_cpu="2.21.0").usable and not of(torch="2.8.0+cpu").usable
    with pytest.raises(ImageError, match=r"^torch 2\.6\.0a0='ecf3b': no such build; want one of cu118, cu124, cu126"):
        of(torch="2.6.0a0+ecf3b")  # NVIDIA's own
    said = "Traceback"
    with pytest.raises(ImageError, match="its python3 lists no packages: 'Traceback'; want an image with Python"):
        image_contents.bounds(str(tmp_path / "x.sif"))


def test_a_sif_needs_apptainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.sif").touch()
    monkeypatch.setattr(image_contents.apptainer, "version", lambda: None)
    monkeypatch.setattr(image_contents.apptainer.pool, "init_pid", lambda: 0)
    with pytest.raises(ToolMissing, match=r"^apptainer: not here"):
        image_contents.bounds(str(tmp_path / "x.sif"))


def test_pyopencl_alone_needs_a_driver_and_beside_a_framework_nothing_more(tmp_path: Path) -> None:
    recipe = tmp_path / "container.def"
    recipe.write_text("Bootstrap: docker\nFrom: python:3.12\n%post\n    pip install pyopencl==2026.1.4 numpy==2.4.6\n")
    assert image_contents.bounds(str(recipe)).gpus_minimum_runtime == "11.0"
    recipe.write_text(recipe.read_text().replace("numpy==2.4.6", "torch==2.10.0+cu128"))
    assert image_contents.bounds(str(recipe)).gpus_maximum_capability == "12.1"
