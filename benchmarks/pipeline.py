"""Training from end to end with augmentation, on real patients: ours against MONAI's pipeline around the same network.

    make bench BENCH=pipeline        python -m benchmarks.pipeline [--rounds N] [--seconds S]

Both train the U-Net of `step` (the same number of parameters, asserted, hence the same multiply-adds) on 128 x 128
crops of the two patients in `train/`, batch 8, four of five on a voxel of tumour, each image flipped, rotated, zoomed,
shifted, and its intensities scaled, shifted, bent and made noisy. MONAI's side has the setting that `step` found to be
PyTorch's best, and its best number of loading processes out of 0, 1, 2. Goal: 1.5 times.

Then our input pipeline alone, from the cache to varied images, over what our training consumes. Goal: 5 times.
"""

from __future__ import annotations

import argparse

from benchmarks.pairs import PASSIVE, SAMPLE, alternate, disturbed, equal, medians, worker
from benchmarks.results import Result, read, report
from benchmarks.step import GROUPED, SETTINGS

COMMAND = "make bench BENCH=pipeline"
FALLBACK = "bf16, group norm"  # where `step` has not run yet
WORKERS = (0, 1, 2)
ALONE, TRAINING = "ours, input alone", "ours"


def best_setting() -> str:
    """PyTorch's best setting for the network with instance normalisation, as `step` found it."""
    for row in read():
        if row["name"].startswith("training step, instance") and "peer_flags" in row["details"]:
            return str(row["details"]["peer_setting"])
    return FALLBACK


def peer(workers: int, words: list[object]) -> list[str]:
    """MONAI's side with so many loading processes; beside these, PyTorch's threads must not spin."""
    return [*(PASSIVE if workers else ()), *worker("monai_loop", *words, "--workers", workers)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0, help="of timed training a process")
    options = parser.parse_args()
    if not (SAMPLE / "train").is_dir():
        raise SystemExit(f"the sample of real patients is not at {SAMPLE} (OSGDL_BRATS2015)")
    setting = best_setting()
    flags = [word for flag in (SETTINGS | GROUPED)[setting] for word in ("--setting", flag)]
    common = ("--data", SAMPLE / "train", "--seconds", options.seconds)
    sides = {
        TRAINING: worker("ours", "loop", "--data", SAMPLE, "--seconds", options.seconds),
        ALONE: worker("ours", "input", "--data", SAMPLE, "--seconds", options.seconds / 3),
        **{f"MONAI, {n} workers": peer(n, [*common, *flags]) for n in WORKERS},
    }
    print(f"pipeline: PyTorch's setting {setting}", flush=True)
    found = alternate(sides, options.rounds)
    speeds = medians(found)
    alone = speeds.pop(ALONE)
    host = medians({ALONE: found[ALONE]}, "host_images_per_s")[ALONE]
    singles = {name: [round(one["images_per_s"], 2) for one in rounds] for name, rounds in found.items()}
    count = equal({name: rounds for name, rounds in found.items() if name != ALONE})
    ours = speeds.pop(TRAINING)
    best = max(speeds, key=lambda name: speeds[name])
    details = {"rounds": options.rounds, "others_busy": disturbed(found), "single": singles}
    report(
        Result(
            "training end to end with augmentation: MONAI's pipeline",
            ours,
            speeds[best],
            ours / speeds[best],
            1.5,
            "images/s",
            COMMAND,
            {**details, "parameters": count, "peer_setting": f"{best}; {setting}"},
        ),
        Result(
            "input pipeline alone: what training consumes",
            alone,
            ours,
            alone / ours,
            5.0,
            "images/s",
            COMMAND,
            {**details, "host_alone": round(host, 1)},
        ),
    )


if __name__ == "__main__":
    main()
