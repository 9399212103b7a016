"""From what `--data` names to the patients of a training: a folder of images, one of prepared patients, or the manifest
of either that was staged. Nothing that is missing, empty, mixed or not what was staged gets past here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from submit.runtime import dataset, inputs
from submit.runtime.exit_codes import BadInput
from unet_segmentation import cache, facts, layouts, splits, synthetic, verify
from unet_segmentation.config import Config
from unet_segmentation.labels import Convention
from unet_segmentation.patients import Patient
from unet_segmentation.prepare import Prepared
from unet_segmentation.store import Store


@dataclass(frozen=True)
class Data:
    """The verified, prepared patients of a run.

    Attributes:
        training: to train on.
        validation: held out; empty where they are scored elsewhere.
        patients: the files of all; of a prepared folder those of its entries.
        modalities: in channel order.
        regions: that the network marks, from the outside in.
        layout: of the files.
        facts: becomes dataset.json.
        originals: whether the patients' own files are here, to score in their space.
    """

    training: list[Prepared]
    validation: list[Prepared]
    patients: dict[str, layouts.Patient]
    modalities: tuple[str, ...]
    regions: tuple[str, ...]
    layout: layouts.Layout
    facts: dict[str, Any]
    originals: bool = True

    @property
    def convention(self) -> Convention:
        return self.layout.convention


def load_data(config: Config, source: Path | inputs.Input, out: Path) -> Data:
    """Finds, verifies and prepares all patients; what is prepared lies in `data.cache`.

    Args:
        config: of the run.
        source: what `--data` names, opened or not.
        out: folder of the run.

    Raises:
        BadInput: the first fault.
    """
    given = inputs.opened(source) if isinstance(source, Path) else source
    where = given.folder if given.manifest is None else given.manifest.file_name()
    split = _split(where, given)
    if given.manifest is not None and given.manifest.synthetic:  # before anything is read
        staged = given.manifest.dataset["patients"] if given.manifest.dataset is not None else {}
        synthetic.require_place(facts.synthetic(staged) or {str(where): True}, config.data.synthetic)
    load = _prepared if facts.kind_of(given.folder / dataset.FILE) == "prepared" else _files
    data = load(config, given, split, out)
    fakes = facts.synthetic(data.facts["patients"])
    synthetic.require_unmixed(fakes, config.data.synthetic)
    synthetic.require_place(fakes, config.data.synthetic)
    if given.manifest is not None and given.manifest.dataset is not None:
        facts.require_same(data.facts, given.manifest.dataset, where)
    for line in filter(None, [synthetic.describe(fakes)]):
        print(f"synthetic  {line}")
    return replace(data, facts={**data.facts, "manifest_sha256": given.manifest_sha256 or None})


def regions_of(convention: Convention, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The regions that the network marks, from the outside in.

    Raises:
        BadInput: one that the convention does not have.
    """
    for name in wanted:
        if name not in convention.regions:
            raise BadInput(
                "data.regions",
                repr(name),
                f"some of {', '.join(convention.regions)} (labels {convention.name})",
                f"--set 'data.regions=[\"{next(iter(convention.regions))}\"]'",
            )
    return tuple(name for name in convention.regions if not wanted or name in wanted)


_Names = tuple[tuple[str, ...], tuple[str, ...]]  # to train on, and held out


def _split(where: object, given: inputs.Input) -> _Names | None:
    """Who is trained on and who is held out, as a manifest says; the latter none where they are not here.

    Raises:
        BadInput: nobody to train on, or nobody held out.
    """
    manifest = given.manifest
    if manifest is None:
        return None
    part = manifest.view["part"] if manifest.view else "all"
    if part == "validation":
        mend = "predict and evaluate with it, train with the view that has the training patients"
        raise BadInput(where, "a view of the patients held out", "patients to train on", mend)
    if manifest.split is None:
        if part == "training":
            raise BadInput(where, "a view that does not say who is held out", "a split", "stage the fold again")
        return None
    training, validation = (tuple(sorted(manifest.split[name])) for name in dataset.PARTS)
    if not training or not validation:
        held = f"a split with nobody {'held out' if training else 'to train on'}"
        raise BadInput(where, held, "patients to train on and patients to score", "stage it again with a split")
    return training, () if part == "training" else validation


def _files(config: Config, given: inputs.Input, split: _Names | None, out: Path) -> Data:
    """Patients as their files came."""
    staged = given.manifest.dataset if given.manifest is not None else None
    if split is None:
        training, validation = layouts.split(given.folder, config.data, config.train.seed)
    else:
        layout = config.data.layout
        if staged is not None and layout == "auto" and staged["layout"] in layouts.layouts():
            layout = staged["layout"]
        found = layouts.parts(given.folder, layout)
        everyone = [patient for one in found for patient in one.patients]
        chosen = _chosen(everyone, split, given.folder)
        training, validation = (replace(found[0], patients=tuple(patients)) for patients in chosen)
    wanted = config.data.modalities or (tuple(staged["modalities"]) if staged is not None else ())
    modalities = layouts.channels((training, validation), wanted)
    convention = training.layout.convention
    folder = Path(config.data.cache) if config.data.cache else out / "prepared"
    kept = [part for part in (training, validation) if part.patients]
    results = [cache.prepare(part, modalities, folder, need_truth=True) for part in kept]
    verify.duplicates([result.reports for result in results])
    reports = [report for result in results for report in result.reports]
    verify.require(reports)
    for warning in [*(w for r in reports for w in r.warnings), *verify.doubtful(reports, convention)]:
        print(f"warning: {warning}", file=sys.stderr)
    everyone = [report.patient for report in reports]
    names = facts.parts_of((training, validation))
    return Data(
        training=results[0].prepared,
        validation=results[1].prepared if validation.patients else [],
        patients={patient.name: patient for patient in everyone},
        modalities=modalities,
        regions=regions_of(convention, config.data.regions),
        layout=training.layout,
        facts=facts.describe(reports, training.layout, modalities, facts.files_of(everyone, given.folder), names),
    )


def _prepared(config: Config, given: inputs.Input, split: _Names | None, out: Path) -> Data:
    """Patients that `prepare` made; `out` is not used."""
    store = Store(given.folder)
    store.require_fit(config.data)
    parts = store.described["parts"]
    everyone = store.patients
    if split is None and parts is not None and parts["validation"]:
        layouts.require_one_way(
            config.data, f"{given.folder} says who is held out", "prepare data without such folders"
        )
        split = tuple(parts["training"]), tuple(parts["validation"])
    if split is None:
        held = splits.drawn(everyone, config.data, config.train.seed)
        names = [patient.name for patient in everyone]
        split = tuple(n for n in names if n not in held), tuple(n for n in names if n in held)
    training, validation = _chosen(everyone, split, given.folder)
    opened = store.open([*training, *validation])
    reports = [opened[patient.name][1] for patient in (*training, *validation)]
    count = len(training)
    verify.duplicates([reports[:count], reports[count:]])
    verify.require(reports)
    names_of = ([patient.name for patient in training], [patient.name for patient in validation])
    paths = {report.patient.name: store.paths(report.patient.name) for report in reports}
    return Data(
        training=[opened[name][0] for name in names_of[0]],
        validation=[opened[name][0] for name in names_of[1]],
        patients={report.patient.name: report.patient for report in reports},
        modalities=store.modalities,
        regions=regions_of(store.layout.convention, config.data.regions),
        layout=store.layout,
        facts=facts.describe(reports, store.layout, store.modalities, paths, names_of, "prepared"),
        originals=False,
    )


def _chosen(everyone: Sequence[Patient], split: _Names, where: Path) -> tuple[list[Patient], list[Patient]]:
    """The patients of a split, by name.

    Raises:
        BadInput: one is not there; a person in both parts.
    """
    known = {patient.name: patient for patient in everyone}
    missing = [name for part in split for name in part if name not in known]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        mend = "name the manifest of this fold, and let all its shards travel; or stage it again"
        raise BadInput(where, f"no patient {missing[0]}{more}", "every patient of the split", mend)
    training, validation = ([known[name] for name in sorted(part)] for part in split)
    found = splits.shared(training, validation)
    if found is not None:
        held = f"{found[1].name} held out, the same person as {found[0].name}"
        raise BadInput(where, held, "patients never trained on", "split the data by person, and stage it again")
    return training, validation
