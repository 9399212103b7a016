"""Removes what was staged and nobody needs any more. What a manifest names that stays, or that is in use, stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from submit import stage_store
from submit.errors import StageError, wrong
from submit.origin import Origin
from submit.runtime.manifest import DIGITS, FILE_NAME, Manifest
from submit.stage_uses import OBJECT, Use

# Younger objects may be those of a run that is under way: its manifest comes last
DAY = 86_400.0  # seconds


@dataclass
class Pruned:
    """What went, or would go: name -> bytes; and what stays: name -> why. `really`: it went."""

    url: str
    really: bool
    removed: dict[str, int] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


def prune(
    origin: Origin, uses: Sequence[Use], drop: Sequence[str] = (), older_than_s: float = DAY, really: bool = False
) -> Pruned:
    """Retires manifests, and removes the shards that no other manifest names.

    Args:
        uses: who uses what (stage_uses.py).
        drop: files' names of the manifests to retire; all others stay.
        older_than_s: seconds that a shard must have been there.
        really: nothing is removed without it.

    Raises:
        StageError: a manifest to retire is not there or in use, another one cannot be read (then nothing is removed:
            what it names is not known), or the place refuses.
    """
    there = origin.objects()
    found, damaged = stage_store.at(origin, there)
    for name in drop:
        _check(name, origin.url, there, uses, found)
    _refuse(origin.url, {name: fault for name, fault in damaged.items() if name not in drop})
    result = Pruned(origin.url, really)
    needed = _needed({name: held for name, held in found.items() if name not in drop}, uses)
    ages = origin.ages()
    for name, size in there.items():
        why = _why(name, drop, needed, ages.get(name), older_than_s)
        if why:
            result.kept[name] = why
        else:
            result.removed[name] = size
    if really:
        _remove(origin, result, set(drop), found)
    return result


def _check(name: str, url: str, there: Mapping[str, int], uses: Iterable[Use], found: Mapping[str, Manifest]) -> None:
    match = FILE_NAME.fullmatch(name)
    if match is None:
        raise StageError(wrong("--drop", name, "no manifest's name", "NAME-manifest-HASH.json is wanted", "See: list"))
    if name not in there:
        raise StageError(wrong("--drop", name, f"not at {url}", "a manifest there is wanted", "See: osgdl stage list"))
    for use in uses:
        held = use.held or found.get(use.name)
        view = held.view if held else None
        if use.name == name:
            raise StageError(f"{name}: {use.who} uses it; one that nobody uses is wanted. Change that first")
        if view and view["of"][:DIGITS] == match["hash"]:
            raise StageError(
                f"{name}: {use.who} uses {use.name}, a view of it; one that nobody uses is wanted. Change that first"
            )


def _refuse(url: str, damaged: Mapping[str, str]) -> None:
    for name, fault in damaged.items():
        raise StageError(
            f"{url}/{name}: {fault}; what it names is not known, so nothing is removed. Mend it, or retire it: --drop"
        )


def _needed(staying: Mapping[str, Manifest], uses: Iterable[Use]) -> dict[str, str]:
    """Name of an object -> who needs it."""
    needed: dict[str, str] = {}
    for name, held in staying.items():
        for shard in held.shards:
            needed.setdefault(shard.name, f"{name} names it")
    for use in uses:
        needed.setdefault(use.name, f"{use.who} uses it")
        for shard in use.held.shards if use.held else ():
            needed.setdefault(shard.name, f"{use.who} uses {use.name}, which names it")
    return needed


def _why(name: str, drop: Sequence[str], needed: Mapping[str, str], age: float | None, older_than_s: float) -> str:
    """Why an object stays; "" where it goes."""
    if name in drop:
        return ""
    if name in needed:
        return needed[name]
    if FILE_NAME.fullmatch(name):
        return "a manifest, which --drop does not name"
    if not OBJECT.fullmatch(name):
        return "no shard"
    if age is None:
        return "nobody can say how long it has been there"
    if age < older_than_s:
        return f"there for {max(0.0, age) / 3600:.1f} h, and may belong to a run that is under way"
    return ""


def _remove(origin: Origin, result: Pruned, drop: set[str], known: Mapping[str, Manifest]) -> None:
    """Manifests first: killed in between, nothing names what is missing. Then a look whether a new one came."""
    for name in sorted(drop):
        origin.remove(name)
    fresh, damaged = stage_store.at(origin, {name: 0 for name in origin.objects() if name not in known})
    _refuse(origin.url, {name: fault for name, fault in damaged.items() if name not in drop})
    came = _needed(fresh, ())
    for name in [name for name in result.removed if name not in drop]:
        if name in came:
            result.kept[name] = came[name]
            del result.removed[name]
        else:
            origin.remove(name)
