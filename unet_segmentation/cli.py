"""Command line of the trainer: parse, one call, print. TensorFlow and matplotlib load only where a command needs
them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from submit.runtime import command_line, dataset, inputs
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json
from unet_segmentation import config, layouts, lesions, metrics, naming

EXAMPLES = """\
examples:
  python -m unet_segmentation phantom  --out data --split 4:2
  python -m unet_segmentation verify   --data data
  python -m unet_segmentation split    --data data --out splits.json --folds 5
  python -m unet_segmentation prepare  --data data --out prepared
  python -m unet_segmentation train    --data data --out out --set train.steps=2000
  python -m unet_segmentation predict  --model out/model.keras --data data/validation --out predictions
  python -m unet_segmentation evaluate --predictions predictions --data data/validation --out scores

exit codes: 0 done; 65 the data or the configuration is wrong; 75 this machine cannot do it; 85 saved, run me again
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    return command_line.main(program, arguments)


def program() -> command_line.Program:
    """The trainer's commands and their options."""
    about = "Trains and applies a U-Net that segments brain tumours (Dong et al. 2017)."
    made = command_line.Program("python -m unet_segmentation", about, EXAMPLES)
    command = made.command

    sub = command("verify", "Checks a data set; names patient, file and mend for each fault.", _verify)
    _data(sub)
    _settings(sub)
    sub.add_argument("--json", action="store_true", help="print the report as JSON")
    sub.add_argument("--out", type=Path, metavar="dataset.json", help="what the data are, for `osgdl stage`")

    sub = command("split", "Deals the patients into folds, all of a person into one, and writes who is where.", _split)
    _data(sub)
    sub.add_argument("--out", type=Path, required=True, help="splits.json, for --set data.splits=splits.json")
    sub.add_argument("--folds", type=int, default=5, help="how many (default: %(default)s)")
    _settings(sub)

    sub = command("prepare", "Verifies, crops and normalises patients into a folder that training reads.", _prepare)
    _data(sub)
    sub.add_argument("--out", type=Path, required=True, help="that folder; train --data FOLDER needs nothing else")
    _settings(sub)

    sub = command("train", "Trains, resumes where it left, scores the validation patients.", _train)
    _data(sub)
    sub.add_argument("--out", type=Path, required=True, help="folder for model, scores, predictions, pictures")
    _settings(sub)

    sub = command("predict", "Segments patients with a trained model.", _predict)
    about = "the model.keras that train wrote; repeat: ensemble"
    sub.add_argument("--model", type=Path, required=True, action="append", help=about)
    _data(sub)
    sub.add_argument("--out", type=Path, required=True, help="folder for PATIENT.nii.gz")
    sub.add_argument("--layout", default="auto", metavar="NAME|FILE.toml", help="of the data (default: %(default)s)")
    sub.add_argument("--no-flips", action="store_true", help="do not average with the mirror image: half the time")
    about = "probability above which; default: 0.5"
    sub.add_argument("--threshold", action="append", default=[], metavar="REGION=P", help=about)
    sub.add_argument("--smallest", type=float, default=0, metavar="MM3", help="remove components below this volume")
    sub.add_argument("--overlap", type=float, default=0.5, help="of sliding windows, 0 to 1 (default: %(default)s)")
    sub.add_argument("--probabilities", action="store_true", help="write PATIENT_REGION.nii.gz too")
    sub.add_argument("--leave-out-faulty", action="store_true", help="go on without patients at fault, unless all are")

    sub = command("evaluate", "Scores predictions against the truth.", _evaluate)
    about = "folder of PATIENT.nii.gz; repeat: one for each fold"
    sub.add_argument("--predictions", type=Path, required=True, action="append", help=about)
    _data(sub)
    sub.add_argument("--out", type=Path, required=True, help="folder for the report, the scores, the pictures")
    sub.add_argument("--layout", metavar="NAME|FILE.toml", help="of the data (default: that of --config, else auto)")
    sub.add_argument("--config", type=Path, metavar="FILE.toml", help="of the training, for its data.layout")
    sub.add_argument(
        "--empty",
        choices=tuple(metrics.EMPTY),
        default="brats2023",
        help="what a region counts that is in neither or in one of truth and prediction (default: %(default)s)",
    )
    sub.add_argument(
        "--lesion-wise",
        nargs="?",
        const="glioma",
        default="",
        choices=tuple(lesions.RULES),
        help="Dice and HD95 of BraTS 2023 lesion by lesion too, by the rules of this challenge (default: glioma)",
    )
    sub.add_argument("--hd95", action=argparse.BooleanOptionalAction, default=True, help="the 95%% Hausdorff distance")
    about = "patients to draw, from worst to best (default: %(default)s)"
    sub.add_argument("--pictures", default="12", metavar="N|all", help=about)
    sub.add_argument("--against", type=Path, metavar="metrics.json", help="tell the difference to another evaluation")

    sub = command("phantom", "Makes patients that never were, to try everything on.", _phantom)
    sub.add_argument("--out", type=Path, required=True, help="folder for one folder per patient")
    sub.add_argument("--patients", type=int, default=6, help="how many (default: %(default)s)")
    about = "make train/ and validation/ of so many patients instead"
    sub.add_argument("--split", metavar="TRAIN:VALIDATION", help=about)
    sub.add_argument("--seed", type=int, default=1, help="the same seed makes the same bytes (default: %(default)s)")
    sub.add_argument(
        "--layout",
        default="brats2021",
        metavar="NAME|FILE.toml",
        help=f"{', '.join(naming.layouts())}, or a file (default: %(default)s)",
    )
    sub.add_argument(
        "--size", type=int, nargs=3, metavar=("X", "Y", "Z"), help="voxels (default: 96 112 64; BraTS has 240 240 155)"
    )
    return made


def _data(parser: argparse.ArgumentParser) -> None:
    about = "folder of patients, an archive of one (.tar, .tar.gz, .tgz, .zip), or the manifest of staged data"
    parser.add_argument("--data", type=Path, required=True, help=about)


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE.toml|RECIPE",
        help=f"sections data, model, train, augment, checkpoint; or a recipe: {', '.join(config.recipes())}",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one value; may be repeated"
    )


def _verify(options: argparse.Namespace) -> None:
    from unet_segmentation import facts, synthetic, verify

    settings = config.load(options.config, options.set)
    if options.out:
        facts.require_ours(options.out)
    root = inputs.folder(options.data)
    datasets = layouts.parts(root, settings.data.layout)
    modalities = layouts.channels(datasets, settings.data.modalities)
    checked = [verify.verify(dataset, modalities, need_truth=True) for dataset in datasets]
    verify.duplicates(checked)
    reports = [report for part in checked for report in part]
    fakes = facts.synthetic({report.patient.name: report.facts for report in reports})
    layout = datasets[0].layout
    if options.json:
        about = {"layout": layout.name, "convention": layout.convention.name}
        about |= verify.as_dict(reports, modalities, layout.convention)
        print(json.dumps(about, indent=2))
    else:
        print(f"layout     {layout.name}: {layout.about}")
        print(f"labels     {layout.convention.describe()}")
        print(f"channels   {', '.join(modalities)}")
        if any(fakes.values()):
            print(f"synthetic  {synthetic.describe(fakes)}")
        for report in reports:
            for line in [*map(str, report.faults), *(f"warning: {warning}" for warning in report.warnings)]:
                print(line)
        for line in verify.doubtful(reports, layout.convention):
            print(f"warning: {line}")
        faulty = sum(bool(report.faults) for report in reports)
        people = len({report.patient.subject for report in reports})
        of = f" of {people} persons" if people < len(reports) else ""
        print(f"patients   {len(reports)}{of}, {f'{faulty} with faults' if faulty else 'no fault found'}")
    verify.require(reports)
    synthetic.require_unmixed(fakes, settings.data.synthetic)
    if options.out:
        layouts.require_apart(datasets)
        paths = facts.files_of([report.patient for report in reports], root)
        write_json(options.out, facts.describe(reports, layout, modalities, paths, facts.parts_of(datasets)))


def _split(options: argparse.Namespace) -> None:
    from unet_segmentation import splits

    settings = config.load(options.config, options.set)
    dataset = layouts.undivided(inputs.folder(options.data), settings.data.layout)
    held = splits.folds(dataset.patients, options.folds, settings.train.seed)
    splits.write(options.out, dataset.patients, held, settings.train.seed)
    print("\n".join(splits.describe(dataset.patients, held)))
    print(f"train on   --set data.splits={options.out} --set data.fold=0, and so on to {options.folds - 1}")


def _prepare(options: argparse.Namespace) -> None:
    from unet_segmentation import cache, facts, fingerprint, synthetic, verify

    settings = config.load(options.config, options.set)
    datasets = layouts.parts(inputs.folder(options.data), settings.data.layout)
    modalities = layouts.channels(datasets, settings.data.modalities)
    layouts.require_apart(datasets)
    place = options.out / dataset.FILE
    facts.require_ours(place)
    if place.is_file():
        place.unlink()  # it says that the folder is whole
    results = [cache.prepare(dataset, modalities, options.out, need_truth=True) for dataset in datasets]
    verify.duplicates([result.reports for result in results])
    reports = [report for result in results for report in result.reports]
    verify.require(reports)
    fakes = facts.synthetic({report.patient.name: report.facts for report in reports})
    synthetic.require_unmixed(fakes, settings.data.synthetic)
    entries = [about for result in results for about in result.entries]
    found = fingerprint.write(options.out, entries, modalities)
    names = facts.parts_of(datasets)
    described = facts.describe(reports, datasets[0].layout, modalities, facts.entries_of(entries), names, "prepared")
    write_json(place, described)  # written last
    if any(fakes.values()):
        print(f"synthetic  {synthetic.describe(fakes)}")
    print(f"labels     {datasets[0].layout.convention.describe()}")
    print("\n".join(fingerprint.describe(found)))
    print(f"look at    {options.out}/{fingerprint.FILE}")
    print(f"train with --set data.cache={options.out}, or on it alone: --data {options.out}")


def _train(options: argparse.Namespace) -> None:
    settings = config.load(options.config, options.set)
    given = inputs.opened(options.data)
    from unet_segmentation import train

    result = train.train(settings, given, options.out)
    if result["scored"] == "not yet":
        print(f"step {result['steps']} of {result['of']}: go on with --set checkpoint.start={options.out}/handed-on")
        return
    if result["scored"] == "here":
        print(f"\n{train.table(result)}\n")
    print(f"look at    {options.out}/report.html, {options.out}/curves.png")
    print(f"apply to   python -m unet_segmentation predict --model {options.out}/model.keras --data DIR --out DIR")
    if result["scored"] == "elsewhere":
        print("score      the patients held out, whose files are not here:")
        print("\n".join(f"           {command}" for command in result["score_with"]))


def _predict(options: argparse.Namespace) -> None:
    from unet_segmentation import predict, segment

    above = segment.thresholds(options.threshold)
    how = segment.Options(not options.no_flips, above, options.smallest, options.overlap)
    more = options.probabilities, options.leave_out_faulty
    written = predict.predict(options.model, inputs.folder(options.data), options.out, options.layout, how, *more)
    print(f"{len(written)} patients segmented into {options.out}")


def _evaluate(options: argparse.Namespace) -> None:
    from unet_segmentation import evaluate

    count = options.pictures
    if count != "all" and not count.isdecimal():
        raise BadInput("--pictures", repr(count), "a number of patients, or all", "--pictures 12")
    how = evaluate.Options(
        empty=options.empty,
        distance=options.hd95,
        lesion_wise=options.lesion_wise,
        pictures=None if count == "all" else int(count),
        against=options.against,
    )
    predictions, data = [inputs.folder(path) for path in options.predictions], inputs.folder(options.data)
    layout = options.layout or config.load(options.config, []).data.layout
    result = evaluate.evaluate(predictions, data, options.out, how, layout)
    print(f"{evaluate.table(result)}\n\nlook at    {options.out}/report.html")


def _phantom(options: argparse.Namespace) -> None:
    from unet_segmentation import phantom

    parts = phantom.parts(options.patients, options.split)
    written = phantom.write(options.out, parts, options.seed, options.layout, tuple(options.size or phantom.SIZE))
    print(f"{len(written)} phantoms in {options.out}; {naming.named(options.layout).convention.describe()}")
    layout = f" --set data.layout={options.layout}" if options.layout != "brats2021" else ""
    print(f"train on   python -m unet_segmentation train --data {options.out} --out out{layout}")
