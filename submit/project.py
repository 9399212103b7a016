"""A user's project: made from a template, and moved from one image to another."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from submit import answers, disk, images
from submit.description import Description, key
from submit.errors import AnswerError, ImageError, wrong
from submit.images import CONTAINER_IMAGE, SINGULARITY_IMAGE, ImageLines
from submit.origin import lacks
from submit.rendering import templates_root
from submit.submission import PLACEHOLDERS, Submission

DEFAULT_TEMPLATE = "unet-segmentation"
GUARD = "image_guard"


def templates() -> dict[str, str]:
    """Name and description of every template."""
    listed = json.loads((templates_root() / "cookiecutter.json").read_text(encoding="utf-8"))["templates"]
    return {name: entry["description"] for name, entry in listed.items()}


def questions(template: str) -> dict[str, Any]:
    """The questions of a template with their defaults; a list is a choice.

    Raises:
        AnswerError: there is no such template.
    """
    answers.choice("template", template, templates())
    listed = json.loads((_folder(template) / "cookiecutter.json").read_text(encoding="utf-8"))
    return {name: default for name, default in listed.items() if not name.startswith("_")}


def parse_words(words: list[str]) -> tuple[str, dict[str, str]]:
    """`["unet-segmentation", "gpus=2"]` as a template and answers; the first word without `=` is the template.

    Raises:
        AnswerError: a later word without `=`, or a name given twice.
    """
    template = DEFAULT_TEMPLATE
    if words and "=" not in words[0]:
        template, words = words[0], words[1:]
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise AnswerError(wrong("answer", word, "no =", "want NAME=VALUE, such as gpus=2", f"Write {word}=VALUE"))
        if name in given:
            raise AnswerError(
                wrong(name, value, "given twice", "want one answer to each question", f"Leave one {name}= out")
            )
        given[name] = value
    return template, given


def shown(path: Path) -> str:
    """A path as a shell wants it typed, short where it lies below the current folder."""
    with suppress(ValueError):
        path = path.resolve().relative_to(Path.cwd())
    return shlex.quote(str(path))


def new(template: str, given: Mapping[str, str], output_dir: Path, ask: bool) -> Path:
    """Renders a project into a new folder of `output_dir` and returns that folder.

    Args:
        given: answers by question; each is taken as it stands, Jinja in it included.
        ask: ask for the answers that are not given; else their defaults are taken.

    Raises:
        AnswerError: an unknown question, an answer that cannot be used, or the folder exists. Nothing is left behind.
    """
    known = questions(template)
    for name, value in given.items():
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0.4)
            fix = f"Write {nearest[0]}=VALUE" if nearest else "Leave it out"
            raise AnswerError(wrong(name, value, "no such question", f"want one of {', '.join(known)}", fix))
        if isinstance(known[name], list):
            answers.choice(name, value, known[name])
    # cookiecutter renders answers as Jinja templates; a template that is one string literal renders to that string
    context = {
        name: value if isinstance(known[name], list) else f"{{{{ {value!a} }}}}" for name, value in given.items()
    }
    from cookiecutter.exceptions import CookiecutterException, FailedHookException, OutputDirExistsException
    from cookiecutter.main import cookiecutter

    with _own_configuration() as configuration, _quiet():
        try:
            made = cookiecutter(
                str(_folder(template)),
                no_input=not ask,
                extra_context=context,
                output_dir=str(output_dir),
                config_file=str(configuration),
            )
        except OutputDirExistsException as error:
            folder = str(error).split('"')[1]
            raise AnswerError(
                f"{folder}: exists; want a new folder. Choose another project_name, or another place with -o DIR."
            ) from None
        except FailedHookException as error:
            raise AnswerError(str(error)) from None
        except CookiecutterException as error:
            said = getattr(error, "message", error)  # without the whole context, which str() would add
            raise AnswerError(f"template {template}: {said}") from error
        except EOFError:
            raise AnswerError(
                "no answers on standard input; want a terminal, or answers as NAME=VALUE. Add --no-input."
            ) from None
        except OSError as error:
            what = f"{error.filename or output_dir}: {error.strerror}"
            raise AnswerError(f"{what}; want a folder to write in. Choose one with -o DIR.") from None
    return Path(made)


@dataclass(frozen=True)
class ImageChange:
    """What `use_image` wrote into one submit file, and what the user should know about it."""

    path: Path
    lines: ImageLines
    notes: tuple[str, ...]


def submit_files(folder: Path) -> list[Path]:
    """The submit files of a project that name an image."""
    return [path for path in sorted(folder.glob("*.sub")) if _image_commands(Description.read(path))]


def unready(folder: Path) -> list[str]:
    """What a new project lacks before its jobs can run: an image, data, a project of the OSPool; as far as that can be
    seen from here.
    """
    faults = []
    for path in submit_files(folder):
        job = Submission.read(path)
        for name in _image_commands(job.description):
            try:
                images.check_here(images.parse(job.value(name).strip('"')), folder)
            except ImageError as error:
                faults.append(str(error))
        data = job.value("data")
        if data and "://" not in data and not (folder / data).exists():
            faults.append(f"data = {data}: not there yet. Put the data there, or `osgdl stage` it")
        if (named := job.string("+ProjectName")) in PLACEHOLDERS:
            faults.append(
                f"+ProjectName = {named} stands for yours on the OSPool, in each .sub: "
                "`grep $USER /etc/condor/UserToProjectMap.txt` on the access point"
            )
    return list(dict.fromkeys(faults))


def use_image(reference: str, files: list[Path], syntax: str = images.AUTOMATIC) -> list[ImageChange]:
    """Makes submit files use an image: the right command for it, its guard, and never both commands. Comments stay.

    All files are worked out before the first is written.

    Raises:
        ImageError: the image cannot be used or is not where it should be, or a file has no place for its guard.
        KitError: a file cannot be read, or sets its image in a way that only a person can change.
    """
    answers.choice("image_syntax", syntax, images.SYNTAXES)
    image = images.parse(reference)
    lines = images.lines(image, syntax)
    if not files:
        raise ImageError(
            "no submit file here names an image; want a project's folder, or files. "
            "Name them: osgdl image use IMAGE FILES."
        )
    changed = []
    for path in files:
        images.check_here(image, path.parent)
        if lacks(image.reference):
            raise ImageError(
                wrong("image", reference, "its folder is here, and has no such file", "want an image that is there",
                      "Push it, and use the URL this prints: `osgdl image push FILE.sif`")
            )  # fmt: skip
        description = Description.read(path)
        present = _image_commands(description)
        for extra in present[1:]:  # of both, container_image would win in silence
            description.remove(extra)
        old = (description.get(present[0]) or "") if present else ""
        description.set(lines.command, lines.value, replaces=present[0] if present else None)
        _set_guard(description, lines)
        changed.append((description, ImageChange(path, lines, _notes(image, old, description))))
    for description, _ in changed:
        description.write()
    return [change for _, change in changed]


def _notes(image: images.Image, old: str, description: Description) -> tuple[str, ...]:
    """What follows from the new image for other lines, `old` being the image before; the disk that it needs is set."""
    notes = []
    if image.kind == "docker":
        notes.append(
            "every machine pulls a docker:// image from its registry, which limits pulls: fine for a try; "
            "build a .sif for more"
        )
    if image.kind != "cvmfs":
        wanted, note = disk.with_image(Submission(description))
        if wanted:
            description.set("request_disk", wanted)
        notes += [note] * bool(note)
    if image.kind == "cvmfs" and old and "/cvmfs/" not in old:
        notes.append(
            f"the image no longer needs the job's disk: request_disk = {description.get('request_disk')} is left as it "
            "is, and may be lower by twice the image's size, which finds more machines"
        )
    return tuple(notes)


def _set_guard(description: Description, lines: ImageLines) -> None:
    requirements = description.get("requirements") or ""
    if description.get(GUARD) is not None and f"$({GUARD})" in requirements:
        description.set(GUARD, lines.guard)
    elif any(clause not in requirements for clause in lines.guard.split(" && ") if clause != "True"):
        raise ImageError(
            f"{description.path}: requirements={requirements!r}: nothing guards the image; want $({GUARD}) in it. "
            f"Write `{GUARD} = {lines.guard}` above it and `$({GUARD}) && ...` into it."
        )


def _image_commands(description: Description) -> list[str]:
    """The commands that name an image, each once, as the file writes them."""
    wanted = (key(SINGULARITY_IMAGE), key(CONTAINER_IMAGE), "docker_image")
    found = {key(command.name): command.name for command in description.commands() if key(command.name) in wanted}
    return list(found.values())


def _folder(template: str) -> Path:
    return templates_root() / "templates" / template


@contextmanager
def _own_configuration() -> Iterator[Path]:
    """A configuration of cookiecutter's that keeps defaults and replays of the user's other templates out, and ours
    out of theirs.
    """
    with tempfile.TemporaryDirectory(prefix="osgdl-") as folder:
        file = Path(folder) / "cookiecutter.yaml"
        file.write_text(
            json.dumps({"replay_dir": folder, "cookiecutters_dir": folder, "default_context": {}}), encoding="utf-8"
        )
        yield file


@contextmanager
def _quiet() -> Iterator[None]:
    """cookiecutter logs a traceback for a hook that refuses; the hook's own line is what the user needs.

    The extension's module has the same name in every template and must not stay from another one.
    """
    logger = logging.getLogger("cookiecutter")
    before = logger.disabled, logger.propagate
    handler = logging.NullHandler()
    logger.addHandler(handler)
    logger.propagate = False
    sys.modules.pop("local_extensions", None)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.disabled, logger.propagate = before
