"""A TOML file's lines: what is set is there, and nothing else has changed."""

from __future__ import annotations

import string
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.errors import KitError
from submit.toml_lines import TomlLines

TEXT = """\
# of the run
[train]
# images a step
batch_size = 8   # over all GPUs
learning_rate = 1e-3

[model]
width = 16
"""

NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=4)
# what looks like lines and sections and is none stands in texts of several lines
VALUES = st.one_of(
    st.integers(-99, 99).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["true", "false", "inf", "nan", "1_000", "[1, 2]", "{ a = 1 }", '"a = 1 # no"', "'[a]'"]),
    st.sampled_from(['"""\n[a]\na = 1\nb = 2\n"""', "'''\n[b]\nb = 1\n'''", "[\n  1, # one\n  2,\n]"]),
)
COMMENTS = st.sampled_from(["", "  # a = 1", " # [a]", "\t"])


@st.composite
def files(draw: st.DrawFn) -> str:
    """A TOML file: keys at its top, and sections of keys."""
    lines: list[str] = []
    tops = draw(st.lists(NAMES, unique=True, max_size=3))
    for name in ["", *draw(st.lists(NAMES.filter(lambda one: one not in tops), unique=True, max_size=4))]:
        lines += [f"{' ' * draw(st.integers(0, 2))}[{name}]{draw(COMMENTS)}"] if name else []
        for key in draw(st.lists(NAMES, unique=True, max_size=4)) if name else tops:
            lines.append(f"{key}{draw(st.sampled_from([' = ', '=', '  =']))}{draw(VALUES)}{draw(COMMENTS)}")
            lines += [draw(st.sampled_from(["", "# a = 2", "   "]))] if draw(st.booleans()) else []
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    text = "\n".join(lines).replace("\n", ending)
    return text + (ending if draw(st.booleans()) else "")


def flat(text: str) -> dict[str, str]:
    return {
        f"{section}.{key}": repr(value)
        for section, held in tomllib.loads(text).items()
        for key, value in (held.items() if isinstance(held, dict) else [("", held)])
    }


@given(files(), NAMES, NAMES, st.sampled_from(["5", "0.25", "1e-3", "true"]))
def test_what_is_set_is_there_and_nothing_else_changes(text: str, section: str, key: str, value: str) -> None:
    lines = TomlLines(text)
    before: Any = flat(text)
    old = lines.value(section, key)
    try:
        lines.set(section, key, value)
    except KitError:
        assert lines.text == text
        return
    assert flat(lines.text) == before | {f"{section}.{key}": repr(tomllib.loads(f"v = {value}")["v"])}
    assert lines.get(section, key) == value
    new = lines.text.split("\n")
    if old is not None:
        assert sum(a != b for a, b in zip(text.split("\n"), new, strict=True)) <= 1
    else:
        lines.remove(section, key)
        assert flat(lines.text) == before


@given(files())
def test_a_value_set_and_set_back_is_the_same_file(text: str) -> None:
    for name, held in tomllib.loads(text).items():
        for key in held if isinstance(held, dict) else []:
            lines = TomlLines(text)
            try:
                written = str(lines.get(name, key))
            except KitError:
                continue
            lines.set(name, key, "77")
            assert lines.value(name, key) == 77
            lines.set(name, key, written)
            assert lines.text == text


def test_comments_stay_and_a_new_key_goes_below_the_others() -> None:
    lines = TomlLines(TEXT)
    lines.set("train", "batch_size", "32")
    lines.set("train", "warm_up", "0.05")
    lines.set("data", "fold", "1")
    wanted = TEXT.replace("= 8 ", "= 32 ").replace("1e-3\n", "1e-3\nwarm_up = 0.05\n") + "[data]\nfold = 1\n"
    assert lines.text == wanted


@pytest.mark.parametrize(
    "text", ["[train]\nbatch_size = '8'\n", "train.batch_size = 8\n", "[train]\nbatch_size = [\n8]\n"]
)
def test_what_is_not_on_a_plain_line_is_for_a_person(text: str) -> None:
    for change in (lambda lines: lines.set("train", "batch_size", "4"), lambda lines: lines.get("train", "batch_size")):
        with pytest.raises(
            KitError, match=r"train\.batch_size: not on a plain line; `batch_size = NUMBER` below \[train"
        ):
            change(TomlLines(text))


def test_a_section_that_is_none() -> None:
    with pytest.raises(KitError, match=r"no plain \[train\]; one is wanted\. Write `steps = 5` there by hand"):
        TomlLines("train = 1\n").set("train", "steps", "5")


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"gone\.toml: No such file or directory; a TOML file is wanted"):
        TomlLines.read(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(KitError, match=r"latin\.toml: not UTF-8 .*Save it as UTF-8"):
        TomlLines.read(tmp_path / "latin.toml")
    with pytest.raises(KitError, match=r"not TOML .*Edit it"):
        TomlLines("[train\n")


def test_written_in_one_step_with_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(TEXT)
    file.chmod(0o640)
    lines = TomlLines.read(file)
    lines.set("model", "width", "32")
    lines.write()
    assert file.read_text() == TEXT.replace("16", "32") and file.stat().st_mode & 0o777 == 0o640
