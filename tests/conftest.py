"""Tiers by what they need: what is missing skips with a reason, or fails where --require-pool says that it must be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
SAMPLE = Path(os.environ.get("OSGDL_BRATS2015", REPO.parent / "shared" / "brats2015"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-pool", action="store_true", help="a pool that cannot start is a failure, not a skip")
    parser.addoption("--soak", action="store_true", help="the full count of every counted trial")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    # known without pytest-xdist too
    config.addinivalue_line("markers", "xdist_group(name): run one after the other on one worker")
    config.addinivalue_line("markers", "pool: needs the local HTCondor pool")


@pytest.fixture(scope="session", autouse=True)
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the developer's HOME leaks in; the pool's cache alone stays where it is, keyed by its recipe."""
    patch = pytest.MonkeyPatch()
    from submit import pool_root

    patch.setenv("OSGDL_CACHE", str(pool_root.cache()))
    patch.setenv("OSGDL_POOL", os.environ.get("OSGDL_TEST_POOL", "tests"))
    patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "COOKIECUTTER_CONFIG"):
        patch.delenv(name, raising=False)
    yield
    patch.undo()


class Condor:
    """The tests' own pool: commands run in it as its ordinary user."""

    def run(self, command: list[str], cwd: Path, *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        from submit import pool

        return pool.run(command, cwd=Path(cwd), timeout=timeout)


@pytest.fixture(scope="session")
def condor(request: pytest.FixtureRequest, sealed: None) -> Iterator[Condor]:
    """A running pool; the session that started it ends it."""
    from submit import pool
    from submit.errors import KitError

    was_up = pool.init_pid() is not None
    try:
        pool.up()
    except KitError as error:
        if request.config.getoption("--require-pool"):
            pytest.fail(f"the local pool cannot start: {error}", pytrace=False)
        pytest.skip(f"no local pool: {error}")
    yield Condor()
    if not was_up:
        pool.down()


@pytest.fixture(scope="session")
def brats2015() -> Path:
    """The four real patients, where they are."""
    if not (SAMPLE / "train").is_dir():
        pytest.skip(f"the four BRATS 2015 patients are not at {SAMPLE} (set OSGDL_BRATS2015)")
    return SAMPLE
