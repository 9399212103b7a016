"""`osgdl migrate`: rewrites what submit files still hold from older HTCondors and the older OSPool.

Only what means the same afterwards is changed, everything else is a note with its line: an expression with `||`, a
command in an `if`, a value that a macro makes. A file without such things comes back byte for byte, and so does one
that was migrated.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from submit import images, legacy
from submit.description import Command, Description, key
from submit.errors import ImageError, KitError, wrong
from submit.images import AUTOMATIC, CONTAINER_IMAGE, SINGULARITY_IMAGE, SYNTAXES
from submit.match import split
from submit.runtime.files import write_atomic

_CONTAINERS = re.compile(r"(?:TARGET\.)?HAS_SINGULARITY(?:\s*(?:==|=\?=)\s*True)?", re.IGNORECASE)
_TRANSFERS = (
    "transfer_input_files",
    CONTAINER_IMAGE,
    SINGULARITY_IMAGE,
    "transfer_output_remaps",
    "output_destination",
)
_GUARD = "image_guard"  # the macro of the templates
_TELLS = {
    "docker_image": "not for the OSPool, which has no Docker: container_image takes docker://... too",
    "+DESIRED_Sites": "keeps GPU pilots from being asked for: leave it out, or write +UNDESIRED_Sites",
    "+GPUJobLength": "CHTC's; on the OSPool it is +JobDurationCategory",
}


@dataclass(frozen=True)
class Migration:
    """A submit file before and after, and what is left for a person: (line of the old file, what)."""

    path: Path
    old_text: str
    new_text: str
    notes: tuple[tuple[int, str], ...]

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return self.old_text != self.new_text


@dataclass
class _Work:
    """A file on its way; `lines` are where the commands stood before anything was changed."""

    description: Description
    lines: dict[str, int]
    notes: list[tuple[int, str]] = field(default_factory=list)

    def command(self, name: str) -> Command | None:
        found = [command for command in self.description.commands() if key(command.name) == key(name)]
        return found[-1] if found else None

    def note(self, name: str, text: str) -> None:
        self.notes.append((self.lines.get(key(name), 1), text))

    def attempt(self, name: str, *changes: Callable[[Description], None]) -> bool:
        """All the changes or none; where the file has no place for one, a note at the line of `name`."""
        trial = Description(self.description.text, self.description.path)
        try:
            for change in changes:
                change(trial)
        except (KitError, ValueError) as fault:
            self.note(name, f"{name} is left as it is: {fault}")
            return False
        self.description = trial
        return True

    def plain(self, name: str) -> bool:
        """Whether the command stands once, outside of any `if`, and holds no comments between its lines."""
        found = [command for command in self.description.commands() if key(command.name) == key(name)]
        if len(found) != 1 or found[0].conditional:
            return False
        inside = self.description.text.split("\n")[found[0].first : found[0].last]
        return not any(line.lstrip().startswith("#") for line in inside)


def plan(path: Path, to: str = AUTOMATIC) -> Migration:
    """What would change in the file at `path`.

    Args:
        to: how images are named: "+SingularityImage", "container_image", or "automatic": the first for images on CVMFS,
            the second for everything else that is written as +SingularityImage.

    Raises:
        KitError: the file cannot be read.
        ImageError: `to` is none of the three.
    """
    if to not in SYNTAXES:
        raise ImageError(wrong("to", to, "unknown", f"want one of {', '.join(SYNTAXES)}", "Choose one"))
    if path.suffix == ".dag":
        raise KitError(f"{path}: a workflow; want a submit file. Name those of its nodes.")
    description = Description.read(path)
    work = _Work(description, {key(command.name): command.first for command in description.commands()})
    old = description.text
    for step in (_schemes, _removed, _cuda_version, _systems, _clauses):
        step(work)
    _image(work, to)
    for name, why in _TELLS.items():
        if work.command(name):
            work.note(name, f"{name}: {why}")
    return Migration(path, old, work.description.text, tuple(sorted(set(work.notes))))


def diff(migration: Migration) -> str:
    """The change as a unified diff; empty where there is none."""
    old, new = (text.splitlines(keepends=True) for text in (migration.old_text, migration.new_text))
    name = str(migration.path)
    lines = difflib.unified_diff(old, new, name, name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def apply(migration: Migration) -> None:
    """Writes the new text in one step; permissions stay, and a link stays a link.

    Raises:
        KitError: the file is another one than when the migration was planned.
    """
    if Description.read(migration.path).text != migration.old_text:
        raise KitError(f"{migration.path}: changed since it was read; want it as it was. Run osgdl migrate again.")
    if migration.changed:
        target = migration.path.resolve()
        mode = target.stat().st_mode
        write_atomic(target, migration.new_text.encode("utf-8", "surrogateescape"))
        target.chmod(mode)


def _replace(work: _Work, command: Command, pattern: str, by: str) -> None:
    """Replaces text in the lines of a command, its layout and comments untouched."""
    lines = work.description.text.split("\n")
    for at in range(command.first - 1, min(command.last, len(lines))):
        if not lines[at].lstrip().startswith("#"):
            lines[at] = re.sub(pattern, by, lines[at])
    work.description = Description("\n".join(lines), work.description.path)


def _schemes(work: _Work) -> None:
    """stash:// -> osdf://; the space of names is the same, but for folders of OSG Connect that are gone."""
    for command in work.description.commands():
        if re.search(r"\bstash://", command.value):
            if key(command.name) not in map(key, _TRANSFERS):
                work.notes.append((command.first, f"{command.name}: stash:// is now osdf://, if HTCondor fetches it"))
                continue
            if "/osgconnect/" in command.value:
                work.notes.append((command.first, f"{command.name}: /osgconnect/ is gone; write where the data is now"))
            _replace(work, command, r"\bstash:/+", "osdf:///")


def _removed(work: _Work) -> None:
    """What no machine of the OSPool reads."""
    if work.command("+WantGPULab"):
        work.attempt("+WantGPULab", lambda description: description.remove("+WantGPULab"))


def _cuda_version(work: _Work) -> None:
    command = work.command("cuda_version")
    if command is None:
        return
    if work.command(legacy.RUNTIME) or not re.fullmatch(r"\d+\.\d", command.value):
        work.note("cuda_version", f"cuda_version = {command.value} is now {legacy.RUNTIME}: set that alone")
        return
    value = command.value
    work.attempt("cuda_version", lambda description: description.set(legacy.RUNTIME, value, replaces="cuda_version"))


def _systems(work: _Work) -> None:
    """OSGVO_OS_... -> OSG_OS_..."""
    for name in ("requirements", "rank"):
        for command in work.description.commands():
            if key(command.name) == name and "OSGVO_OS_" in command.value:
                _replace(work, command, r"\bOSGVO_OS_(?=(?:NAME|VERSION|STRING|KERNEL)\b)", "OSG_OS_")


def _clauses(work: _Work) -> None:
    """The conditions of `requirements` on GPUs become commands, those on AVX a microarchitecture."""
    command = work.command("requirements")
    if command is None or not legacy.LEGACY.search(command.value):
        return
    if not work.plain("requirements"):
        work.note(
            "requirements", f"requirements: {legacy.LEGACY.findall(command.value)[0]} is out of date; change it by hand"
        )
        return
    kept: list[str] = []
    commands: dict[str, str] = {}
    for clause in split(command.value):
        bound, avx = legacy.BOUND.fullmatch(clause), legacy.AVX.fullmatch(clause)
        moved = _moved(work, bound, commands) if bound else None
        if avx and legacy.MICROARCH not in kept:
            kept.append(legacy.MICROARCH)
        elif moved is not None:
            commands.update(moved)
        elif not avx:
            kept.append(clause)
            if found := legacy.LEGACY.search(clause):
                work.note("requirements", f"requirements: {found.group()} in `{clause}`: change it by hand")
    if kept != split(command.value):
        value = legacy.joined(kept)

        def change(description: Description) -> None:
            for name, text in commands.items():
                description.set(name, text)
            if value:
                description.set("requirements", value)
            else:
                description.remove("requirements")

        work.attempt("requirements", change)


def _moved(work: _Work, bound: re.Match[str], before: dict[str, str]) -> dict[str, str] | None:
    """The commands that say what a condition says; None where there are none, or they would be silenced or clash.

    `before`: what earlier conditions gave.
    """
    of = legacy.PROPERTY[bound.group(1).lower()]
    wanted = legacy.commands(of, bound.group(2), bound.group(3))
    request, own = work.command("request_gpus"), work.command("require_gpus")
    if request is None or request.conditional or not wanted or (own and of in own.value):
        return None
    result = {}
    for name, value in wanted.items():
        present = work.command(name)
        there = before.get(name) or (present.value if present else "")
        stricter = value if not there else legacy.stricter(name, there, value)
        if stricter is None or (present and present.conditional):
            return None
        if stricter != there:
            result[name] = stricter
    return result


def _image(work: _Work, to: str) -> None:
    """The command that names the image, and the guards in `requirements` that go with it."""
    old, current = work.command(SINGULARITY_IMAGE), work.command(CONTAINER_IMAGE)
    both = old and current and work.plain(SINGULARITY_IMAGE) and work.plain(CONTAINER_IMAGE)
    if both and work.attempt(SINGULARITY_IMAGE, lambda description: description.remove(SINGULARITY_IMAGE)):
        old = None  # it did nothing beside container_image
    present = current or old
    if present is None or (old and current) or (to in (AUTOMATIC, CONTAINER_IMAGE) and old is None):
        if old and current:
            work.note(SINGULARITY_IMAGE, f"{SINGULARITY_IMAGE} and {CONTAINER_IMAGE}: leave one")
        return
    if not work.plain(present.name):
        work.note(present.name, f"{present.name} is left as it is: it depends on more than its line")
        return
    try:
        lines = images.lines(images.parse(present.value.strip('"')), to)
    except ImageError as fault:
        work.note(present.name, f"{present.name} is left as it is: {fault}")
        return
    name, asked = present.name, work.command("requirements")
    if asked and not work.plain("requirements"):
        work.note(name, f"{name} is left as it is: requirements must hold {lines.guard}")
        return
    work.attempt(name, lambda description: _use(description, name, lines))


def _use(description: Description, present: str, lines: images.ImageLines) -> None:
    """Names the image by `lines`, in the place of `present`."""
    switches = key(present) != key(lines.command)
    if switches:
        description.set(lines.command, lines.value, replaces=present)
    asked = description.get("requirements") or ""
    if description.get(_GUARD) is not None and f"$({_GUARD})" in asked:
        if description.get(_GUARD) != lines.guard:
            description.set(_GUARD, lines.guard)
        return
    clauses = split(asked)
    if switches and lines.command == CONTAINER_IMAGE:  # which asks for a machine with containers itself
        clauses = [clause for clause in clauses if not _CONTAINERS.fullmatch(clause)]
    for guard in split(lines.guard) if lines.guard != "True" else []:
        if not any(
            re.search(rf"\b{guard.split()[0]}\b", clause, re.IGNORECASE) and "||" not in clause for clause in clauses
        ):
            clauses.append(guard)
    if clauses != split(asked):
        if clauses:
            description.set("requirements", legacy.joined(clauses))
        else:
            description.remove("requirements")
