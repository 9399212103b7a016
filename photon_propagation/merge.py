"""The hits of many jobs as those of one."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from photon_propagation import hits as hits_file
from photon_propagation.run import read
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json


def merge(paths: Sequence[Path], file: Path) -> dict[str, Any]:
    """Writes the hits of runs (folders, or hits.npz files) into `file`, and what stands beside them into its .json.

    Photons that are in none of the runs, between those that are, are told on stderr and written down.

    Raises:
        BadInput: runs of different worlds, photons in two of them, a file that cannot be read.
    """
    runs = [(path, *read(path)) for path in paths]
    first_path, _, first = runs[0]
    for path, _, about in runs[1:]:
        if about["world_sha256"] != first["world_sha256"]:
            held = f"other {_difference(first, about)} than {first_path}"
            raise BadInput(path, held, "runs of the same source, ice and detector", "merge those of one kind at a time")
    spans: list[tuple[int, int, int, str]] = sorted(
        (int(seed), int(begin), int(end), str(path)) for path, _, about in runs for seed, begin, end in about["ranges"]
    )
    missing: list[list[int]] = []
    for (seed, _, end, one), (next_seed, begin, _, other) in itertools.pairwise(spans):
        if seed == next_seed and begin < end:
            held = f"photon {begin} of seed {seed}, which {one} has too"
            raise BadInput(other, held, "each photon in one run", "leave one of the two out")
        if seed == next_seed and begin > end:
            missing.append([seed, end, begin])
            print(f"photons {end} to {begin - 1} of seed {seed} are in no run: is a job missing?", file=sys.stderr)
    found = hits_file.ordered(np.concatenate([hits for _, hits, _ in runs]))
    photons, seconds = (sum(about[name] for _, _, about in runs) for name in ("photons", "seconds"))
    same = {name: first[name] for name in ("real_photons", "settings", "world_sha256", "detectors")}
    about = {
        "ranges": _joined([span[:3] for span in spans]),
        "missing": missing,
        "photons": photons,
        "counts": {name: sum(about["counts"][name] for _, _, about in runs) for name in hits_file.COUNTS},
        "hits": len(found),
        "weight": float(found["weight"].sum()),
        "seconds": round(seconds, 3),
        "photons_per_s": round(photons / seconds, 1) if seconds else None,
        **same,
        "device": sorted({name for _, _, about in runs for name in about["device"]}),
        "runs": len(runs),
    }
    hits_file.save(file, found)
    write_json(file.with_suffix(".json"), about)
    return about


def _joined(spans: list[tuple[int, int, int]]) -> list[list[int]]:
    """Spans that touch as one."""
    joined: list[list[int]] = []
    for seed, begin, end in spans:
        if joined and joined[-1][0] == seed and joined[-1][2] == begin:
            joined[-1][2] = end
        else:
            joined.append([seed, begin, end])
    return joined


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The settings in which two runs differ; a file's content where they name the same."""
    decisive = {name: tuple(one["settings"][name]) for name in ("source", "ice", "detector")}
    decisive["run"] = ("precision", "most_scatters")
    found = [
        f"{section}.{key}"
        for section, keys in decisive.items()
        for key in keys
        if other["settings"].get(section, {}).get(key) != one["settings"][section][key]
    ]
    return ", ".join(found) or "content of a file that the settings name"
