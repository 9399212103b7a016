"""How to stage, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submit.errors import StageError, wrong
from submit.runtime.manifest import COMPRESSIONS, NAME

WORKERS = 2  # an access point is shared
COMPRESSION = ("auto", *COMPRESSIONS)


@dataclass(frozen=True)
class Options:
    """How to stage.

    Attributes:
        name: in the names of all objects; "": the source folder's.
        shard_bytes: about so many before compression; None: as suits the way they go.
        compression: auto, none or zstd.
        workers: threads.
        splits: a splits.json: a view of the data for each fold.
        scored: views have the patients held out too, so that each fold's training scores them itself.
        verify: let the trainer check the data.
        layout: of the files; auto finds it.
        reason: typed by somebody who knows that what the privacy gate found may travel; None: nobody did.
    """

    name: str = ""
    shard_bytes: int | None = None
    compression: str = "auto"
    workers: int = WORKERS
    splits: Path | None = None
    scored: bool = False
    verify: bool = True
    layout: str = "auto"
    reason: str | None = None


@dataclass(frozen=True)
class Object:
    """What lies at the destination, and whether this run brought it."""

    name: str
    bytes: int
    sha256: str
    uploaded: bool


@dataclass
class Staged:
    """What `stage` did.

    Attributes:
        manifest: of the whole, in the project.
        views: manifests of the folds, by fold and part.
        objects: shards and manifests.
        unchanged: there was nothing to do.
        findings: lines of the privacy gate that somebody let pass, and its warnings.
    """

    manifest: Path
    views: dict[tuple[int, str], Path] = field(default_factory=dict)
    objects: list[Object] = field(default_factory=list)
    unchanged: bool = False
    findings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        views = [{"fold": fold, "part": part, "manifest": str(path)} for (fold, part), path in self.views.items()]
        objects = [vars(one) for one in self.objects]
        return {"manifest": str(self.manifest), "views": views, "objects": objects, "unchanged": self.unchanged}


def check(options: Options) -> None:
    """Raises StageError for an option that cannot be."""
    if options.name and not NAME.fullmatch(options.name):
        wanted = "1 to 64 letters, digits and . _ - are wanted"
        raise StageError(wrong("--name", options.name, "no name of objects", wanted, "E.g. --name brats"))
    if options.compression not in COMPRESSION:
        wanted = f"one of {', '.join(COMPRESSION)} is wanted"
        raise StageError(wrong("--compression", options.compression, "unknown", wanted, "E.g. --compression none"))
    if options.scored and options.splits is None:
        raise StageError("--scored: no folds; it says what each fold's training gets. Add --splits SPLITS.json")
    if options.reason is not None and not options.reason.strip():
        raise StageError("--i-know-it-is-allowed: no reason; those who use the data are to read one. Type it")
    if not 1 <= options.workers <= 64:
        raise StageError(wrong("--workers", options.workers, "no such number", "1 to 64", "E.g. --workers 2"))
