"""What travels with a job: sizes on disk, the texts that are sent, and the macros that a value depends on."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from submit.description import key
from submit.submission import Submission
from submit.transfers import read_script

# a check stays quick whatever the folders hold
MOST_FILES = 20_000
MOST_SECONDS = 0.15
MOST_TEXT = 4_000_000  # bytes
_MACRO = re.compile(r"(?<!\$)\$(?:F\w*|INT|REAL|CHOICE|SUBSTR|BASENAME|DIRNAME|STRING)?\(\s*(\w+)", re.ASCII)
_SHELL_WORDS = frozenset(
    re.findall(
        r"\S+",
        "echo printf mkdir cd set unset export local readonly source . python python3 exec time touch exit return "
        "shift true false test [ [[ ]] if then else elif fi for do done while case esac ulimit date hostname "
        "nvidia-smi ls pwd env sleep trap cat wc df free rm cp mv tar unzip gunzip zip gzip chmod wait",
    )
)


def there(path: Path) -> bool:
    """Whether there is such a file or folder; a name that no file can have is not there."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def from_workflow(folder: Path, name: str) -> bool:
    """Whether the file is there for DAGMan, which may look from the folder of a workflow further up."""
    return any(there(above / name) for above in folder.resolve().parents[:3] if next(above.glob("*.dag"), None))


def is_file(path: Path) -> bool:
    """Whether it is a file; a name that no file can have is none."""
    return there(path) and path.is_file()


@lru_cache(maxsize=64)
def files_below(job: Submission, path: Path) -> tuple[Path, ...]:
    """The file, or the files of the folder, as many as can be looked at in a moment; looked for once per job."""
    if is_file(path):
        return (path,)
    if not there(path):
        return ()
    found: list[Path] = []
    end = time.monotonic() + MOST_SECONDS
    for folder, _, names in os.walk(path):
        found += [Path(folder, name) for name in sorted(names)]
        if len(found) > MOST_FILES or time.monotonic() > end:
            break
    return tuple(found[:MOST_FILES])


@lru_cache(maxsize=64)
def size(job: Submission, path: Path) -> int:
    """Bytes of a file or a folder, 0 where it cannot be read; a lower bound for a very large folder."""
    total = 0
    for file in files_below(job, path):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def macros(job: Submission, text: str) -> set[str]:
    """The macros that a text depends on, by way of others too, lower case."""
    found: set[str] = set()
    waiting = [name.lower() for name in _MACRO.findall(text)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other.lower() for other in _MACRO.findall(job.raw(name))]
    return found


def varies(job: Submission, text: str) -> bool:
    """Whether a value differs between the jobs of one submission."""
    counters = {"process", "procid", "step", "row", "itemindex", "item", "node"}
    # a function of the macro language, as $RANDOM_INTEGER(), or $$(), says nothing here: taken to differ
    return bool(macros(job, text) & (counters | job.queue_variables)) or "$RANDOM" in text or "$$" in text


def fixed(job: Submission, text: str) -> bool:
    """Whether a value can be known from here: nothing in it is set elsewhere, or only under a condition."""
    certain = {key(command.name) for command in job.commands if not command.conditional}
    unsure = {key(command.name) for command in job.commands if command.conditional}
    return "$$" not in text and "$RANDOM" not in text and macros(job, text) <= certain - unsure


@lru_cache(maxsize=4)
def sent_texts(job: Submission) -> dict[Path, str]:
    """Every shell and Python text that travels, those in folders too, as many as can be read in a moment."""
    found, total = dict(job.scripts), 0
    for entry in job.inputs:
        if entry.path and there(entry.path) and entry.path.is_dir():
            for file in files_below(job, entry.path):
                if total > MOST_TEXT:
                    return found
                if file.suffix in (".py", ".sh", ".bash") and file not in found and (text := read_script(file)):
                    found[file] = text
                    total += len(text)
    return found


def readable(job: Submission) -> bool:
    """Whether everything that the job runs can be read from here: a shell script that starts Python files sent along,
    or such a Python file itself, and no archive, module or program of the image.
    """
    executable, texts = job.executable, sent_texts(job)
    if executable is None or executable not in texts:
        return False
    if any(entry.is_url or re.search(r"\.(?:tgz|zip|tar(?:\.\w+)?|whl)$", entry.text) for entry in job.inputs):
        return False
    if any(entry.path and not there(entry.path) for entry in job.inputs):
        return False
    if is_python(executable, texts[executable]):
        return _imports_known(texts)
    names = {path.name for path in texts if path.suffix == ".py"}
    started = re.findall(r"\bpython3?\b(?:\s+-[uBO])*\s+(\S+)", texts[executable])
    plain = all(line[0] in _SHELL_WORDS or "=" in line[0] for line in shell_lines(texts[executable]))
    return plain and bool(started) and all(Path(name).name in names for name in started) and _imports_known(texts)


def _imports_known(texts: dict[Path, str]) -> bool:
    """No Python file starts other programs, whose doings cannot be read."""
    return not any(re.search(r"\b(?:subprocess|os\.system|importlib|runpy|execv)\b", text) for text in texts.values())


def is_python(path: Path, text: str) -> bool:
    """Whether a script is one of Python's."""
    return path.suffix == ".py" or re.match(r"#!.*\bpython", text) is not None


def is_shell(path: Path, text: str) -> bool:
    """Whether a script is one of a shell."""
    first = text.split("\n", 1)[0]
    return re.match(r"#!.*\b(?:ba|da|z|k)?sh\b", first) is not None or (
        path.suffix in (".sh", ".bash") and not first.startswith("#!")
    )


def shell_lines(text: str) -> Iterator[list[str]]:
    """The words of each line of a shell script that holds a command, continued lines joined."""
    for line in re.sub(r"\\\n", " ", text).split("\n"):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield words
