"""The rungs of a sweep by successive halving: how many trials each has, and how long they train."""

from __future__ import annotations

import itertools
import json
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from submit import sampler
from submit.errors import KitError, wrong
from submit.trials import Space

RUNGS, KEEP = 3, "1/3"
MOST = 10_000  # trials: a node of DAGMan's each
PLAN = "halving.json"
BUDGETS = ("steps", "minutes", "epochs")  # of [train]; the first that is set counts, as for the trainer
EPOCHS = 40  # the trainer's default


@dataclass(frozen=True)
class Plan:
    """What was wished.

    Attributes:
        places: how many trials each rung has, the first to the last.
        budget: the setting that grows from rung to rung.
        amounts: of it in each rung.
        seed: of the draws.
        sampler: `random`: the first rung is drawn; `tpe`: besides, a third of each later rung's places are for what
            optuna proposes.
        by: the score, a number of metrics.json; empty: the mean Dice.
        lowest: the lowest score is the best.
    """

    places: tuple[int, ...]
    budget: str
    amounts: tuple[float, ...]
    seed: int
    sampler: str
    by: str
    lowest: bool


def planned(
    project: Path, space: Space, count: int, rungs: int = RUNGS, keep: str = KEEP,
    seed: int = 1, sampler_name: str = "random", by: str = "", lowest: bool = False,
) -> Plan:  # fmt: skip
    """The rungs; the last has the whole budget, which config.toml says.

    Args:
        count: trials of the first rung.
        rungs: how many.
        keep: share that goes on, such as 1/3; the budget grows by as much.
        sampler_name: who proposes.

    Raises:
        KitError: one of these is out of range, or they do not go together.
    """
    sampler.require(sampler_name)
    try:
        share = Fraction(keep)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share < 1:
        raise KitError(wrong("--keep", keep, "no share", "a number between 0 and 1 is wanted", "E.g. --keep 1/3"))
    if not 2 <= rungs <= 10:
        raise KitError(wrong("--rungs", rungs, "out of range", "2 to 10 are wanted", f"E.g. --rungs {RUNGS}"))
    if not 2 <= count <= MOST:
        raise KitError(wrong("--halving", count, "out of range", f"2 to {MOST:,} trials are wanted", "E.g. 27"))
    places = tuple(int(count * share**rung) for rung in range(rungs))
    if places[-1] < 1:
        least = -int(-((1 / share) ** (rungs - 1)) // 1)
        said = f"none of so many trials is left in rung {rungs - 1}"
        raise KitError(wrong("--halving", count, said, f"{least} or more, or fewer rungs", f"E.g. --halving {least}"))
    key, whole = _budget(project)
    if f"train.{key}" in space:
        mend = "Take it out of SPACE.toml: config.toml says how long the last rung trains"
        raise KitError(wrong("SPACE.toml", f"train.{key}", "is the budget of the rungs", "other settings", mend))
    exact = [whole * float(share ** (rungs - 1 - rung)) for rung in range(rungs)]
    amounts = tuple(exact if key == "minutes" else [max(1, round(amount)) for amount in exact])
    if any(a >= b for a, b in itertools.pairwise(amounts)):
        said = f"too few for {rungs} rungs: {', '.join(f'{amount:g}' for amount in amounts)}"
        raise KitError(
            wrong(f"config.toml: train.{key}", f"{whole:g}", said, "more", "Raise it, or take fewer --rungs")
        )
    return Plan(places, f"train.{key}", amounts, seed, sampler_name, by, lowest)


def read(project: Path, out: str) -> Plan:
    """What was planned.

    Raises:
        KitError: no such sweep.
    """
    path = project / out / PLAN
    try:
        held = json.loads(path.read_bytes())
        return Plan(**{**held, "places": tuple(held["places"]), "amounts": tuple(held["amounts"])})
    except (OSError, ValueError, TypeError, KeyError) as fault:
        raise KitError(f"{path}: {fault}; what `osgdl sweep --halving` wrote is wanted. Run that.") from None


def _budget(project: Path) -> tuple[str, float]:
    """The key of [train] that says how long a training is, and what it says."""
    path = project / "config.toml"
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8")).get("train", {})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise KitError(f"{path}: {fault}; a configuration in TOML is wanted, for its budget. Mend it.") from None
    key = next((name for name in BUDGETS if held.get(name)), BUDGETS[-1])
    return key, float(held.get(key, EPOCHS))
