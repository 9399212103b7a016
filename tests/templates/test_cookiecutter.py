"""Plain cookiecutter, the kit not installed: from a folder, a git URL and an archive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.templates.conftest import REPO, TEMPLATES, render

# Without site-packages' .pth files, by which an editable kit could be imported; hooks get the same interpreter
DRIVER = """\
import sys
sys.path.append({packages!r})
try:
    import submit.errors
except ModuleNotFoundError:
    sys.modules.pop("submit", None)  # an editable kit leaves an empty folder of that name
else:
    sys.exit("the kit can be imported: this test tests nothing")
sys.executable = {interpreter!r}
from cookiecutter.cli import main
main(prog_name="cookiecutter")
"""


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the working tree as its one commit."""
    folder = tmp_path_factory.mktemp("clone") / "kit"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split("\0"):
        if name and (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, folder / name)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message=all"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return folder


def cookiecutter(home: Path, *words: str, answers: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the cookiecutter command in an empty folder beside `home`."""
    cwd = home.parent / "out"
    cwd.mkdir(exist_ok=True)
    interpreter = home / "python"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    interpreter.chmod(0o755)
    code = DRIVER.format(packages=sysconfig.get_path("purelib"), interpreter=str(interpreter))
    environment = {"HOME": str(home), "USER": "jane", "PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *words],
        cwd=cwd, env=environment, input=answers, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same_as_osgdl_new(home: Path, tmp_path: Path, template: str = "unet-segmentation") -> None:
    (made,) = (home.parent / "out").iterdir()
    assert files(made) == files(render(tmp_path / "reference", template))


@pytest.mark.parametrize(
    ("source", "template"),
    [
        *((source, "unet-segmentation") for source in ("folder", "relative folder", "git", "zip")),
        *((source, template) for source in ("directory", "git directory", "zip directory") for template in TEMPLATES),
    ],
)
def test_it_renders_from(source: str, template: str, clone: Path, home: Path, tmp_path: Path) -> None:
    words = [str(clone)]
    if source == "relative folder":
        words = [os.path.relpath(clone, home.parent / "out")]
    elif source.startswith("git"):
        words = [f"git+file://{clone}"]
    elif source.startswith("zip"):
        # as GitHub packs one: everything below one folder
        archive = shutil.make_archive(str(tmp_path / "main"), "zip", clone.parent, "kit")
        words = [archive]
    if source.endswith("directory"):
        words += ["--directory", f"templates/{template}"]
    done = cookiecutter(home, *words, "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    same_as_osgdl_new(home, tmp_path, template)


def test_answers_typed_at_the_prompts(clone: Path, home: Path) -> None:
    # the template, then the twelve questions
    typed = ["1", "{{ 7 * 7 }} $(id)", *[""] * 5, "2", "4", *[""] * 4]
    done = cookiecutter(home, str(clone), answers="\n".join(typed) + "\n")
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (home.parent / "out").iterdir()
    assert made.name == "7-7-id"
    record = json.loads((made / "osgdl.json").read_text())["answers"]
    assert record["project_name"] == "{{ 7 * 7 }} $(id)"
    assert (record["image_syntax"], record["gpus"]) == ("+SingularityImage", "4")


def test_a_bad_answer_is_one_line_and_leaves_nothing(clone: Path, home: Path) -> None:
    done = cookiecutter(home, str(clone), "--no-input", "gpus=many")
    assert done.returncode == 1
    assert done.stdout == "gpus='many': not such a number; want a whole number from 1 to 8. Write gpus=1 or more.\n"
    assert done.stderr == ""
    assert list((home.parent / "out").iterdir()) == []


def test_a_replay_is_checked_too(clone: Path, home: Path) -> None:
    template = str(clone / "templates" / "unet-segmentation")
    assert cookiecutter(home, template, "--no-input").returncode == 0
    out = home.parent / "out"
    shutil.rmtree(out)
    done = cookiecutter(home, template, "--replay")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "brain-tumour-segmentation" / "train.sub").is_file()
    shutil.rmtree(out)
    (replay,) = (home / ".cookiecutter_replay").iterdir()
    for name, value, message in (
        ("data", "a,b", "data='a,b': empty, or with characters that a submit file takes for its own; want"),
        (
            "project_name",
            "other",
            "__project_slug='brain-tumour-segmentation': not made from project_name; want other.",
        ),
    ):
        context = json.loads(replay.read_text())
        context["cookiecutter"][name] = value
        hostile = replay.with_name("hostile.json")
        hostile.write_text(json.dumps(context))
        done = cookiecutter(home, template, "--replay-file", str(hostile))
        assert done.returncode == 1
        assert done.stderr.startswith(message)
        assert list(out.iterdir()) == []
