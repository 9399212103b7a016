"""Pictures of a segmentation over the images it was made from."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from submit.runtime.files import write_atomic
from unet_segmentation.labels import Convention
from unet_segmentation.volumes import Volume

# Okabe and Ito's palette (2008), told apart with any colour vision; light enough for a dark image. Regions take them in
# the convention's order, from the outside in
COLOURS = ("#56B4E9", "#F0E442", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
TITLES = {"flair": "FLAIR", "t1": "T1", "t1c": "T1 contrast", "t2": "T2"}
PLANES = ("axial", "coronal", "sagittal")
MARGIN = 4  # voxels around what is shown
COLUMN = 3.1  # inches
DPI = 110
GREY = "#bbbbbb"


def colours(regions: Iterable[str]) -> dict[str, str]:
    """A colour for each region, in order."""
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(regions)}


def overlay(
    path: Path,
    name: str,
    images: Mapping[str, Volume],
    truth: NDArray[Any],
    predicted: NDArray[Any],
    convention: Convention,
    caption: str,
) -> None:
    """Writes a PNG: three planes through the most tumour, truth and prediction as outlines on each image.

    Args:
        path: of the picture.
        name: of the patient.
        images: modality to image, one or two.
        truth: label values (x, y, z).
        predicted: label values (x, y, z).
        convention: of both.
        caption: the line under the name, such as the scores.
    """
    upright = {modality: _upright(image.values, image.affine) for modality, image in images.items()}
    first = next(iter(images.values()))
    labels = {"truth": _upright(truth, first.affine), "prediction": _upright(predicted, first.affine)}
    marked = (labels["truth"] > 0) | (labels["prediction"] > 0)
    window = _window(next(iter(upright.values())), marked)
    centre = _most_tumour(labels["truth"] if labels["truth"].any() else labels["prediction"], window)
    greys = {modality: _contrast(values) for modality, values in upright.items()}
    columns = [(modality, source) for modality in upright for source in labels]
    aspects = _aspects(first.affine)  # height of a pixel over its width: voxels need not be cubes
    shapes = [_cut(marked, plane, centre, window).shape for plane in range(3)]
    # a plane of thick slices may be very flat or tall: neither a sliver nor a tower
    heights = [float(np.clip(rows * a / width, 0.25, 2.5)) for (rows, width), a in zip(shapes, aspects, strict=True)]
    wrapped = _wrapped(name, COLUMN * len(columns))
    header = 0.75 + 0.2 * wrapped.count("\n")  # inches
    height = COLUMN * sum(heights) + header + 0.4
    figure, axes = _figure((COLUMN * len(columns), height), (3, len(columns)), heights)
    for column, (modality, source) in enumerate(columns):
        low, high = greys[modality]
        for plane in range(3):
            axis = axes[plane][column]
            grey = _cut(upright[modality], plane, centre, window)
            axis.imshow(grey, cmap="gray", vmin=low, vmax=high, interpolation="bilinear", aspect=aspects[plane])
            shown = _cut(labels[source], plane, centre, window)
            _outline(axis, {region: convention.region(shown, region) for region in convention.regions})
        title = f"{TITLES.get(modality, modality)}: {source}"
        axes[0][column].set_title(title, color="white", fontsize=11, parse_math=False)
    for plane, title in enumerate(PLANES):
        axis = axes[plane][0]
        axis.text(0.02, 0.03, title, transform=axis.transAxes, color=GREY, fontsize=9)
        if title != "sagittal":
            axis.text(0.02, 0.5, "R", transform=axis.transAxes, color=GREY, fontsize=9)
    text = {"parse_math": False, "ha": "center", "va": "top", "color": "white"}
    figure.text(0.5, 1 - 0.08 / height, wrapped, fontsize=12, **text)
    figure.text(0.5, 1 - (header - 0.42) / height, caption, fontsize=10.5, **text)
    _legend(figure, convention.regions)
    figure.subplots_adjust(left=0.005, right=0.995, top=1 - header / height, bottom=0.38 / height)
    _write(path, figure)


def live_overlay(
    path: Path,
    panels: Sequence[tuple[str, NDArray[Any]]],
    truth: Mapping[str, NDArray[np.bool_]],
    predicted: Mapping[str, NDArray[np.bool_]],
    title: str,
) -> None:
    """Writes a PNG of one slice while training runs: the truth's outlines above, the prediction's below.

    Slices are drawn with x to the right and y downwards, which is upright for BraTS files (x to the left, y to the
    back).

    Args:
        path: of the picture; replaced in one step.
        panels: name and image (x, y) of each modality.
        truth: region to mask (x, y), from the outside in.
        predicted: the same of the prediction.
        title: of two lines at most, such as the step and the Dice.
    """
    rows, width = panels[0][1].shape[::-1]
    column = 2.4
    side = float(np.clip(rows / width, 0.4, 2.5))
    width_inches = max(column * len(panels), 3.2)
    wrapped = _wrapped(title, width_inches * 1.3)
    header = 0.55 + 0.17 * wrapped.count("\n")  # inches
    size = (width_inches, column * 2 * side + header + 0.35)
    figure, axes = _figure(size, (2, len(panels)), (1.0, 1.0))
    for column_index, (modality, image) in enumerate(panels):
        values = np.asarray(image, np.float32)
        low, high = _contrast(values)
        for row, (source, masks) in enumerate((("truth", truth), ("prediction", predicted))):
            axis = axes[row][column_index]
            axis.imshow(values.T, cmap="gray", vmin=low, vmax=high, interpolation="bilinear")
            _outline(axis, {region: mask.T for region, mask in masks.items()}, colours(truth))
            if column_index == 0:
                axis.text(0.03, 0.03, source, transform=axis.transAxes, color=GREY, fontsize=9)
        axes[0][column_index].set_title(TITLES.get(modality, modality), color="white", fontsize=10, parse_math=False)
    height = size[1]
    line = {"parse_math": False, "ha": "center", "va": "top", "color": "white"}
    figure.text(0.5, 1 - 0.07 / height, wrapped, fontsize=10, **line)
    _legend(figure, truth)
    figure.subplots_adjust(left=0.005, right=0.995, top=1 - header / height, bottom=0.35 / height)
    _write(path, figure)


def _figure(size: tuple[float, float], grid: tuple[int, int], heights: Sequence[float]) -> tuple[Any, Any]:
    """A black figure of so many rows and columns of pictures without axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, facecolor="black")
    spaces = {"height_ratios": list(heights), "hspace": 0.02, "wspace": 0.02}
    axes = figure.subplots(*grid, squeeze=False, gridspec_kw=spaces)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def _outline(axis: Any, masks: Mapping[str, NDArray[np.bool_]], shades: Mapping[str, str] | None = None) -> None:
    """Contours half a voxel outside the masks, also where a mask touches the picture's edge."""
    for region, colour in (shades or colours(masks)).items():
        mask = masks.get(region)
        if mask is None or not mask.any():
            continue
        rows, columns = mask.shape
        padded = np.pad(mask.astype(np.float32), 1)
        axis.contour(
            np.arange(-1, columns + 1), np.arange(-1, rows + 1), padded, levels=[0.5], colors=[colour], linewidths=1.3
        )
        axis.set_xlim(-0.5, columns - 0.5)
        axis.set_ylim(rows - 0.5, -0.5)


def _legend(figure: Any, regions: Iterable[str]) -> None:
    from matplotlib.lines import Line2D

    shades = colours(regions)
    handles = [Line2D([], [], color=shade) for shade in shades.values()]
    legend = figure.legend(
        handles, list(shades), loc="lower center", ncols=4, frameon=False, labelcolor="white", fontsize=10
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a region's name is the user's text


def _write(path: Path, figure: Any) -> None:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a name in letters the font lacks: boxes, no noise
        figure.savefig(file, format="png", dpi=DPI, facecolor="black")
    write_atomic(path, file.getvalue())


def _wrapped(name: str, inches: float) -> str:
    """The text in at most two lines that fit; a file name may hold bytes that are no text."""
    text = name.encode("utf-8", "replace").decode()
    return "\n".join(textwrap.wrap(text, int(inches * 9), max_lines=2, placeholder=" ...")) or "-"


def _upright(values: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Axes from right to left, from back to front, from foot to head, whatever the file's order: radiological, the
    patient's right on the left.
    """
    orientation = nibabel.orientations.io_orientation(affine)
    wanted = nibabel.orientations.axcodes2ornt(("L", "A", "S"))
    turned: NDArray[Any] = nibabel.orientations.apply_orientation(
        values, nibabel.orientations.ornt_transform(orientation, wanted)
    )
    return turned


def _aspects(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Of the axial, coronal and sagittal picture, from the voxel's sides in mm along upright axes."""
    axes = nibabel.orientations.io_orientation(affine)[:, 0].astype(int)
    sides = np.empty(3)
    sides[axes] = np.linalg.norm(affine[:3, :3], axis=0)
    x, y, z = sides.tolist()
    return y / x, z / x, z / y


def _window(image: NDArray[Any], marked: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The box of what is not background or is marked, with a margin; all upright."""
    inside = (image != _background(image)) | marked
    places = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    x, y, z = (slice(max(int(p[0]) - MARGIN, 0), int(p[-1]) + 1 + MARGIN) if p.size else slice(None) for p in places)
    return x, y, z


def _most_tumour(labels: NDArray[Any], window: tuple[slice, slice, slice]) -> tuple[int, int, int]:
    """In each axis the slice with the most tumour; the middle of the window where there is none."""
    tumour = labels > 0
    if not tumour.any():
        spans = [side.indices(size)[:2] for side, size in zip(window, labels.shape, strict=True)]
        x, y, z = ((start + stop - 1) // 2 for start, stop in spans)
        return x, y, z
    x, y, z = (_heaviest(tumour.sum(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    return x, y, z


def _heaviest(counts: NDArray[Any]) -> int:
    """The middle of the slices that have the most voxels."""
    return int(np.median(np.flatnonzero(counts == counts.max())))


def _cut(
    volume: NDArray[Any], plane: int, centre: tuple[int, int, int], window: tuple[slice, slice, slice]
) -> NDArray[Any]:
    """An axial, coronal or sagittal (plane 0, 1, 2) slice as an image: rows downwards."""
    x, y, z = window
    cut = (volume[x, y, centre[2]], volume[x, centre[1], z], volume[centre[0], y, z])[plane]
    return np.rot90(cut)


def _background(values: NDArray[Any]) -> float:
    """The most frequent value on the edges of a slice or a volume: a constant, but not always 0."""
    edges = [np.moveaxis(values, axis, 0)[index].ravel() for axis in range(values.ndim) for index in (0, -1)]
    found, counts = np.unique(np.concatenate(edges), return_counts=True)
    return float(found[np.argmax(counts)])


def _contrast(values: NDArray[Any]) -> tuple[float, float]:
    """Grey levels from the background to the brightest half per cent of the brain."""
    dark = _background(values)
    inside = values[(values != dark) & np.isfinite(values)]
    if not inside.size:
        return dark, dark + 1
    low, high = (float(level) for level in np.percentile(inside, (0.5, 99.5)))
    low = min(dark, low) if dark == 0 and low >= 0 else low - 0.1 * (high - low)
    return low, high if high > low else low + 1
