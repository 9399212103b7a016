"""What happens while cookiecutter renders a template: called by its Jinja extension and its hooks, with the kit
installed or not.

Runs on the access point's Python 3.9 with the standard library and what cookiecutter brings. Answers arrive as data,
never as code.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from submit import gpus, images
from submit.answers import check, login, slug, submit_string
from submit.compatibility import Bounds
from submit.errors import AnswerError, KitError, wrong
from submit.images import ImageLines, OfferedImage
from submit.runtime.files import write_json

__all__ = [
    "ROOT",
    "after",
    "answers",
    "before",
    "bounds",
    "checked_slug",
    "gpu_request",
    "image",
    "image_lines",
    "login",
    "submit_string",
    "templates_root",
    "version",
]

ROOT = Path(__file__).resolve().parents[1]  # holds submit/ and unet_segmentation/: a clone, or site-packages
RECORD = "osgdl.json"
LEAST_GPU_MEMORY = "2GB"  # where no question asks


def templates_root() -> Path:
    """The folder with cookiecutter.json and templates/: the clone's root, or inside the installed package."""
    packaged = ROOT / "submit"
    return packaged if (packaged / "cookiecutter.json").is_file() else ROOT


def answers(cookiecutter: Mapping[str, object]) -> dict[str, object]:
    """The user's answers out of cookiecutter's context, which also holds private variables."""
    return {name: value for name, value in cookiecutter.items() if not name.startswith("_")}


def checked_slug(template: str, cookiecutter: Mapping[str, object]) -> str:
    """The project's folder name, from answers that have been checked.

    Raises:
        FailedHookException: an answer cannot be used; cookiecutter prints the text and ends before it has written
            anything.
    """
    from cookiecutter.exceptions import FailedHookException

    try:
        check(template, answers(cookiecutter))
    except KitError as error:
        raise FailedHookException(str(error)) from error
    return slug(str(cookiecutter["project_name"]))


def image(cookiecutter: Mapping[str, str]) -> OfferedImage:
    """The row of data/images.toml that was chosen."""
    # means the same in every template; one that has a single image does not ask
    answer = cookiecutter.get("framework") or cookiecutter["_framework"]
    return next(row for row in images.offered().values() if answer in row.answers.values())


def image_lines(cookiecutter: Mapping[str, str]) -> ImageLines:
    """The submit command for the image that was named, and its guard."""
    return images.lines(images.parse(cookiecutter["image"]), cookiecutter["image_syntax"])


def bounds(cookiecutter: Mapping[str, str]) -> Bounds:
    """What the image's software needs of a GPU."""
    return gpus.bounds(image(cookiecutter))


def gpu_request(cookiecutter: Mapping[str, str]) -> gpus.GpuRequest:
    """The GPUs and the host's resources that go with them."""
    row = image(cookiecutter)
    # without CUDA's libraries it is small
    on_disk = images.parse(cookiecutter["image"]).kind != "cvmfs" and bool(row.cuda_packages)
    return gpus.request(row, int(cookiecutter["gpus"]), cookiecutter.get("gpu_memory", LEAST_GPU_MEMORY), on_disk)


def version() -> str:
    """The kit's version: from pyproject.toml in a clone, from its metadata where it is installed."""
    project = ROOT / "pyproject.toml"
    if project.is_file():
        match = re.search(
            r'^name = "osg-dl-kit"\nversion = "([^"]+)"$', project.read_text(encoding="utf-8"), re.MULTILINE
        )
        if match:
            return match.group(1)
    installed = next(iter(metadata.distributions(name="osg-dl-kit", path=[str(ROOT)])))
    return str(installed.metadata["Version"])


def before(template: str, given: Mapping[str, object], folder: str) -> int:
    """The pre_gen hook: 0 to go on; 1 after one line on stderr about an answer that cannot be used."""
    try:
        check(template, given)
        if folder != slug(str(given["project_name"])):
            raise AnswerError(
                wrong(
                    "__project_slug",
                    folder,
                    "not made from project_name",
                    f"want {slug(str(given['project_name']))}",
                    "Leave it out",
                )
            )
    except KitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def after(
    template: str,
    given: Mapping[str, object],
    program: str = "",
    copies: Mapping[str, str] = MappingProxyType({}),
    project: Path = Path(),
) -> None:
    """The post_gen hook, run in the rendered `project`: adds the code the job takes along, with the kit's package
    `program` (the U-Net's trainer, the propagator) where there is one, and the record that lets a later kit update it.

    Args:
        copies: further files of the kit by their names in the project.
    """
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    copyfile = (
        shutil.copyfile
    )  # not copy2: the copies are the project's own, whatever mode and time the kit's files have
    job = project / "job"
    if program:
        shutil.copytree(ROOT / program, job / program, ignore=ignore, copy_function=copyfile)
    shutil.copytree(ROOT / "submit" / "runtime", job / "submit" / "runtime", ignore=ignore, copy_function=copyfile)
    copyfile(ROOT / "submit" / "__init__.py", job / "submit" / "__init__.py")
    for name, source in copies.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        copyfile(ROOT / source, project / name)
    write_json(project / RECORD, {"kit_version": version(), "template": template, "answers": dict(given)})
