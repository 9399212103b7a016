"""Which files travel together: whole patients in shards of a size that suits the way they go.

Where a shard ends is said by the names of its patients, not by their sizes or by their number: an edited patient
changes its own shard alone, and so does a new one (content-defined chunking, as in Muthitacharoen et al. 2001, LBFS).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from submit.packs import Member

# The OSPool's documentation, managing_data/overview: HTCondor's own transfer is for less than 1 GB, a file and a job.
# On the OSDF a shard may be larger; 2 GB is what an edit of one patient sends at most, and takes minutes.
SHARD_BYTES = {"htcondor": 500_000_000, "osdf": 1_000_000_000}
MOST = 2  # times the wanted size
COMMON = ""  # the unit of files that are nobody's


@dataclass(frozen=True)
class Unit:
    """What never gets torn apart: a patient's files, or a folder's where nobody said who is who."""

    name: str
    members: tuple[Member, ...]
    group: str = ""  # units of different groups never share a shard

    @property
    def bytes(self) -> int:
        return sum(member.bytes for member in self.members)


@dataclass(frozen=True)
class Planned:
    """A shard before it is packed."""

    units: tuple[Unit, ...]

    @property
    def members(self) -> list[Member]:
        """Of all units, by path."""
        return sorted((member for unit in self.units for member in unit.members), key=lambda member: member.path)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(unit.bytes for unit in self.units)

    @property
    def patients(self) -> tuple[str, ...]:
        """Names, in order; none where the files are nobody's."""
        return tuple(sorted(unit.name for unit in self.units if unit.name != COMMON))


def of_patients(
    members: Iterable[Member], patients: Mapping[str, Iterable[str]], group: Mapping[str, str]
) -> list[Unit]:
    """A unit for each patient, and one for what is nobody's.

    Args:
        members: all files.
        patients: the paths of each patient's files. What else lies in a folder of one patient alone is theirs too.
        group: of each patient that has one.
    """
    owners = {path: name for name, paths in patients.items() for path in paths}
    folders: dict[str, set[str]] = {}
    for path, name in owners.items():
        for above in PurePosixPath(path).parents:
            folders.setdefault(str(above), set()).add(name)
    found: dict[str, list[Member]] = {}
    for member in members:
        owner = owners.get(member.path)
        if owner is None:
            around = folders.get(str(PurePosixPath(member.path).parent), set())
            owner = next(iter(around)) if len(around) == 1 and len(patients) > 1 else COMMON
        found.setdefault(owner, []).append(member)
    return [Unit(name, tuple(files), group.get(name, "")) for name, files in sorted(found.items())]


def of_folders(members: Iterable[Member]) -> list[Unit]:
    """A unit for each folder that has files, and one for each file at the top: nobody said what belongs together."""
    found: dict[str, list[Member]] = {}
    for member in members:
        above = str(PurePosixPath(member.path).parent)
        found.setdefault(member.path if above == "." else above, []).append(member)
    return [Unit(name, tuple(files)) for name, files in sorted(found.items())]


def plan(units: Sequence[Unit], shard_bytes: int) -> list[Planned]:
    """Shards of about `shard_bytes` (before compression), none above MOST times that unless one unit is.

    Their order and borders depend on the units' names and groups, and on the sizes only where a border is forced and in
    the power of two that says how many units there are to a shard.
    """
    planned: list[Planned] = []
    for group in sorted({(unit.name == COMMON, unit.group) for unit in units}):
        ours = sorted(
            (unit for unit in units if (unit.name == COMMON, unit.group) == group), key=lambda unit: unit.name
        )
        mean = max(1, sum(unit.bytes for unit in ours) // len(ours))
        every = 1 << max(0, round(shard_bytes / mean).bit_length() - 1)
        current: list[Unit] = []
        for unit in ours:
            if current and sum(one.bytes for one in current) + unit.bytes > MOST * shard_bytes:
                planned.append(Planned(tuple(current)))
                current = []
            current.append(unit)
            if int.from_bytes(hashlib.sha256(unit.name.encode()).digest()[:8]) % every == 0:
                planned.append(Planned(tuple(current)))
                current = []
        if current:
            planned.append(Planned(tuple(current)))
    return planned
