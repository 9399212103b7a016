"""Command line of the trainer: parse, one call, print. TensorFlow and matplotlib load only where a command needs
them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from submit.runtime import exit_codes, inputs
from submit.runtime.exit_codes import BadInput
from unet_segmentation import config, layouts
from unet_segmentation.labels import conventions

EXAMPLES = """\
examples:
  python -m unet_segmentation phantom  --out data --split 4:2
  python -m unet_segmentation verify   --data data
  python -m unet_segmentation train    --data data --out out --set train.steps=2000
  python -m unet_segmentation predict  --model out/model.keras --data data/validation --out predictions
  python -m unet_segmentation evaluate --predictions predictions --data data/validation --out scores

exit codes: 0 done; 65 the data or the configuration is wrong; 75 this machine cannot do it; 85 saved, run me again
"""


class _Parser(argparse.ArgumentParser):
    """A wrong command line is wrong input (65), not argparse's 2, which would be tried three times."""

    def error(self, message: str) -> NoReturn:
        raise BadInput("command line", message, self.format_usage().strip(), f"{self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return exit_codes.run(lambda: _dispatch(words), debug="--debug" in words)


def _dispatch(words: list[str]) -> None:
    options = _parser().parse_args(words)
    options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m unet_segmentation",
        description="Trains and applies a U-Net that segments brain tumours (Dong et al. 2017).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, about: str, run: Any) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
        sub.set_defaults(run=run)
        return sub

    sub = command("verify", "Checks a data set; names patient, file and mend for each fault.", _verify)
    _data(sub)
    _settings(sub)
    sub.add_argument("--json", action="store_true", help="print the report as JSON")

    sub = command("train", "Trains, resumes where it left, scores the validation patients.", _train)
    _data(sub)
    sub.add_argument("--out", type=Path, required=True, help="folder for model, scores, predictions, pictures")
    _settings(sub)

    sub = command("predict", "Segments patients with a trained model.", _predict)
    sub.add_argument("--model", type=Path, required=True, help="the model.keras that train wrote")
    _data(sub)
    sub.add_argument("--out", type=Path, required=True, help="folder for PATIENT.nii.gz")

    sub = command("evaluate", "Scores predictions against the truth.", _evaluate)
    sub.add_argument("--predictions", type=Path, required=True, help="folder of PATIENT.nii.gz")
    _data(sub)
    sub.add_argument("--out", type=Path, required=True, help="folder for metrics.json and pictures")

    sub = command("phantom", "Makes patients that never were, to try everything on.", _phantom)
    sub.add_argument("--out", type=Path, required=True, help="folder for one folder per patient")
    sub.add_argument("--patients", type=int, default=6, help="how many (default: %(default)s)")
    sub.add_argument(
        "--split", metavar="TRAIN:VALIDATION", help="make train/ and validation/ of so many patients instead"
    )
    sub.add_argument("--seed", type=int, default=1, help="the same seed makes the same bytes (default: %(default)s)")
    sub.add_argument("--layout", default="brats2021", help="brats2020 or brats2021 (default: %(default)s)")
    sub.add_argument(
        "--size", type=int, nargs=3, metavar=("X", "Y", "Z"), help="voxels (default: 96 112 64; BraTS has 240 240 155)"
    )
    return parser


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of patients, or an archive of one (.tar, .tar.gz, .tgz, .zip)"
    )


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE.toml", help="sections data, model, train, augment, checkpoint"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one value; may be repeated"
    )


def _verify(options: argparse.Namespace) -> None:
    from unet_segmentation import verify

    settings = config.load(options.config, options.set)
    root = inputs.folder(options.data)
    parts = [root / name for name in ("train", "validation") if (root / name).is_dir()] or [root]
    datasets = [layouts.find(part, settings.data.layout) for part in parts]
    modalities = layouts.channels(tuple(datasets), settings.data.modalities)
    reports = [report for dataset in datasets for report in verify.verify(dataset, modalities, need_truth=True)]
    layout = datasets[0].layout
    if options.json:
        print(
            json.dumps(
                {"layout": layout.name, "convention": layout.convention.name, **verify.as_dict(reports, modalities)},
                indent=2,
            )
        )
    else:
        print(f"layout     {layout.name}: {layout.about}")
        print(f"labels     {layout.convention.describe()}")
        print(f"channels   {', '.join(modalities)}")
        for report in reports:
            for line in [*map(str, report.faults), *(f"warning: {warning}" for warning in report.warnings)]:
                print(line)
        faulty = sum(bool(report.faults) for report in reports)
        print(f"patients   {len(reports)}, {f'{faulty} with faults' if faulty else 'no fault found'}")
    verify.require(reports)


def _train(options: argparse.Namespace) -> None:
    settings = config.load(options.config, options.set)
    root = inputs.folder(options.data)
    from unet_segmentation import evaluate, train

    result = train.train(settings, root, options.out)
    print(f"\n{evaluate.table(result['dice'])}\n")
    print(f"look at    {options.out}/overlays/*.png")
    print(f"apply to   python -m unet_segmentation predict --model {options.out}/model.keras --data DIR --out DIR")


def _predict(options: argparse.Namespace) -> None:
    from unet_segmentation import predict

    written = predict.predict(options.model, inputs.folder(options.data), options.out)
    print(f"{len(written)} patients segmented into {options.out}")


def _evaluate(options: argparse.Namespace) -> None:
    from unet_segmentation import evaluate

    result = evaluate.evaluate(inputs.folder(options.predictions), inputs.folder(options.data), options.out)
    print(f"{evaluate.table(result['dice'])}\n\nlook at    {options.out}/overlays/*.png")


def _phantom(options: argparse.Namespace) -> None:
    from unet_segmentation import phantom

    parts = phantom.parts(options.patients, options.split)
    written = phantom.write(options.out, parts, options.seed, options.layout, tuple(options.size or phantom.SIZE))
    convention = conventions()[layouts.layouts()[options.layout].convention.name]
    print(f"{len(written)} phantoms in {options.out}; {convention.describe()}")
    print(f"train on   python -m unet_segmentation train --data {options.out} --out out")
