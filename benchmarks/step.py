"""Training images/s of one U-Net, one batch again and again, ours against PyTorch in all its settings.

    make bench BENCH=step            python -m benchmarks.step [--rounds N] [--seconds S]

4 levels of 16, 32, 64, 128 maps, 128 x 128, batch 8, 2 channels in, 3 region maps out, soft Dice and cross-entropy,
Adam; with instance normalisation, the trainer's default, and without. Ours is the step that `train` runs by default on
this machine, with everything that belongs to it (the average of the weights, deterministic operations). Both have the
same number of parameters, which is asserted. Goals: 1.3 times PyTorch's best setting, 1.6 times its default.
"""

from __future__ import annotations

import argparse

from benchmarks.pairs import PASSIVE, alternate, disturbed, equal, medians, worker
from benchmarks.results import Result, report

DEFAULT = "fp32"
SETTINGS: dict[str, tuple[str, ...]] = {
    DEFAULT: (),
    "channels-last": ("channels-last",),
    "compile": ("compile",),
    "bf16": ("bf16",),
    "channels-last, bf16": ("channels-last", "bf16"),
    "channels-last, bf16, compile": ("channels-last", "bf16", "compile"),
}
# the same function through another kernel: instance normalisation as a group normalisation
GROUPED: dict[str, tuple[str, ...]] = {
    "channels-last, group norm": ("channels-last", "group-norm"),
    "bf16, group norm": ("bf16", "group-norm"),
}
COMMAND = "make bench BENCH=step"


def compare(normalisation: str, rounds: int, seconds: float, passive: bool) -> tuple[Result, Result]:
    """Against the best setting and against the default, for one kind of network."""
    print(f"step: normalisation {normalisation}", flush=True)
    sides = {"ours": worker("ours", "step", "--normalisation", normalisation, "--seconds", seconds)}
    for name, settings in (SETTINGS | (GROUPED if normalisation == "instance" else {})).items():
        words = [word for setting in settings for word in ("--setting", setting)]
        command = worker("torch_unet", "--normalisation", normalisation, "--seconds", seconds, *words)
        sides[name] = [*(PASSIVE if passive else ()), *command]
    found = alternate(sides, rounds)
    count = equal(found)
    speeds = medians(found)
    ours = speeds.pop("ours")
    best = max(speeds, key=lambda name: speeds[name])
    details = {
        "rounds": rounds,
        "peer_threads_wait": "asleep" if passive else "spinning",
        "others_busy": disturbed(found),
        "parameters": count,
        "single": [round(one["images_per_s"], 2) for one in found["ours"]],
        "peers": {name: round(speed, 2) for name, speed in speeds.items()},
    }
    what = f"training step, {'instance normalisation' if normalisation == 'instance' else 'no normalisation'}"
    return (
        Result(
            f"{what}: PyTorch's best",
            ours,
            speeds[best],
            ours / speeds[best],
            1.3,
            "images/s",
            COMMAND,
            {**details, "peer_setting": best, "peer_flags": list((SETTINGS | GROUPED)[best])},
        ),
        Result(
            f"{what}: PyTorch's default",
            ours,
            speeds[DEFAULT],
            ours / speeds[DEFAULT],
            1.6,
            "images/s",
            COMMAND,
            {**details, "peer_setting": DEFAULT},
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of timed steps a process")
    parser.add_argument(
        "--passive", action="store_true", help="PyTorch's threads sleep while they wait: a busy machine"
    )
    parser.add_argument("--normalisation", choices=("instance", "none"), action="append")
    options = parser.parse_args()
    for normalisation in options.normalisation or ("instance", "none"):
        report(*compare(normalisation, options.rounds, options.seconds, options.passive))


if __name__ == "__main__":
    main()
