"""Seconds to prepare patients from their files to the last byte of the cache, ours against MONAI and nnU-Net.

    make bench BENCH=prepare         python -m benchmarks.prepare [--rounds N] [--data DIR] [--nnunet PYTHON]

The same files, each side with every number of workers from 0 to 2 that it knows (0: none beside the main thread), each
run in a fresh process with imports already done and an empty folder to write to; the best setting of a side, by its
median, is its number. What each side does:

- ours: read, verify, hash, crop to the brain, z-score, write and flush 16-bit arrays and their checksums, fingerprint.
- MONAI: LoadImaged, EnsureChannelFirstd, CropForegroundd, NormalizeIntensityd(nonzero, channel_wise),
  PersistentDataset.
- nnU-Net: its DefaultPreprocessor for the 2-D configuration; fingerprint and planning, done before, are not counted.

nnU-Net is looked for in the Python named by --nnunet or OSGDL_NNUNET; where there is none it is left out.
One JSON line a comparison on stdout, the table and the single runs on stderr; rows go into benchmarks/results.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.pairs import BUILD, ROOT, SAMPLE, alternate, medians
from benchmarks.results import Result, report

COMMAND = "make bench BENCH=prepare"
GOAL = 2.0
WORKERS = (0, 1, 2)
PLANS = "nnUNetPlans"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=SAMPLE, help="folder of patients, or of train/ and validation/")
    parser.add_argument("--nnunet", default=os.environ.get("OSGDL_NNUNET", ""), help="a Python that has nnunetv2")
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        with contextlib.redirect_stdout(sys.stderr):
            found = SIDES[options.side](options.data, options.out, options.workers)
        print(json.dumps(found))
        return
    with contextlib.redirect_stdout(sys.stderr):
        rows = [result.as_dict() for result in compare(options.data, options.rounds, options.nnunet)]
    for row in rows:
        print(json.dumps(row))


def compare(data: Path, rounds: int, nnunet_python: str) -> list[Result]:
    """Runs every side in turn; a row for each peer."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        listing = Path(folder) / "patients.json"
        listing.write_text(json.dumps(patients(data)))
        pythons = {"ours": sys.executable, "MONAI": sys.executable}
        note = ""
        if nnunet_python and has_nnunet(nnunet_python):
            pythons["nnU-Net"] = nnunet_python
            plan(nnunet_python, listing, Path(folder) / "nnU-Net")
        else:
            note = f"no nnunetv2 in {nnunet_python or 'any Python named'}: OSGDL_NNUNET"
        sides = {
            f"{side}, {workers} workers": command(python, side, listing, Path(folder) / side, workers)
            for side, python in pythons.items()
            for workers in WORKERS
            if (side, workers) != ("ours", 0)  # ours has one thread or more
        }
        found = alternate(sides, rounds)
    seconds, processor = medians(found, "seconds"), medians(found, "cpu_seconds")
    best = {side: min((n for n in seconds if n.startswith(side)), key=lambda n: seconds[n]) for side in pythons}
    results = []
    for peer in ("MONAI", "nnU-Net"):
        name, details = f"prepare: {peer}", {"data": data.name, "rounds": rounds}
        if peer not in best:
            results.append(
                Result(name, seconds[best["ours"]], None, None, GOAL, "s", COMMAND, {**details, "note": note})
            )
            continue
        details |= {"settings": [best["ours"], best[peer]]}
        details |= {n: {"s": round(seconds[n], 3), "cpu_s": round(processor[n], 3)} for n in seconds}
        ours, other = seconds[best["ours"]], seconds[best[peer]]
        results.append(Result(name, ours, other, other / ours, GOAL, "s", COMMAND, details))
    report(*results)
    return results


def patients(data: Path) -> list[dict[str, Any]]:
    """Name, images and truth of each patient, and all that ours needs to find them again."""
    from unet_segmentation import layouts

    parts = [data / name for name in ("train", "validation") if (data / name).is_dir()] or [data]
    datasets = tuple(layouts.find(part) for part in parts)
    modalities = layouts.channels(datasets, ())
    return [
        {
            "name": patient.name,
            "part": str(dataset.folder),
            "images": {name: str(patient.images[name].path) for name in modalities},
            "truth": str(patient.truth),
        }
        for dataset in datasets
        for patient in dataset.patients
    ]


def ours(listing: Path, out: Path, workers: int) -> dict[str, Any]:
    from unet_segmentation import cache, fingerprint, layouts

    files = json.loads(listing.read_text())
    modalities = tuple(files[0]["images"])
    with emptied(out):
        began = now()
        datasets = [layouts.find(Path(part)) for part in dict.fromkeys(file["part"] for file in files)]
        everyone = tuple(patient for dataset in datasets for patient in dataset.patients)
        dataset = layouts.Dataset(datasets[0].folder, datasets[0].layout, everyone)
        result = cache.prepare(dataset, modalities, out, need_truth=True, workers=workers)
        fingerprint.write(out, result.entries, modalities)
        took = since(began)
        if len(result.prepared) != len(files) or result.kept:
            raise SystemExit("ours: not all were prepared")
        return {**took, "MB": size(out)}


def monai(listing: Path, out: Path, workers: int) -> dict[str, Any]:
    from monai.data import DataLoader, PersistentDataset
    from monai.transforms import Compose, CropForegroundd, EnsureChannelFirstd, LoadImaged, NormalizeIntensityd

    files = [{"image": list(f["images"].values()), "label": f["truth"]} for f in json.loads(listing.read_text())]
    both = ["image", "label"]
    with emptied(out):
        began = now()
        steps = Compose(
            [
                LoadImaged(both),
                EnsureChannelFirstd(both),
                CropForegroundd(both, source_key="image", allow_smaller=True),
                NormalizeIntensityd("image", nonzero=True, channel_wise=True),
            ]
        )
        dataset = PersistentDataset(files, steps, cache_dir=out)
        # What is loaded is thrown away: all that counts lies in the folder
        for _ in DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=lambda item: 0):
            pass
        took = since(began)
        if len(list(out.glob("*.pt"))) != len(files):
            raise SystemExit("MONAI: not all were prepared")
        return {**took, "MB": size(out)}


def nnunet(listing: Path, out: Path, workers: int) -> dict[str, Any]:
    """nnU-Net's data folder and plans lie in `out`; its own runner starts processes, 0 workers call what it calls."""
    use(out)
    files = json.loads(listing.read_text())
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    name = "Dataset001_Bench"
    with emptied(out / "preprocessed" / name / f"{PLANS}_2d") as made:
        began = now()
        preprocessor = DefaultPreprocessor(verbose=False)
        if workers:
            preprocessor.run(1, "2d", PLANS, workers)
        else:
            plans = PlansManager(str(out / "preprocessed" / name / f"{PLANS}.json"))
            raw = out / "raw" / name
            about = json.loads((raw / "dataset.json").read_text())
            for case in sorted(
                {file.name[: -len("_0000.nii.gz")] for file in (raw / "imagesTr").glob("*_0000.nii.gz")}
            ):
                images = sorted(map(str, (raw / "imagesTr").glob(f"{case}_*.nii.gz")))
                truth = str(raw / "labelsTr" / f"{case}.nii.gz")
                preprocessor.run_case_save(str(made / case), images, truth, plans, plans.get_configuration("2d"), about)
        took = since(began)
        if len(list(made.glob("*.pkl"))) != len(files):
            raise SystemExit("nnU-Net: not all were prepared")
        return {**took, "MB": size(made)}


def nnunet_plan(listing: Path, out: Path, workers: int) -> dict[str, Any]:
    """Lays the files out as nnU-Net wants them, links only, and lets it plan."""
    use(out)
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments

    files = json.loads(listing.read_text())
    raw = out / "raw" / "Dataset001_Bench"
    for folder in (raw / "imagesTr", raw / "labelsTr", out / "preprocessed"):
        folder.mkdir(parents=True)
    for file in files:
        for channel, image in enumerate(file["images"].values()):
            (raw / "imagesTr" / f"{file['name']}_{channel:04d}.nii.gz").symlink_to(Path(image).resolve())
        (raw / "labelsTr" / f"{file['name']}.nii.gz").symlink_to(Path(file["truth"]).resolve())
    about = {
        "channel_names": {str(channel): name for channel, name in enumerate(files[0]["images"])},
        "labels": {"background": 0, "1": 1, "2": 2, "3": 3, "4": 4},
        "numTraining": len(files),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(about))
    extract_fingerprints([1], num_processes=2)
    plan_experiments([1])
    return {}


SIDES: dict[str, Callable[[Path, Path, int], dict[str, Any]]] = {
    "ours": ours,
    "MONAI": monai,
    "nnU-Net": nnunet,
    "nnU-Net's plan": nnunet_plan,
}


def use(out: Path) -> None:
    """Tells nnU-Net its folders, before it is imported."""
    for name, folder in (("raw", "raw"), ("preprocessed", "preprocessed"), ("results", "results")):
        os.environ[f"nnUNet_{name}"] = str(out / folder)


def command(python: str, side: str, listing: Path, out: Path, workers: int) -> list[str]:
    words = ["--side", side, "--data", listing, "--out", out, "--workers", workers]
    return [python, "-m", "benchmarks.prepare", *map(str, words)]


def plan(python: str, listing: Path, out: Path) -> None:
    subprocess.run(command(python, "nnU-Net's plan", listing, out, 0), cwd=ROOT, check=True, stdout=sys.stderr)


def has_nnunet(python: str) -> bool:
    return subprocess.run([python, "-c", "import nnunetv2"], capture_output=True).returncode == 0


@contextlib.contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """The folder, empty now and gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def now() -> tuple[float, float]:
    """Seconds by the clock, and of processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


def since(began: tuple[float, float]) -> dict[str, float]:
    clock, processor = now()
    return {"seconds": clock - began[0], "cpu_seconds": processor - began[1]}


def size(folder: Path) -> float:
    """MB of the files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
