"""A user's project: made from a template, and moved from one image to another."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from submit import answers, images
from submit.description import Description, key
from submit.errors import AnswerError, ImageError, KitError, wrong
from submit.images import CONTAINER_IMAGE, SINGULARITY_IMAGE, ImageLines
from submit.rendering import ROOT

DEFAULT_TEMPLATE = "unet-segmentation"
GUARD = "image_guard"


def templates_root() -> Path:
    """The folder with cookiecutter.json and templates/: the clone's root, or inside the installed package."""
    packaged = ROOT / "submit"
    return packaged if (packaged / "cookiecutter.json").is_file() else ROOT


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


def parse_answers(words: list[str]) -> dict[str, str]:
    """`["gpus=2", ...]` as a mapping. Raises AnswerError for a word without `=` and for a name given twice."""
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise AnswerError(wrong("answer", word, "no =", "want NAME=VALUE, such as gpus=2", f"Write {word}=VALUE"))
        if name in given:
            raise AnswerError(wrong(name, value, "given twice", "want one answer to each question", f"Leave one {name}= out"))
        given[name] = value
    return given


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
            fix = f"Did you mean {nearest[0]}?" if nearest else "Leave it out"
            raise AnswerError(wrong(name, value, "no such question", f"want one of {', '.join(known)}", fix))
        if isinstance(known[name], list):
            answers.choice(name, value, known[name])
    # cookiecutter renders answers as Jinja templates; a template that is one string literal renders to that string
    context = {name: value if isinstance(known[name], list) else f"{{{{ {ascii(value)} }}}}" for name, value in given.items()}
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
        except OutputDirExistsException:
            folder = output_dir / answers.slug(given.get("project_name", known["project_name"]))
            raise AnswerError(
                f"{folder}: exists; want a new folder. Choose another project_name, or another place with -o DIR."
            ) from None
        except FailedHookException as error:
            raise AnswerError(str(error)) from None
        except CookiecutterException as error:
            raise AnswerError(f"template {template}: {error}") from error
        except OSError as error:
            raise AnswerError(
                f"{error.filename or output_dir}: {error.strerror}; want a folder to write in. Choose one with -o DIR."
            ) from None
    return Path(made)


@dataclass(frozen=True)
class ImageChange:
    """What `use_image` wrote into one submit file."""

    path: Path
    lines: ImageLines


def submit_files(folder: Path) -> list[Path]:
    """The submit files of a project that name an image."""
    return [path for path in sorted(folder.glob("*.sub")) if _image_commands(Description.read(path))]


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
        raise ImageError("no submit file here names an image; want a project's folder, or files. Name them: osgdl image use IMAGE FILES.")
    changed = []
    for path in files:
        images.check_here(image, path.parent)
        description = Description.read(path)
        present = _image_commands(description)
        if len(present) > 1:
            # container_image would win in silence
            for extra in present[1:]:
                description.remove(extra)
        description.set(lines.command, lines.value, replaces=present[0] if present else None)
        _set_guard(description, lines)
        changed.append(description)
    for description in changed:
        description.write()
    return [ImageChange(description.path, lines) for description in changed]


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
    """A configuration of cookiecutter's that keeps defaults and replays of the user's other templates out, and ours out of theirs."""
    with tempfile.TemporaryDirectory(prefix="osgdl-") as folder:
        file = Path(folder) / "cookiecutter.yaml"
        file.write_text(json.dumps({"replay_dir": folder, "cookiecutters_dir": folder, "default_context": {}}), encoding="utf-8")
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
