"""`osgdl stage verify | list | diff | prune` for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from submit.origin import bytes_words
from submit.runtime.manifest import Manifest
from submit.stage_prune import Pruned
from submit.stage_store import Diff, Listing, Row, Verified

SHOWN = 20  # paths of a kind; --json has all


def verified(rows: Sequence[Verified], *, as_json: bool = False) -> str:
    """A line for each fault, and the sum."""
    if as_json:
        return json.dumps([vars(row) for row in rows], indent=1)
    bad = [row for row in rows if not row.ok]
    total = bytes_words(sum(row.bytes for row in rows))
    lines = [f"{row.name}: {row.what}" for row in bad]
    if bad:
        lines.append(f"{len(bad)} of {len(rows)} objects are not as they were staged; stage the data again")
    else:
        lines.append(f"{len(rows)} objects, {total}: every byte is as it was staged")
    return "\n".join(lines)


def listed(found: Listing, *, as_json: bool = False) -> str:
    """A line for each manifest, and what none of them names."""
    if as_json:
        return json.dumps(
            {
                "url": found.url,
                "manifests": [_as_dict(row) for row in found.manifests],
                "damaged": found.damaged,
                "unnamed": found.unnamed,
                "others": found.others,
            },
            indent=1,
        )
    count = len(found.manifests)
    lines = [f"{found.url}: {count or 'no'} manifest{'s' * (count != 1)}"]
    for row in found.manifests:
        held = row.manifest
        shards = f"{len(held.shards)} shard{'s' * (len(held.shards) != 1)}"
        lines.append(f"  {row.file}  {_what(held)}{_count(held)} patients, {bytes_words(held.bytes)} in {shards}")
        lines += [f"    {name}: not there, or not as long" for name in row.missing]
    lines += [f"  {name}: damaged: {fault}" for name, fault in found.damaged.items()]
    if found.unnamed:
        total = bytes_words(sum(found.unnamed.values()))
        lines.append(f"no manifest there names {len(found.unnamed)} shards, {total} (see: osgdl stage prune)")
        lines += [f"  {name}  {bytes_words(size)}" for name, size in found.unnamed.items()]
    if found.others:
        lines.append(f"{len(found.others)} other files, {bytes_words(sum(found.others.values()))}")
    return "\n".join(lines)


def _count(held: Manifest) -> int:
    return len({name for shard in held.shards for name in shard.patients})


def _what(held: Manifest) -> str:
    return "" if held.view is None else f"fold {held.view['fold']}, {held.view['part']}: "


def _as_dict(row: Row) -> dict[str, object]:
    held = row.manifest
    return {
        "file": row.file,
        "name": held.name,
        "sha256": held.sha256(),
        "kind": held.kind,
        "synthetic": held.synthetic,
        "view": held.view,
        "patients": _count(held),
        "files": sum(len(shard.files) for shard in held.shards),
        "shards": len(held.shards),
        "bytes": held.bytes,
        "unpacked_bytes": held.unpacked_bytes,
        "missing": list(row.missing),
    }


def differing(found: Diff, *, as_json: bool = False) -> str:
    """Paths that were added (+), removed (-) or changed (*), and what would travel."""
    if as_json:
        return json.dumps(vars(found), indent=1)
    lines = []
    for sign, paths in (("+", found.added), ("-", found.removed), ("*", found.changed)):
        lines += [f"{sign} {path}" for path in paths[:SHOWN]]
        lines += [f"{sign} and {len(paths) - SHOWN} more"] if len(paths) > SHOWN else []
    lines.append(
        f"files: {len(found.added)} added, {len(found.removed)} removed, {len(found.changed)} changed, "
        f"{found.same} the same"
    )
    fresh = found.shards - found.shared
    lines.append(
        f"shards: {found.shared} of {found.shards} are in both; {fresh} travel, {bytes_words(found.travel_bytes)}"
    )
    lines += [f"not the same: {', '.join(found.fields)}"] if found.fields else []
    return "\n".join(lines)


def pruned(done: Pruned, *, as_json: bool = False) -> str:
    """A line for each object, and the sum."""
    total = sum(done.removed.values())
    if as_json:
        value = {"url": done.url, "really": done.really, "removed": done.removed, "bytes": total, "kept": done.kept}
        return json.dumps(value, indent=1)
    lines = [f"stays    {name}: {why}" for name, why in done.kept.items()]
    word = "removed" if done.really else "would go"
    lines += [f"{word:<8} {name}  {bytes_words(size)}" for name, size in done.removed.items()]
    lines.append(f"{done.url}: {len(done.removed)} objects, {bytes_words(total)} {word}; {len(done.kept)} stay")
    if done.removed and not done.really:
        lines.append("nothing was removed; --really does it")
    elif done.removed and done.url.startswith("osdf:"):
        lines.append("caches of the OSDF may serve them for some time yet")
    return "\n".join(lines)
