"""Checks many settings at once, before a job is queued for each: JSON lists of `section.key=value` on standard input.

python -m unet_segmentation.settings --config config.toml < trials.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from submit.runtime import exit_codes
from submit.runtime.exit_codes import BadInput
from unet_segmentation import config


def main() -> int:
    """The command; its exit code is 65 for the first list that a training would refuse."""
    parser = argparse.ArgumentParser(prog="python -m unet_segmentation.settings", description=__doc__)
    parser.add_argument("--config", type=Path, help="as for train")
    options = parser.parse_args()

    def work() -> None:
        try:
            trials = [list(map(str, trial)) for trial in json.load(sys.stdin)]
        except (ValueError, TypeError) as fault:
            raise BadInput("standard input", str(fault), 'such as [["train.steps=200"]]', "see --help") from fault
        for trial in trials:
            config.load(options.config, trial)

    return exit_codes.run(work)


if __name__ == "__main__":
    sys.exit(main())
