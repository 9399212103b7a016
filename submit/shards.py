"""Which files travel together: whole patients in shards of a size that suits the way they go.

Where a shard ends is said by the hashes of its patients' names, not by their number: what is too large is cut before
the name of the highest hash, and each half again, like a treap (Seidel and Aragon 1996). So an edit changes its own
shard, which it may cut in two or join with the next, and a new patient those around it; whatever the sizes are, no
other shard changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePosixPath

from submit.packs import Member

# The OSPool's documentation, managing_data/overview: HTCondor's own transfer is for less than 1 GB, a file and a job.
# On the OSDF a shard may be larger; 2 GB is what an edit of one patient sends at most, and takes minutes.
SHARD_BYTES = {"htcondor": 500_000_000, "osdf": 1_000_000_000}
MOST = 2  # times the wanted size: cut at random until none is larger, pieces have half of that on average


@dataclass(frozen=True)
class Unit:
    """What never gets torn apart: a patient's files, a folder's where nobody said who is who, or a file of nobody."""

    name: str
    members: tuple[Member, ...]
    group: str = ""  # units of different groups never share a shard
    patient: bool = True  # False: a file of nobody, which shares no shard with patients

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
        return tuple(sorted(unit.name for unit in self.units if unit.patient))


def of_patients(
    members: Iterable[Member], patients: Mapping[str, Iterable[str]], group: Mapping[str, str]
) -> list[Unit]:
    """A unit for each patient, and one for each file that is nobody's.

    Args:
        members: all files.
        patients: the paths of each patient's files. What else lies in or below a folder of one patient alone is theirs
            too.
        group: of each patient that has one.
    """
    owners = {path: name for name, paths in patients.items() for path in paths}
    folders: dict[str, set[str]] = {}
    for path, name in owners.items():
        for above in PurePosixPath(path).parents:
            folders.setdefault(str(above), set()).add(name)
    found: dict[str, list[Member]] = {}
    nobodys = []
    for member in members:
        owner = owners.get(member.path)
        if owner is None:
            around = next(folders[above] for above in map(str, PurePosixPath(member.path).parents) if above in folders)
            owner = next(iter(around)) if len(around) == 1 and len(patients) > 1 else None
        if owner is None:
            nobodys.append(Unit(member.path, (member,), patient=False))
        else:
            found.setdefault(owner, []).append(member)
    return [*(Unit(name, tuple(files), group.get(name, "")) for name, files in sorted(found.items())), *nobodys]


def of_folders(members: Iterable[Member], shard_bytes: int) -> list[Unit]:
    """A unit for each folder that has files, and one for each file at the top or in a folder too large for a shard:
    nobody said what belongs together.
    """
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(str(PurePosixPath(member.path).parent), []).append(member)
    units = []
    for name, files in found.items():
        if name == "." or sum(member.bytes for member in files) > MOST * shard_bytes:
            units += [Unit(member.path, (member,)) for member in files]
        else:
            units.append(Unit(name, tuple(files)))
    return sorted(units, key=lambda unit: unit.name)


def plan(units: Iterable[Unit], shard_bytes: int) -> list[Planned]:
    """Shards of about `shard_bytes` (before compression), none above MOST times that unless one unit is."""
    groups: dict[tuple[bool, str], list[Unit]] = {}
    for unit in sorted(units, key=lambda unit: unit.name):
        groups.setdefault((not unit.patient, unit.group), []).append(unit)
    planned: list[Planned] = []
    for _, ours in sorted(groups.items()):
        marks = [hashlib.sha256(unit.name.encode()).digest() for unit in ours]
        upto = [0, *accumulate(unit.bytes for unit in ours)]
        todo = [(0, len(ours))]
        while todo:
            begin, end = todo.pop()
            if upto[end] - upto[begin] <= MOST * shard_bytes or end - begin == 1:
                planned.append(Planned(tuple(ours[begin:end])))
            else:
                cut = max(range(begin + 1, end), key=marks.__getitem__)
                todo += [(cut, end), (begin, cut)]
    return planned
