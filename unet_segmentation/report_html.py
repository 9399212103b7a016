"""The report of an evaluation: one HTML file that needs nothing else, neither network nor library.

Names of patients and files are foreign text: all of it is escaped, and the page's own policy lets no other script run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from unet_segmentation import box_plot, metrics
from unet_segmentation.summary import number

TEMPLATE = "report_page.html"  # its one script is let run by its hash, and no other
LIMITS: Mapping[str, tuple[float | None, float | None]] = {"specificity": (None, 1.0)}
GREATER_IS_BETTER = (0.0, 1.0)
DISTANCE = (0.0, None)

DEFINITIONS = {
    "dice": "2 |P and T| / (|P| + |T|) of the voxels P of the prediction and T of the truth; 1 is best",
    "sensitivity": "share of the truth's voxels that are predicted; 1 is best",
    "specificity": "share of the voxels outside the truth that are not predicted, over the whole volume, most of which "
    "is air: always near 1, and comparable only between volumes of the same size; 1 is best",
    "hd95": "the larger one of the two 95th percentiles of the distances from the surface voxels of one mask to the "
    "nearest of the other, in mm (Metrics reloaded, Nature Methods 2024); 0 is best",
    "lesion_dice": "mean Dice over lesions instead of over voxels, so that small lesions count; 1 is best",
    "lesion_hd95": "mean HD95 over lesions; 0 is best",
}


def page(result: Mapping[str, Any], out: Path, pictures: Mapping[str, str]) -> str:
    """The page.

    Args:
        result: of `evaluate.evaluate_files`.
        out: folder of the pictures.
        pictures: patient to picture, relative to `out`, from the worst to the best.
    """
    title = f"Scores of {_plural(len(result['scores']), 'patient')}"
    parts = [
        f"<h1>{title}</h1>",
        _synthetic(result),
        f'<p class="soft">{", ".join(map(escape, result["regions"]))}; per patient volume; '
        f"{_text(result['provenance'].get('scored', ''))}</p>",
        _means(result),
        _folds(result),
        _against(result),
        _plots(result),
        _pictures(result, out, pictures),
        _patients(result),
        _conventions(result),
        _definitions(result),
        _next(result),
        _provenance(result),
    ]
    return _whole(title, parts)


def unscored(result: Mapping[str, Any]) -> str:
    """The page of a training whose held-out patients are scored elsewhere.

    Args:
        result: what metrics.json holds: `score_with`, `best_validation` and `provenance` are looked at.
    """
    best = result["best_validation"]
    said = f"While it trained, their mean Dice was {best['dice']:.3f} at best, at step {best['step']}." if best else ""
    commands = "".join(f"<li><code>{_text(command)}</code></li>" for command in result["score_with"])
    parts = [
        "<h1>A training that is scored elsewhere</h1>",
        _synthetic(result),
        f"<p>The files of the patients held out were not there. {said}</p>",
        f"<h2>What to do next</h2><ul>{commands}</ul>",
        _provenance(result),
    ]
    return _whole("A training that is scored elsewhere", parts)


def _whole(title: str, parts: Iterable[str]) -> str:
    text = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(text).substitute(title=title, digest=digest, body="\n".join(filter(None, parts)))


def _synthetic(result: Mapping[str, Any]) -> str:
    said = result["provenance"].get("synthetic")
    return f"<p><strong>Not real: {_text(said)}.</strong></p>" if said else ""


def _means(result: Mapping[str, Any]) -> str:
    rows = []
    for metric, title in result["metrics"].items():
        cells = [result["summary"][metric][region] for region in result["regions"]]
        rows.append([title, *(_cell(cell, metric) for cell in [*cells, result["over_regions"][metric]])])
    few = "" if len(result["scores"]) >= 10 else " With so few patients the interval is a rough guess."
    return (
        "<h2>Means over patients</h2>"
        + _table(["", *result["regions"], "mean of regions"], rows)
        + f'<p class="soft">In brackets: {_text(result["interval"])}; n: patients that count.{few} '
        f"Empty regions: {_text(result['empty_regions'])}.</p>"
    )


def _folds(result: Mapping[str, Any]) -> str:
    if not result.get("folds"):
        return ""
    rows = [
        [
            f"fold {at}: {_plural(len(row['patients']), 'patient')}",
            *(number(row["mean_dice"][r]) for r in result["regions"]),
        ]
        for at, row in enumerate(result["folds"])
    ]
    said = "Each patient was segmented by the network that had not seen it."
    return f'<h2>Mean Dice by fold</h2>{_table(["", *result["regions"]], rows)}<p class="soft">{said}</p>'


def _against(result: Mapping[str, Any]) -> str:
    other = result.get("against")
    if not other:
        return ""
    rows = [
        [result["metrics"][metric], *(_cell(row.get(region), metric) for region in result["regions"])]
        for metric, row in other["difference"].items()
    ]
    return (
        "<h2>Difference to another evaluation</h2>"
        + _table(["", *result["regions"]], rows)
        + f'<p class="soft">These scores minus those of {_codes([other["file"]])}, patient by patient, over the '
        f"{_plural(other['patients'], 'patient')} that both have. An interval without 0 speaks for a difference.</p>"
    )


def _plots(result: Mapping[str, Any]) -> str:
    penalty = metrics.EMPTY[result["empty"]].one[2]
    figures = []
    for metric, title in result["metrics"].items():
        columns = {r: {name: rows[r][metric] for name, rows in result["scores"].items()} for r in result["regions"]}
        limits = DISTANCE if "hd95" in metric else LIMITS.get(metric, GREATER_IS_BETTER)
        drawing = box_plot.draw(title, columns, limits, penalty if metric == "hd95" else None)
        figures.append(f"<figure><figcaption>{_text(title)}</figcaption>{drawing}</figure>")
    return (
        f'<h2>Spread over patients</h2><div class="plots">{"".join(figures)}</div>'
        '<p class="soft">A point a patient; box: quartiles and median; whiskers: the last values within 1.5 '
        "interquartile ranges; diamond: mean.</p>"
    )


def _pictures(result: Mapping[str, Any], out: Path, pictures: Mapping[str, str]) -> str:
    ranked = [n for n in result["worst_to_best"] if any(v is not None for v in result["dice"][n].values())]
    if not pictures or not ranked:
        return ""
    places = {"best": ranked[-1], "median": ranked[len(ranked) // 2], "worst": ranked[0]}
    titles: dict[str, list[str]] = {}
    for title, name in places.items():
        titles.setdefault(name, []).append(title)
    figures = []
    for name, kinds in titles.items():
        if name in pictures:
            data = base64.b64encode((out / pictures[name]).read_bytes()).decode()
            title = f"{', '.join(kinds).capitalize()}: {_text(name)}"
            alt = f"{_text(name)}: outlines of truth and prediction in three planes"
            figures.append(
                f'<figure><figcaption>{title}</figcaption><img alt="{alt}" src="data:image/png;base64,{data}"></figure>'
            )
    rest = [pictures[name] for name in pictures if name not in titles]
    more = f'<p class="soft">From the worst to the best, beside this file: {_codes(rest)}</p>' if rest else ""
    return f'<h2>Best, median and worst by mean Dice</h2><div class="pictures">{"".join(figures)}</div>{more}'


def _patients(result: Mapping[str, Any]) -> str:
    columns = [(region, metric) for region in result["regions"] for metric in result["metrics"]]
    head = "".join(
        f'<th scope="col"><button>{_text(region)}<small>{_text(result["metrics"][metric])}</small></button></th>'
        for region, metric in columns
    )
    body = []
    for name in result["worst_to_best"]:
        cells = []
        for region, metric in columns:
            value = result["scores"][name][region][metric]
            cells.append(f'<td data-v="{"" if value is None else value}">{number(value, metric)}</td>')
        body.append(f'<tr><th scope="row" data-v="{_text(name)}">{_text(name)}</th>{"".join(cells)}</tr>')
    return (
        '<h2>Patients, from the worst to the best</h2><div class="wide tall"><table class="patients"><thead><tr>'
        f'<th scope="col"><button>patient</button></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        '<p class="soft">A click on a heading sorts. The same numbers, with volumes, in <code>scores.csv</code>.</p>'
    )


def _conventions(result: Mapping[str, Any]) -> str:
    rows = []
    for rule, table in result["by_empty"].items():
        for metric in ("dice", "hd95"):
            if metric in table:
                title = f"{rule}{' (used above)' if rule == result['empty'] else ''}: {result['metrics'][metric]}"
                rows.append([title, *(_cell(table[metric][region], metric) for region in result["regions"])])
    words = "".join(f"<dt>{_text(rule)}</dt><dd>{_text(about)}</dd>" for rule, about in result["empty_rules"].items())
    return f"<h2>What empty regions count</h2><dl>{words}</dl><br>" + _table(["", *result["regions"]], rows)


def _definitions(result: Mapping[str, Any]) -> str:
    words = {result["metrics"][metric]: DEFINITIONS[metric] for metric in result["metrics"]}
    if result["lesion_rules"]:
        words["lesions"] = result["lesion_rules"]
    items = "".join(f"<dt>{_text(term)}</dt><dd>{_text(about)}</dd>" for term, about in words.items())
    return f"<h2>Definitions</h2><dl>{items}</dl>"


def _next(result: Mapping[str, Any]) -> str:
    evaluate = "python -m unet_segmentation evaluate --predictions DIR --data DIR --out DIR"
    items = [
        "Look at the worst patients first: a wrong orientation, a missing modality or a truth of another convention "
        "shows in the picture, not in the mean.",
        f"Every patient as a picture: <code>{evaluate} --pictures all</code>",
        f"Against these scores, patient by patient: <code>{evaluate} --against THIS/metrics.json</code>",
    ]
    if not result["lesion_rules"]:
        items.append(f"Several lesions a patient: <code>{evaluate} --lesion-wise</code>")
    return "<h2>What to do next</h2><ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _provenance(result: Mapping[str, Any]) -> str:
    items = "".join(
        f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in _flat(result["provenance"]) if value != ""
    )
    return f"<h2>Where these numbers come from</h2><dl>{items}</dl>"


def _flat(held: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in held.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield (
                f"{prefix}{key}".replace("_", " "),
                ", ".join(map(str, value)) if isinstance(value, list | tuple) else str("" if value is None else value),
            )


def _cell(cell: Mapping[str, Any] | None, metric: str) -> str:
    if cell is None or cell["mean"] is None:
        return "-<small>n = 0</small>"
    ends = "" if cell["low"] is None else f"[{number(cell['low'], metric)}, {number(cell['high'], metric)}], "
    return f"{number(cell['mean'], metric)}<small>{ends}n = {cell['n']}</small>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Heads and first columns are text; the other cells are HTML already."""
    top = "".join(f'<th scope="col">{_text(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{_text(first)}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        for first, *cells in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def _codes(names: Iterable[str]) -> str:
    return " ".join(f"<code>{_text(name)}</code>" for name in names)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _text(value: object) -> str:
    return escape(str(value))
