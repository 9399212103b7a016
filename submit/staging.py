"""Stages a data set: looked at, checked, packed, uploaded, and written down in a manifest. Nothing leaves before it was
looked at; a kill at any moment leaves whole objects alone, and the next run goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from submit import dataset_facts, inventory, ledger, pool_root, privacy, privacy_words, shards
from submit.errors import StageError, wrong
from submit.inventory import Inventory
from submit.origin import Origin
from submit.runtime.files import write_atomic
from submit.runtime.manifest import NAME, Manifest, Shard
from submit.shipping import Shipment
from submit.staged import Object, Options, Staged, check

FOLDER = "staged"  # of a project: its manifests


def stage(
    source: Path, origin: Origin, project: Path, options: Options, say: Callable[[str], None], bar: Callable[[str], Any]
) -> Staged:
    """Stages the data set in `source`; the manifests lie in `project`/staged afterwards.

    Args:
        bar: makes a bar of bytes with a title (`bars.of_bytes`).

    Raises:
        StageError: the data cannot travel, or the destination refuses. What was uploaded stays and counts next time.
    """
    check(options)
    inventory.check(source)
    name = options.name or _name_of(source)
    _check_apart(source, origin, project)
    key = ledger.key(source, origin.url, name)
    with pool_root.locked(f"stage-{key}"):  # who waited here goes on from what the other one did
        found, notes = inventory.take(source), ledger.Ledger(key)
        try:
            return _Run(found, origin, project, replace(options, name=name), notes, say, bar).staged()
        finally:
            origin.close()


def _check_apart(source: Path, origin: Origin, project: Path) -> None:
    """What staging writes must not lie in what it stages: it would be data the next time."""
    for folder in (getattr(origin, "folder", None), project / FOLDER):
        if folder is not None and folder.resolve().is_relative_to(source.resolve()):
            held, wanted = f"{folder}, which staging writes to, lies in it", "the data alone are wanted"
            raise StageError(wrong("SOURCE", str(source), held, wanted, "Move the data into a folder of their own"))


def _name_of(source: Path) -> str:
    """The source folder's name; it stands in the names of objects, which many people can see."""
    name = source.resolve().name
    if not NAME.fullmatch(name):
        raise StageError(wrong("SOURCE", name, "its name cannot be that of objects", "another name", "Add --name NAME"))
    if privacy.name_hits(name):
        raise StageError(
            "SOURCE: the folder's name looks as if it identified a person; objects are named after it. Add --name NAME"
        )
    return name


class _Run:
    """One run of `stage`."""

    def __init__(
        self,
        found: Inventory,
        origin: Origin,
        project: Path,
        options: Options,
        notes: ledger.Ledger,
        say: Callable[[str], None],
        bar: Callable[[str], Any],
    ) -> None:
        self._found, self._origin, self._project, self._options = found, origin, project, options
        self._ledger, self._say, self._bar = notes, say, bar
        self._there = origin.objects()
        self._fingerprint = found.fingerprint()

    def staged(self) -> Staged:
        if (before := self._unchanged()) is not None:
            return before
        findings, privacy_facts = self._gate()
        facts, trusted = self._facts()
        held = dataset_facts.folds(self._options.splits, facts) if self._options.splits else None
        planned = self._plan(facts, held)
        shipment = Shipment(self._found, self._origin, self._options, self._ledger)
        made, uploaded = shipment.send(planned, _hashes(facts) if facts and trusted else {}, self._bar)
        whole = self._manifest(facts, privacy_facts, made)
        result = Staged(Path(), findings=findings)
        result.objects = [Object(one.name, one.bytes, one.sha256, one.name in uploaded) for one in made]
        result.manifest = self._publish(whole, result)
        for (fold, part), view in self._views(whole, held).items():
            result.views[fold, part] = self._publish(view, result)
        self._check_all_there(result)
        views = [[fold, part, path.name] for (fold, part), path in result.views.items()]
        objects = [{**vars(one), "uploaded": False} for one in result.objects]
        self._ledger.done("manifest", self._wish(), [result.manifest.name, views, objects, findings])
        return result

    def _check_all_there(self, result: Staged) -> None:
        """Shards of an earlier run, which no manifest named until now, could have been pruned meanwhile."""
        there = self._origin.objects()
        lost = next((one.name for one in result.objects if there.get(one.name) != one.bytes), None)
        if lost is not None:
            raise StageError(
                f"{self._origin.url}/{lost}: somebody removed it meanwhile; what was staged is wanted there. "
                "Run the command again"
            )

    def _wish(self) -> str:
        """What is wanted of which files."""
        splits = self._options.splits
        try:
            content = splits.read_bytes() if splits else b""
        except OSError:
            content = b""  # reading them will say what is wrong
        wanted = replace(self._options, splits=None, workers=0)
        return sha256(f"{self._fingerprint} {wanted} {sha256(content).hexdigest()}".encode()).hexdigest()

    def _unchanged(self) -> Staged | None:
        """The last run's result, where the same was wanted of the same files and all of it is still there."""
        before = self._ledger.result("manifest", self._wish())
        if before is None:
            return None
        name, views, objects, findings = before
        folder = self._project / FOLDER
        here = [folder / name, *(folder / view[2] for view in views)]
        known = {one["name"]: one["sha256"] for one in objects}
        lost = any(self._there.get(one["name"]) != one["bytes"] for one in objects)
        if lost or any(_sha256(path) != known[path.name] for path in here):
            return None
        paths = {(fold, part): folder / file for fold, part, file in views}
        return Staged(folder / name, paths, [Object(**one) for one in objects], True, findings)

    def _gate(self) -> tuple[list[str], dict[str, Any]]:
        """Lines about what may identify a person, and what the manifest says of it.

        Raises:
            StageError: something does, and nobody said why it may travel.
        """
        reason = self._options.reason
        if reason is not None and any(hit.serious for hit in privacy_words.judge(reason, "text")):
            raise StageError("reason: looks as if it identified a person; it goes into the manifest. Word it otherwise")
        found = self._ledger.result("privacy", self._fingerprint)
        if found is None:
            with self._bar("looking for what identifies people") as bar:
                seen = privacy.examine(self._found.source, [Path(entry.path) for entry in self._found.entries], bar)
            found = [sum(one.serious for one in seen), privacy.describe(seen) if seen else []]
            self._ledger.done("privacy", self._fingerprint, found)
        serious, lines = found
        if serious and reason is None:
            raise StageError("\n".join(lines))
        if serious:
            lines = [*lines[:-1], f"let pass: {reason}"]  # the last one says what to do
        return lines, {"checked": True, "findings": serious, "override": reason if serious else None}

    def _facts(self) -> tuple[Mapping[str, Any] | None, bool]:
        """What the data are, None where nobody is to look; and whether its hashes are of the files as they are."""
        made = dataset_facts.prepared(self._found.source)
        if made is not None:
            return made, False
        if not self._options.verify:
            return None, False
        step = f"facts {self._options.layout}"
        facts = self._ledger.result(step, self._fingerprint)
        if facts is None:
            self._say(f"the trainer checks {len(self._found.entries):,} files")
            facts = dataset_facts.verified(self._found.source, self._project, self._options.layout)
            if inventory.take(self._found.source).fingerprint() != self._fingerprint:
                raise StageError(
                    f"{self._found.source}: changed while it was checked; a data set that nobody writes to is wanted. "
                    "Run the command again"
                )
            self._ledger.done(step, self._fingerprint, facts)
        return facts, True

    def _plan(self, facts: Mapping[str, Any] | None, held: Sequence[Sequence[str]] | None) -> list[shards.Planned]:
        members = self._found.members()
        osdf = self._origin.url.startswith("osdf:")
        shard_bytes = self._options.shard_bytes or shards.SHARD_BYTES["osdf" if osdf else "htcondor"]
        if facts is None:
            units = shards.of_folders(members, shard_bytes)
        else:
            group = {name: f"fold {number}" for number, names in enumerate(held or ()) for name in names}
            if not group and facts.get("parts"):
                group = {name: part for part, names in facts["parts"].items() for name in names}
            patients = {name: one.get("paths", ()) for name, one in facts["patients"].items()}
            there = {member.path for member in members}
            lost = [path for paths in patients.values() for path in paths if path not in there]
            if lost:
                raise StageError(
                    f"{self._found.source / lost[0]}: not there, and dataset.json has it; prepare it again"
                )
            if facts["kind"] == "prepared":  # entries of patients that are no longer in it may lie there
                owned = {path for paths in patients.values() for path in paths}
                members = [member for member in members if member.path in owned or "/" not in member.path]
            units = shards.of_patients(members, patients, group)
        return shards.plan(units, shard_bytes)

    def _manifest(self, facts: Mapping[str, Any] | None, gate: Mapping[str, Any], made: Sequence[Shard]) -> Manifest:
        parts = facts.get("parts") if facts else None
        return Manifest(
            name=self._options.name,
            at=self._origin.url,
            kind=facts["kind"] if facts else "files",
            synthetic=bool(facts and facts["synthetic"]),
            dataset=facts,
            split=parts if parts and not self._options.splits else None,
            view=None,
            privacy=gate,
            shards=tuple(made),
        )

    def _views(self, whole: Manifest, held: Sequence[Sequence[str]] | None) -> dict[tuple[int, str], Manifest]:
        """For each fold what its training needs, and what scoring it needs."""
        views = {}
        for number, names in enumerate(held or ()):
            out = set(names)
            rest = sorted(set(whole.dataset["patients"] if whole.dataset else ()) - out)
            split = {"training": rest, "validation": sorted(out)}
            parts = {"all": whole.shards} if self._options.scored else {}
            if not self._options.scored:
                parts["training"] = tuple(one for one in whole.shards if not out & set(one.patients))
            parts["validation"] = tuple(one for one in whole.shards if not one.patients or out & set(one.patients))
            for part, needed in parts.items():
                view = {"of": whole.sha256(), "fold": number, "part": part}
                views[number, part] = replace(whole, split=split, view=view, shards=needed)
        return views

    def _publish(self, manifest: Manifest, result: Staged) -> Path:
        """Puts a manifest beside the objects, after all that it names, and into the project."""
        content, name = manifest.encoded(), manifest.file_name()
        file = self._origin.spool() / name
        try:
            file.write_bytes(content)
            fresh = self._origin.put(file, name, lambda done, total: None)
        finally:
            file.unlink(missing_ok=True)
        result.objects.append(Object(name, len(content), sha256(content).hexdigest(), fresh))
        path = self._project / FOLDER / name
        write_atomic(path, content)
        return path


def _sha256(file: Path) -> str:
    """Of a manifest; "" where there is none."""
    return sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _hashes(facts: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of every file that the trainer read, by path from the source on."""
    known = {}
    for one in facts["patients"].values():
        for path in one.get("paths", ()):
            ends = [name for name in one["files"] if path == name or path.endswith(f"/{name}")]
            if ends:
                known[path] = one["files"][max(ends, key=len)]
    return known
