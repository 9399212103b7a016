"""A worker: images/s from end to end of MONAI's pipeline around the same U-Net in PyTorch, or of the pipeline alone.

python -m benchmarks.monai_loop --data DIR --workers 1 --setting channels-last --setting bf16
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from monai.utils import set_determinism

from benchmarks import monai_data, torch_unet


def main() -> None:
    parser = argparse.ArgumentParser(description="Times MONAI's pipeline around our U-Net.")
    parser.add_argument("--data", type=Path, required=True, help="folder of patients")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches; 0: the training one")
    parser.add_argument("--setting", action="append", default=[], choices=torch_unet.SETTINGS)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--varied", type=float, default=1.0, help="probability of each transform")
    options = parser.parse_args()
    torch.set_num_threads(2)
    set_determinism(1)
    random = [*monai_data.crops(128, tumour=0.8), *monai_data.varied(options.varied)]
    step = torch_unet.build(frozenset(options.setting), "instance")
    found = monai_data.loader(options.data, random, crop_to_brain=True, workers=options.workers)
    began, count = time.perf_counter(), -5  # five steps of warm-up
    for images, truth in monai_data.batches(found):
        step(images, monai_data.regions(truth)).item()
        count += 1
        if count == 0:
            began = time.perf_counter()
        elif count > 0 and time.perf_counter() - began > options.seconds:
            break
    speed = count * monai_data.BATCH / (time.perf_counter() - began)
    print(json.dumps({"images_per_s": speed, "parameters": torch_unet.parameters(step.network), "steps": count}))


if __name__ == "__main__":
    main()
