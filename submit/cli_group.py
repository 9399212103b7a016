"""Groups of commands one of which may be left out: `osgdl stage SOURCE DEST` is `osgdl stage put SOURCE DEST`."""

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
