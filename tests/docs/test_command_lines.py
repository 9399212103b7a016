"""Every command that a page names exists, with the options that it is given there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from submit import cli, cli_group, project
from tests.docs.commands import PAGES, ROOT, blocks, commands, inline
from unet_segmentation import cli as trainer

# of Debian, Python, HTCondor; whether HTCondor's are there is asked on the pool, in test_executed.py
OTHERS = {"cd", ".", "pip", "python3", "apptainer", "cookiecutter", "less", "ls", "tensorboard", "jupyter"}
TEMPLATES = sorted(file.parent.name for file in (ROOT / "templates").glob("*/cookiecutter.json"))
HTCONDOR = re.compile(r"condor_\w+$")


@cache
def osgdl() -> Any:
    return typer.main.get_command(cli.app)


def parsed(words: Sequence[str]) -> None:
    """Raises where `osgdl WORDS` is no command line: an unknown command, option, or a word too few or too many."""
    command: Any = osgdl()
    name, rest, context = "osgdl", list(words), None
    while True:
        context = command.make_context(name, rest, parent=context)
        if not hasattr(command, "commands"):
            return
        left = [*getattr(context, "_protected_args", ()), *context.args]
        name, command, rest = command.resolve_command(context, left)


def options(words: Sequence[str]) -> tuple[str, set[str]]:
    """The command that `words` begin with, and its options; its whole group's where they end at the group."""
    command: Any = osgdl()
    name = ["osgdl"]
    for word in words:
        if word.rstrip(",") not in getattr(command, "commands", {}):
            break
        name.append(word.rstrip(","))
        command = command.commands[name[-1]]
    leaves = getattr(command, "commands", {"": command}).values()
    known = {flag for leaf in leaves for one in leaf.params for flag in (*one.opts, *one.secondary_opts)}
    return " ".join(name), known | {"--help", "--debug"}


def each_is_known(page: Path) -> None:
    for block in blocks(page):
        for words in commands(block.text):
            known(words[4:] if words[:4] == ["osgdl", "pool", "exec", "--"] else words, f"{page.name}:{block.line}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_line_is_a_command_line(page: Path) -> None:
    each_is_known(page)


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_line_of_a_project_s_readme_is_one(template: str, tmp_path: Path) -> None:
    page = project.new(template, {}, tmp_path, ask=False) / "README.md"
    assert len(blocks(page)) > 3
    each_is_known(page)
    for span in inline(page):
        assert options(span.split()[1:])[0] != "osgdl", span


def known(words: Sequence[str], where: str) -> None:
    first, *rest = words
    line = f"{where}: {' '.join(words)}"
    if first == "osgdl":
        try:
            parsed(rest)
        except Exception as error:
            pytest.fail(f"{line}: {getattr(error, 'message', error)}")
    elif words[1:3] == ["-m", "unet_segmentation"]:
        trainer.program().parser.parse_args(words[3:])
    elif words[1:2] == ["-m"] and words[2].startswith("benchmarks."):
        assert importlib.util.find_spec(words[2]), line
    elif first == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert all(word in targets or "=" in word for word in rest), line
    else:
        assert first in OTHERS or HTCONDOR.match(first), f"{line}: no command that this test knows"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_text_names_is_there(page: Path) -> None:
    for span in inline(page):
        name, there = options(span.split()[1:])
        assert name != "osgdl", f"{page.name}: `{span}`: no such command"
        if name.endswith("exec"):
            continue
        flags = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", span))
        assert flags <= there, f"{page.name}: `{span}`: {name} has no {flags - there}"


def test_help_names_the_commands_in_the_order_of_a_journey() -> None:
    assert set(osgdl().commands) <= set(cli_group.Journey.ORDER)
    listed = osgdl().list_commands(None)
    assert listed[:2] == ["demo", "new"] and listed[-1] == "pool" and set(listed) == set(osgdl().commands)


def test_there_are_lines() -> None:
    """The tests above compare something."""
    lines = [words for page in PAGES for block in blocks(page) for words in commands(block.text)]
    assert len(lines) > 100 and sum(len(inline(page)) for page in PAGES) > 60


@pytest.mark.parametrize(
    "line",
    ["osgdl chek", "osgdl check --fixx", "osgdl stage a b c", "osgdl match --slots", "osgdl sweep results --best x"],
)
def test_a_wrong_line_is_noticed(line: str) -> None:
    with pytest.raises(pytest.fail.Exception):
        known(line.split(), "here")


def test_a_wrong_line_of_the_trainer_is_noticed() -> None:
    with pytest.raises(trainer.BadInput):
        known(["python", "-m", "unet_segmentation", "train", "--dta", "x", "--out", "y"], "here")
