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
# the submit files of each, to be run through condor_submit with nothing but `data` given; its own work first
SUBMIT_FILES = {
    "unet-segmentation": ("train", "predict"),
    "training-job": ("train",),
    "photon-propagation": ("propagate", "merge"),
}
TEMPLATES = tuple(SUBMIT_FILES)
IMAGES = {
    "cvmfs": "/cvmfs/singularity.opensciencegrid.org/osg-dl-kit/unet-segmentation:tf2.21",
    "sif": "unet.sif",
    "osdf": "osdf:///ospool/ap40/data/jane/unet-3f9a.sif",
    "docker": "docker://tensorflow/tensorflow:2.21.0",
}
DATA = ("data", "sets/my data.zip", "/data/brats", "osdf:///ospool/ap40/data/jane/brats-v1.tar.gz")


def work_of(template: str) -> str:
    """The submit file of a template's own work, without its suffix."""
    return SUBMIT_FILES[template][0]


def folder_of(template: str) -> Path:
    return REPO / "templates" / template


def questions(template: str) -> dict[str, Any]:
    """cookiecutter.json of a template."""
    read: dict[str, Any] = json.loads((folder_of(template) / "cookiecutter.json").read_text(encoding="utf-8"))
    return read


def matrix(template: str) -> Iterator[dict[str, str]]:
    """Every combination of the answers that decide on a line together; the others are turned through."""
    asked = {name: default for name, default in questions(template).items() if not name.startswith("_")}
    together = ("framework", "image_syntax", "job_duration")
    choices = {name: asked[name] for name in together if name in asked}
    turned = {"data": cycle(DATA), "gpus": cycle(["1", "2", "8"])}
    turned |= {name: cycle(asked[name]) for name in asked if isinstance(asked[name], list) and name not in together}
    for *chosen, kind in product(*choices.values(), IMAGES):
        given = dict(zip(choices, chosen, strict=True))
        if kind == "sif" and given["image_syntax"] == "+SingularityImage":
            continue  # refused: tests/submit/test_images.py
        rest = {name: next(values) for name, values in turned.items() if name in asked}
        yield {**given, "image": IMAGES[kind], **rest}


def label(answers: dict[str, str]) -> str:
    kind = next(kind for kind, reference in IMAGES.items() if reference == answers["image"])
    chosen = (answers.get(name) for name in ("framework", "image_syntax", "job_duration"))
    return "-".join([kind, *filter(None, chosen)])


def render(folder: Path, template: str = "unet-segmentation", **answers: str) -> Path:
    """A project in `folder`, under an answered user name so that it is the same on every machine."""
    return project.new(template, {"username": "jane", **answers}, folder, ask=False)


@pytest.fixture(scope="session", params=TEMPLATES)
def template(request: pytest.FixtureRequest) -> str:
    """Each template in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def rendered(template: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, str], Path]]:
    """The whole matrix of a template: the answers, and the project made from them."""
    folder = tmp_path_factory.mktemp("matrix")
    given = enumerate(matrix(template))
    return [(answers, render(folder / str(number), template, **answers)) for number, answers in given]


@pytest.fixture(scope="session")
def plain_project(template: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that nothing but Enter makes. Not to be changed."""
    return render(tmp_path_factory.mktemp("plain"), template)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where cookiecutter keeps clones and replays."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
