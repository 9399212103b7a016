"""Small phantoms to train on for real, what is made of them once, and the sample of real patients where it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.unet_segmentation import caching, predicting, training
from unet_segmentation import cli, phantom

ROOT = Path(__file__).parents[2]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    # Keras 3.15 calls np.array() on TensorFlow 2.21 variables, whose __array__ lacks NumPy 2's copy argument
    config.addinivalue_line(
        "filterwarnings", "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
    )


@pytest.fixture(autouse=True)
def outside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_CONDOR_CHIRP_CONFIG", "_CONDOR_MACHINE_AD", "_CONDOR_JOB_AD", "_CONDOR_AssignedGPUs"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ with two patients and validation/ with one; never changed."""
    folder = tmp_path_factory.mktemp("phantoms")
    phantom.write(folder, {"train": 2, "validation": 1}, seed=1, size=(40, 48, 32))
    return folder


@pytest.fixture
def data(phantoms: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(phantoms, tmp_path / "data"))


@pytest.fixture(scope="session")
def trained(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a whole training leaves; never changed."""
    out = tmp_path_factory.mktemp("trained")
    assert cli.main(training.words(phantoms, out)) == 0
    return out


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answer is known; never changed."""
    return predicting.save(tmp_path_factory.mktemp("model") / "model.keras")


@pytest.fixture(scope="session")
def filled(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of both training patients; never changed."""
    folder = tmp_path_factory.mktemp("filled")
    caching.prepare(phantoms, folder)
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    """A copy of the cache to damage."""
    return Path(shutil.copytree(filled, tmp_path / "cache"))


@pytest.fixture(scope="session")
def brats2015() -> Path:
    folder = Path(os.environ.get("OSGDL_BRATS2015", ROOT.parent / "shared" / "brats2015"))
    if not folder.is_dir():
        pytest.skip(f"the sample of real patients is not at {folder} (OSGDL_BRATS2015)")
    return folder
