"""A submit file as a rule sees it: its lines, its values as HTCondor expands them, and the files it names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from submit import images
from submit.description import Command, Description, key
from submit.errors import ImageError, KitError, wrong
from submit.findings import Edit
from submit.images import Image
from submit.transfers import Transfer, read_script

# +ProjectName as the templates and the documentation write it, for want of the reader's own
PLACEHOLDERS = ("My_OSPool_Project", "MY_PROJECT")

_ASSIGNMENT = re.compile(r"(\+?[A-Za-z_][A-Za-z0-9_.]*) ?= ?(.*)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_INCLUDE = re.compile(r"\s*@?\s*include\b", re.IGNORECASE)
_INCLUDE_FILE = re.compile(r"include\s*:\s*([\w./-]+)", re.IGNORECASE)
_QUEUE_VARIABLES = re.compile(r"\s*queue\b\s*(?:\$\([^)]*\)|\d+)?\s*(.*?)\s*\b(?:in|from|matching)\b", re.IGNORECASE)
_NEW_SYNTAX = re.compile(r"(\w+)=((?:'[^']*'|[^\s'])*)")


def assignments(words: Sequence[str]) -> dict[str, str]:
    """`["data=patients"]` as HTCondor reads it on its command line.

    Raises:
        KitError: no assignment, or a name given twice.
    """
    given: dict[str, str] = {}
    for word in words:
        match = _ASSIGNMENT.fullmatch(word)
        if match is None or not word.isprintable():
            raise KitError(wrong("assignment", word, "none", "NAME=VALUE in one line is wanted", "E.g. data=patients"))
        if key(match[1]) in map(key, given):
            raise KitError(wrong(match[1], match[2], "given twice", "one value is wanted", "Leave one out"))
        given[match[1]] = match[2]
    return given


class Submission:
    """A submit file and everything around it that can be seen from here.

    Names of commands are compared as HTCondor does: without case, `+Name` being `MY.Name`. `given`: what stands on the
    command line of condor_submit, NAME=VALUE, which HTCondor reads before the file.
    """

    def __init__(self, description: Description, given: Mapping[str, str] | None = None) -> None:
        self.description, self.given = description, dict(given or {})
        self.path = description.path
        self.folder = description.path.parent
        self.lines = description.text.split("\n")

    @classmethod
    def read(cls, path: Path, given: Mapping[str, str] | None = None) -> Submission:
        """The file at `path`. Raises KitError when it cannot be read."""
        return cls(Description.read(path), given)

    @cached_property
    def commands(self) -> list[Command]:
        """The assignments before the first `queue`, in the order of the file."""
        return self.description.commands()

    @cached_property
    def queue_line(self) -> int:
        """The line of the first `queue` (from 1), or the last line of the file: where a missing command is reported."""
        return self.description.queue_line()

    @cached_property
    def safe_lines(self) -> list[str]:
        """The lines without each `include` that HTCondor's parser would run a command for: a check runs nothing."""
        safe: list[str] = []
        while len(safe) < len(self.lines):
            taken, whole = self._logical_line(len(safe))
            hidden = _INCLUDE.match(whole) and not self._plain_include(whole)
            safe += [f"#{line}" for line in taken] if hidden else taken
        return safe

    def _logical_line(self, at: int) -> tuple[list[str], str]:
        """The lines that HTCondor joins, from index `at` on, and what they make: a word may be cut by a backslash."""
        whole, end = "", at
        while end < len(self.lines):
            part = self.lines[end].strip()
            end += 1
            if not part.startswith("#"):
                whole += part.removesuffix("\\")
            if not part.endswith("\\") or (part.startswith("#") and end == at + 1):
                break
        return self.lines[at:end], whole

    def _plain_include(self, line: str) -> bool:
        """Whether an `include` names a file alone, and one that includes nothing itself."""
        match = _INCLUDE_FILE.fullmatch(line.strip())
        text = read_script(self.folder / match.group(1)) if match else ""
        return bool(match) and "include" not in re.sub(r"\\\s*", "", text).lower()

    @cached_property
    def parsed(self) -> Any:
        """HTCondor's own reading (htcondor2.Submit), with the first item of the queue list set; None where it refuses
        the file.
        """
        import htcondor2

        try:
            with contextlib.chdir(self.folder):  # where `include` and `queue from` look for their files
                before = [f"{name} = {value}" for name, value in self.given.items()]
                parsed = htcondor2.Submit("\n".join([*before, *self.safe_lines]))
        except ValueError:
            return None
        for name, value in next(iter(self._items(parsed)), {}).items():
            parsed[name] = value  # it wins over the file, and over the command line
        return parsed

    def _items(self, parsed: Any) -> list[dict[str, str]]:
        """The items of the queue list; none where a command or a file that is not here yet makes it."""
        with contextlib.suppress(Exception), contextlib.chdir(self.folder):
            arguments = parsed.getQArgs()
            if arguments.rstrip().endswith("|"):  # a command makes the list: nothing is run here
                return []
            return [item for item in parsed.itemdata(arguments) if isinstance(item, dict)]
        return []

    @cached_property
    def jobs(self) -> int:
        """How many jobs one submission queues, as far as can be told from here; at least 1."""
        if self.parsed is None:
            return 1
        count = re.match(r"\d+", self.parsed.getQArgs())
        return max(1, int(count.group()) if count else 1) * max(1, len(self._items(self.parsed)))

    def has(self, name: str) -> bool:
        """Whether the file, or the command line, sets the command."""
        return any(key(given) == key(name) for given in self.given) or any(
            key(command.name) == key(name) for command in self.commands
        )

    def lacks(self, name: str) -> bool:
        """Whether neither the file nor one that it includes sets the command."""
        unseen = self.safe_lines != self.lines
        return (
            not unseen
            and not self.has(name)
            and (self.parsed is None or key(name) not in map(str.lower, self.parsed.keys()))
        )

    def command(self, *names: str) -> Command | None:
        """The assignment that counts of the first of these commands that the file has."""
        for name in names:
            for command in reversed(self.commands):
                if key(command.name) == key(name):
                    return command
        return None

    def line(self, *names: str) -> int:
        """The line of that assignment, or of `queue`."""
        command = self.command(*names)
        return command.first if command else self.queue_line

    def raw(self, name: str) -> str:
        """The value as written, continued lines joined; empty where there is none."""
        command = self.command(name)
        return command.value if command else ""

    def value(self, name: str) -> str:
        """The value with macros expanded by HTCondor for the first job (cluster 1, process 0); empty where there is
        none.
        """
        if self.parsed is None:
            return self.raw(name)
        written = "MY." + name[1:] if name.startswith("+") else name
        try:
            return str(self.parsed.expand(written)).strip()
        except KeyError:
            return self.raw(name)

    def expanded(self, text: str) -> str:
        """A text with macros expanded as in `value`; as it stands where HTCondor refuses the file."""
        if self.parsed is None:
            return text
        self.parsed["osgdl_expanded"] = text
        try:
            return str(self.parsed.expand("osgdl_expanded")).strip()
        finally:
            self.parsed["osgdl_expanded"] = ""  # keys cannot be removed

    def flag(self, name: str, default: bool = False) -> bool:
        """A command that is true or false."""
        return self.value(name).lower() in ("true", "yes", "t", "y", "1") if self.has(name) else default

    def string(self, name: str) -> str:
        """The value of a `+Name = "text"` without its quotes."""
        return self.value(name).strip().strip('"')

    @property
    def asks_gpu(self) -> bool:
        """`request_gpus` of at least one (an expression counts)."""
        return self.has("request_gpus") and self.value("request_gpus") not in ("0", "")

    @cached_property
    def image_command(self) -> Command | None:
        """The command that names the image; of several the one that counts."""
        return self.command("container_image", "+SingularityImage", "docker_image")

    @cached_property
    def image_reference(self) -> str:
        """The image as written, without quotes; empty where there is none."""
        command = self.image_command
        return self.value(command.name).strip('"') if command else ""

    @cached_property
    def image(self) -> Image | None:
        """The image, where the reference is one of the four kinds."""
        try:
            return images.parse(self.image_reference)
        except ImageError:
            return None

    @cached_property
    def queue_variables(self) -> set[str]:
        """The names that the first `queue` sets, lower case."""
        match = _QUEUE_VARIABLES.match(self.lines[self.queue_line - 1])
        return set(re.findall(r"\w+", match.group(1).lower())) | {"item"} if match else {"item"}

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables that `environment` sets."""
        value = self.value("environment") or self.value("env")
        if len(value) > 1 and value[0] == value[-1] == '"':
            pairs = _NEW_SYNTAX.findall(value[1:-1])
        else:
            pairs = [pair.split("=", 1) for pair in value.split(";") if "=" in pair]
        return {name.strip(): text.strip("'") for name, text in pairs}

    def edit(self, command: Command | None, value: str | None, name: str = "") -> tuple[Edit, ...]:
        """The edit that gives this assignment another value (and name), or takes it out; none where the line is not
        for a program to change: it takes several lines, stands in an if, or is not the one that counts.
        """
        trial = Description(self.description.text, self.path)
        if not command or command.first != command.last or self.command(command.name) != command:
            return ()
        try:
            if value is None:
                trial.remove(command.name)
            else:
                trial.set(name or command.name, value, command.name)
        except (KitError, ValueError):
            return ()
        return (Edit(name or command.name, value, command.name if name else None),)

    def addition(self, name: str, value: str) -> tuple[Edit, ...]:
        """The edit that adds a command above `queue`; none where the file cannot take one."""
        try:
            Description(self.description.text, self.path).set(name, value)
        except (KitError, ValueError):
            return ()
        return (Edit(name, value),)

    def entries(self, name: str) -> list[str]:
        """The entries of a comma-separated list, macros expanded."""
        return [entry.strip() for entry in self.value(name).split(",") if entry.strip()]

    @cached_property
    def inputs(self) -> list[Transfer]:
        """`transfer_input_files`."""
        return [self.transfer(entry) for entry in self.entries("transfer_input_files")]

    def transfer(self, entry: str) -> Transfer:
        """An entry of a list, and where it is."""
        return Transfer(entry, None if _URL.match(entry) else self.folder / entry)

    @cached_property
    def executable(self) -> Path | None:
        """The program, where it is a file sent from here (not one of the image)."""
        name = self.value("executable")
        if not name or _URL.match(name) or self.value("transfer_executable").lower() == "false":
            return None
        return self.folder / name

    @cached_property
    def script(self) -> str:
        """The text of the executable where it is a script, else empty."""
        return read_script(self.executable) if self.executable else ""

    @cached_property
    def scripts(self) -> dict[Path, str]:
        """Every shell and Python script that travels with the job as a file of its own, the executable first."""
        found = {self.executable: self.script} if self.executable and self.script else {}
        for entry in self.inputs:
            if entry.path and entry.path.suffix in (".sh", ".py", ".bash") and (text := read_script(entry.path)):
                found.setdefault(entry.path, text)
        return found
