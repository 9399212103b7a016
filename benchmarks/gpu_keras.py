"""A worker: our images/s on a GPU, by the trainer's own loop on phantoms, augmentation on; KERAS_BACKEND says on what.

Images that are not square are cut from a square that the augmentation makes: `train.patch` has one side.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from benchmarks import ours
from benchmarks.pairs import BUILD, network_options
from unet_segmentation import config, phantom
from unet_segmentation.objective import Objective


def cut(sides: tuple[int, int]) -> type[Objective]:
    """An objective whose images are the middle of the patch."""

    class Cut(Objective):
        def inputs(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
            images, truth = super().inputs(batch)
            x, y = ((self.config.train.patch - side) // 2 for side in sides)
            return tuple(v[:, x : x + sides[0], y : y + sides[1]] for v in (images, truth))

    return Cut


def main() -> None:
    parser = argparse.ArgumentParser(description="Times our training on a GPU.")
    network_options(parser)
    parser.add_argument("--size", type=int, nargs=3, default=(176, 208, 96), help="of the phantoms, voxels")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    data = BUILD / "phantoms" / "x".join(map(str, options.size))
    if not data.exists():
        part = data.with_name(f"{data.name}.part")
        phantom.write(part, {"train": 4, "validation": 1}, seed=1, size=tuple(options.size))
        part.rename(data)
    sides = tuple(options.sides)
    settings = config.load(
        None,
        [
            *(f"model.{name}={getattr(options, name)}" for name in ("width", "levels")),
            f"model.normalisation={options.normalisation}",
            f"train.batch_size={options.batch}",
            f"train.patch={max(sides)}",
            "train.precision=bfloat16",
            "train.deterministic=off",
            *options.set,
        ],
    )
    where, batches, session = ours.in_training(settings, data, cut(sides) if sides[0] != sides[1] else Objective)
    with closing(batches.since(0, session.ahead)) as made:
        count, spent = ours.run(session, made, options.seconds, warm_up=10)
    found = {"images_per_s": count * options.batch / spent, "parameters": int(session.model.count_params())}
    print(json.dumps({**found, "steps": count, **ours.about(where)}))


if __name__ == "__main__":
    main()
