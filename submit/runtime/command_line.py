"""The frame of a program's command line: commands that share options, errors in one line, the exit codes of a job."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Callable, NoReturn, Optional

from submit.runtime import exit_codes
from submit.runtime.exit_codes import BadInput


class _Parser(argparse.ArgumentParser):
    """A wrong command line is wrong input (65), not argparse's 2, which would be tried three times."""

    def error(self, message: str) -> NoReturn:
        raise BadInput("command line", message, self.format_usage().strip(), f"{self.prog} --help")


class Program:
    """A program of several commands. `examples` follows the list of commands in `--help`."""

    def __init__(self, prog: str, description: str, examples: str) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        self.parser = _Parser(prog=prog, description=description, epilog=examples, formatter_class=raw)
        self.parser.add_argument("--debug", action="store_true", help="show tracebacks")
        self._commands = self.parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(self, name: str, about: str, run: Callable[[argparse.Namespace], Any]) -> argparse.ArgumentParser:
        """One more command, which calls `run`; the parser of its options."""
        sub = self._commands.add_parser(name, help=about, description=about)
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
        sub.set_defaults(run=run)
        return sub


def main(program: Callable[[], Program], arguments: Optional[Sequence[str]] = None) -> int:
    """Runs a command of the program; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)

    def dispatch() -> None:
        options = program().parser.parse_args(words)
        options.run(options)

    return exit_codes.run(dispatch, debug="--debug" in words)
