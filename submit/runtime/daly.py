"""How often to make work safe: the interval that loses least, and the share of time that is then work that stays.

Machines are lost at random, with an exponential distribution of the time between two losses. Then a piece of work of
`interval_s` that ends in `cost_s` of making it safe takes, with the losses and a restart of `restart_s` after each,

    M * exp(restart_s / M) * (exp((interval_s + cost_s) / M) - 1)          M: mean seconds between two losses

(J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future Generation Computer
Systems 22 (2006) 303-312, equation 20; after J. W. Young, CACM 17 (1974) 530.)
"""

from __future__ import annotations

import math

# A guess of the time between two losses may well be wrong by a factor of four either way: the standard deviation of its
# logarithm. The grid reaches eight of them either way
GUESS_SIGMA = math.log(4.0)
_GRID = [GUESS_SIGMA * (at - 200) / 25 for at in range(401)]


def optimal_interval(cost_s: float, mtbf_s: float) -> float:
    """Seconds of work between two times of making it safe that make `goodput` largest; always below `mtbf_s`.

    It is where (1 - x) exp(x) = exp(-cost_s / mtbf_s), x being the interval in units of `mtbf_s`: the derivative of the
    time above by the interval. For a small cost that is Young's sqrt(2 * cost_s * mtbf_s).

    Args:
        cost_s: of making it safe once, seconds, not negative.
        mtbf_s: mean time between two losses, seconds, above 0.
    """
    wanted = math.exp(-cost_s / mtbf_s)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if (1 - middle) * math.exp(middle) > wanted:
            low = middle
        else:
            high = middle
    return mtbf_s * (low + high) / 2


def goodput(interval_s: float, cost_s: float, restart_s: float, mtbf_s: float) -> float:
    """Share of a slot's time that is work that stays, 0 to 1.

    Args:
        interval_s: of work between two times of making it safe, seconds.
        cost_s: of making it safe once.
        restart_s: on a machine, before the work goes on after a loss.
        mtbf_s: mean time between two losses.
    """
    if interval_s <= 0:
        return 0.0
    try:
        took = mtbf_s * math.exp(restart_s / mtbf_s) * math.expm1((interval_s + cost_s) / mtbf_s)
    except OverflowError:  # a piece that never gets done
        return 0.0
    return interval_s / took


def mtbf(guess_s: float, losses: int, seconds: float) -> float:
    """Mean seconds between two losses, after `losses` of them in so many seconds on machines.

    The geometric mean of the posterior: a log-normal prior around the guess, an exponential distribution of the times.
    The guess counts while nothing was seen; a few losses overrule it, even where it is wrong by a factor of a thousand.

    Args:
        guess_s: above 0.
        losses: not negative.
        seconds: not negative.
    """
    logs = [
        -0.5 * (shift / GUESS_SIGMA) ** 2 - losses * shift - seconds / (guess_s * math.exp(shift)) for shift in _GRID
    ]
    highest = max(logs)
    weights = [math.exp(log - highest) for log in logs]
    mean = sum(weight * shift for weight, shift in zip(weights, _GRID)) / sum(weights)  # noqa: B905 (Python 3.9)
    return guess_s * math.exp(mean)
