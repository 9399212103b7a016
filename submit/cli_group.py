"""Groups of commands: one command that may be left out (`osgdl stage SOURCE DEST` is `osgdl stage put SOURCE DEST`),
and the order in which `--help` names them.
"""

from __future__ import annotations

import typer
from typer.core import TyperGroup


def with_default(command: str) -> type[TyperGroup]:
    """A group where a first word that is none of its commands belongs to `command`; what is called like a command can
    be written ./LIKE-IT.
    """

    class Group(TyperGroup):
        def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
            if args and args[0] not in self.commands and args[0] != "--help":
                args = [command, *args]
            return super().parse_args(ctx, args)

    return Group


class Journey(TyperGroup):
    """Names its commands in the order in which one needs them, whatever the order in which they were added."""

    ORDER = (
        *("demo", "new", "doctor", "check", "gpus", "match", "try", "migrate", "image", "stage"),
        *("submit", "watch", "explain", "report"),
        *("folds", "sweep", "ensemble", "chain", "scale", "pool"),
    )

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(self.commands, key=lambda name: self.ORDER.index(name) if name in self.ORDER else len(self.ORDER))
