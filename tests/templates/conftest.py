"""Rendered projects: made as a user makes them, in a folder of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest

from submit import project

REPO = Path(__file__).resolve().parents[2]
TEMPLATE = REPO / "templates" / "unet-segmentation"
QUESTIONS: dict[str, Any] = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
IMAGES = {
    "cvmfs": "/cvmfs/singularity.opensciencegrid.org/osg-dl-kit/unet-segmentation:tf2.21",
    "sif": "unet.sif",
    "osdf": "osdf:///ospool/ap40/data/jane/unet-3f9a.sif",
    "docker": "docker://tensorflow/tensorflow:2.21.0",
}
DATA = ("data", "sets/my data.zip", "/data/brats", "osdf:///ospool/ap40/data/jane/brats-v1.tar.gz")


def matrix() -> Iterator[dict[str, str]]:
    """Every combination of the answers that decide on a line together; the others are turned through."""
    data, gpus = cycle(DATA), cycle(["1", "2", "8"])
    for framework, syntax, duration, kind in product(
        QUESTIONS["framework"], QUESTIONS["image_syntax"], QUESTIONS["job_duration"], IMAGES
    ):
        if kind == "sif" and syntax == "+SingularityImage":
            continue  # refused: tests/submit/test_images.py
        yield {
            "framework": framework,
            "image_syntax": syntax,
            "job_duration": duration,
            "image": IMAGES[kind],
            "data": next(data),
            "gpus": next(gpus),
        }


def label(answers: dict[str, str]) -> str:
    kind = next(kind for kind, reference in IMAGES.items() if reference == answers["image"])
    return f"{answers['framework']}-{kind}-{answers['image_syntax']}-{answers['job_duration']}"


def render(folder: Path, **answers: str) -> Path:
    """A project in `folder`, under an answered user name so that it is the same on every machine."""
    return project.new("unet-segmentation", {"username": "jane", **answers}, folder, ask=False)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, str], Path]]:
    """The whole matrix: the answers, and the project made from them."""
    folder = tmp_path_factory.mktemp("matrix")
    return [(answers, render(folder / str(number), **answers)) for number, answers in enumerate(matrix())]


@pytest.fixture(scope="session")
def plain_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that nothing but Enter makes. Not to be changed."""
    return render(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where cookiecutter keeps clones and replays."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
