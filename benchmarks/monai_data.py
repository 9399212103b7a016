"""MONAI's part of the peers: how it reads, caches and varies the sample of real patients.

What MONAI's own guides advise for speed is done: everything that is the same each time stands before the first random
transform, so that CacheDataset keeps its result; the places of tumour and background are found once
(FgBgToIndicesd); tensors are plain and cached volumes are not copied before a crop; one affine transform stands for
rotation, zoom and shift; several crops are taken from a volume at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from monai import transforms as t
from monai.data import CacheDataset, DataLoader, list_data_collate, set_track_meta
from torch import Tensor
from torch.utils.data import RandomSampler

IMAGES = {"flair": "Flair_subtrMeanDivStd.nii.gz", "t1c": "T1c_subtrMeanDivStd.nii.gz"}
TRUTH, MASK = "OTMultiClass.nii.gz", "brainmask.nii.gz"
REGIONS = {"whole": (1, 2, 3, 4), "core": (1, 3, 4), "enhancing": (4,)}
BATCH = 8
CROPS = 4  # of one volume: two volumes a batch

set_track_meta(False)  # plain tensors: MONAI's own notes on where its time goes


def patients(folder: Path) -> list[dict[str, str]]:
    """Paths of each patient's files, in order of their names."""
    names = {**IMAGES, "truth": TRUTH, "mask": MASK}
    return [
        {"name": one.name, **{key: str(one / file) for key, file in names.items()}}
        for one in sorted(folder.iterdir())
        if one.is_dir()
    ]


def reading(crop_to_brain: bool) -> list[Any]:
    """The transforms whose result is kept: image (2, x, y, z) float32, truth (1, x, y, z) uint8."""
    keys = [*IMAGES, "truth", "mask"]
    crop = [t.CropForegroundd(["image", "truth"], source_key="mask", select_fn=lambda mask: mask > 0.5, margin=0)]
    return [
        t.LoadImaged(keys),
        t.EnsureChannelFirstd(keys, channel_dim="no_channel"),
        t.ConcatItemsd(list(IMAGES), "image"),
        *(crop if crop_to_brain else []),
        t.SelectItemsd(["image", "truth"]),
        t.FgBgToIndicesd("truth"),
        t.CastToTyped(["image", "truth"], dtype=[torch.float32, torch.uint8]),
    ]


def crops(side: int, tumour: float) -> list[Any]:
    """CROPS axial crops of side x side, the share `tumour` of them centred on a voxel of tumour."""
    return [
        t.RandCropByPosNegLabeld(
            ["image", "truth"],
            label_key="truth",
            spatial_size=(side, side, 1),
            pos=tumour,
            neg=1 - tumour,
            num_samples=CROPS,
            fg_indices_key="truth_fg_indices",
            bg_indices_key="truth_bg_indices",
            allow_smaller=True,
        ),
        t.SelectItemsd(["image", "truth"]),
        t.SqueezeDimd(["image", "truth"], dim=-1),
        t.SpatialPadd(["image", "truth"], (side, side)),
    ]


def varied(share: float) -> list[Any]:
    """What our trainer does by default to an image, in MONAI's transforms; each but the flip with probability
    `share`.
    """
    both = ["image", "truth"]
    return [
        t.RandFlipd(both, prob=0.5, spatial_axis=0),
        t.RandAffined(
            both,
            prob=share,
            rotate_range=0.35,  # 20 degrees
            translate_range=13,  # 0.1 of 128
            scale_range=0.15,
            spatial_size=(128, 128),
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
            cache_grid=True,
        ),
        t.RandScaleIntensityd("image", factors=0.2, prob=share, channel_wise=True),
        t.RandShiftIntensityd("image", offsets=0.2, prob=share, channel_wise=True),
        t.RandAdjustContrastd("image", gamma=(1 / 1.3, 1.3), prob=share),
        t.RandGaussianNoised("image", std=0.1, prob=share),
    ]


def usual() -> list[Any]:
    """Flips, rotations by 90 degrees, intensity scale and shift."""
    both = ["image", "truth"]
    return [
        t.RandFlipd(both, prob=0.5, spatial_axis=0),
        t.RandFlipd(both, prob=0.5, spatial_axis=1),
        t.RandRotate90d(both, prob=0.5),
        t.RandScaleIntensityd("image", factors=0.1, prob=0.5),
        t.RandShiftIntensityd("image", offsets=0.1, prob=0.5),
    ]


def loader(folder: Path, random: Sequence[Any], crop_to_brain: bool, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end: image (8, 2, x, y) float32, truth (8, 1, x, y) uint8 label values."""
    files = [{key: value for key, value in one.items() if key != "name"} for one in patients(folder)]
    data = CacheDataset(
        files, t.Compose([*reading(crop_to_brain), *random]), num_workers=2, progress=False, copy_cache=False
    )
    # a sampler of many draws, so that the workers are started once
    draws = RandomSampler(data, replacement=True, num_samples=10**6)
    return iter(
        DataLoader(
            data,
            batch_size=BATCH // CROPS,
            sampler=draws,
            num_workers=workers,
            collate_fn=list_data_collate,
            **({"prefetch_factor": 4} if workers else {}),
        )
    )


def batches(found: Iterator[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs out of the loader's dictionaries."""
    for one in found:
        yield one["image"], one["truth"]


def regions(truth: Tensor) -> Tensor:
    """Label values (n, 1, ...) to region masks (n, 3, ...)."""
    return torch.cat([torch.isin(truth, truth.new_tensor(values)) for values in REGIONS.values()], 1)
