"""Settings from a TOML file: a frozen dataclass of sections, each a frozen dataclass of keys made by `setting`, with
type, range and meaning. A key or a value that does not fit is refused in one line; nothing is guessed.

Programs that use it bring a Python with tomllib (3.11 or newer).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, Optional, TypeVar

from submit.runtime.exit_codes import BadInput

Config = TypeVar("Config")
MOST_NUMBERS = 16  # of a list
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def setting(
    default: Any,
    about: str,
    low: Optional[float] = None,
    high: Optional[float] = None,
    choices: "tuple[str, ...]" = (),
) -> Any:
    """A key: its value has the type of the default, and lies from `low` to `high`, or among `choices`. A tuple of
    numbers holds 1 to 16 of them, any other different names.
    """
    return field(default=default, metadata={"about": about, "low": low, "high": high, "choices": choices})


def load(config: Config, path: Optional[Path], assignments: Iterable[str], example: str, wanted: str) -> Config:
    """`config`, changed by a TOML file and then by `section.key=value` assignments, whose values are TOML too.

    Args:
        example: an assignment, such as `train.steps=2000`, for messages.
        wanted: what `path` may be, for messages.

    Raises:
        BadInput: a file that is no TOML, an unknown section or key, a value of the wrong type or out of range.
    """
    if path is not None:
        for name, section in _sections(path, example, wanted).items():
            if not isinstance(section, Mapping):
                known = f"a section: {_known(type(config))}"
                raise BadInput(name, f"outside of a section, {section!r}", known, f"move it in {path}")
            for key, value in section.items():
                config = changed(config, name, key, value, f"edit {path}")
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        name, dot, key = target.strip().partition(".")
        if not equals or not dot:
            mend = f"write for example --set {example}"
            raise BadInput(f"--set {assignment}", "no assignment", "section.key=value", mend)
        config = changed(config, name, key, toml_value(text.strip()), f"change --set {assignment}")
    return config


def as_dict(config: Any) -> "dict[str, dict[str, Any]]":
    """Sections of plain JSON values."""
    sections: dict[str, dict[str, Any]] = json.loads(json.dumps(dataclasses.asdict(config)))
    return sections


def _sections(path: Path, example: str, wanted: str) -> Mapping[str, Any]:
    import tomllib  # here, because the runtime is imported by older Pythons too

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise BadInput(path, f"cannot be read ({fault.strerror})", wanted, "name it with --config") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        section, _, line = example.partition(".")
        lines = f"lines such as `[{section}]` and `{line.replace('=', ' = ')}`"
        raise BadInput(path, f"not TOML ({fault})", lines, f"edit {path}") from fault


def toml_value(text: str) -> Any:
    """A bare word is a string, so that `--set checkpoint.folder=checkpoint` needs no quotes inside quotes."""
    import tomllib

    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def changed(config: Any, section: str, key: str, value: Any, mend: str) -> Any:
    """`config` with one key set, as `load` does it; `mend` ends the message where it does not fit."""
    if section not in {one.name for one in fields(config)}:
        raise BadInput(section, "not a section of the configuration", _known(type(config), section), mend)
    old = getattr(config, section)
    known = {one.name: one for one in fields(old)}
    where = f"{section}.{key}"
    if key not in known:
        raise BadInput(where, "not a key of the configuration", _known(type(old), key), mend)
    checked = _checked(where, value, known[key], mend)
    return dataclasses.replace(config, **{section: dataclasses.replace(old, **{key: checked})})


def _known(kind: Any, given: str = "") -> str:
    names = [one.name for one in fields(kind)]
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return (f"did you mean {near[0]}? " if near else "") + f"valid are {', '.join(names)}"


def _checked(where: str, value: Any, key: "dataclasses.Field[Any]", mend: str) -> Any:
    """The value in the type of its default, in range."""
    default, about = key.default, key.metadata["about"]
    if isinstance(default, tuple):
        numbers = bool(default) and isinstance(default[0], float)
        return _numbers(where, value, about, mend) if numbers else _names(where, value, mend)
    if isinstance(default, float):
        value = _number(value)
    if type(value) is not type(default):
        raise BadInput(where, repr(value), f"{KINDS[type(default)]}: {about}", mend)
    low, high, choices = (key.metadata[name] for name in ("low", "high", "choices"))
    if low is not None and not low <= value <= high:
        raise BadInput(where, repr(value), f"{low} to {high}: {about}", mend)
    if choices and value not in choices:
        raise BadInput(where, repr(value), f"one of {', '.join(choices)}: {about}", mend)
    if value == "" and default != "":
        raise BadInput(where, "''", about, mend)
    return value


def _number(value: Any) -> Any:
    """A whole number as a float where a float can hold it."""
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53
    return float(value) if whole else value


def _numbers(where: str, value: Any, about: str, mend: str) -> "tuple[float, ...]":
    numbers = [_number(item) for item in value] if isinstance(value, list) else []
    if not 1 <= len(numbers) <= MOST_NUMBERS or not all(isinstance(n, float) and math.isfinite(n) for n in numbers):
        raise BadInput(where, repr(value), f"a list of 1 to {MOST_NUMBERS} numbers: {about}", mend)
    return tuple(numbers)


def _names(where: str, value: Any, mend: str) -> "tuple[str, ...]":
    names = value if isinstance(value, list) else [""]
    if not all(isinstance(item, str) and item for item in names) or len(set(names)) < len(names):
        raise BadInput(where, repr(value), "a list of different names such as ['flair', 't1c']", mend)
    return tuple(names)
