"""The share of training time that goes into checkpoints at the default interval.

    make bench BENCH=checkpoint      python -m benchmarks.checkpoint [--rounds N]

The trainer's default network trains on the sample of real patients; its step and a whole save (weights, optimiser,
average, history; written, synced, renamed) are timed. The interval is the default's 200 steps or 10 minutes, whichever
comes first. Goal: at most 1 %, so `ratio` is 1 % over the share.
"""

from __future__ import annotations

import argparse

from benchmarks.pairs import SAMPLE, alternate, disturbed, medians, worker
from benchmarks.results import Result, report

ALLOWED = 1.0  # %


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not (SAMPLE / "train").is_dir():
        raise SystemExit(f"the sample of real patients is not at {SAMPLE} (OSGDL_BRATS2015)")
    print("checkpoint", flush=True)
    found = alternate({"ours": worker("ours", "checkpoint", "--data", SAMPLE)}, options.rounds)
    numbers = {key: medians(found, key)["ours"] for key in ("step_s", "save_s", "interval_s", "bytes")}
    share = 100 * numbers["save_s"] / (numbers["interval_s"] + numbers["save_s"])
    details = {
        "rounds": options.rounds,
        "others_busy": disturbed(found),
        **{key: float(f"{value:.4g}") for key, value in numbers.items()},
    }
    report(
        Result(
            "time in checkpoints: the share allowed",
            share,
            ALLOWED,
            ALLOWED / share,
            1.0,
            "% of training",
            "make bench BENCH=checkpoint",
            details,
        )
    )


if __name__ == "__main__":
    main()
