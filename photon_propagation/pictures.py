"""What people look at: light curves at several distances, a map of the hits, photons' ways through the ice."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_propagation import medium, reference
from photon_propagation.hits import Hits
from photon_propagation.world import World
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic

CURVES, BINS = 5, 50
DECADES = 1e5  # of a curve's height that are shown
# ordered things in ordered colours, which the colour-blind tell apart
SCALE = "viridis"


def draw(hits: Hits, about: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes light-curves.png and hit-map.png.

    Raises:
        BadInput: there is no hit to draw.
    """
    if not len(hits):
        raise BadInput("hits", "none", "at least one", "more photons, or detectors nearer to the source")
    pictures = {"light-curves.png": light_curves, "hit-map.png": hit_map}
    return [_written(draw_one(hits, about), folder / name) for name, draw_one in pictures.items()]


def light_curves(hits: Hits, about: Mapping[str, Any]) -> Any:
    """What one sensor sees in each ns, against the time after light that goes straight: the mean over all sensors at
    about one distance, for several.

    Where a source has a known number of photons, the weight is that of all of them.
    """
    from matplotlib.figure import Figure

    distance = np.linalg.norm(np.array(about["detectors"]) - _source(about), axis=1).round(1)
    of_hit = distance[hits["detector"]]
    late = hits["time"] - of_hit * medium.group_index(420.0) / medium.SPEED
    weight = hits["weight"] * _scale(about)
    times = np.linspace(min(0.0, late.min()), max(np.quantile(late, 0.98), late.min() + 10), BINS + 1)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    highest = 0.0
    groups = _together(np.unique(of_hit))
    for colour, group in zip(_colours(len(groups)), groups, strict=True):
        sensors = int(((distance >= group[0]) & (distance <= group[-1])).sum())
        mine = (of_hit >= group[0]) & (of_hit <= group[-1])
        height = np.histogram(late[mine], times, weights=weight[mine])[0] / np.diff(times) / sensors
        highest = max(highest, height.max())
        far = f"{group[0]:.0f} m" if len(group) == 1 else f"{group[0]:.0f} to {group[-1]:.0f} m"
        label = f"{far}: {sensors} sensor{'s' * (sensors > 1)}, {mine.sum()} hits"
        axes.stairs(height, times, color=colour, label=label, baseline=None)
    axes.set(xlabel="time after light that goes straight (ns)", ylabel=f"{_unit(about)} / ns in a sensor")
    axes.set(yscale="log", ylim=(highest / DECADES, highest * 2))
    axes.legend(title="distance from the source", frameon=False)
    axes.set_title(_title(about), fontsize="medium")
    return figure


def _together(distances: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Distances, rising, in CURVES groups that are each as many times as wide as the last, those with none left out."""
    if len(distances) <= CURVES:
        return list(distances.reshape(-1, 1))
    edges = np.geomspace(max(distances[0], 1.0), distances[-1], CURVES + 1)[1:-1]
    return [group for group in np.split(distances, np.searchsorted(distances, edges)) if len(group)]


def hit_map(hits: Hits, about: Mapping[str, Any]) -> Any:
    """The detectors from above and from the side: the area is the weight, the colour the time of the first hit."""
    from matplotlib.figure import Figure

    places = np.array(about["detectors"])
    weight = np.bincount(hits["detector"], hits["weight"], minlength=len(places)) * _scale(about)
    first = np.full(len(places), np.inf)
    np.minimum.at(first, hits["detector"], hits["time"])
    seen = np.argsort(-weight)[: (weight > 0).sum()]
    area = 250 * np.sqrt(weight[seen] / weight.max()) + 2
    figure = Figure(figsize=(9, 4.6), layout="compressed")
    source = _source(about)
    for axes, (across, up) in zip(figure.subplots(1, 2), ((0, 1), (0, 2)), strict=True):
        axes.scatter(places[:, across], places[:, up], s=2, color="0.75")
        shown = axes.scatter(places[seen, across], places[seen, up], s=area, c=first[seen], cmap=SCALE, alpha=0.75)
        axes.plot(source[across], source[up], "x", color="crimson")
        axes.set(xlabel=f"{'xyz'[across]} (m)", ylabel=f"{'xyz'[up]} (m)", aspect="equal")
    figure.colorbar(shown, label="time of the first hit (ns)")
    figure.suptitle(f"{_title(about)}; {weight.sum():.4g} {_unit(about)}; cross: the source", fontsize="medium")
    return figure


def paths(world: World, photons: int) -> Any:
    """Photons' ways from the side, over the ice's scattering: computed by the reference in NumPy."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    ways = reference.propagate(world, world.config.run.first, photons, ways=True).ways
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    source = np.array([world.config.source.x_m, world.config.source.y_m, world.config.source.z_m])
    everything = np.concatenate(ways)[:, (0, 2)]
    half = 1.05 * float(np.quantile(np.abs(everything - source[[0, 2]]), 0.995)) + 1
    heights = np.linspace(source[2] - half, source[2] + half, 600)
    scattering, _ = world.ice.coefficients(heights, np.full(600, 400.0))
    extent = (source[0] - half, source[0] + half, heights[0], heights[-1])
    effective = scattering[:, None] * (1 - world.ice.g)
    shown = axes.imshow(effective, extent=extent, origin="lower", aspect="equal", cmap="Greys", vmin=0)
    for colour, way in zip(_colours(len(ways)), ways, strict=True):
        axes.add_collection(LineCollection([way[:, (0, 2)]], colors=[colour], linewidths=0.8))
        axes.plot(way[-1, 0], way[-1, 2], ".", color=colour, markersize=4)
    axes.plot(source[0], source[2], "x", color="crimson")
    axes.set(xlabel="x (m)", ylabel="z (m)", xlim=extent[:2], ylim=extent[2:])
    figure.colorbar(shown, label="effective scattering at 400 nm (1/m)")
    axes.set_title(f"{photons} photons of a {world.config.source.kind}", fontsize="medium")
    return figure


def write_paths(world: World, photons: int, folder: Path) -> Path:
    """Writes photon-paths.png."""
    return _written(paths(world, photons), folder / "photon-paths.png")


def _written(figure: Any, path: Path) -> Path:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_atomic(path, content.getvalue())
    return path


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    return list(colormaps[SCALE](np.linspace(0, 0.9, max(count, 1))))[:count]


def _source(about: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array([about["settings"]["source"][name] for name in ("x_m", "y_m", "z_m")])


def _scale(about: Mapping[str, Any]) -> float:
    """Real photons for each simulated one, where that is known."""
    return float(about["real_photons"] / about["photons"]) if about["real_photons"] else 1.0


def _unit(about: Mapping[str, Any]) -> str:
    return "photons" if about["real_photons"] else f"weight of {about['photons']:,} photons"


def _title(about: Mapping[str, Any]) -> str:
    source = about["settings"]["source"]
    energy = f" of {source['energy_gev']:g} GeV" if source["kind"] in ("cascade", "track") else ""
    return f"{source['kind']}{energy}, {about['photons']:,} photons simulated"
