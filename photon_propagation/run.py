"""One job's photons: batch after batch, through kills and evictions, to OUT/hits.npz and OUT/hits.json."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from photon_propagation import hits as hits_file
from photon_propagation import opencl, source, world
from photon_propagation.hits import COUNTS, Hits
from photon_propagation.settings import Config
from submit.runtime import classad, devices
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json
from submit.runtime.leaving import Intervals
from submit.runtime.work import Work

HITS, ABOUT = "hits.npz", "hits.json"


def run(config: Config, out: Path, device_name: str = "") -> dict[str, Any]:
    """Propagates the photons of `config.run`; returns what it wrote into hits.json.

    Raises:
        BadInput, BadMachine: as `world.build` and `opencl.choose` do; a checkpoint of other settings; too many hits.
        Checkpointed: it is time to leave; all work is saved.
    """
    here = world.build(config)
    device, described = opencl.choose(device_name)
    print(f"OpenCL on {described}", file=sys.stderr)
    propagator = opencl.Propagator(here, device)
    asked = config.run
    work = Work(
        steps=-(-(asked.next - asked.first) // asked.batch),
        folder=Path(config.checkpoint.folder),
        intervals=_intervals(config),
        identity={
            "settings": here.hash(),
            "photons": [asked.first, asked.next],
            "seed": asked.seed,
            "batch": asked.batch,
        },
        label="propagating",
        unit="photons",
        per_step=asked.batch,
    )
    counts, seconds = dict.fromkeys(COUNTS, 0), 0.0
    parts: list[Hits] = []
    snapshot = work.resume()
    if snapshot:
        counts, seconds = dict(snapshot.state["counts"]), float(snapshot.state["seconds"])
        parts = [hits_file.from_bytes(snapshot.blobs["hits"], config.checkpoint.folder)]
    total = sum(map(len, parts))

    def save() -> tuple[Mapping[str, Any], Mapping[str, bytes]]:
        return {"counts": counts, "seconds": seconds}, {"hits": hits_file.to_bytes(_joined(parts))}

    while work.step < work.steps:
        first = asked.first + work.step * asked.batch
        began = time.perf_counter()
        batch = propagator.batch(first, min(asked.batch, asked.next - first))
        seconds += time.perf_counter() - began
        counts = {name: counts[name] + batch.counts[name] for name in COUNTS}
        parts.append(hits_file.from_raw(batch.hits, asked.seed))
        total += len(parts[-1])
        if total > asked.most_hits:
            mend = "fewer photons a job, or raise run.most_hits and the job's memory"
            raise BadInput("run.most_hits", f"{total} hits after photon {first}", f"at most {asked.most_hits}", mend)
        work.done(save)
    work.finish(save)
    found = _joined(parts)
    about = _about(here, counts, found, seconds, described)
    hits_file.save(out / HITS, found)
    write_json(out / ABOUT, about)
    return about


def _joined(parts: list[Hits]) -> Hits:
    """All parts as one, which takes their place: in order, as batches are."""
    parts[:] = [np.concatenate(parts)] if parts else [np.zeros(0, hits_file.HITS)]
    return parts[0]


def _intervals(config: Config) -> Intervals:
    wished = config.checkpoint
    return Intervals(
        save_s=wished.every_minutes * 60,
        save_steps=wished.every_batches,
        leave_s=wished.leave_every_minutes * 60,
        leave_steps=wished.leave_every_batches,
        evicted_s=wished.evicted_every_minutes * 60,
    )


def _about(here: world.World, counts: Mapping[str, int], found: Hits, seconds: float, device: str) -> dict[str, Any]:
    """What goes beside the hits: the result in numbers, and where it comes from."""
    config, place = here.config, devices.here()
    photons = config.run.next - config.run.first
    return {
        "ranges": [[config.run.seed, config.run.first, config.run.next]],
        "photons": photons,
        "counts": dict(counts),
        "hits": len(found),
        "weight": float(found["weight"].sum()),
        "real_photons": source.photons(config.source),
        "seconds": round(seconds, 3),
        "photons_per_s": round(photons / seconds, 1) if seconds else None,
        "settings": config.as_dict(),
        "world_sha256": here.hash(),
        "detectors": here.detectors.tolist(),
        "device": [device],
        "site": place.site,
        "machine": place.machine or platform.node(),
        "image": _image(),
        "versions": _versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _image() -> str:
    """The container image: from the job's ad, else as Apptainer or Singularity names it; empty outside a container."""
    ad = classad.job_ad()
    named = ad.text("ContainerImage") or ad.text("SingularityImage")
    return named or os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER") or ""


def _versions() -> dict[str, str]:
    """Of what computed; the kit's own is known only where it is installed."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    for name in ("pyopencl", "pocl-binary-distribution", "osg-dl-kit"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def read(path: Path) -> tuple[Hits, dict[str, Any]]:
    """Hits and what stands beside them, of a run's folder or of a hits.npz.

    Raises:
        BadInput: one of the two files is missing or damaged.
    """
    file = path / HITS if path.is_dir() else path
    beside = file.with_suffix(".json")
    found = hits_file.load(file)
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        if about["hits"] != len(found):
            raise ValueError(f"it counts {about['hits']} hits, {file.name} has {len(found)}")
        _ = about["ranges"], about["counts"], about["world_sha256"], about["settings"], about["detectors"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        held = f"does not belong to {file.name} ({type(fault).__name__}: {fault})"
        raise BadInput(beside, held, "the .json that a run writes beside its hits", "run that job again") from fault
    return found, about
