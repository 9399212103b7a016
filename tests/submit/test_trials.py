"""The trials of a sweep: grids and draws, what is refused, and the text that HTCondor hands to the trainer."""

from __future__ import annotations

import shlex
from pathlib import Path

import htcondor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import trials
from submit.errors import KitError
from submit.runtime import configuration

SPACE = '[train]\nlearning_rate = {from = 1e-4, to = 1e-2, log = true}\nloss = ["dice", "dice+cross-entropy"]\n'


def space(tmp_path: Path, text: str) -> trials.Space:
    path = tmp_path / "space.toml"
    path.write_text(text)
    return trials.read(path)


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    held = space(tmp_path, "[train]\nbatch_size = [4, 8]\ncompile = [true, false]\n[model]\nwidth = [8]\n")
    assert list(held) == ["train.batch_size", "train.compile", "model.width"]
    assert trials.grid(held) == [("4", "true", "8"), ("4", "false", "8"), ("8", "true", "8"), ("8", "false", "8")]


def test_draws_are_different_within_the_range_and_a_function_of_the_seed(tmp_path: Path) -> None:
    held = space(tmp_path, SPACE + "[model]\nwidth = {from = 8, to = 64, log = true}\nlevels = {from = 2, to = 4}\n")
    drawn = trials.drawn(held, 500, 1)
    assert len(set(drawn)) == 500 and drawn[:100] == trials.drawn(held, 100, 1) != trials.drawn(held, 100, 2)
    rates = [float(trial[0]) for trial in drawn]
    assert min(rates) >= 1e-4 and max(rates) <= 1e-2 and 180 < sum(rate < 1e-3 for rate in rates) < 320
    assert {int(trial[3]) for trial in drawn} == {2, 3, 4}
    assert all(8 <= int(trial[2]) <= 64 for trial in drawn)


def test_a_small_space_can_be_drawn_whole(tmp_path: Path) -> None:
    held = space(tmp_path, "[train]\nbatch_size = [4, 8, 16]\ncompile = [true, false]\n")
    assert sorted(trials.drawn(held, 6, 1)) == sorted(trials.grid(held))
    with pytest.raises(KitError, match=r"--random='?7'?: 6 different trials found"):
        trials.drawn(held, 7, 1)


REFUSED = {
    "train = 3\n": "no section",
    "": "empty",
    "[train]\nsteps = 4\n": "a list such as",
    "[train]\nsteps = []\n": "a list such as",
    "[train]\nsteps = [4, 4]\n": "twice",
    "[train]\nsteps = {from = 4}\n": "a list such as",
    "[train]\nsteps = {from = 4, to = 4}\n": "from 4 to 4",
    "[train]\nsteps = {from = 0, to = 4, log = true}\n": "above 0",
    "[train]\nsteps = {from = nan, to = 4}\n": "from below to",
    '[train]\nloss = ["$(x)"]\n': "without [$]",
    '[train]\nloss = ["é"]\n': "plain ASCII",
    "[train]\nloss = [1979-05-27]\n": "a number, a text",
    '[train]\n"a b" = [1]\n': "no key",
    "[train\n": "not TOML",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_space_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(KitError, match=REFUSED[text]) as refused:
        space(tmp_path, text)
    assert "\n" not in str(refused.value) and "space.toml" in str(refused.value)


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="No such file"):
        trials.read(tmp_path / "none.toml")
    held = space(tmp_path, SPACE)
    with pytest.raises(KitError, match=r"train\.learning_rate: a range; a grid wants a list"):
        trials.grid(held)
    with pytest.raises(KitError, match="--random=0"):
        trials.drawn(held, 0, 1)
    large = space(tmp_path, "[train]\n" + "".join(f"a{n} = [1, 2, 3, 4]\n" for n in range(12)))
    with pytest.raises(KitError, match="--grid=16777216: too many trials"):
        trials.grid(large)


PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="$"), max_size=20)


@given(st.lists(PLAIN, min_size=1, max_size=4))
def test_any_words_reach_the_job_as_they_stand(words: list[str]) -> None:
    """As HTCondor reads `arguments` and a shell its words."""
    made = htcondor2.Submit(
        f'executable = x\nsettings = {trials.quoted(words)}\narguments = "train $(settings:)"\nqueue\n'
    )
    ours = made.expand("arguments")
    assert ours.startswith('"train ') and ours.endswith('"')
    inside = ours[1:-1].replace('""', '"')  # the new syntax: "" is ", '' within quotes is '
    found, at = [], 0
    text = inside[len("train ") :]
    while at < len(text):
        assert text[at] == "'"
        word, at = "", at + 1
        while not (text[at] == "'" and text[at + 1 : at + 2] != "'"):
            step = 2 if text[at] == "'" else 1
            word, at = word + text[at], at + step
        found.append(word)
        at += 2
    assert found == words


VALUES = st.one_of(
    st.integers(-(2**31), 2**31), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), PLAIN,
    st.lists(PLAIN, max_size=3),
)  # fmt: skip


@given(VALUES)
def test_the_trainer_reads_the_value_that_was_meant(value: object) -> None:
    assert configuration.toml_value(trials.text("x", value)) == value


def test_settings() -> None:
    assert trials.settings(["train.steps", "model.width"], ("4", "8")) == ["train.steps=4", "model.width=8"]
    assert shlex.split(trials.quoted(["a b", "c"])) == ["a b", "c"]
