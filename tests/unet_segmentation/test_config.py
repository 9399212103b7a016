from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.runtime import configuration
from submit.runtime.exit_codes import BadInput
from unet_segmentation import config
from unet_segmentation.config import Config


def test_a_file_and_then_assignments(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[train]\nsteps = 5\nlearning_rate = 1\n[data]\nmodalities = ['t1c', 'flair']\n")
    loaded = config.load(file, ["train.steps=7", "checkpoint.folder=checkpoint", 'model.normalisation="none"'])
    assert loaded.train.steps == 7
    assert loaded.train.learning_rate == 1.0 and isinstance(loaded.train.learning_rate, float)
    assert loaded.data.modalities == ("t1c", "flair")
    assert (loaded.checkpoint.folder, loaded.model.normalisation) == ("checkpoint", "none")
    assert config.load() == Config()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "train.stepps=7",
            "train.stepps: not a key of the configuration; did you mean steps? valid are steps, minutes, epochs, ",
        ),
        (
            "trian.steps=7",
            "trian: not a section of the configuration; did you mean train? valid are data, model, train, ",
        ),
        ("train.steps=many", "train.steps: 'many'; a whole number: optimiser steps in all"),
        ("train.steps=true", "train.steps: True; a whole number"),
        ("train.steps=1.5", "train.steps: 1.5; a whole number"),
        ("train.steps=-1", "train.steps: -1; 0 to 1000000000: "),
        ("train.learning_rate=nan", "train.learning_rate: nan; 1e-08 to 1.0"),
        ("train.deterministic=1", "train.deterministic: 1; a text"),
        ("train.deterministic=yes", "train.deterministic: 'yes'; one of auto, on, off"),
        ("model.deep_supervision=1", "model.deep_supervision: 1; true or false"),
        ("train.precision=float16", "train.precision: 'float16'; one of auto, float32, bfloat16"),
        ("data.modalities=flair", "data.modalities: 'flair'; a list of different names"),
        ("data.modalities=['t1','t1']", "data.modalities: ['t1', 't1']; a list of different names"),
        ("train.patch=100", "train.patch: 100; a multiple of 8: 4 levels halve it 3 times; --set train.patch=104"),
        ("train.steps", "--set train.steps: no assignment; section.key=value"),
        ("steps=1", "--set steps=1: no assignment; section.key=value"),
        ("train.steps=1\nmodel.width=3", "train.steps: "),
    ],
)
def test_what_does_not_fit_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        config.load(None, [assignment])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 5", "steps: outside of a section, 5"),
        ("[train", "not TOML"),
        ("\xff", "not TOML"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "my.toml"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=message):
        config.load(file)


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["model.dimensions=3", "train.depth=20"], "train.depth: 20; a multiple of 8: 4 levels halve it 3 times"),
        (["model.dimensions=3", "model.context=1"], "model.context: 1; 0 where model.dimensions is 3"),
        (["data.folds=5", "data.fold=5"], "data.fold: 5; 0 to 4: data.folds is 5"),
    ],
)
def test_what_does_not_go_together_is_refused(assignments: list[str], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        config.load(None, assignments)
    assert str(caught.value).startswith(message)


def test_recipes() -> None:
    """`modern` writes the defaults out; each is a whole configuration."""
    assert config.recipes() == ["dong2017", "modern", "modern3d"]
    assert config.load("modern") == Config()
    dong = config.load("dong2017")
    assert (dong.model.width, dong.model.levels, dong.train.loss, dong.train.learning_rate) == (64, 5, "dice", 1e-4)
    assert config.load("modern3d", ["train.depth=32"]).train.depth == 32
    with pytest.raises(BadInput, match=r"dong2018: cannot be read .* a recipe: dong2017, modern, modern3d"):
        config.load("dong2018")


def test_the_hash_is_of_what_decides_the_result() -> None:
    for change in ("checkpoint.every_steps=7", "data.cache=elsewhere"):
        assert config.load(None, [change]).hash() == Config().hash()
    assert config.load(None, ["train.seed=7"]).hash() != Config().hash()


SECTIONS = {f.name: f.default_factory() for f in dataclasses.fields(Config)}  # type: ignore[misc]
KEYS = [f"{name}.{f.name}" for name, section in SECTIONS.items() for f in dataclasses.fields(section)]


@given(st.one_of(st.sampled_from(KEYS), st.text(max_size=20)), st.text(max_size=20))
def test_any_assignment_is_taken_or_refused_in_one_line(target: str, value: str) -> None:
    try:
        config.load(None, [f"{target}={value}"])
    except BadInput as fault:
        assert "\n" not in str(fault)
        assert str(fault).count("; ") >= 2


TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.sampled_from(KEYS), TOML)
def test_any_value_is_of_the_right_type_or_refused(target: str, value: Any) -> None:
    name, key = target.split(".")
    try:
        changed = configuration.changed(Config(), name, key, value, "edit it")
    except BadInput:
        return
    held, default = getattr(getattr(changed, name), key), getattr(SECTIONS[name], key)
    assert type(held) is type(default)


@given(st.binary(max_size=60))
def test_any_file_is_taken_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "my.toml"
        file.write_bytes(content)
        try:
            config.load(file)
        except BadInput as fault:
            assert "\n" not in str(fault)
