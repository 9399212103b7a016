"""How many steps, and the learning rate at each: plain functions, so that a restarted run has the same."""

from __future__ import annotations

import math

from unet_segmentation.config import TrainConfig

WARM_UP = 0.05  # share of the steps in which the rate rises: Adam's second moments are noise at first
WARM_UP_AT_MOST = 100  # steps
CALIBRATION = 30  # steps timed before `train.minutes` becomes a number of steps; the first are slow: they compile
TIMED = 20  # of them, the last


def steps_wanted(config: TrainConfig, epoch: int) -> int:
    """Optimiser steps in all, 0 where they follow from `minutes` and are not known yet. `epoch`: steps of one."""
    if config.steps or config.minutes:
        return config.steps
    return config.epochs * epoch


def steps_in(seconds: float, step_s: float) -> int:
    """How many further steps fit into the time, at least one."""
    return max(1, int(seconds / max(step_s, 1e-9)))


def rate(step: int, steps: int, config: TrainConfig, scale: float = 1.0) -> float:
    """The learning rate of a step; steps count from 0.

    Linear warm-up, then a cosine down to 0 (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts), or the same
    rate throughout.

    Args:
        step: to be taken.
        steps: in all; 0: not known yet, still warming up.
        config: peak, kind and warm-up.
        scale: on the whole curve; below 1 after a training that diverged.
    """
    peak = config.learning_rate * scale
    constant = config.schedule == "constant"
    if constant and not config.warm_up:
        return peak
    warm = max(1, round(steps * (config.warm_up or WARM_UP))) if steps else WARM_UP_AT_MOST
    warm = warm if config.warm_up else min(WARM_UP_AT_MOST, warm)
    if step < warm:
        return peak * (step + 1) / warm
    if constant:
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
