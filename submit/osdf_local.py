"""The OSDF of the local pool: where its objects lie, and what goes wrong there when somebody asks for it.

data/pool/osdf_plugin.py serves it in the pool. The origin is a folder that outlives the pool; faults end with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from submit import pool, sites
from submit.errors import PoolError, wrong

_SPEED = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMG]?)B/s", re.ASCII)
_FACTORS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
URL = "osdf:///"


def origin(path: str) -> Path:
    """The file or folder behind `/ospool/ap40/data/jane/...` or its osdf:/// URL, also while the pool is down.

    Raises PoolError for a path that names nothing in it.
    """
    inner = path[len(URL) :] if path.startswith(URL) else path.removeprefix("/") if path.startswith("/") else ""
    names = inner.rstrip("/").split("/")
    if not all(name not in ("", ".", "..") and name.isprintable() for name in names):
        raise PoolError(
            wrong("osdf", path, "no place in the OSDF", "/ospool/... without .. is wanted", "E.g. /ospool/ap40/data/me")
        )
    return pool.osdf().joinpath(*names)


def objects() -> dict[str, int]:
    """osdf:/// URL -> bytes of everything at the origin, by name."""
    root = pool.osdf()
    found = {
        f"{URL}{file.relative_to(root)}": file.stat().st_size
        for file in root.rglob("*")
        # an upload on its way has no name yet, nor has what is built in a spool
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(root).parts)
    }
    return dict(sorted(found.items()))


def speed(text: str) -> float:
    """Bytes a second of `1MB/s`; PoolError for anything else."""
    match = _SPEED.fullmatch(text)
    rate = float(match[1]) * _FACTORS[match[2]] if match else 0.0
    if not rate:
        raise PoolError(
            wrong("slow", text, "not a speed", "a number above 0 with kB/s, MB/s or GB/s is wanted", "E.g. 1MB/s")
        )
    return rate


def _share(name: str, value: float, low_is_fine: bool) -> float:
    if not (0 <= value < 1 if low_is_fine else 0 < value <= 1):
        wanted = "from 0 up to but not 1" if low_is_fine else "above 0, at most 1"
        raise PoolError(wrong(name, value, "not such a share", f"a number {wanted} is wanted", f"E.g. --{name} 0.5"))
    return value


@contextmanager
def _locked() -> Iterator[Path]:
    """The file with the faults; no plugin counts while we are inside."""
    folder = pool.folder() / "osdf"
    if pool.init_pid() is None:
        raise PoolError("the local pool is down, and faults end with it; start it: osgdl pool up")
    with (folder / "faults.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / "faults.json"


def _write(file: Path, rules: list[dict[str, Any]]) -> None:
    fresh = file.with_name(f"{file.name}.new")
    with fresh.open("w") as out:
        out.write(json.dumps(rules, indent=1) + "\n")
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)


def faults() -> list[dict[str, Any]]:
    """The faults that are set: kind, value, only, sites, upload, retryable, left (None: for ever); none when down."""
    file = pool.folder() / "osdf" / "faults.json"
    if pool.init_pid() is None or not file.exists():
        return []
    return list(json.loads(file.read_text()))


def clear() -> None:
    """Everything is healthy again; what the caches hold stays."""
    with _locked() as file:
        _write(file, [])


def spoil(
    *,
    slow: str | None = None,
    truncate: float | None = None,
    stale: bool = False,
    fail: float | None = None,
    permanent: bool = False,
    uploads: bool = False,
    only: str | None = None,
    at_sites: str | None = None,
    times: int | None = None,
) -> None:
    """Add faults to those that are set; the first one of a kind that fits a transfer hits it. Nothing given: nothing.

    slow: speed such as 1MB/s. truncate: share of the bytes that arrive, [0, 1), and the transfer succeeds. stale: as
    many bytes as the object has, one bit of them another, until ?directread. fail: probability, (0, 1]; `permanent`
    says that trying again is of no use. They hit downloads, or `uploads`; of objects whose name fits the pattern
    `only`; at `at_sites` (comma-separated); `times` times, then never again (for ever without it).
    Raises PoolError for a value that cannot be, and when the pool is down.
    """
    asked: list[tuple[str, float]] = []
    if slow is not None:
        asked.append(("slow", speed(slow)))
    if truncate is not None:
        asked.append(("truncate", _share("truncate", truncate, True)))
    if stale:
        asked.append(("stale", 1.0))
    if fail is not None:
        asked.append(("fail", _share("fail", fail, False)))
    conditions = {"only": only, "sites": at_sites, "times": times, "permanent": permanent, "uploads": uploads}
    if not asked and any(value not in (None, False) for value in conditions.values()):
        raise PoolError("osdf: a condition and no fault; want one of --slow, --truncate, --stale, --fail")
    if stale and uploads:
        raise PoolError("stale: an upload cannot be stale, only what a cache serves; leave --stale or --uploads out")
    if permanent and fail is None:
        raise PoolError("permanent: says how --fail fails, and there is no --fail; add --fail 1")
    if times is not None and times < 1:
        raise PoolError(wrong("times", times, "not a count", "a whole number above 0 is wanted", "E.g. --times 1"))
    named = [name.strip() for name in (at_sites or "").split(",") if name.strip()]
    known = sorted({site.site for site in sites.load()})
    for name in named:
        if name not in known:
            wanted = f"one of {', '.join(known)} is wanted"
            raise PoolError(wrong("sites", name, "no such site", wanted, "See: osgdl pool status"))
    if not asked:
        return
    rest = {"only": only or "*", "sites": named, "upload": uploads, "retryable": not permanent, "left": times}
    fresh = [{"kind": kind, "value": value, **rest} for kind, value in asked]
    with _locked() as file:
        _write(file, (json.loads(file.read_text()) if file.exists() else []) + fresh)


def _words(rule: dict[str, Any]) -> str:
    kind, value = rule["kind"], rule["value"]
    what = {
        "slow": f"slow: {value / 1e6:g} MB/s",
        "truncate": f"truncate: {value:.0%} of the bytes arrive",
        "stale": "stale: other bytes under the name",
        "fail": f"fail: {value:.0%} of them, {'trying again may help' if rule['retryable'] else 'for good'}",
    }[kind]
    where = ", ".join(rule["sites"]) or "all sites"
    way = "uploads" if rule["upload"] else "downloads"
    left = "until cleared" if rule["left"] is None else f"{rule['left']} times more"
    return f"{what}; {way} of {rule['only']} at {where}, {left}"


def report(*, as_json: bool) -> str:
    """Origin, objects, bytes and faults as text or JSON."""
    held, rules = objects(), faults()
    if as_json:
        value = {"origin": str(pool.osdf()), "objects": held, "bytes": sum(held.values()), "faults": rules}
        return json.dumps(value, indent=2)
    lines = [f"origin: {pool.osdf()}  ({URL}NAME lies at NAME there)"]
    lines += [f"{size:>15,}  {url}" for url, size in held.items()]
    lines.append(f"{sum(held.values()):>15,}  bytes in {len(held)} objects")
    lines += [f"fault: {_words(rule)}" for rule in rules] or ["faults: none"]
    return "\n".join(lines)
