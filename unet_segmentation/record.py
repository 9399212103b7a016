"""`predictions.json`: what lies in a folder of predictions, and of which models, images and options."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json
from unet_segmentation.layouts import Patient
from unet_segmentation.segment import About, Options

RECORD = "predictions.json"
WRITE_EVERY_S = 10.0  # a killed job predicts again what it wrote since


class Record:
    """The predictions of one folder.

    Args:
        out: the folder.
        about: of the (first) model.
        options: how the patients are segmented.
        maps: the probabilities are written too.
        models: SHA-256 of each model file; without them, earlier predictions are never taken for the same.

    Raises:
        BadInput: the folder's predictions are of another label convention.
    """

    def __init__(
        self, out: Path, about: About, options: Options, maps: bool = False, models: Sequence[str] = ()
    ) -> None:
        self.maps, self._out, self._modalities = maps, out, tuple(about["modalities"])
        self._regions = tuple(about["regions"]) if maps else ()
        self._how = {"models": list(models), "options": dataclasses.asdict(options)}
        self._known: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}  # patients at fault, and why
        self._written = time.monotonic()
        self._head = {key: about[key] for key in ("convention", "modalities", "regions")}
        try:
            earlier = json.loads((out / RECORD).read_bytes())
            convention, known = earlier["convention"], dict(earlier["patients"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # none, or damaged: all is made anew
        if convention != about["convention"]:
            held = convention.get("name") if isinstance(convention, dict) else convention
            wanted = f"{about['convention']['name']}, as those to come"
            raise BadInput(out / RECORD, f"predictions of convention {held}", wanted, "name another folder with --out")
        self._known = known

    def path(self, name: str, region: str = "") -> Path:
        """Where a patient's labels are written, or the probability of a region."""
        return self._out / (f"{name}_{region}.nii.gz" if region else f"{name}.nii.gz")

    def holds(self, patient: Patient) -> bool:
        """Whether the patient's prediction is there, whole, and was made by the same models from the same images in
        the same way.
        """
        entry = self._known.get(patient.name)
        if not self._how["models"] or not isinstance(entry, dict):
            return False
        if any(entry.get(key) != value for key, value in self._how.items()) or not isinstance(
            entry.get("outputs"), dict
        ):
            return False
        try:
            whole = self._outputs(patient).items() <= entry["outputs"].items()
            return whole and entry.get("inputs") == self._inputs(patient)
        except OSError:  # removed; whoever reads the images says so
            return False

    def add(self, patient: Patient) -> None:
        """Notes a patient's prediction, which is written."""
        self._known[patient.name] = {**self._how, "inputs": self._inputs(patient), "outputs": self._outputs(patient)}
        if time.monotonic() - self._written > WRITE_EVERY_S:
            self.write()

    def leave_out(self, faults: Mapping[str, str]) -> None:
        """Says and notes why patients have no prediction."""
        for fault in faults.values():
            print(f"left out   {fault}", file=sys.stderr)
        self.left_out = dict(faults)
        self.write()

    def write(self) -> None:
        """Writes predictions.json."""
        found = {**self._head, "patients": dict(sorted(self._known.items()))}
        write_json(self._out / RECORD, {**found, "left_out": self.left_out} if self.left_out else found)
        self._written = time.monotonic()

    def _inputs(self, patient: Patient) -> dict[str, str]:
        """SHA-256 of the file of each modality, with the channel where it holds several, and of the mask."""
        files = {path: sha256(path) for path in {patient.images[name].path for name in self._modalities}}
        sources = {name: patient.images[name] for name in self._modalities}
        found = {n: files[s.path] + ("" if s.channel is None else f" [{s.channel}]") for n, s in sources.items()}
        return found if patient.mask is None else {**found, "mask": sha256(patient.mask)}

    def _outputs(self, patient: Patient) -> dict[str, str]:
        paths = [self.path(patient.name), *(self.path(patient.name, region) for region in self._regions)]
        return {path.name: sha256(path) for path in paths}


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
