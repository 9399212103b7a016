"""Writes docs/commands.md from what `--help` reads, of osgdl and of the trainer: python -m tools.commands_page."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from submit import cli
from unet_segmentation import cli as trainer

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
_HEAD = """<!-- Written by `make data` from each command's --help: edit it there. -->

# Commands

What `--help` says, on one page. Every `osgdl` command takes `--debug`, for the traceback of a mistake; those with
`--json` print the same for programs. Results go to standard output, commentary to standard error.
"""
_TRAINER = "## The trainer\n\nIn the image, or with `pip install '.[train]'`. In a project it lies in `job/`."


def page() -> str:
    """The whole page: a heading for each command."""
    groups = [*_osgdl(typer.main.get_command(cli.app), "osgdl"), _TRAINER, *_trainer()]
    return "\n\n".join([_HEAD.rstrip(), *groups]) + "\n"


def _osgdl(command: Any, name: str) -> Iterator[str]:
    if subcommands := getattr(command, "commands", None):
        for word in command.list_commands(None):
            yield from _osgdl(subcommands[word], f"{name} {word}")
        return
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    arguments = [one for one in shown if not one.opts[0].startswith("-")]
    words = [one.metavar or one.name.upper() for one in arguments]
    rows = [(word, one.help) for word, one in zip(words, arguments, strict=True) if one.help]
    rows += [(_option(one), one.help) for one in shown if one not in arguments]
    yield _section(name, words, command.help, rows)


def _option(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    longest = max(option.opts, key=len).lstrip("-")
    return names if option.is_flag else f"{names} {option.metavar or longest.upper()}"


def _trainer() -> Iterator[str]:
    (commands,) = (one for one in trainer.program().parser._actions if isinstance(one, argparse._SubParsersAction))
    for word, parser in commands.choices.items():
        # argparse's own wording of a default: %(default)s
        rows = [
            (", ".join(one.option_strings) + _value(one), (one.help or "") % {**vars(one), "prog": parser.prog})
            for one in parser._actions
            if one.dest not in ("help", "debug")
        ]
        yield _section(f"python -m unet_segmentation {word}", [], parser.description or "", rows)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return f" {metavar}"


def _section(name: str, words: list[str], text: str, rows: list[tuple[str, str | None]]) -> str:
    about, _, examples = re.sub(r"[ \t]*\n(?!\n)[ \t]*", "\n", text).partition("\nExample")
    parts = [f"## {name}", _prose(about)]
    if examples:
        parts.append("```\n" + "\n".join(_lines(examples)) + "\n```")
    if words or rows:
        usage = f"`{_cell(' '.join([name.split()[-1], *words]))}`" if words else ""
        table = [f"| {usage} | |", "|---|---|"]
        table += [f"| `{_cell(left)}` | {_cell(_prose(right or ''))} |" for left, right in rows]
        parts.append("\n".join(table))
    return "\n\n".join(parts)


def _prose(text: str) -> str:
    """Plain text as Markdown: what stands outside backticks is nothing but text."""
    pieces = text.strip().split("`")
    pieces[::2] = [re.sub(r"([*<\[\]\\])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _lines(examples: str) -> list[str]:
    """The commands after `Example:` or `Examples:`, one below the other or parted by semicolons."""
    text = examples.partition(":")[2].strip()
    return [line.strip().rstrip(".") for line in re.split(r"\n|; (?=osgdl )", text) if line.strip()]


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print("docs/commands.md")


if __name__ == "__main__":
    main()
