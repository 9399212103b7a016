"""The scripts that travel with a job: exit codes that get lost, GPUs taken by number, paths of the access point."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from submit.findings import Hit, looks_for
from submit.rules.sent import is_python, is_shell, readable, sent_texts
from submit.submission import Submission

_PROGRAM = r"(?:exec\s+|time\s+)?(?:python3?|torchrun|accelerate|deepspeed)\b"
_KEEPS_CODE = re.compile(r"^\s*set\s+-\w*e|^#!.*\s-\w*e|errexit|\$\?|PIPESTATUS|\|\|\s*(?:exit|return)|\btrap\b", re.M)
# what succeeds whatever happened before it
_ALWAYS_FINE = re.compile(r"(?:echo|printf|date|ls|pwd|hostname|true)\b|exit\s+0\b|rm\s+-\w*f")
_VISIBLE = re.compile(
    r"""int\(\s*os\.(?:environ(?:\.get\(|\[)|getenv\()\s*["']CUDA_VISIBLE_DEVICES["']|"""
    r"""os\.environ\[\s*["']CUDA_VISIBLE_DEVICES["']\s*\]\s*=\s*["']\d|"""
    r"""^\s*(?:export\s+)?CUDA_VISIBLE_DEVICES=["']?\d"""
)
_FETCHES = re.compile(
    r"^(?:python3?\s+-m\s+)?pip3?\s+install\b(?!.*--no-index)|^(?:conda|mamba|micromamba)\s+(?:install|create|env\s+create)\b|"
    r"^(?:wget|curl)\s(?!.*\s(?:-X\s*P|-d|--data|-T|-F)).*https?://(?!localhost|127\.)|^git\s+clone\b|^apt(?:-get)?\s+install\b"
)
_HEREDOC = re.compile(r"<<-?\s*[\"']?(\w+)")


def shell_scripts(job: Submission) -> Iterator[tuple[Path, list[str]]]:
    """The lines of each shell script that travels as a file of its own; those of heredocs are blanked."""
    for path, text in job.scripts.items():
        if is_shell(path, text):
            lines, end = text.split("\n"), ""
            for at, line in enumerate(lines):
                if end:
                    end = "" if line.strip() == end else end
                    lines[at] = ""
                elif (found := _HEREDOC.search(line)) and not line.lstrip().startswith("#"):
                    end = found.group(1)
            yield path, lines


def python_files(job: Submission) -> Iterator[tuple[Path, list[str]]]:
    """The lines of each Python file that travels, those in folders too."""
    for path, text in sent_texts(job).items():
        if is_python(path, text):
            yield path, text.split("\n")


def words_of(name: str) -> str:
    """What of a file's name a program would hold that makes it: the name without folder and suffix."""
    return name.rstrip("/").rsplit("/", 1)[-1].split(".", 1)[0]


@looks_for("OSG418", Submission)
def never_made(job: Submission) -> Iterator[Hit]:
    names = [name for name in job.entries("transfer_output_files") if not re.search(r"[$*\"\s]", name)]
    if not names or not readable(job):
        return
    text = "\n".join([*sent_texts(job).values(), job.value("arguments"), job.value("environment")])
    text += "\n".join(entry.text for entry in job.inputs)
    for name in names:
        if words_of(name) and words_of(name) not in text:
            message = f"transfer_output_files: {name} stands in no script that is sent: nothing makes it"
            yield Hit(job.line("transfer_output_files"), message)


@looks_for("OSG419", Submission)
def lost_in_pipe(job: Submission) -> Iterator[Hit]:
    for path, lines in shell_scripts(job):
        if "pipefail" in (text := "\n".join(lines)) or "PIPESTATUS" in text:
            continue
        for number, line in enumerate(lines, 1):
            if re.match(rf"\s*{_PROGRAM}[^#]*[^|]\|&?\s*tee\b", line):
                yield Hit(number, f"{path.name}: the exit code is that of tee, which never fails", file=path)


@looks_for("OSG420", Submission)
def lost_code(job: Submission) -> Iterator[Hit]:
    for path, lines in shell_scripts(job):
        if path != job.executable:
            continue
        commands = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip(" \t\r")]
        commands = [(number, line) for number, line in commands if not line.startswith("#")]
        runs = [number for number, line in commands if re.match(_PROGRAM, line)]
        if runs and commands[-1][0] == runs[-1] and re.search(r"\|\|\s*(?:true|:)$", commands[-1][1]):
            yield Hit(runs[-1], f"{path.name}: `|| true` makes every failure a success", file=path)
        kept = _KEEPS_CODE.search("\n".join(lines)) or any("&&" in line for _, line in commands)
        if runs and not kept and commands[-1][0] > runs[-1] and _ALWAYS_FINE.match(commands[-1][1]):
            message = f"{path.name} ends in `{commands[-1][1][:40]}`, which succeeds whatever came before"
            yield Hit(commands[-1][0], message, file=path)


@looks_for("OSG421", Submission)
def gpu_by_number(job: Submission) -> Iterator[Hit]:
    if not job.asks_gpu:
        return
    for path, text in sent_texts(job).items():
        for number, line in enumerate(text.split("\n"), 1):
            if _VISIBLE.search(line) and not line.lstrip().startswith("#"):
                message = f"{path.name}: CUDA_VISIBLE_DEVICES holds GPU-<uuid>, the card that this job was given"
                yield Hit(number, message, file=path)


@looks_for("OSG422", Submission)
def library_path(job: Submission) -> Iterator[Hit]:
    if not job.image_command:
        return
    for path, lines in shell_scripts(job):
        for number, line in enumerate(lines, 1):
            found = re.match(r"\s*(?:export\s+)?LD_LIBRARY_PATH=(.*)", line)
            if found and "LD_LIBRARY_PATH" not in found.group(1) and not re.search(r"\S+=\S*\s+\w", found.group()):
                message = f"{path.name}: LD_LIBRARY_PATH is replaced, and with it the driver's libraries"
                yield Hit(number, message, file=path)


@looks_for("OSG423", Submission)
def fetched_by_each_job(job: Submission) -> Iterator[Hit]:
    for path, lines in shell_scripts(job):
        for number, line in enumerate(lines, 1):
            if found := _FETCHES.search(line.strip()):
                message = f"{path.name}: every start of every job does this anew: {found.group()[:40].strip()}"
                yield Hit(number, message, file=path)


@looks_for("OSG424", Submission)
def missing_backslash(job: Submission) -> Iterator[Hit]:
    for path, lines in shell_scripts(job):
        before, brackets, quotes = "", 0, 0
        for number, line in enumerate(lines, 1):
            bare = re.sub(r"\\.", "", line)
            option = re.match(r"\s+--?[A-Za-z][\w-]*(?:[ =]|$)", line) is not None
            comment = line.lstrip().startswith("#")
            goes_on = before.rstrip("\r").endswith(("\\", "|", "&&", "(", "[["))
            if option and before.strip() and not goes_on and brackets == 0 and quotes % 2 == 0:
                yield Hit(number, f"{path.name}: the line before does not go on: this is run as a command", file=path)
            if not comment:
                quotes += bare.count('"') + bare.count("'")
                brackets += bare.count("(") - bare.count(")") - len(re.findall(r"^\s*[\w|*.-]+\)", bare))
                brackets = max(brackets, 0)
                before = line
        # an apostrophe in a string makes the count odd: then nothing more is said


@looks_for("OSG425", Submission)
def no_exit_code(job: Submission) -> Iterator[Hit]:
    for path, lines in python_files(job):
        for number, line in enumerate(lines, 1):
            found = re.search(r"\b(?:sys\.|os\._)?exit\(\s*(\d+j|[\"']\d+[\"'])\s*\)", line)
            if found and not line.lstrip().startswith("#"):
                yield Hit(number, f"{path.name}: {found.group()} leaves with exit code 1", file=path)


@looks_for("OSG426", Submission)
def path_of_access_point(job: Submission) -> Iterator[Hit]:
    home = re.match(r"/home/[\w.-]+/", f"{job.folder.resolve()}/")
    pattern = re.compile(rf"(?<![\w:/.])(?:/ospool/\w+/data/|{re.escape(home.group()) if home else '/ospool/ap'})")
    for name in ("arguments", "environment"):
        if pattern.search(job.value(name)):
            yield Hit(job.line(name), f"{name}: a path of the access point, which no machine has")
    for path, text in job.scripts.items():
        for number, line in enumerate(text.split("\n"), 1):
            if pattern.search(line) and not line.lstrip().startswith("#"):
                yield Hit(number, f"{path.name}: a path of the access point, which no machine has", file=path)
