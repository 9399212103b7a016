"""How the files of a data set are named, as data: the tables of layouts.toml, and a user's own of the same kind."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from submit.runtime.exit_codes import BadInput
from unet_segmentation.labels import NAME_CHARACTERS, Convention, conventions

ENDINGS = (".nii.gz", ".nii", ".mha")
PLACEHOLDER = re.compile(r"(\{patient\}|\{grade\}|\*)")
GRADE_FILE = ("file", "patient", "grade")


@dataclass(frozen=True)
class Template:
    """One file name from the folder above the patients on, such as `{patient}/{patient}_flair`, without its ending."""

    text: str
    pattern: re.Pattern[str] = field(compare=False, repr=False)

    @property
    def parts(self) -> int:
        """Folders and the file itself."""
        return self.text.count("/") + 1

    def filled(self, patient: str, grade: str, anything: str = "*") -> str:
        """The path of a patient's file, `*` replaced by `anything`."""
        return self.text.format(patient=patient, grade=grade).replace("*", anything)


@dataclass(frozen=True)
class Layout:
    """A kind of data set; the keys are those that the head of layouts.toml explains. Several names of one file are in
    order of preference.
    """

    name: str
    about: str
    convention: Convention
    modalities: Mapping[str, tuple[str, ...]]
    truth: tuple[str, ...]
    mask: tuple[str, ...]
    channels: Mapping[str, int]
    endings: tuple[str, ...]
    patient: str
    subject: str
    title: str
    grades: Mapping[str, str]
    grade_file: Mapping[str, str]

    @cached_property
    def templates(self) -> Mapping[str, tuple[Template, ...]]:
        """Of each modality, of `truth` and of `mask`."""
        named = {**self.modalities, "truth": self.truth, "mask": self.mask}
        return {
            kind: tuple(_template(text, self.grades, self.endings) for text in texts) for kind, texts in named.items()
        }

    @cached_property
    def folders(self) -> int:
        """How many of a template's parts lead to a folder that is one patient's alone; 0 if there is none."""
        ways = [template.text.split("/")[:-1] for templates in self.templates.values() for template in templates]
        for index, parts in enumerate(zip(*ways, strict=False), 1):
            if len(set(parts)) > 1:
                return 0
            if "{patient}" in parts[0]:
                return index
        return 0

    @property
    def depth(self) -> int:
        """Parts of the longest template."""
        return max(template.parts for templates in self.templates.values() for template in templates)

    def person(self, patient: str) -> str:
        """The subject of a patient's name."""
        found = re.fullmatch(self.subject, patient)
        return found[1] if found else patient

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, as in layouts.toml; `from_dict` makes the same layout of them."""
        held = asdict(self)
        held["name"] = held.pop("title")  # the layout's own name is not part of the table
        held["convention"] = self.convention.as_dict()
        lists = {key: list(held[key]) for key in ("truth", "mask", "endings")}
        modalities = {name: list(texts) for name, texts in self.modalities.items()}
        return {**held, **lists, "modalities": modalities}

    @classmethod
    def from_dict(cls, name: str, held: Any, where: str) -> Layout:
        """A layout from a table like those of layouts.toml.

        Args:
            name: of the layout.
            held: the table.
            where: what to name in messages.

        Raises:
            BadInput: a field that is missing, unknown or makes no sense.
        """
        return _Reader(where).layout(name, held)


@cache
def layouts() -> Mapping[str, Layout]:
    """All layouts of layouts.toml by name."""
    text = resources.files(__package__).joinpath("layouts.toml").read_text(encoding="utf-8")
    return {name: Layout.from_dict(name, held, f"layouts.toml: {name}") for name, held in tomllib.loads(text).items()}


def named(layout: str) -> Layout:
    """The layout of a name, or of a TOML file of one.

    Raises:
        BadInput: neither.
    """
    if layout in layouts():
        return layouts()[layout]
    path = Path(layout)
    if path.suffix != ".toml":
        known = f"auto, {', '.join(layouts())}, or a TOML file of one"
        raise BadInput("data.layout", repr(layout), known, f"--set data.layout={list(layouts())[-1]}")
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise BadInput(path, f"cannot be read ({fault.strerror})", "a layout", "set data.layout to a file") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        wanted = 'lines such as `truth = "{patient}/{patient}_seg"`'
        raise BadInput(path, f"not TOML ({fault})", wanted, f"edit {path}") from fault
    return Layout.from_dict(path.stem, held, str(path))


def _template(text: str, grades: Mapping[str, str], endings: tuple[str, ...]) -> Template:
    pattern, seen = "", set()
    for word in PLACEHOLDER.split(text):
        key = word.strip("{}")
        if word == "*":
            pattern += "[^/]*"
        elif word not in ("{patient}", "{grade}"):
            pattern += re.escape(word)
        elif key in seen:
            pattern += f"(?P={key})"
        else:
            seen.add(key)
            choice = "[^/]+?" if key == "patient" else "|".join(map(re.escape, grades))
            pattern += f"(?P<{key}>{choice})"
    return Template(text, re.compile(f"{pattern}(?P<ending>{'|'.join(map(re.escape, endings))})"))


class _Reader:
    """Reads one table, field by field."""

    def __init__(self, where: str) -> None:
        self._where = where

    def layout(self, name: str, held: Any) -> Layout:
        if not isinstance(held, Mapping):
            raise BadInput(self._where, repr(held), "a table", "see the head of layouts.toml")
        known = (*(f for f in Layout.__dataclass_fields__ if f != "title"), "name")
        for key in held:
            if key not in known:
                raise self._bad(str(key), "not a key", ", ".join(sorted(set(known))), "remove it")
        modalities = self._modalities(held)
        endings = tuple(self._texts(held, "endings", list(ENDINGS[:2])))
        strange = [ending for ending in endings if ending not in ENDINGS]
        if strange or not endings:
            raise self._bad(
                "endings", repr(strange[0] if strange else []), f"some of {', '.join(ENDINGS)}", "correct it"
            )
        grades = self._table(held, "grades", str)
        names = {**modalities, **{kind: tuple(self._texts(held, kind, [])) for kind in ("truth", "mask")}}
        for kind, texts in names.items():
            for text in texts:
                self._check(f"modalities.{kind}" if kind in modalities else kind, text, grades)
        title = self._text(held, "name", "{patient}")
        self._check("name", title, grades, title=True)
        grade_file = self._table(held, "grade_file", str)
        if grade_file and set(grade_file) != set(GRADE_FILE):
            raise self._bad("grade_file", ", ".join(grade_file), f"the keys {', '.join(GRADE_FILE)}", "correct it")
        return Layout(
            name=name,
            about=self._text(held, "about", f"{name}: {next(iter(modalities.values()))[0]}{endings[0]}"),
            convention=self._convention(held, name),
            modalities=modalities,
            truth=names["truth"],
            mask=names["mask"],
            channels=self._channels(held, modalities),
            endings=endings,
            patient=self._pattern(held, "patient", ".+", 0),
            subject=self._pattern(held, "subject", "(.+)", 1),
            title=title,
            grades=grades,
            grade_file=grade_file,
        )

    def _modalities(self, held: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        wanted = 'names of images and of their files, such as { t2 = "{patient}/t2" }'
        table = held.get("modalities")
        if not isinstance(table, Mapping) or not table:
            raise self._bad("modalities", "missing" if table is None else repr(table), wanted, "add it")
        for name in table:
            if not isinstance(name, str) or not name or set(name) - set(NAME_CHARACTERS) or name in ("truth", "mask"):
                raise self._bad("modalities", repr(name), "letters, digits, - and _; not truth or mask", "rename it")
            if table[name] in ("", []):
                raise self._bad(f"modalities.{name}", repr(table[name]), wanted, "name its file")
        return {name: tuple(self._texts(table, name, [], "modalities.")) for name in table}

    def _convention(self, held: Mapping[str, Any], name: str) -> Convention:
        convention = held.get("convention")
        if isinstance(convention, Mapping):
            return Convention.from_dict({"name": name, **convention}, f"{self._where}: convention")
        if not isinstance(convention, str) or convention not in conventions():
            said = "missing" if convention is None else repr(convention)
            wanted = f"one of {', '.join(conventions())}, or a table of labels and regions"
            raise self._bad("convention", said, wanted, "say what the labels mean")
        return conventions()[convention]

    def _channels(self, held: Mapping[str, Any], modalities: Mapping[str, Any]) -> dict[str, int]:
        channels = self._table(held, "channels", int)
        if channels and set(channels) != set(modalities):
            raise self._bad("channels", ", ".join(channels), f"a number for each of {', '.join(modalities)}", "add it")
        if any(not 0 <= channel < 2**15 for channel in channels.values()):  # NIfTI counts in 16 bits
            raise self._bad("channels", repr(channels), "numbers from 0", "correct it")
        taken: dict[tuple[str, int], str] = {}
        for name, texts in modalities.items():
            for text in texts:
                other = taken.setdefault((text, channels.get(name, 0)), name)
                if other != name and channels:
                    raise self._bad("channels", repr(channels), "a channel of its own for each modality", "correct it")
                if other != name:
                    raise self._bad(f"modalities.{name}", f"the files of {other}", "files of its own", "correct it")
        return channels

    def _check(self, key: str, text: str, grades: Mapping[str, str], title: bool = False) -> None:
        """A template's text."""
        literal = "".join(PLACEHOLDER.split(text)[::2])
        folders = text.split("/")
        if "{patient}" not in text or set(literal) & set("{}\\\0") or any(part in ("", ".", "..") for part in folders):
            wanted = "a path with {patient} in it, from the folder above the patients on"
            raise self._bad(key, repr(text), wanted, "write for example {patient}/{patient}_t2")
        if "{grade}" in text and not grades:
            raise self._bad(key, repr(text), 'grades, such as { HGG = "HGG" }', "add grades or remove {grade}")
        if title and (len(folders) > 1 or "*" in text):
            raise self._bad(key, repr(text), "the name of one file", "remove / and *")
        ending = next((ending for ending in ENDINGS if text.endswith(ending)), "")
        if ending:
            raise self._bad(key, repr(text), f"the name without {ending}", f"put it into endings: [{ending!r}]")

    def _pattern(self, held: Mapping[str, Any], key: str, default: str, groups: int) -> str:
        text = self._text(held, key, default)
        try:
            compiled = re.compile(text)
        except (re.error, OverflowError, RecursionError) as fault:
            raise self._bad(key, repr(text), f"a regular expression ({fault})", "correct it") from fault
        if groups and compiled.groups != groups:
            raise self._bad(key, repr(text), "one group, the person", r"write for example '(.+)_\d+'")
        return text

    def _text(self, held: Mapping[str, Any], key: str, default: str) -> str:
        text = held.get(key, default)
        if not isinstance(text, str) or not text:
            raise self._bad(key, repr(text), "a text", "correct it")
        return text

    def _texts(self, held: Mapping[str, Any], key: str, default: list[str], above: str = "") -> list[str]:
        texts = held.get(key, default)
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text for text in texts):
            raise self._bad(above + key, repr(texts), "a text or a list of texts", "correct it")
        return list(texts)

    def _table(self, held: Mapping[str, Any], key: str, kind: type) -> dict[str, Any]:
        table = held.get(key, {})
        well = isinstance(table, Mapping) and all(
            isinstance(name, str) and name and type(value) is kind for name, value in table.items()
        )
        if not well:
            raise self._bad(key, repr(table), f"a table of {'texts' if kind is str else 'numbers'}", "correct it")
        return dict(table)

    def _bad(self, key: str, held: str, wanted: str, mend: str) -> BadInput:
        return BadInput(f"{self._where}: {key}", held, wanted, mend)
