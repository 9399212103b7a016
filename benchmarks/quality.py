"""Dice after the same wall time: our trainer against MONAI's own UNet, on four real patients, over three seeds.

    make bench BENCH=quality         python -m benchmarks.quality [--minutes M] [--seeds N]

Both train on `train/` for so many minutes and are scored on the volumes of `validation/`. Ours is `train` as it comes;
the peer stands in monai_unet.py. Every training is kept in build/bench/quality, so that a bench that was interrupted
goes on where it stood; `--anew` throws them away. A row a region: the mean over patients and seeds, all single values
beside it. Goal: more than the peer, in each region.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.pairs import BUILD, PASSIVE, SAMPLE, measure, summary, worker
from benchmarks.results import Result, report

Found = dict[str, Any]  # what a training is known by: dice {patient: {region: value}}, steps, images_per_s, training_s


def ours(minutes: float, seed: int, out: Path) -> Found:
    """Our trainer as it comes, from the command line."""
    return measure(worker("ours", "train", "--data", SAMPLE, "--minutes", minutes, "--seed", seed, "--out", out))


def monai(minutes: float, seed: int, out: Path) -> Found:
    """MONAI's UNet; `out` is not needed."""
    return measure([*PASSIVE, *worker("monai_unet", "--data", SAMPLE, "--minutes", minutes, "--seed", seed)])


SIDES: dict[str, Callable[[float, int, Path], Found]] = {"ours": ours, "monai": monai}


def unit(folder: Path, side: str, minutes: float, seed: int) -> Found:
    """One training, from the cache if it was made before."""
    name = f"{side}-{minutes:g}-minutes-seed-{seed}"
    file = folder / f"{name}.json"
    if not file.exists():
        found = SIDES[side](minutes, seed, folder / name)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(found, indent=1))
        part.replace(file)
    found = json.loads(file.read_text())
    numbers = {key: value for key, value in found.items() if key != "dice"}
    print(f"  {side:6} seed {seed}  {summary(numbers)}")
    for patient, scores in found["dice"].items():
        print(f"    {patient:24} {summary({region: round(value, 3) for region, value in scores.items()})}", flush=True)
    return dict(found)


def rows(trainings: dict[str, list[Found]], minutes: float) -> list[Result]:
    """A result a region. The regions are those that both know."""
    first = next(iter(trainings["ours"][0]["dice"].values()))
    results = []
    for region in first:
        values = {
            side: [scores[region] for one in found for scores in one["dice"].values()]
            for side, found in trainings.items()
        }
        means = {side: statistics.fmean(numbers) for side, numbers in values.items()}
        speeds = {side: [round(one["images_per_s"], 1) for one in found] for side, found in trainings.items()}
        details = {
            "minutes": minutes,
            "seeds": len(trainings["ours"]),
            "difference": round(means["ours"] - means["monai"], 4),
            **{side: [round(number, 4) for number in numbers] for side, numbers in values.items()},
            "images_per_s": speeds,
        }
        name = f"Dice after {minutes:g} minutes, {region}: MONAI's UNet"
        ratio = means["ours"] / max(means["monai"], 1e-9)
        results.append(
            Result(name, means["ours"], means["monai"], ratio, 1.0, "Dice", "make bench BENCH=quality", details)
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--anew", action="store_true", help="throw the trainings away that were kept")
    options = parser.parse_args()
    if not (SAMPLE / "train").is_dir():
        raise SystemExit(f"the sample of real patients is not at {SAMPLE} (OSGDL_BRATS2015)")
    folder = BUILD / "quality"
    if options.anew:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"quality: {options.minutes:g} minutes each, kept in {folder}", flush=True)
    trainings: dict[str, list[Found]] = {side: [] for side in SIDES}
    for seed in range(1, options.seeds + 1):
        for side in sorted(SIDES, reverse=seed % 2 == 0):  # in turn: neither always has the quieter machine
            trainings[side].append(unit(folder, side, options.minutes, seed))
    report(*rows(trainings, options.minutes))


if __name__ == "__main__":
    main()
