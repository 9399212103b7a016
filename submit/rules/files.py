"""Files: what is sent, what comes back, and what overwrites what."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

from submit.findings import Hit, looks_for
from submit.rules.sent import MOST_SECONDS, fixed, from_workflow, is_file, is_python, macros, size, there, varies
from submit.submission import Submission
from submit.transfers import Transfer, unfillable
from submit.units import mebibytes

LARGEST_BY_TRANSFER = 10**9  # bytes, one file and all of a job's together (OSPool guide, managing_data/overview)
_VANILLA = ("", "vanilla", "container")
_PATHS = ("executable", "transfer_input_files", "transfer_output_files", "output", "error", "log", "initialdir")
# $(NAME) and $ENV(NAME) are HTCondor's; $NAME and ${NAME} are a shell's
_SHELL_PATH = re.compile(r"^~(?=/|$|\w+/)|(?<!\$)\$(?:\{[A-Za-z_]\w*\}|[A-Za-z_]\w*)(?![\w(])")


def remaps(job: Submission) -> list[tuple[str, str]]:
    """The pairs of transfer_output_remaps as written."""
    text = job.raw("transfer_output_remaps").strip().strip('"')
    pairs = [entry.split("=", 1) for entry in text.split(";") if "=" in entry]
    return [(name.strip(), to.strip()) for name, to in pairs]


def sent(job: Submission) -> Iterator[Transfer]:
    """The local inputs that are there and whose names can be known from here."""
    if job.has("initialdir"):
        return
    for written in job.raw("transfer_input_files").split(","):
        if written.strip() and fixed(job, written):
            entries = [job.transfer(entry.strip()) for entry in job.expanded(written).split(",") if entry.strip()]
            yield from (entry for entry in entries if entry.path)


@looks_for("OSG401", Submission)
def not_sent(job: Submission) -> Iterator[Hit]:
    ours = job.asks_gpu or job.image_command is not None or job.has("+ProjectName")
    value = job.value("should_transfer_files").upper()
    if not ours or value == "YES" or job.value("universe").lower() not in _VANILLA:
        return
    if job.lacks("should_transfer_files"):
        edits = job.addition("should_transfer_files", "YES")
        yield Hit(job.line("should_transfer_files"), "should_transfer_files is not set to YES", edits=edits)
    elif value in ("IF_NEEDED", "NO"):
        command = job.command("should_transfer_files")
        edits = job.edit(command, "YES") if value == "IF_NEEDED" else ()
        yield Hit(job.line("should_transfer_files"), f"should_transfer_files = {value}", edits=edits)


@looks_for("OSG402", Submission)
def missing_input(job: Submission) -> Iterator[Hit]:
    if any(_named_in(file.read_bytes(), job.path.name) for file in job.folder.glob("*.dag") if file.is_file()):
        return  # another node may make it
    for entry in sent(job):
        plain = not re.search(r"[\s;#*?\"'\0~$]", entry.text)  # others are for OSG102, OSG116 and OSG409
        missing = entry.path and not there(entry.path) and not from_workflow(job.folder, entry.text)
        if plain and missing and not entry.text.endswith(".sif"):
            yield Hit(job.line("transfer_input_files"), f"transfer_input_files: there is no {entry.text}")


def _named_in(workflow: bytes, name: str) -> bool:
    return name.encode("utf-8", "surrogateescape") in workflow


@looks_for("OSG403", Submission)
def missing_executable(job: Submission) -> Iterator[Hit]:
    name = job.raw("executable")
    value = job.value("executable")
    plain = re.fullmatch(r"[\w./+-]+", value) is not None
    known = plain and fixed(job, name) and not job.has("initialdir") and job.executable
    if known and not there(job.folder / value) and not from_workflow(job.folder, value):
        inside = job.image_command is not None and value.startswith("/")
        fix = "Where it is a program of the image, add `transfer_executable = false`." if inside else ""
        yield Hit(job.line("executable"), f"executable: there is no {value}", fix)


@looks_for("OSG404", Submission)
def carriage_returns(job: Submission) -> Iterator[Hit]:
    for path, text in job.scripts.items():
        first = text.split("\n", 1)[0]
        if first.startswith("#!") and first.endswith("\r"):
            message = f"{path.name} has the line ends of Windows: no machine has an interpreter `{first[2:-1]}\\r`"
            yield Hit(1, message, file=path)


@looks_for("OSG405", Submission)
def no_interpreter(job: Submission) -> Iterator[Hit]:
    script = job.script
    if job.executable and script and not script.startswith("#!") and "\0" not in script:
        line = "#!/usr/bin/env python3" if is_python(job.executable, script) else "#!/bin/bash"
        yield Hit(1, f"{job.executable.name} is text and does not begin with #!", f"Begin it with `{line}`.",
                  file=job.executable)  # fmt: skip


@looks_for("OSG406", Submission)
def too_large(job: Submission) -> Iterator[Hit]:
    image = job.image_reference
    sizes = {entry.text: size(job, entry.path) for entry in sent(job) if entry.path and entry.text != image}
    total = sum(sizes.values())
    if total > LARGEST_BY_TRANSFER:
        largest = max(sizes, key=lambda name: sizes[name])
        what = f"{total / 1e9:.1f} GB leave the access point per job, {sizes[largest] / 1e9:.1f} of them {largest}"
        yield Hit(job.line("transfer_input_files"), f"transfer_input_files: {what}")


@looks_for("OSG407", Submission)
def same_name(job: Submission) -> Iterator[Hit]:
    if job.flag("preserve_relative_paths"):
        return
    seen: dict[str, str] = {}
    for entry in job.inputs:
        other = seen.get(entry.name)
        # DIR/ sends what is in it, and a URL may be unpacked under other names
        if other is not None and other != entry.text and not entry.text.endswith("/") and "?" not in entry.text:
            yield Hit(
                job.line("transfer_input_files"),
                f"transfer_input_files: {other} and {entry.text} both arrive as {entry.name}",
            )
        if entry.name and not entry.text.endswith("/"):
            seen.setdefault(entry.name, entry.text)


@looks_for("OSG408", Submission)
def unversioned(job: Submission) -> Iterator[Hit]:
    raw = [entry.strip() for entry in job.raw("transfer_input_files").split(",")]
    for entry in job.inputs:
        path = re.sub(r"^osdf:///ospool/\w+/data/[^/]+/", "", entry.text.split("?")[0])
        plain = entry.text in raw  # one from a macro may hold anything
        if plain and path != entry.text and not re.search(r"\d", path) and "directread" not in entry.text:
            message = f"transfer_input_files: {entry.name} says no version: caches keep the first one"
            yield Hit(job.line("transfer_input_files"), message)


@looks_for("OSG409", Submission)
def shell_path(job: Submission) -> Iterator[Hit]:
    for name in _PATHS:
        for entry in job.raw(name).split(","):
            if _SHELL_PATH.search(entry.strip()) and job.command(name):
                yield Hit(job.line(name), f"{name}: no shell reads {entry.strip()}")
                break


@looks_for("OSG410", Submission)
def old_scheme(job: Submission) -> Iterator[Hit]:
    for name in ("transfer_input_files", "container_image", "transfer_output_remaps", "output_destination"):
        command = job.command(name)
        if command and re.search(r"\bstash://", command.value):
            mended = re.sub(r"\bstash:/+", "osdf:///", command.value)
            edits = job.edit(command, mended)
            yield Hit(command.first, f"{name}: stash:// is the old name of osdf://", edits=edits)
    for path, text in job.scripts.items():
        for number, line in enumerate(text.split("\n"), 1):
            if re.match(r"\s*stashcp\b", line):
                yield Hit(number, "stashcp is being taken out of service", file=path)


@looks_for("OSG411", Submission)
def one_output(job: Submission) -> Iterator[Hit]:
    if job.jobs < 2 or varies(job, job.raw("initialdir")):
        return
    for name in ("output", "error"):
        value = job.raw(name)
        if value and value != "/dev/null" and not varies(job, value):
            command = job.command(name)
            edits = job.edit(command, f"{value}.$(Process)") if fixed(job, value) else ()
            written = job.value(name) if fixed(job, value) else value
            message = f"{name}: {job.jobs} jobs write {written}, each over the others"
            yield Hit(job.line(name), message, edits=edits)


@looks_for("OSG412", Submission)
def one_result(job: Submission) -> Iterator[Hit]:
    moved = {name for name, to in remaps(job) if varies(job, to)}
    if job.jobs < 2 or varies(job, job.raw("initialdir")) or not job.lacks("output_destination"):
        return
    for entry in job.raw("transfer_output_files").split(","):
        name = entry.strip()
        # a folder may hold a file or folder for each job; a file is one
        if re.search(r"\.\w+$", name) and name not in moved and not varies(job, name) and fixed(job, name):
            yield Hit(
                job.line("transfer_output_files"),
                f"transfer_output_files: {job.jobs} jobs bring back {name}, each over the others",
                f'For example `transfer_output_remaps = "{name} = $(Cluster).$(Process).{name.rsplit("/", 1)[-1]}"`.',
            )


@looks_for("OSG413", Submission)
def log_is_output(job: Submission) -> Iterator[Hit]:
    for name in ("output", "error"):
        value = job.value(name)
        if value and value != "/dev/null" and value == job.value("log"):
            yield Hit(job.line(name), f"{name} and log are one file, {value}")


@looks_for("OSG414", Submission)
def fixed_upload(job: Submission) -> Iterator[Hit]:
    for name, to in remaps(job):
        if re.match(r"(?:osdf|stash|pelican)://", to) and not macros(job, to) and "$" not in to:
            message = f"transfer_output_remaps: {name} goes to a name that the next run finds taken"
            yield Hit(job.line("transfer_output_remaps"), message)


@looks_for("OSG415", Submission)
def remap_of_nothing(job: Submission) -> Iterator[Hit]:
    listed = job.entries("transfer_output_files")
    if not listed or any("$(" in entry or "*" in entry for entry in listed):
        return
    known = {entry.strip("/") for entry in listed} | {entry.rsplit("/", 1)[-1] for entry in listed}
    known |= {job.value("output"), job.value("error"), "_condor_stdout", "_condor_stderr"}
    for name, _ in remaps(job):
        inside = any(name.startswith(f"{entry}/") for entry in known)
        if "$" not in name and name not in known and not inside:
            yield Hit(job.line("transfer_output_remaps"), f"transfer_output_remaps: {name} is not brought back")


@looks_for("OSG416", Submission)
def log_on_the_osdf(job: Submission) -> Iterator[Hit]:
    for name in ("log", "output", "error"):
        value = job.value(name)
        if re.match(r"/ospool/", value) or (name == "log" and re.match(r"(?:osdf|pelican)://", value)):
            yield Hit(job.line(name), f"{name} = {value}: not a place that is appended to")


@looks_for("OSG417", Submission)
def small_disk(job: Submission) -> Iterator[Hit]:
    try:
        asked = mebibytes(job.value("request_disk"))
    except ValueError:
        return
    image = job.folder / job.image_reference if job.image and job.image.kind == "sif" else None
    paths = {entry.path for entry in sent(job) if entry.path} | ({image} if image and is_file(image) else set())
    needed = sum(size(job, path) for path in paths) / 2**20
    if needed > asked:
        yield Hit(
            job.line("request_disk"),
            f"request_disk = {job.value('request_disk')}: inputs and image take {needed / 1024:.1f} GB of it",
            f"Ask for {int(needed / 1024 * 1.5) + 1}GB or more.",
        )


@looks_for("OSG427", Submission)
def not_to_be_filled(job: Submission) -> Iterator[Hit]:
    if job.has("initialdir"):
        return
    for entry in job.inputs:
        folder = unfillable(entry.path, MOST_SECONDS) if entry.path and there(entry.path) else None
        if folder:
            mode = f"{folder.stat().st_mode & 0o777:o}"
            message = f"transfer_input_files: {os.path.relpath(folder, job.folder)} has mode {mode}: not to be filled"
            yield Hit(job.line("transfer_input_files"), message, f"Run `chmod -R u+w {shlex.quote(entry.text)}`.")
