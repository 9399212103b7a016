"""A prepared folder that is all there is: patients without the files that they were made of.

FOLDER/dataset.json    what they are
FOLDER/<patient>/      an entry, see `entry`
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from submit.runtime import dataset
from submit.runtime.exit_codes import BadInput
from submit.runtime.progress import Progress
from unet_segmentation import cache, entry
from unet_segmentation.config import DataConfig
from unet_segmentation.inspection import Report
from unet_segmentation.naming import Layout, named
from unet_segmentation.patients import Patient, Source
from unet_segmentation.prepare import Prepared

MEND = "prepare the data again: python -m unet_segmentation prepare --data DIR --out FOLDER"


class Store:
    """A prepared folder.

    Raises:
        BadInput: its dataset.json is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        place = folder / dataset.FILE
        try:
            self.described = dataset.read(place)
        except dataset.Damaged as fault:
            raise BadInput(place, str(fault), "what prepare wrote", MEND) from fault
        self.layout = Layout.from_dict(
            self.described["layout"], self.described.get("layout_table"), f"{place}: layout_table"
        )
        self.modalities = tuple(self.described["modalities"])
        # what is no prepared folder's business is left out: there are no files to look for
        self.patients = [
            Patient(name, folder / cache.folder_name(name), {}, None, None, {}, held["subject"], held["grade"])
            for name, held in sorted(self.described["patients"].items())
        ]

    def paths(self, name: str) -> list[str]:
        """Of a patient's files, from the folder on."""
        found: list[str] = self.described["patients"][name]["paths"]
        return found

    def require_fit(self, config: DataConfig) -> None:
        """Nothing, if these patients were prepared as a configuration wants them.

        Raises:
            BadInput: other modalities or another label convention.
        """
        if config.modalities and config.modalities != self.modalities:
            held, wanted = ", ".join(self.modalities), ", ".join(config.modalities)
            raise BadInput(self.folder, f"prepared of {held}", f"{wanted}, as data.modalities says", MEND)
        if config.layout != "auto" and named(config.layout).convention != self.layout.convention:
            held, wanted = (kind.convention.describe() for kind in (self.layout, named(config.layout)))
            raise BadInput(self.folder, f"prepared with {held}", f"{wanted}, as data.layout says", MEND)

    def open(self, patients: Sequence[Patient]) -> dict[str, tuple[Prepared, Report]]:
        """Opens patients, memory-mapped, once their checksums are compared; shows a progress bar.

        Raises:
            BadInput: an entry is missing, damaged, prepared with other settings, or without truth.
        """
        progress = Progress(len(patients), "checking")
        found: dict[str, tuple[Prepared, Report]] = {}
        with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), cache.MOST_WORKERS)) as pool:
            for patient, opened in zip(patients, pool.map(self._one, patients), strict=True):
                found[patient.name] = opened
                progress.update(len(found), patient.name)
        progress.close(len(found))
        return found

    def _one(self, patient: Patient) -> tuple[Prepared, Report]:
        try:
            about = entry.read(patient.folder)
            if about.get("settings") != cache.settings_of(self.layout.convention, self.modalities):
                raise entry.Damaged("prepared with other settings")
            if about.get("name") != patient.name:
                raise entry.Damaged(f"prepared of {about.get('name')}")
            if entry.CLASSES not in about["arrays"]:
                raise entry.Damaged("prepared without a truth")
            entry.check(patient.folder, about)
        except FileNotFoundError as fault:
            raise BadInput(patient.folder, "missing", "every patient of dataset.json", MEND) from fault
        except entry.Damaged as fault:
            raise BadInput(patient.folder, str(fault), "what this version of prepare writes", MEND) from fault
        images = _images(patient, about)
        whole = Patient(**{**vars(patient), "images": images})
        report = Report(whole, [], list(about["warnings"]), about["files"], about["facts"])
        return entry.Stored(patient.folder, about), report


def _images(patient: Patient, about: Mapping[str, Any]) -> dict[str, Source]:
    """The files that a patient was made of, as they would lie beside the entry: none is there."""
    names = {digest: name for name, digest in about["files"].items()}
    return {
        kind: Source(patient.folder / names[source["sha256"]], source["channel"])
        for kind, source in about["sources"].items()
        if kind in about["settings"]["modalities"] and source["sha256"] in names
    }
