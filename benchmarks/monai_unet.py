"""A worker: MONAI's own UNet trained for so many minutes on the sample of real patients, and its Dice.

    python -m benchmarks.monai_unet --data DIR --minutes 6 --seed 1

2-D, 16 to 256 maps, two residual units a level; FLAIR and T1c, 192 x 192 crops, batch 8, Dice and cross-entropy, Adam
1e-3, flips, rotations by 90 degrees, intensity scale and shift, CacheDataset. Each patient's volume is then segmented
slice by slice, whole slices, and scored. The minutes begin when the volumes are cached and the fastest of the settings
(bf16, channels-last, both, none) is found.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import Compose
from monai.utils import set_determinism
from torch import Tensor, nn

from benchmarks import monai_data, torch_unet

CLASSES = 5  # background, necrosis, oedema, non-enhancing, enhancing
SIDE = 192
SETTINGS: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"bf16"}),
    frozenset({"channels-last"}),
    frozenset({"channels-last", "bf16"}),
)


def network() -> nn.Module:
    return UNet(2, 2, CLASSES, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2)


def loss() -> Callable[[Tensor, Tensor], Tensor]:
    combined = DiceCELoss(to_onehot_y=True, softmax=True)
    return lambda logits, truth: combined(logits.float(), truth)


def fastest() -> frozenset[str]:
    """The setting with the shortest step, each tried in turn."""
    images, truth = torch.randn(8, 2, SIDE, SIDE), torch.randint(0, CLASSES, (8, 1, SIDE, SIDE))
    steps = {settings: torch_unet.Step(network(), settings, loss()) for settings in SETTINGS}
    times: dict[frozenset[str], list[float]] = {settings: [] for settings in SETTINGS}
    for _ in range(5):
        for settings, step in steps.items():
            began = time.perf_counter()
            step(images, truth).item()
            times[settings].append(time.perf_counter() - began)
    return min(SETTINGS, key=lambda settings: min(times[settings]))


@torch.no_grad()
def dice(step: torch_unet.Step, folder: Path, bf16: bool) -> dict[str, dict[str, float]]:
    """Dice of each patient and region over the whole volume."""
    step.network.eval()
    read, found = Compose(monai_data.reading(crop_to_brain=False)), {}
    for one in monai_data.patients(folder):
        item = read({key: value for key, value in one.items() if key != "name"})
        slices = item["image"].permute(3, 0, 1, 2)
        labels = []
        for part in slices.split(8):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = step.network(part.contiguous(memory_format=step.format))
            labels.append(logits.float().argmax(1, keepdim=True))
        predicted = monai_data.regions(torch.cat(labels))
        true = monai_data.regions(item["truth"].permute(3, 0, 1, 2))
        found[one["name"]] = {
            region: float(2 * (predicted[:, i] & true[:, i]).sum() / (predicted[:, i].sum() + true[:, i].sum()))
            for i, region in enumerate(monai_data.REGIONS)
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains and scores MONAI's UNet.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and validation/")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches")
    options = parser.parse_args()
    torch.set_num_threads(2)
    settings = fastest()
    set_determinism(options.seed)
    step = torch_unet.Step(network(), settings, loss())
    random = [*monai_data.crops(SIDE, tumour=0.8), *monai_data.usual()]
    found = monai_data.batches(monai_data.loader(options.data / "train", random, False, options.workers))
    began, count = time.monotonic(), 0
    while time.monotonic() - began < options.minutes * 60:
        images, truth = next(found)
        step(images, truth).item()
        count += 1
    spent = time.monotonic() - began
    result = {
        "dice": dice(step, options.data / "validation", "bf16" in settings),
        "steps": count,
        "images_per_s": count * monai_data.BATCH / spent,
        "training_s": spent,
        "setting": ", ".join(sorted(settings)) or "fp32",
        "parameters": torch_unet.parameters(step.network),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
