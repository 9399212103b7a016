"""`osgdl match`: the job that HTCondor would make of a submit file, against the slots of a pool."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit import check, schedd
from submit.errors import KitError
from submit.match import Match, match
from submit.slots import Slots
from submit.submission import assignments

# a slot of a machine that is divided on demand, or a fixed one; not the pieces that jobs already hold
SLOTS = 'PartitionableSlot =?= True || SlotType =?= "Static"'
# rules that say a request works against itself (data/rules/)
FIGHTS = ("gpu",)


@dataclass(frozen=True)
class Preview:
    """A submit file against a pool: `pool` says which; `jobs` how many it queues, of which the first is looked at."""

    file: Path
    pool: str
    jobs: int
    found: Match
    warnings: list[str]

    def as_json(self) -> dict[str, Any]:
        """The object of `osgdl match --json`."""
        clauses = [dataclasses.asdict(clause) for clause in self.found.clauses]
        return {
            **dataclasses.asdict(self.found),
            "clauses": clauses,
            "pool": self.pool,
            "jobs": self.jobs,
            "warnings": self.warnings,
        }


def preview(file: Path, slots: Path | None = None, local: bool = False, words: Sequence[str] = ()) -> Preview:
    """What a pool would do with `file`: the snapshot `slots`, else the pool of this access point, else (or with
    `local`) the local pool. `words`: NAME=VALUE, as for condor_submit.

    Raises:
        KitError: the submit file or the snapshot cannot be read, or HTCondor refuses the file.
        ToolMissing: no HTCondor here, and the local pool is not up.
    """
    if not file.is_file():
        raise KitError(f"{file}: no such file; want a submit file. See `ls {file.parent}`.")
    jobs = dry_run(file, local, words)
    table = Slots.read(slots) if slots else live(local)
    name = str(slots) if slots else "local pool" if schedd.is_local(local) else "this access point's pool"
    if not table.count:
        raise KitError(
            f"{name}: no slots; want at least one. The OSPool grows by demand: try again, or keep a snapshot."
        )
    warnings = [
        f"{finding.file}:{finding.line}: {finding.rule.id} {finding.message}"
        for finding in check.check([file], assignments(words))
        if finding.rule.family in FIGHTS or "DESIRED_Sites" in finding.message
    ]
    return Preview(file, name, len(jobs), match(jobs[0], table), warnings)


def dry_run(file: Path, local: bool = False, words: Sequence[str] = ()) -> list[str]:
    """The ads of the jobs that `condor_submit` would queue, as text. Raises KitError with HTCondor's own words."""
    with tempfile.TemporaryDirectory(prefix=".osgdl-match-", dir=file.parent) as folder:
        target = Path(folder) / "ads"
        command = ["condor_submit", "-dry-run", str(target.resolve()), *words, file.name]
        done = schedd.run(command, file.parent, local)
        if done.returncode:
            said = " ".join((done.stderr + done.stdout).split())
            raise KitError(f"{file}: condor_submit refused it: {said[-400:]}")
        ads = [ad for ad in target.read_text(encoding="utf-8", errors="replace").split("\n\n") if "=" in ad]
    if not ads:
        raise KitError(f"{file}: queues no job; want at least one. End it with `queue`.")
    # of several processes each ad holds only what differs from the first
    return ads


def live(local: bool = False) -> Slots:
    """The slots that the collector knows now; what running jobs use is left out."""
    done = schedd.run(["condor_status", "-long", "-constraint", SLOTS], Path.cwd(), local)
    if done.returncode:
        raise KitError(f"condor_status: {' '.join(done.stderr.split())[-300:]}; want a collector. Try `condor_status`.")
    return Slots.of_ads(ad for ad in done.stdout.split("\n\n") if ad.strip())
