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
from tests.templates.conftest import REPO, TEMPLATES, folder_of, label, matrix, questions, render, work_of
from unet_segmentation import config

pytestmark = pytest.mark.xdist_group("dry-run")  # beside test_dry_run.py: the matrix is rendered once
COMMON = {
    ".gitignore",
    "README.md",
    "container.def",
    "logs/.gitkeep",
    "osgdl.json",
    "results/.gitkeep",
    "run.sh",
}
OWN_FILES = {
    "unet-segmentation": {*COMMON, "config.toml", "train.sub", "evaluate.sub", "predict.sub"},
    "photon-propagation": {*COMMON, "config.toml", "propagate.sub", "merge.sub"},
    "training-job": {
        *COMMON,
        "train.py",
        "train.sub",
        *(f"job/{name}.py" for name in ("osgdl_arrays", "osgdl_job", "stripes")),
    },
}
JOB = {
    "unet-segmentation": ("unet_segmentation", "submit/runtime"),
    "photon-propagation": ("photon_propagation", "submit/runtime"),
    "training-job": ("submit/runtime",),
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def own_files(template: str, folder: Path) -> set[str]:
    """What the template itself writes."""
    answers = json.loads((folder / "osgdl.json").read_text())["answers"]
    helper = {f"job/osgdl_{answers['framework']}.py"} if template == "training-job" else set()
    ice = {f"ice/{answers['ice']}.txt"} if template == "photon-propagation" else set()
    return OWN_FILES[template] | helper | ice


def job_files(template: str) -> set[str]:
    """What job/ takes from the kit: the runtime, nothing else of submit/, and the template's program."""
    taken = {path for package in JOB[template] for path in (REPO / package).rglob("*")}
    taken.add(REPO / "submit" / "__init__.py")
    return {f"job/{path.relative_to(REPO)}" for path in taken if path.is_file() and "__pycache__" not in path.parts}


def test_exactly_these_files(template: str, rendered: list[tuple[dict[str, str], Path]]) -> None:
    for _, folder in rendered:
        assert set(files(folder)) == own_files(template, folder) | job_files(template)


def test_the_job_is_what_the_kit_has(template: str, plain_project: Path) -> None:
    for name in job_files(template):
        assert (plain_project / name).read_bytes() == (REPO / name.removeprefix("job/")).read_bytes()


def test_no_jinja_is_left_and_lines_end_as_on_linux(template: str, rendered: list[tuple[dict[str, str], Path]]) -> None:
    for _, folder in rendered:
        for name in own_files(template, folder):
            content = (folder / name).read_text(encoding="utf-8")
            assert not re.search(r"\{\{|\}\}|\{%|%\}|cookiecutter", content), (folder, name)
            assert "\r" not in content
            assert not content or (content.endswith("\n") and not content.startswith("\n")), name
            assert not re.search(r"[ \t]$", content, re.MULTILINE), name
            assert name.endswith(".py") or "\n\n\n" not in content, name


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


def test_ruff_finds_nothing(rendered: list[tuple[dict[str, str], Path]]) -> None:
    """By the kit's own rules; the runtime keeps spellings that Python 3.9 reads, as it does in the kit."""
    by_framework = {given.get("framework"): folder for given, folder in rendered}
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", REPO / "pyproject.toml"]
    older = ["--extend-per-file-ignores", "job/submit/runtime/*.py:UP", "--config", 'src = ["job"]']
    for folder in by_framework.values():
        done = subprocess.run([*command, *older, "."], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_same_answers_make_the_same_bytes(template: str, plain_project: Path, tmp_path: Path) -> None:
    assert files(render(tmp_path, template)) == files(plain_project)


def test_the_record_of_answers(template: str, rendered: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in rendered:
        record = json.loads((folder / "osgdl.json").read_text())
        assert record["template"] == template
        assert record["kit_version"] == rendering.version()
        assert set(record["answers"]) == {name for name in questions(template) if not name.startswith("_")}
        assert {name: record["answers"][name] for name in given} == given


def test_the_trainer_reads_the_configuration(tmp_path: Path) -> None:
    settings = config.load(render(tmp_path, epochs="7") / "config.toml")
    assert settings.train.epochs == 7
    assert settings.checkpoint.folder == "checkpoint"
    assert settings.checkpoint.leave_every_minutes > 0, "the lines for exit code 85 are live from the start"


def test_one_image_command_with_its_guard(rendered: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in rendered:
        for file in folder.glob("*.sub"):
            submit = htcondor2.Submit(file.read_text())
            expected = images.lines(images.parse(given["image"]), given["image_syntax"])
            found = {command: submit.get(command) for command in ("container_image", "MY.SingularityImage")}
            assert [value for value in found.values() if value] == [expected.value], label(given)
            assert submit.expand("requirements").startswith(expected.guard + " && ")


def test_comments_stand_on_lines_of_their_own_and_every_size_has_a_unit(plain_project: Path) -> None:
    for line in [line for file in plain_project.glob("*.sub") for line in file.read_text().splitlines()]:
        if not line.startswith("#"):
            assert "#" not in line
        if re.match(r"(retry_)?request_(memory|disk)|gpus_minimum_memory", line):
            assert re.search(r"= [0-9]+(MB|GB)$", line)


def test_a_docker_image_is_warned_of(template: str, rendered: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in rendered:
        text = (folder / f"{work_of(template)}.sub").read_text()
        warned = "# WARNING: every machine pulls a docker:// image" in text
        assert warned == given["image"].startswith("docker://")


def test_the_definition_pins_what_the_row_says(template: str, rendered: list[tuple[dict[str, str], Path]]) -> None:
    for given, folder in rendered:
        row = images.answered(template)[given.get("framework", "opencl")]
        recipe = (folder / "container.def").read_text()
        assert f"\nFrom: {row.base}\n" in recipe
        assert re.findall(r"^ +([\w-]+==[\w.]+)", recipe, re.MULTILINE) == [*row.packages, *row.cuda_packages]


def test_readme_names_only_files_that_are_there(template: str, plain_project: Path) -> None:
    named = re.findall(r"`([\w/]+\.(?:sub|toml|json|def|md|py))`", (plain_project / "README.md").read_text())
    assert {f"{work_of(template)}.sub", "container.def", "osgdl.json"} <= set(named)
    for name in named:
        assert (plain_project / name).is_file()


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_questions(template: str) -> None:
    asked = questions(template)
    public = {name: default for name, default in asked.items() if not name.startswith("_")}
    assert len(public) <= 12
    assert set(asked["__prompts__"]) == set(public)
    # one that has a single image does not ask for its framework
    assert public.get("framework", [asked.get("_framework")]) == list(images.answered(template))
    assert public["image_syntax"] == list(images.SYNTAXES)
    for name, choices in answers.CHOICES.items():
        assert public.get(name, list(choices)) == list(choices)
    for name, default in public.items():
        if isinstance(default, list):
            assert set(asked["__prompts__"][name]) == {"__prompt__", *default}
        assert public == project.questions(template)


def test_an_answer_means_the_same_image_in_every_template() -> None:
    meant = [(answer, row.framework) for row in images.offered().values() for answer in row.answers.values()]
    assert len({answer for answer, _ in meant}) == len(set(meant))


def test_what_templates_cannot_share_is_the_same() -> None:
    """cookiecutter looks for the extension in the template's own folder."""
    assert len({(folder_of(template) / "local_extensions.py").read_bytes() for template in TEMPLATES}) == 1


def test_the_root_lists_every_template() -> None:
    listed = json.loads((REPO / "cookiecutter.json").read_text())["templates"]
    assert {entry["path"] for entry in listed.values()} == {
        f"./templates/{file.parent.name}" for file in (REPO / "templates").glob("*/cookiecutter.json")
    }
    assert set(project.templates()) == set(listed) == set(TEMPLATES)


def test_the_matrix_is_whole() -> None:
    images_and_syntaxes = 3 * 4 - 1
    counts = {template: len(list(matrix(template))) for template in TEMPLATES}
    wanted = {"unet-segmentation": 2 * 2, "training-job": 3 * 2, "photon-propagation": 1}
    assert counts == {template: times * images_and_syntaxes for template, times in wanted.items()}
