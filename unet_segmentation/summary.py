"""From what was measured on each patient to tables: scores under a convention for empty regions, means, intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unet_segmentation import lesions, metrics

PICTURES = 12
COUNTS = ("lesions_found", "lesions_missed", "lesions_false", "lesions_ignored")
LISTED = 20  # patients of a text table
NAME = 40  # letters of one in it

Row = dict[str, float | None]
Scores = dict[str, dict[str, Row]]  # patient -> region -> metric -> value


@dataclass(frozen=True)
class Options:
    """How to score.

    Attributes:
        empty: of `metrics.EMPTY`: what counts where a region is empty.
        distance: HD95 too.
        lesion_wise: of `lesions.RULES`; empty: no lesion-wise scores.
        pictures: how many patients are drawn, from the worst to the best; None: all.
        against: metrics.json of another evaluation of the same patients, to tell the difference.
        provenance: where the predictions come from, for the results; what made the scores is added.
    """

    empty: str = "brats2023"
    distance: bool = True
    lesion_wise: str = ""
    pictures: int | None = PICTURES
    against: Path | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, str]:
        """What is computed: name to title."""
        every = {**metrics.METRICS, **(lesions.METRICS if self.lesion_wise else {})}
        return {name: title for name, title in every.items() if self.distance or "hd95" not in name}


@dataclass(frozen=True)
class Measured:
    """One patient before any convention for empty regions.

    Attributes:
        voxels: region to what its masks have in common.
        lesions: the same lesion by lesion; empty if not asked for.
        voxel_mm3: volume of a voxel.
        files: `prediction` and `truth` to the SHA-256 of the file.
        synthetic: whether the truth is a phantom's.
    """

    voxels: Mapping[str, metrics.Measured]
    lesions: Mapping[str, lesions.Lesions]
    voxel_mm3: float
    files: Mapping[str, str]
    synthetic: bool = False


def summarise(measured: Mapping[str, Measured], regions: Sequence[str], options: Options) -> dict[str, Any]:
    """All scores as plain JSON.

    Returns:
        `dice` (patient, region), `mean_dice`, `scores` (patient, region, metric; volumes in mm3 and lesion counts too),
        `summary` (metric, region: mean, low, high, n), `over_regions` (the same of each patient's mean over regions),
        `by_empty` (convention, then as `summary`), `worst_to_best` (patients by mean Dice), and the definitions in
        words.
    """
    every = {rule: _scores(measured, empty, options) for rule, empty in metrics.EMPTY.items()}
    scores, titles = every[options.empty], options.metrics
    means = {metric: metrics.summarise(_column(scores, metric)) for metric in titles}
    over = {metric: metrics.over_regions(_column(scores, metric)) for metric in titles}
    dice = over["dice"]
    return {
        "dice": _column(scores, "dice"),
        "mean_dice": {region: means["dice"][region]["mean"] for region in regions},
        "empty": options.empty,
        "empty_regions": metrics.EMPTY[options.empty].about,
        "regions": list(regions),
        "metrics": titles,
        "lesion_rules": lesions.RULES[options.lesion_wise].about if options.lesion_wise else "",
        "interval": f"95 % percentile bootstrap over patients, {metrics.RESAMPLES} resamples, seed {metrics.SEED}",
        "summary": means,
        "over_regions": {
            metric: metrics.summarise({name: {"mean": value} for name, value in rows.items()})["mean"]
            for metric, rows in over.items()
        },
        "by_empty": {
            rule: {metric: metrics.summarise(_column(rows, metric)) for metric in titles}
            for rule, rows in every.items()
        },
        "empty_rules": {rule: empty.about for rule, empty in metrics.EMPTY.items()},
        "worst_to_best": sorted(dice, key=lambda name: (dice[name] is None, dice[name] or 0.0, name)),
        "scores": scores,
    }


def compare(scores: Scores, others: Scores, titles: Mapping[str, str]) -> dict[str, Any]:
    """The mean differences `scores` minus `others` per metric and region, over the patients that both have."""
    common = [name for name in scores if name in others]
    differences = {
        metric: metrics.paired(_column(scores, metric), _column(others, metric))
        for metric in titles
        if all(metric in row for name in common for row in others[name].values())
    }
    return {"patients": len(common), "difference": differences}


def folds(scores: Scores, held: Mapping[str, Sequence[str]], regions: Sequence[str]) -> list[dict[str, Any]]:
    """Of each fold of a cross-validation its predictions, who was held out, and the mean Dice by region.

    Args:
        held: folder of predictions to patients.
    """
    rows = []
    for folder, names in held.items():
        dice = metrics.summarise(_column({name: scores[name] for name in names}, "dice")) if names else {}
        means = {region: dice[region]["mean"] if region in dice else None for region in regions}
        rows.append({"predictions": folder, "patients": list(names), "mean_dice": means})
    return rows


def table(result: Mapping[str, Any]) -> str:
    """The scores as text: Dice of each patient (the worst and the best where there are many), and the means."""
    regions, ranked = result["regions"], result["worst_to_best"]
    shown = list(result["dice"]) if len(ranked) <= LISTED else [*ranked[: LISTED // 2], "...", *ranked[-LISTED // 2 :]]
    titles = result["metrics"]
    against = result.get("against", {}).get("difference", {})
    plus = [f"{titles[metric]}, difference" for metric in against]
    head = f"mean of {len(ranked)}, 95 % interval" if len(ranked) > 1 else "one patient"
    lines = [("Dice", list(regions))]
    lines += [(_short(name), [number(result["dice"].get(name, {}).get(r)) for r in regions]) for name in shown]
    rows = result.get("folds", ())
    lines += [("", []), ("Dice by fold", list(regions))] if rows else []
    for at, row in enumerate(rows):
        lines.append((f"fold {at}, {len(row['patients'])}", [number(row["mean_dice"][region]) for region in regions]))
    lines += [("", []), (head, list(regions))]
    lines += [(title, [interval(result["summary"][m][r], m) for r in regions]) for m, title in titles.items()]
    for title, (metric, row) in zip(plus, against.items(), strict=True):
        lines.append((title, [interval(row[r], metric) if r in row else "-" for r in regions]))
    first = max(len(title) for title, _ in lines)
    width = 3 + max(len(cell) for _, cells in lines for cell in cells)
    text = [(f"{title:{first}}" + "".join(f"{cell:>{width}}" for cell in cells)).rstrip() for title, cells in lines]
    return "\n".join([*text, "", f"empty regions   {result['empty_regions']}"])


def csv_text(scores: Scores) -> str:
    """A row a patient and region, every number; empty: not counted."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for rows in scores.values() for row in rows.values() for key in row))
    writer = csv.DictWriter(text, ["patient", "region", *columns], lineterminator="\n")
    writer.writeheader()
    for name, rows in scores.items():
        for region, row in rows.items():
            writer.writerow({"patient": name, "region": region, **row})
    return text.getvalue()


def number(value: float | None, metric: str = "dice") -> str:
    """A score as text: three decimals, mm with two; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.2f}" if "hd95" in metric else f"{value:.5f}" if metric == "specificity" else f"{value:.3f}"


def interval(cell: Mapping[str, Any], metric: str) -> str:
    """A mean with its interval as text."""
    mean = number(cell["mean"], metric)
    return mean if cell["low"] is None else f"{mean} [{number(cell['low'], metric)}, {number(cell['high'], metric)}]"


def _short(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME // 2 - 2]}...{name[-NAME // 2 + 1 :]}"


def _scores(measured: Mapping[str, Measured], empty: metrics.Empty, options: Options) -> Scores:
    scores: Scores = {}
    for name, patient in measured.items():
        scores[name] = {}
        for region, counts in patient.voxels.items():
            row: Row = {key: value for key, value in counts.scores(empty).items() if key in options.metrics}
            row["truth_mm3"] = counts.truth * patient.voxel_mm3
            row["predicted_mm3"] = counts.predicted * patient.voxel_mm3
            if region in patient.lesions:
                one = patient.lesions[region]
                row |= {key: value for key, value in one.scores(empty).items() if key in options.metrics}
                row |= dict(zip(COUNTS, (one.found, one.missed, one.false, one.ignored), strict=True))
            scores[name][region] = {key: None if value is None else round(value, 6) for key, value in row.items()}
    return scores


def _column(scores: Scores, metric: str) -> dict[str, Row]:
    return {name: {region: row[metric] for region, row in rows.items()} for name, rows in scores.items()}
