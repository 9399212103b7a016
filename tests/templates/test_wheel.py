"""The built wheel, unpacked beside nothing else of ours, offers the same templates."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.templates.conftest import REPO, TEMPLATES, render
from tests.templates.test_cookiecutter import cookiecutter, same_as_osgdl_new

pytestmark = pytest.mark.slow

DRIVER = """\
import sys
sys.path[:0] = [{site!r}]
sys.path.append({packages!r})
from pathlib import Path
from submit import project, rendering
assert Path(project.__file__).is_relative_to({site!r}), project.__file__
print(project.new({template!r}, {{"username": "jane"}}, Path({out!r}), ask=False))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    if "No module named hatchling" in done.stderr:
        pytest.skip("hatchling is not installed")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_the_templates_and_no_caches(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    template = "submit/templates/unet-segmentation"
    for name in ("cookiecutter.json", "data/images.json", "runtime/exit_codes.py"):
        assert f"submit/{name}" in names
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "templates"],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert {f"submit/{name}" for name in tracked} <= names
    assert f"{template}/local_extensions.py" in names
    assert not [name for name in names if "__pycache__" in name]


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site-packages with the wheel in it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as packed:
        for member in packed.infolist():
            # as pip does: a file's mode is in the archive
            path = Path(packed.extract(member, folder))
            path.chmod(member.external_attr >> 16 & 0o777 or 0o644)
    return folder


def test_plain_cookiecutter_finds_the_kit_around_the_template(site: Path, home: Path, tmp_path: Path) -> None:
    done = cookiecutter(home, str(site / "submit"), "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    same_as_osgdl_new(home, tmp_path)


@pytest.mark.parametrize("template", TEMPLATES)
def test_it_renders_the_same_project(template: str, site: Path, tmp_path: Path) -> None:
    packages, out = sysconfig.get_path("purelib"), str(tmp_path / "out")
    code = DRIVER.format(site=str(site), packages=packages, out=out, template=template)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made, reference = Path(done.stdout.strip()), render(tmp_path / "reference", template)
    listed = [path.relative_to(reference) for path in reference.rglob("*") if path.is_file()]
    assert sorted(listed) == sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    for name in listed:
        assert (made / name).read_bytes() == (reference / name).read_bytes(), name
        assert (made / name).stat().st_mode == (reference / name).stat().st_mode, name
