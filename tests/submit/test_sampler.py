"""Trials that optuna proposes: within the space, the same for the same, and better than drawn ones."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from submit import sampler, trials
from submit.errors import KitError
from submit.trials import Trial

pytest.importorskip("optuna", reason="optuna is an extra: pip install '.[sweep]'")

SPACE = """
[train]
learning_rate = { from = 1e-5, to = 1e-1, log = true }
loss = ["dice", "dice+cross-entropy"]
[model]
width = { from = 4, to = 64 }
"""


@pytest.fixture
def space(tmp_path: Path) -> trials.Space:
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return trials.read(path)


def score(trial: Trial) -> float:
    """Best at a rate of 1e-3, and with both losses."""
    return -abs(math.log10(float(trial[0])) + 3) + (trial[1] != "dice")


def test_they_are_of_the_space_and_a_function_of_what_was_told(space: trials.Space) -> None:
    told = {trial: {0: score(trial)} for trial in trials.drawn(space, 12, 1)}
    found = sampler.proposed(space, told, 8, 1)
    assert len(set(found)) == 8 and not set(found) & set(told)
    assert found == sampler.proposed(space, told, 8, 1) != sampler.proposed(space, told, 8, 2)
    for rate, loss, width in found:
        assert 1e-5 <= float(rate) <= 1e-1 and loss in ("dice", '"dice+cross-entropy"') and 4 <= int(width) <= 64


def test_they_are_better_than_drawn_ones(space: trials.Space) -> None:
    told = {trial: {0: score(trial)} for trial in trials.drawn(space, 40, 1)}
    proposed, drawn = sampler.proposed(space, told, 20, 1), trials.drawn(space, 60, 1)[40:]
    mean = {name: sum(map(score, some)) / 20 for name, some in (("tpe", proposed), ("drawn", drawn))}
    assert mean["tpe"] > mean["drawn"] + 0.5, mean


def test_a_later_rung_counts_more_and_a_failure_least(space: trials.Space) -> None:
    listed = trials.drawn(space, 40, 1)
    told: dict[Trial, dict[int, float | None]] = {trial: {0: 0.5} for trial in listed}
    for trial in listed:
        if float(trial[0]) < 1e-4:
            told[trial] = {0: 0.9, 1: 0.1}  # in a later rung: the best there are
        if float(trial[0]) > 1e-2:
            told[trial] = {0: None}
    rates = [float(trial[0]) for trial in sampler.proposed(space, told, 20, 1)]
    assert sum(rate < 1e-4 for rate in rates) > 10 and sum(rate > 1e-2 for rate in rates) < 4, rates


def test_a_small_space_has_no_more(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text("[train]\nbatch_size = [4, 8, 16]\n")
    found = sampler.proposed(trials.read(path), {("4",): {0: 0.1}}, 5, 1)
    assert sorted(found) == [("16",), ("8",)]


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(KitError, match="--sampler='tpe': optuna is not installed"):
        sampler.require("tpe")
    sampler.require("random")
