"""A data set to stage, a folder to stage it to, and a cache of the test's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from submit import project
from tests.submit.dataset_maker import patients


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What staging remembers; the session's would be the person's own."""
    monkeypatch.setenv("OSGDL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return patients(tmp_path / "brats")


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "origin"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as it was rendered; not to be changed."""
    given = {"username": "jane", "ospool_project": "BrainTumours"}
    return project.new("unet-segmentation", given, tmp_path_factory.mktemp("made"), ask=False)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it; its image is on CVMFS."""
    return Path(shutil.copytree(made, tmp_path / "project"))
