"""Command line of the propagator: parse, one call, print. pyopencl and matplotlib load only where they are needed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from photon_propagation import settings, world
from submit.runtime import command_line
from submit.runtime.exit_codes import BadInput

EXAMPLES = """\
examples:
  python -m photon_propagation run   --out out --set run.next=1000000
  python -m photon_propagation run   --config config.toml --out out --device cpu
  python -m photon_propagation merge results/12/* --out merged/hits.npz
  python -m photon_propagation plot  merged/hits.npz --out merged
  python -m photon_propagation paths --out pictures --photons 20 --set source.kind=beam

exit codes: 0 done; 65 a setting or a file is wrong; 75 this machine cannot do it; 85 saved, run me again
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    return command_line.main(program, arguments)


def program() -> command_line.Program:
    """The propagator's commands and their options."""
    about = "Propagates photons through ice to detectors, by OpenCL."
    made = command_line.Program("python -m photon_propagation", about, EXAMPLES)
    command = made.command

    def with_settings(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--config", type=Path, metavar="config.toml", help="the settings; without: the defaults")
        sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one: run.seed=2")

    sub = command("run", "Propagates photons; writes hits.npz and hits.json.", _run)
    with_settings(sub)
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the hits go")
    sub.add_argument("--device", default="", metavar="NAME", help="cpu, gpu, or part of a device's name")
    sub.add_argument("--json", action="store_true", help="print hits.json")

    sub = command("merge", "Brings the hits of many runs together.", _merge)
    sub.add_argument("runs", type=Path, nargs="+", metavar="OUT", help="folders of runs, or hits.npz files")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="the hits of all")
    sub.add_argument("--json", action="store_true", help="print what stands beside the hits")

    sub = command("plot", "Draws light curves and a map of the hits.", _plot)
    sub.add_argument("hits", type=Path, metavar="HITS", help="hits.npz, or the folder of a run")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")

    sub = command("paths", "Draws the paths of single photons through the ice.", _paths)
    with_settings(sub)
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the picture goes")
    sub.add_argument("--photons", type=int, default=30, help="how many (default: %(default)s)")

    command("settings", "Prints every setting, its default and its meaning.", _settings)
    return made


def _run(options: argparse.Namespace) -> None:
    from photon_propagation.run import run

    _say(run(settings.load(options.config, options.set), options.out, options.device), options.json)


def _merge(options: argparse.Namespace) -> None:
    from photon_propagation.merge import merge

    if options.out.suffix != ".npz":
        raise BadInput("--out", str(options.out), "a name that ends in .npz", f"--out {options.out}.npz")
    _say(merge(options.runs, options.out), options.json)


def _plot(options: argparse.Namespace) -> None:
    from photon_propagation import pictures
    from photon_propagation.run import read

    for path in pictures.draw(*read(options.hits), options.out):
        print(path)


def _paths(options: argparse.Namespace) -> None:
    from photon_propagation import pictures

    if not 1 <= options.photons <= 10_000:
        raise BadInput("--photons", str(options.photons), "1 to 10000: each is a line", "--photons 30")
    here = world.build(settings.load(options.config, options.set))
    print(pictures.write_paths(here, options.photons, options.out))


def _settings(options: argparse.Namespace) -> None:
    print(settings.described())


def _say(about: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(about, indent=2))
        return
    counts, rate = about["counts"], about["photons_per_s"]
    fates = ", ".join(f"{counts[name]:,} {name}" for name in ("absorbed", "detected", "escaped", "stopped"))
    print(f"{about['photons']:,} photons: {fates}; {about['hits']:,} hits of weight {about['weight']:.6g}")
    print(
        f"{about['seconds']:.1f} s" + (f", {rate:,.0f} photons/s" if rate else "") + f" on {', '.join(about['device'])}"
    )
