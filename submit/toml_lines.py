"""A TOML file as lines: numbers and words of its sections changed in place, everything else kept byte for byte.

Only plain `key = value` lines below their `[section]` are changed, and only where the file then parses to what was
meant; anything else is left to a person.
"""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

from submit.errors import KitError
from submit.runtime.files import write_atomic

_SECTION = re.compile(r"[ \t]*\[[ \t]*([A-Za-z0-9_-]+)[ \t]*\][ \t]*(?:#.*)?\r?")
_LINE = re.compile(r"([ \t]*([A-Za-z0-9_-]+)[ \t]*=[ \t]*)([A-Za-z0-9_.+-]+)([ \t]*(?:#.*)?\r?)")
_PROBE = '"osgdl-probe"'


class TomlLines:
    """The text of a TOML file.

    Example:
        settings = TomlLines.read(Path("config.toml"))
        settings.set("train", "batch_size", "16")
        settings.write()

    Raises:
        KitError: it is none.
    """

    def __init__(self, text: str, path: Path = Path("TOML file")) -> None:
        self.path = path
        self._lines = text.split("\n")
        try:
            self._held = tomllib.loads(text)
        except tomllib.TOMLDecodeError as fault:
            raise KitError(f"{path}: not TOML ({fault}); lines such as `steps = 2000` are wanted. Edit it.") from None

    @classmethod
    def read(cls, path: Path) -> TomlLines:
        """The file at `path`. Raises KitError when it cannot be read."""
        try:
            return cls(path.read_bytes().decode("utf-8"), path)
        except OSError as fault:
            raise KitError(f"{path}: {fault.strerror}; a TOML file is wanted. Make it, or change folder.") from None
        except UnicodeDecodeError as fault:
            raise KitError(f"{path}: not UTF-8 ({fault}); a TOML file is wanted. Save it as UTF-8.") from None

    def write(self) -> None:
        """Replaces the file in one step; its permissions stay, and a link stays a link."""
        target = self.path.resolve()
        mode = target.stat().st_mode
        write_atomic(target, self.text.encode("utf-8"))
        target.chmod(mode)

    @property
    def text(self) -> str:
        """The whole file; what was read, unless something was set."""
        return "\n".join(self._lines)

    def value(self, section: str, key: str) -> Any:
        """As TOML has it; None where the file does not set it."""
        held = self._held.get(section)
        return held.get(key) if isinstance(held, dict) else None

    def get(self, section: str, key: str) -> str | None:
        """As it is written: `1e-3`. None where the file does not set it.

        Raises:
            KitError: it is there, and not on a plain line.
        """
        return None if self.value(section, key) is None else self._found(section, key)[1].group(3)

    def set(self, section: str, key: str, text: str) -> None:
        """Writes `text`, a TOML value, on the key's line, or on a new one below the section's others.

        Raises:
            KitError: the line is for a person to change.
        """
        if self.value(section, key) is None:
            self._add(section, key, text)
            return
        at, match = self._found(section, key)
        self._take([*self._lines[:at], f"{match.group(1)}{text}{match.group(4)}", *self._lines[at + 1 :]])

    def remove(self, section: str, key: str) -> None:
        """Takes the key's line out. Raises KitError as `set` does."""
        at, _ = self._found(section, key)
        self._take([*self._lines[:at], *self._lines[at + 1 :]])

    def _take(self, lines: list[str]) -> None:
        self._lines, self._held = lines, tomllib.loads("\n".join(lines))

    def _found(self, section: str, key: str) -> tuple[int, re.Match[str]]:
        """The line that sets the key: the one that changes it and nothing else."""
        for at, line in enumerate(self._lines):
            match = _LINE.fullmatch(line)
            if match and match.group(2) == key:
                changed = [*self._lines[:at], f"{match.group(1)}{_PROBE}{match.group(4)}", *self._lines[at + 1 :]]
                if self._is(changed, section, key, _PROBE):
                    return at, match
        raise KitError(
            f"{self.path}: {section}.{key}: not on a plain line; `{key} = NUMBER` below [{section}] is wanted. "
            "Write it so."
        )

    def _add(self, section: str, key: str, text: str) -> None:
        names = [_SECTION.fullmatch(line) for line in self._lines]
        starts = [at for at, match in enumerate(names) if match and match.group(1) == section]
        ending = "\r" if self._lines[0].endswith("\r") else ""
        places = [
            [*self._lines[:at], f"{key} = {text}{ending}", *self._lines[at:]]
            for start in starts
            for at in range(self._end(start), start, -1)
        ]
        rest = self._lines if self._lines[-1] == "" else [*self._lines, ""]
        places.append([*rest[:-1], f"[{section}]{ending}", f"{key} = {text}{ending}", ""])
        for lines in places:
            if self._is(lines, section, key, text):
                self._take(lines)
                return
        raise KitError(f"{self.path}: no plain [{section}]; one is wanted. Write `{key} = {text}` there by hand.")

    def _end(self, start: int) -> int:
        """Behind the last plain line of the section that begins at `start`."""
        end = start + 1
        for at in range(start + 1, len(self._lines)):
            if self._lines[at].lstrip().startswith("["):
                break
            if _LINE.fullmatch(self._lines[at]):
                end = at + 1
        return end

    def _is(self, lines: list[str], section: str, key: str, text: str) -> bool:
        """Whether the lines hold what the file does, but for the key."""
        wanted = copy.deepcopy(self._held)
        part = wanted.setdefault(section, {})
        if not isinstance(part, dict):
            return False
        part[key] = tomllib.loads(f"value = {text}")["value"]
        try:
            same: bool = _canonical(tomllib.loads("\n".join(lines))) == _canonical(wanted)
        except tomllib.TOMLDecodeError:
            return False
        return same


def _canonical(value: Any) -> Any:
    """Comparable: nan is nan, 1 is not True, and the order of keys says nothing."""
    if isinstance(value, dict):
        return {key: _canonical(one) for key, one in value.items()}
    return [_canonical(one) for one in value] if isinstance(value, list) else repr(value)
