"""A brain with a tumour that never was: images and labels of one phantom.

Not a simulation of MR physics: tissue maps made of smooth random fields, one grey value per tissue and modality in
the order a radiologist expects (T1: white matter brightest, cerebrospinal fluid dark; T2: fluid brightest; FLAIR:
fluid dark, oedema brightest; T1 with contrast: the tumour's rim brightest), partial volume, a bias field and Rician
noise. The same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

EXTENT_MM = (192.0, 224.0, 176.0)  # of the volume, whatever its size in voxels: a head with some air around it

Field = NDArray[np.float32]

# Mean signal of each tissue, in each modality, as a share of the brightest healthy tissue
TISSUES = ("fluid", "grey", "white", "nuclei", "oedema", "necrosis", "rim")
SIGNAL: Mapping[str, tuple[float, ...]] = {
    "flair": (0.14, 0.62, 0.52, 0.60, 0.98, 0.42, 0.80),
    "t1": (0.22, 0.62, 0.86, 0.70, 0.60, 0.34, 0.58),
    "t1c": (0.22, 0.64, 0.86, 0.72, 0.60, 0.32, 1.30),
    "t2": (1.00, 0.58, 0.42, 0.52, 0.86, 0.82, 0.66),
}
LABELS = {"oedema": 2, "necrosis": 1, "rim": 4}  # BraTS 2017 to 2021
NOISE = 0.025  # standard deviation, in the same unit
FULL_SCALE = 1200.0  # stored int16 values of BraTS images are of this order


def phantom(
    rng: np.random.Generator, size: tuple[int, int, int]
) -> tuple[dict[str, NDArray[np.int16]], NDArray[np.uint8]]:
    """One patient: images int16 (x, y, z) by modality, 0 outside the brain, and label values uint8 (x, y, z). x runs
    to the left, y to the back.
    """
    brain, tissue = _anatomy(rng, size)
    tumour = _tumour(rng, size, brain, tissue)
    for name, where in tumour.items():
        for other in tissue:
            tissue[other] = tissue[other] * ~where
        tissue[name] = where.astype(np.float32)
    labels = np.zeros(size, np.uint8)
    for name, where in tumour.items():
        labels[where] = LABELS[name]
    blurred = {name: ndimage.gaussian_filter(share, 0.45) for name, share in tissue.items()}
    total = np.maximum(sum(blurred.values(), np.zeros(size, np.float32)), 1e-3)
    images = {}
    for modality, signal in SIGNAL.items():
        patient_signal = {name: value * rng.normal(1, 0.03) for name, value in zip(TISSUES, signal, strict=True)}
        clean = sum((blurred[name] * patient_signal[name] for name in blurred), np.zeros(size, np.float32)) / total
        clean *= 1 + 0.05 * _noise(rng, size, 6.0)  # tissue is not uniform
        bias = np.exp(0.06 * _noise(rng, size, 60.0))
        real, imaginary = (rng.normal(0, NOISE, size).astype(np.float32) for _ in range(2))
        rician = np.hypot(clean * bias + real, imaginary)  # magnitude images: Gudbjartsson and Patz 1995
        gain = FULL_SCALE * rng.uniform(0.7, 1.3)  # scanners have no common scale
        images[modality] = np.where(brain, np.maximum(np.rint(rician * gain), 1), 0).astype(np.int16)
    labels[~brain] = 0
    return images, labels


def _anatomy(rng: np.random.Generator, size: tuple[int, int, int]) -> tuple[NDArray[np.bool_], dict[str, Field]]:
    """The brain's mask and the share of each healthy tissue, in a head of millimetre coordinates centred in the
    volume.
    """
    x, y, z = _millimetres(size)
    scale = rng.normal(1, 0.03, 3)
    x, y, z = x / scale[0], y / scale[1], z / scale[2]
    fold = _noise(rng, size, 9.0)
    ripple = _noise(rng, size, 5.0)

    # Cerebrum: an ellipsoid, flatter below; the distance to its surface in mm, positive inside
    below = np.where(z < 0, 46.0, 68.0)
    radius = np.sqrt((x / 66) ** 2 + ((y + 2) / 84) ** 2 + (z / below) ** 2)
    cerebrum = (1 - radius) * 66 + 1.5 * _noise(rng, size, 25.0)
    # Cerebellum and brainstem, behind and below
    lower = np.sqrt((np.abs(x) / 52) ** 2 + ((y - 42) / 36) ** 2 + ((z + 40) / 30) ** 2)
    cerebellum = (1 - lower) * 30 + 1.0 * ripple
    stem = 11 - np.hypot(x, (y - 18) / 1.1) + np.where((z > -75) & (z < -20), 0, -30)
    depth = np.maximum(np.maximum(cerebrum, cerebellum), stem)
    brain = ndimage.binary_fill_holes(depth > 0)

    # Cortex: grey matter follows the surface and folds; fluid fills the sulci and the fissure between the hemispheres
    sulci = (np.abs(fold) < 0.20) & (cerebrum > 0) & (cerebrum < 13)
    fissure = (np.abs(x + 1.2 * ripple) < 1.6) & (cerebrum > 0) & ((z > 26) | (y < -38) | (y > 50)) & (z > -30)
    surface = np.minimum(cerebrum, np.where(sulci | fissure, -1, 40))
    outer = ndimage.distance_transform_edt(~(sulci | fissure), sampling=spacing(size)).astype(np.float32)
    thickness = 3.6 + 0.8 * ripple
    cortex = (np.minimum(surface, outer) < thickness) & (cerebrum > 0)
    tent = (cerebellum > 0) & (cerebellum > cerebrum)
    folia = tent & (np.sin(lower * 26 + 0.8 * ripple) > 0) & (cerebellum < 13)

    # Deep structures: lateral ventricles with their horns, third ventricle, nuclei beside them
    side = np.abs(x)
    curve = 9 + 0.12 * np.abs(y) + 0.004 * y**2
    horn = np.hypot((side - curve) / 5.5, (z - 10 + 0.006 * y**2) / 9) + np.maximum(np.abs(y - 2) - 34, 0) / 10
    ventricles = (horn + 0.12 * ripple < 1) & (cerebrum > 8)
    third = (side < 2.2) & (np.abs(y - 4) < 14) & (np.abs(z + 4) < 9)
    thalamus = np.sqrt(((side - 13) / 8) ** 2 + ((y - 10) / 14) ** 2 + ((z + 2) / 9) ** 2) < 1 + 0.1 * ripple
    putamen = np.sqrt(((side - 26) / 5.5) ** 2 + ((y + 8) / 17) ** 2 + ((z + 1) / 11) ** 2) < 1 + 0.1 * ripple
    caudate = np.sqrt(((side - 13) / 4.5) ** 2 + ((y + 22) / 9) ** 2 + ((z - 6) / 11) ** 2) < 1

    fluid = (ventricles | third | sulci | fissure) & brain & ~tent
    fluid |= (tent & (cerebellum < 1.2)) | ((cerebrum > 0) & (cerebrum < 1.2))
    nuclei = (thalamus | putamen | caudate) & brain & ~fluid
    grey = (cortex | folia | (tent & (cerebellum < 3.5))) & brain & ~fluid & ~nuclei
    white = brain & ~fluid & ~nuclei & ~grey
    tissue = {"fluid": fluid & brain, "grey": grey, "white": white, "nuclei": nuclei}
    return brain, {name: where.astype(np.float32) for name, where in tissue.items()}


def _tumour(
    rng: np.random.Generator, size: tuple[int, int, int], brain: NDArray[np.bool_], tissue: Mapping[str, Field]
) -> dict[str, NDArray[np.bool_]]:
    """Where oedema, necrosis and the enhancing rim are: a ragged ball around a place in white matter, its oedema
    along the white matter.
    """
    depth = ndimage.distance_transform_edt(brain, sampling=spacing(size))
    x, y, z = _millimetres(size)
    core_mm, oedema_mm = rng.uniform(15, 24), rng.uniform(9, 17)
    candidates = np.flatnonzero((tissue["white"] > 0) & (depth > 14) & (z > -20) & (np.abs(x) > 16))
    if not candidates.size:
        candidates = np.flatnonzero(brain)
    centre = np.unravel_index(candidates[rng.integers(candidates.size)], size)
    stretch = rng.uniform(0.8, 1.2, 3)
    away = np.sqrt(sum(((axis - axis[centre]) / s) ** 2 for axis, s in zip((x, y, z), stretch, strict=True)))
    ragged = _noise(rng, size, 16.0)
    core = core_mm + 3.5 * ragged - away  # mm inside the core
    rim_mm = 3.6 + 1.6 * _noise(rng, size, 12.0)
    spread = oedema_mm * (1 + 0.5 * _noise(rng, size, 20.0)) * np.where(tissue["grey"] > 0, 0.45, 1.0)
    solid = (core > 0) & brain
    oedema = (core > -spread) & brain & ~solid & (tissue["fluid"] == 0)
    necrosis = solid & (core > rim_mm)
    return {"oedema": oedema, "rim": solid & ~necrosis, "necrosis": necrosis}


def spacing(size: tuple[int, ...]) -> tuple[float, ...]:
    """Millimetres from voxel to voxel of a phantom of so many voxels."""
    return tuple(extent / count for extent, count in zip(EXTENT_MM, size, strict=True))


def _millimetres(size: tuple[int, ...]) -> tuple[Field, Field, Field]:
    """Coordinates of each voxel's centre: x from the middle to the left, y to the back, z up; the brain's centre is a
    little above the middle.
    """
    axes = [
        ((np.arange(count, dtype=np.float32) + 0.5) / count - 0.5) * np.float32(extent)
        for count, extent in zip(size, EXTENT_MM, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x.astype(np.float32), y.astype(np.float32), (z - 6).astype(np.float32)


def _noise(rng: np.random.Generator, size: tuple[int, int, int], wavelength_mm: float) -> Field:
    """A smooth random field of mean 0 and standard deviation 1, whose bumps are about `wavelength_mm` wide."""
    sigma = [wavelength_mm / 2.5 / step for step in spacing(size)]
    field = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), sigma, mode="wrap")
    smooth: Field = (field - field.mean()) / max(float(field.std()), 1e-6)
    return smooth
