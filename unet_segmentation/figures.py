"""Pictures of a segmentation over the images it was made from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from submit.runtime.files import write_atomic
from unet_segmentation.labels import Convention
from unet_segmentation.prepare import background
from unet_segmentation.volumes import Volume

# Okabe & Ito's palette (2008), told apart with any colour vision; light enough for a dark image
COLOURS = {"whole": "#56B4E9", "core": "#F0E442", "enhancing": "#D55E00"}
TITLES = {"flair": "FLAIR", "t1": "T1", "t1c": "T1 contrast", "t2": "T2"}
PLANES = ("axial", "coronal", "sagittal")


def overlay(
    path: Path,
    name: str,
    images: Mapping[str, Volume],
    truth: NDArray[Any],
    predicted: NDArray[Any],
    convention: Convention,
    dice: Mapping[str, float],
) -> None:
    """Writes a PNG: three planes through the most tumour, truth and prediction as outlines on each image.

    Args:
        path: of the picture.
        name: of the patient.
        images: modality to image, at most two.
        truth: label values (x, y, z).
        predicted: label values (x, y, z).
        convention: of both.
        dice: of the regions, for the title.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    volumes = {modality: _upright(image.values, image.affine) for modality, image in images.items()}
    affine = next(iter(images.values())).affine
    labels = {"truth": _upright(truth, affine), "prediction": _upright(predicted, affine)}
    window = _window(next(iter(images.values())), affine)
    centre = _most_tumour(labels["truth"] if labels["truth"].any() else labels["prediction"])
    columns = [(modality, source) for modality in volumes for source in labels]
    aspects = _aspects(affine)  # height of a pixel over its width: voxels need not be cubes
    shapes = [_cut(next(iter(volumes.values())), plane, centre, window).shape for plane in range(3)]
    heights = [rows * aspect / width for (rows, width), aspect in zip(shapes, aspects, strict=True)]
    figure = Figure(figsize=(3.1 * len(columns), 3.1 * sum(heights) + 1.0), facecolor="black")
    axes = figure.subplots(
        3,
        len(columns),
        squeeze=False,
        gridspec_kw={"height_ratios": heights, "hspace": 0.02, "wspace": 0.02},
    )
    for column, (modality, source) in enumerate(columns):
        volume = volumes[modality]
        low, high = _contrast(volume)
        for plane in range(3):
            axis = axes[plane][column]
            axis.imshow(
                _cut(volume, plane, centre, window),
                cmap="gray",
                vmin=low,
                vmax=high,
                interpolation="bilinear",
                aspect=aspects[plane],
            )
            shown = _cut(labels[source], plane, centre, window)
            for region, colour in COLOURS.items():
                mask = convention.region(shown, region)
                if mask.any():
                    axis.contour(mask, levels=[0.5], colors=[colour], linewidths=1.3)
            axis.set_axis_off()
        axes[0][column].set_title(f"{TITLES.get(modality, modality)}: {source}", color="white", fontsize=11)
    for plane, title in enumerate(PLANES):
        axes[plane][0].text(0.02, 0.03, title, transform=axes[plane][0].transAxes, color="#bbbbbb", fontsize=9)
        if title != "sagittal":
            axes[plane][0].text(0.02, 0.5, "R", transform=axes[plane][0].transAxes, color="#bbbbbb", fontsize=9)
    scored = "   ".join(f"{region} {value:.3f}" for region, value in dice.items())
    figure.suptitle(f"{name}     Dice: {scored}", color="white", fontsize=12, y=0.985)
    handles = [Line2D([], [], color=colour, label=region) for region, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False, labelcolor="white", fontsize=10)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.93, bottom=0.045)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, facecolor="black")
    write_atomic(path, file.getvalue())


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


def _window(image: Volume, affine: NDArray[np.float64]) -> tuple[slice, slice, slice]:
    """The brain's box with a margin, in upright axes."""
    inside = _upright(image.values != background(image.values), affine)
    places = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    x, y, z = (slice(max(int(p[0]) - 4, 0), int(p[-1]) + 5) if p.size else slice(None) for p in places)
    return x, y, z


def _most_tumour(labels: NDArray[Any]) -> tuple[int, int, int]:
    """In each axis the slice with the most tumour; the middle where there is none."""
    tumour = labels > 0
    if not tumour.any():
        tumour = np.ones_like(tumour)
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


def _contrast(volume: NDArray[Any]) -> tuple[float, float]:
    """Grey levels from the background to the brightest half per cent of the brain."""
    dark = float(background(volume))
    inside = volume[volume != dark]
    if not inside.size:
        return dark, dark + 1
    low, high = np.percentile(inside, (0.5, 99.5))
    return min(dark, float(low)) if dark == 0 else float(low) - 0.1 * float(high - low), float(high)
