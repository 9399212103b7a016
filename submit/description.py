"""A submit description file as lines: reads commands, changes them in place, keeps everything else byte for byte.

How HTCondor reads such a file (condor_utils, `getline_implementation` and `Parse_macros`; tests compare with
`htcondor2.Submit`):
- a command is `name = value`, its name without regard to case; `+Name` and `MY.Name` are the same;
- a line that ends in a backslash goes on in the next one, whose blanks at the front are dropped; a comment line ends
  only itself, but one inside a continued command goes on only where it ends in a backslash too;
- `name @=tag` takes the lines up to `@tag` as its value;
- of two assignments before the first `queue` the later one counts;
- `if ! defined NAME` ... `endif` gives what the command line (`condor_submit FILE NAME=...`) may give otherwise. What
  stands in such a block, with no other `if` or `else` in it, is read and changed like any line; what depends on another
  condition is for a person.
There are no comments at the end of a line: `a = 1 # one` sets `a` to `1 # one`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from submit.errors import KitError
from submit.runtime.files import write_atomic

_ASSIGNMENT = re.compile(r"([ \t]*)(\+?[A-Za-z0-9_.]+)([ \t]*=[ \t]*)(.*)", re.ASCII | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"[ \t]*([A-Za-z0-9_.]+)[ \t]+@=[ \t]*(\S*)\s*$", re.ASCII)
_QUEUE = re.compile(r"[ \t]*queue(?![A-Za-z0-9_.])", re.IGNORECASE | re.ASCII)
_OPENS = re.compile(r"[ \t]*if\b", re.IGNORECASE | re.ASCII)
_TURNS = re.compile(r"[ \t]*(?:else|elif)\b", re.IGNORECASE | re.ASCII)
_CLOSES = re.compile(r"[ \t]*endif\b", re.IGNORECASE | re.ASCII)
# `defined true` asks nothing, and what HTCondor defines itself (`defined Cluster`) nobody writes
_UNLESS = re.compile(
    r"[ \t]*if[ \t]+![ \t]*defined[ \t]+(?!(?:true|false|yes|no|[tfyn])[ \t\r]*$)([A-Za-z_][A-Za-z0-9_.]*)[ \t\r]*$",
    re.IGNORECASE | re.ASCII,
)
_BLANK = " \t\r\n\f\v"


@dataclass(frozen=True)
class Command:
    """One assignment: its name as written, its value with continued lines joined, and the lines `first` to `last` it
    takes (from 1). `conditional`: it stands in an `if`; `unless`: in one that asks whether this name is undefined, and
    nothing else.
    """

    name: str
    value: str
    first: int
    last: int
    conditional: bool
    unless: str = ""


def key(name: str) -> str:
    """What HTCondor compares: `+SingularityImage` -> `my.singularityimage`."""
    lower = name.lower()
    return f"my.{lower[1:]}" if lower.startswith("+") else lower


def _unsure(commands: list[Command], start: int) -> list[Command]:
    """From `start` on, what depends on a condition that nobody here understands."""
    return [*commands[:start], *(replace(command, unless="") for command in commands[start:])]


MOST_BYTES = 64_000_000  # a list of a million jobs in the file itself has fewer
_HEAD = 4096
_BINARY = re.compile(rb"\0{8}")


class Description:
    """The text of a submit file.

    Example:
        description = Description.read(Path("train.sub"))
        description.set("request_gpus", "2")
        description.write()
    """

    def __init__(self, text: str, path: Path = Path("submit file")) -> None:
        self.path = path
        self._lines = text.split("\n")  # not splitlines(): a value may hold a form feed or U+2028

    @classmethod
    def read(cls, path: Path) -> Description:
        """The file at `path`; bytes that are not UTF-8 survive. KitError when it is unreadable or no text."""
        try:
            with path.open("rb") as file:
                held = file.read(MOST_BYTES + 1)
            if len(held) > MOST_BYTES or _BINARY.search(held[:_HEAD]):
                raise KitError(
                    f"{path}: {path.stat().st_size:,} bytes that are no submit file's; text is wanted. "
                    "Name one, such as train.sub."
                )
            return cls(held.decode("utf-8", "surrogateescape"), path)
        except OSError as fault:
            raise KitError(
                f"{path}: {fault.strerror}; want a submit file. Name one that is there, such as train.sub."
            ) from None

    def write(self) -> None:
        """Replaces the file in one step; its permissions stay, and a link stays a link."""
        target = self.path.resolve()
        mode = target.stat().st_mode
        write_atomic(target, self.text.encode("utf-8", "surrogateescape"))
        target.chmod(mode)

    @property
    def text(self) -> str:
        """The whole file; what was read, unless something was set."""
        return "\n".join(self._lines)

    def commands(self) -> list[Command]:
        """The assignments before the first `queue`, in the order of the file."""
        return self._scan()[0]

    def queue_line(self) -> int:
        """The line (from 1) of the first `queue`, or where one would stand."""
        return min(self._scan()[1] + 1, len(self._lines))

    def get(self, name: str) -> str | None:
        """The value of a command, with continued lines joined; None where the file does not set it."""
        command = self._last(name)
        return command.value if command else None

    def queue(self) -> str:
        """The first `queue` as it stands, continued lines joined; empty where there is none."""
        at = self._scan()[1]
        joined = self._join(at)[0] if at < len(self._lines) else ""
        return joined if _QUEUE.match(joined) else ""

    def set_queue(self, statement: str) -> None:
        """Another statement in the place of the first `queue`, which the caller knows to take one line.

        Raises:
            KitError: there is no `queue`, or more than one.
        """
        at = self._scan()[1]
        numbers = [number for number, line in enumerate(self._lines[at:], at + 1) if _QUEUE.match(line)]
        if len(numbers) != 1:
            where = f"{self.path}:{numbers[1]}" if numbers else str(self.path)
            raise KitError(f"{where}: queue is there {len(numbers)} times; want it once. Change that line by hand.")
        ending = "\r" if self._lines[at].endswith("\r") else ""
        self._lines[at : self._join(at)[1]] = [f"{statement}{ending}"]

    def append(self, name: str, text: str) -> None:
        """Adds `text` to the end of a command's value and leaves its lines as they are. Raises as `set` does."""
        self._refuse_unclear(name)
        old = self._last(name)
        if old is None:
            raise ValueError(f"{name} is not set")
        before, line = list(self._lines), self._lines[old.last - 1]
        ending = "\r" if line.endswith("\r") else ""
        self._lines[old.last - 1] = f"{line.rstrip(_BLANK)}{text}{ending}"
        if self.get(name) != f"{old.value}{text}".strip(_BLANK):  # its last line is a comment, or the end of a block
            self._lines = before
            self.set(name, f"{old.value}{text}".strip(_BLANK))

    def set(self, name: str, value: str, replaces: str | None = None, beside: str | None = None) -> None:
        """Gives `name` a value, on the line where it (or the command `replaces`) stands; a new command goes below the
        command `beside`, into the block where that stands, or above `queue`.

        Raises:
            KitError: the command stands in an `if`, in a block of lines or after `queue`; the message says where.
            ValueError: `value` does not fit on a line.
        """
        if value.strip(_BLANK) != value or "\n" in value or value.endswith("\\"):
            raise ValueError(f"{value!r} cannot be the value of a submit command")
        old = self._last(name) or (self._last(replaces) if replaces else None)
        for other in (name, replaces or name):
            self._refuse_unclear(other)
        if old is None:
            self._add(name, value, beside)
            return
        line = self._lines[old.first - 1]
        match = _ASSIGNMENT.match(line)
        if match is None:
            raise KitError(
                f"{self.path}:{old.first}: {old.name} takes several lines; want one line. "
                f"Write `{name} = {value}` there by hand."
            )
        indent, written, equals, _ = match.groups()
        # keep the column of the equals sign where the new name leaves room for it
        width = len(written) + len(equals) - len(equals.lstrip(" \t"))
        shown = written if key(written) == key(name) else name
        equals = equals.lstrip(" \t") if equals.strip() != equals.strip(" \t") else equals.strip(" \t") + " "
        ending = "\r" if self._lines[old.last - 1].endswith("\r") else ""
        self._lines[old.first - 1 : old.last] = [
            f"{indent}{shown.ljust(max(width, len(shown) + 1))}{equals}{value}{ending}"
        ]

    def _add(self, name: str, value: str, beside: str | None) -> None:
        neighbour, before = self._last(beside) if beside else None, self._lines
        if beside and neighbour:
            self._refuse_unclear(beside)
            line = before[neighbour.first - 1]
            at, indent = neighbour.last, line[: len(line) - len(line.lstrip(" \t"))]
        else:
            at, indent = self._scan()[1], ""
        ending = "\r" if before[0].endswith("\r") else ""
        added = [f"{indent}{name} = {value}{ending}"] if at < len(before) else [f"{indent}{name} = {value}", ""]
        self._lines = [*before[:at], *added, *before[at:]]
        if self.get(name) != value:
            self._lines = before
            raise KitError(f"{self.path}: its end goes on in a next line; want a whole last line. Add `queue` there.")

    def remove(self, name: str) -> None:
        """Takes out every assignment of a command. Raises KitError as `set` does."""
        self._refuse_unclear(name)
        for command in reversed(self.commands()):
            if key(command.name) == key(name):
                del self._lines[command.first - 1 : command.last]

    def _last(self, name: str) -> Command | None:
        return next((command for command in reversed(self.commands()) if key(command.name) == key(name)), None)

    def _refuse_unclear(self, name: str) -> None:
        """A command whose value depends on more than its line is for a person to change."""
        commands, queue = self._scan()
        same = [command for command in commands if key(command.name) == key(name)]
        for command in same:
            if command.conditional and (len(same) > 1 or not command.unless):
                raise KitError(
                    f"{self.path}:{command.first}: {command.name} stands in an if; want it set once, outside. "
                    "Change that line by hand."
                )
        for number, line in enumerate(self._lines[queue + 1 :], queue + 2):
            match = _ASSIGNMENT.match(line)
            if match and key(match.group(2)) == key(name):
                raise KitError(
                    f"{self.path}:{number}: {match.group(2)} is set again after queue; want it set once. "
                    "Change that line by hand."
                )

    def _scan(self) -> tuple[list[Command], int]:
        """The commands, and the index of the line that holds the first `queue` (or where one would stand)."""
        commands: list[Command] = []
        at, begun, depth, end = 0, 0, 0, len(self._lines)
        unless, block = "", 0  # the name that an open `if ! defined NAME` asks for, and where its commands begin
        while at < end:
            begun = at
            if self._lines[at].lstrip(_BLANK).startswith("#"):
                at += 1
                continue
            joined, after = self._join(at)
            here = _HERE_DOCUMENT.match(joined)
            if here:
                stop = after
                while stop < end and self._lines[stop].strip(_BLANK) != f"@{here.group(2)}":
                    stop += 1
                value = "\n".join(part.strip(_BLANK) for part in self._lines[after:stop])
                commands.append(Command(here.group(1), value, at + 1, min(stop, end - 1) + 1, depth > 0, unless))
                at = stop + 1
                continue
            if _QUEUE.match(joined):
                return _unsure(commands, block if unless else len(commands)), at
            opens, closes = _OPENS.match(joined), _CLOSES.match(joined)
            if unless and (opens or _TURNS.match(joined)):  # it asks for more than the name
                commands, unless = _unsure(commands, block), ""
            asked = _UNLESS.match(joined) if depth == 0 else None
            if asked and not any(key(command.name) == key(asked.group(1)) for command in commands):
                unless, block = asked.group(1), len(commands)
            elif closes:
                unless = ""
            depth += 1 if opens else -1 if closes else 0
            match = _ASSIGNMENT.match(joined)
            if match:
                value = match.group(4).strip(_BLANK)
                commands.append(Command(match.group(2), value, at + 1, after, depth > 0, unless))
            at = after
        commands = _unsure(commands, block if unless else len(commands))
        # the last line is empty where the file ends as it should, unless a continued line swallowed it
        return commands, end - 1 if begun == end - 1 and self._lines[-1] == "" else end

    def _join(self, at: int) -> tuple[str, int]:
        """The logical line that begins at index `at`, and the index after it."""
        joined, first = "", True
        while True:
            part = self._lines[at].strip(_BLANK) if not first else self._lines[at].rstrip(_BLANK)
            at += 1
            comment = not first and part.startswith("#")
            if not comment:
                joined += part
            # a backslash at the end of the file, with no line end after it, is itself
            if not (part if comment else joined).endswith("\\") or at == len(self._lines):
                return joined, at
            if not comment:
                joined = joined[:-1]
            first = False
