"""New trials that optuna proposes from those that were scored: asked and told here, on the access point, between two
rungs of a sweep. Nothing of optuna's is kept: the sweep's own files hold all that it is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from submit import trials
from submit.errors import KitError, wrong
from submit.trials import Range, Space, Trial

SAMPLERS = ("random", "tpe")
TRIES = 10  # proposals for each place, while they repeat a trial


def require(name: str) -> None:
    """Nothing, where the sampler is one and can be had.

    Raises:
        KitError: it cannot.
    """
    if name not in SAMPLERS:
        raise KitError(wrong("--sampler", name, "unknown", f"{' or '.join(SAMPLERS)} is wanted", "E.g. --sampler tpe"))
    if name == "tpe":
        _optuna()


def proposed(
    space: Space,
    told: Mapping[Trial, Mapping[int, float | None]],
    count: int,
    seed: int,
    lowest: bool = False,
) -> list[Trial]:
    """At most so many trials that are not among `told`, by optuna's TPE; the same for the same arguments.

    Args:
        space: of the settings.
        told: of each trial its score by rung; None: it failed there.
        count: wanted.
        seed: of the sampler.
        lowest: the lowest score is the best.

    Raises:
        KitError: optuna is not installed.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize" if lowest else "maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    )
    ranges = {name: _distribution(optuna, name, values) for name, values in space.items()}
    for trial, scores in told.items():
        # pruned: TPE ranks such trials by the rung that they reached, then by their score there; without one, last
        known = {} if None in scores.values() else {rung: score for rung, score in scores.items()}
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED,
                params={name: _value(space[name], text) for name, text in zip(space, trial, strict=True)},
                distributions=ranges,
                intermediate_values=known,
            )
        )
    found: dict[Trial, None] = {}
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        params = study.ask(ranges).params
        trial = tuple(_text(name, space[name], params[name]) for name in space)
        if trial not in told:
            found[trial] = None
    return list(found)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise KitError(
            wrong(
                "--sampler",
                "tpe",
                "optuna is not installed",
                "it proposes the trials",
                "pip install optuna, or leave --sampler out",
            )
        ) from None
    return optuna


def _distribution(optuna: Any, name: str, values: Sequence[Any] | Range) -> Any:
    if not isinstance(values, Range):
        return optuna.distributions.CategoricalDistribution(_texts(name, values))
    kind = "IntDistribution" if values.whole else "FloatDistribution"
    return getattr(optuna.distributions, kind)(values.low, values.high, log=values.log)


def _value(values: Sequence[Any] | Range, text: str) -> Any:
    return json.loads(text) if isinstance(values, Range) else text


def _text(name: str, values: Sequence[Any] | Range, value: Any) -> str:
    return trials.text(name, value) if isinstance(values, Range) else str(value)


def _texts(name: str, values: Iterable[Any]) -> list[str]:
    return [trials.text(name, one) for one in values]
