"""The patients that models can predict, and their files, before a job is queued for some of them: JSON, and no file of
theirs is read.

python -m unet_segmentation.listing --model model.keras --data data --out patients.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from submit.runtime import exit_codes
from submit.runtime.files import write_json
from unet_segmentation import predict


def main() -> int:
    """The command; `--out` then holds of each patient the paths of its files below `--data`."""
    parser = argparse.ArgumentParser(prog="python -m unet_segmentation.listing", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, action="append", help="as for predict")
    parser.add_argument("--data", type=Path, required=True, help="a folder of patients")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    options = parser.parse_args()

    def work() -> None:
        root = options.data
        found = {}
        for patient in predict.predictable(options.model, root)[0].patients:
            files = [source.path for source in patient.images.values()] + [patient.truth, patient.mask]
            inside = {str(file.relative_to(root)) for file in files if file is not None}
            found[patient.name] = sorted(inside)
        write_json(options.out, found)

    return exit_codes.run(work)


if __name__ == "__main__":
    sys.exit(main())
