"""Every project of the matrix: what is in it, and that the tools of its languages find nothing wrong."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import htcondor2
import pytest

from submit import answers, images, project, rendering
from tests.templates.conftest import QUESTIONS, REPO, TEMPLATE, label, matrix, render
from unet_segmentation import config

OWN_FILES = {
    ".gitignore",
    "README.md",
    "config.toml",
    "container.def",
    "evaluate.sub",
    "logs/.gitkeep",
    "osgdl.json",
    "predict.sub",
    "results/.gitkeep",
    "run.sh",
    "train.sub",
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def job_files() -> set[str]:
    """What job/ takes from the kit: the trainer and the runtime, nothing else of submit/."""
    taken = {path for package in ("unet_segmentation", "submit/runtime") for path in (REPO / package).rglob("*")}
    taken.add(REPO / "submit" / "__init__.py")
    return {f"job/{path.relative_to(REPO)}" for path in taken if path.is_file() and "__pycache__" not in path.parts}


def test_exactly_these_files(rendered: list[tuple[dict[str, str], Path]]) -> None:
    expected = OWN_FILES | job_files()
    for _, folder in rendered:
        assert set(files(folder)) == expected


def test_the_job_is_what_the_kit_has(plain_project: Path) -> None:
    for name in job_files():
        assert (plain_project / name).read_bytes() == (REPO / name.removeprefix("job/")).read_bytes()


def test_no_jinja_is_left_and_lines_end_as_on_linux(rendered: list[tuple[dict[str, str], Path]]) -> None:
    for _, folder in rendered:
        for name in OWN_FILES:
            content = (folder / name).read_text(encoding="utf-8")
            assert not re.search(r"\{\{|\}\}|\{%|%\}|cookiecutter", content), (folder, name)
            assert "\r" not in content
            assert not content or (content.endswith("\n") and not content.startswith("\n")), name
            assert not re.search(r"[ \t]$", content, re.MULTILINE), name
            assert "\n\n\n" not in content, name


def test_run_sh_may_be_run(rendered: list[tuple[dict[str, str], Path]]) -> None:
    for _, folder in rendered:
        assert stat.S_IMODE((folder / "run.sh").stat().st_mode) & 0o111 == 0o111


def test_shellcheck_finds_nothing(rendered: list[tuple[dict[str, str], Path]]) -> None:
    scripts = {(folder / "run.sh").read_bytes(): folder / "run.sh" for _, folder in rendered}
    for script in scripts.values():
        try:
            done = subprocess.run(["shellcheck", script], capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("shellcheck is not installed")
        assert done.returncode == 0, done.stdout


def test_ruff_finds_nothing(plain_project: Path) -> None:
    """By the kit's own rules; the runtime keeps spellings that Python 3.9 reads, as it does in the kit."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", REPO / "pyproject.toml"]
    older = ["--extend-per-file-ignores", "job/submit/runtime/*.py:UP", "--config", 'src = ["job"]']
    done = subprocess.run([*command, *older, "."], cwd=plain_project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_same_answers_make_the_same_bytes(plain_project: Path, tmp_path: Path) -> None:
    assert files(render(tmp_path)) == files(plain_project)


def test_the_record_of_answers(rendered: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in rendered:
        record = json.loads((folder / "osgdl.json").read_text())
        assert record["template"] == "unet-segmentation"
        assert record["kit_version"] == rendering.version()
        assert set(record["answers"]) == {name for name in QUESTIONS if not name.startswith("_")}
        assert {name: record["answers"][name] for name in given} == given


def test_the_trainer_reads_the_configuration(tmp_path: Path) -> None:
    settings = config.load(render(tmp_path, epochs="7") / "config.toml")
    assert settings.train.epochs == 7
    assert settings.checkpoint.folder == "checkpoint"
    assert settings.checkpoint.leave_every_minutes > 0, "the lines for exit code 85 are live from the start"


@pytest.mark.parametrize("name", ["train.sub", "predict.sub", "evaluate.sub"])
def test_one_image_command_with_its_guard(rendered: list[tuple[dict[str, str], Path]], name: str) -> None:
    for given, folder in rendered:
        submit = htcondor2.Submit((folder / name).read_text())
        expected = images.lines(images.parse(given["image"]), given["image_syntax"])
        found = {command: submit.get(command) for command in ("container_image", "MY.SingularityImage")}
        assert [value for value in found.values() if value] == [expected.value], label(given)
        assert submit.expand("requirements").startswith(expected.guard + " && ")


@pytest.mark.parametrize("name", ["train.sub", "predict.sub", "evaluate.sub"])
def test_comments_stand_on_lines_of_their_own_and_every_size_has_a_unit(plain_project: Path, name: str) -> None:
    for line in (plain_project / name).read_text().splitlines():
        if not line.startswith("#"):
            assert "#" not in line
        if re.match(r"(retry_)?request_(memory|disk)|gpus_minimum_memory", line):
            assert re.search(r"= [0-9]+(MB|GB)$", line)


def test_a_docker_image_is_warned_of(rendered: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in rendered:
        warned = "# WARNING: every machine pulls a docker:// image" in (folder / "train.sub").read_text()
        assert warned == given["image"].startswith("docker://")


def test_the_definition_pins_what_the_row_says(rendered: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in rendered:
        row = images.offered()[given["framework"]]
        recipe = (folder / "container.def").read_text()
        assert f"\nFrom: {row.base}\n" in recipe
        assert re.findall(r"^ +([\w-]+==[\w.]+)", recipe, re.MULTILINE) == [*row.packages, *row.cuda_packages]


def test_readme_names_only_files_that_are_there(plain_project: Path) -> None:
    named = re.findall(r"`([\w/]+\.(?:sub|toml|json|def|md))`", (plain_project / "README.md").read_text())
    assert {"train.sub", "predict.sub", "config.toml", "container.def", "osgdl.json"} <= set(named)
    for name in named:
        assert (plain_project / name).is_file()


def test_the_questions() -> None:
    public = {name: default for name, default in QUESTIONS.items() if not name.startswith("_")}
    assert len(public) <= 12
    assert set(QUESTIONS["__prompts__"]) == set(public)
    assert public["framework"] == list(images.offered())
    assert public["image_syntax"] == list(images.SYNTAXES)
    assert public["job_duration"] == list(answers.JOB_DURATIONS)
    for name, default in public.items():
        if isinstance(default, list):
            assert set(QUESTIONS["__prompts__"][name]) == {"__prompt__", *default}
        assert public == project.questions("unet-segmentation")


def test_the_root_lists_every_template() -> None:
    listed = json.loads((REPO / "cookiecutter.json").read_text())["templates"]
    assert {entry["path"] for entry in listed.values()} == {
        f"./templates/{folder.name}" for folder in TEMPLATE.parent.iterdir() if folder.is_dir()
    }
    assert set(project.templates()) == set(listed)


def test_the_matrix_is_whole() -> None:
    assert len(list(matrix())) == 2 * 2 * (3 * 4 - 1)
