"""What people look at: light curves at several distances, a map of the hits, photons' paths through the ice."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_propagation import medium, reference
from photon_propagation import source as light
from photon_propagation.hits import Hits
from photon_propagation.settings import SourceConfig
from photon_propagation.world import World
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic

Array = NDArray[np.float64]

CURVES = 5
LEAST_HITS = 50  # of a sensor that is drawn, where any has so many
BIN_HITS, MOST_BINS = 25, 50  # of a light curve; so many hits in a bin are known to a fifth
LAST_SHARE = 0.98
# ordered things in ordered colours, which the colour-blind tell apart
SCALE = "viridis"
UNIT = "detected photons"


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
    """Detected photons for each ns against the time residual, at detectors at several distances.

    The bins of a curve hold equally many hits: narrow where there are many, and none is empty. The last two in a
    hundred are left out: they are so spread that one bin would take half of the axis. Where a source has a known
    number of photons, the weight is that of all of them.
    """
    from matplotlib.figure import Figure

    positions = np.array(about["detectors"])
    distance, direct = straight(about, positions)
    counts = np.bincount(hits["detector"], minlength=len(positions))
    enough = min(LEAST_HITS, counts.max())
    seen = sorted(np.flatnonzero(counts >= enough), key=lambda one: float(distance[one]))
    # as many hits as possible, over the whole range of distances
    groups = np.array_split(np.array(seen), min(CURVES, len(seen)))
    chosen = [group[np.argmax(counts[group])] for group in groups]
    scale = _scale(about)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for colour, detector in zip(_colours(len(chosen)), chosen, strict=True):
        mine = hits[hits["detector"] == detector]
        residual = mine["time"] - direct[detector]
        bins = max(1, min(MOST_BINS, len(mine) // BIN_HITS))
        edges = np.unique(np.quantile(residual, np.linspace(0, LAST_SHARE, bins + 1)))
        if len(edges) == 1:  # a single hit, or all at one time
            edges = edges[0] + np.array([-0.5, 0.5])
        height, _ = np.histogram(residual, edges, weights=mine["weight"] * scale)
        label = f"{distance[detector]:.0f} m ({len(mine):,} hits)"
        axes.stairs(height / np.diff(edges), edges, color=colour, label=label)
    axes.set(xlabel="time residual: arrival after direct light (ns)", ylabel=f"{UNIT} per ns", yscale="log")
    of = "track" if about["settings"]["source"]["kind"] == "track" else "source"
    axes.legend(title=f"distance to the {of}", frameon=False)
    axes.set_title(_title(about), fontsize="medium")
    return figure


def hit_map(hits: Hits, about: Mapping[str, Any]) -> Any:
    """The detectors from above and from the side: a circle grows with what was detected there, its colour is the time
    of the first hit. Detectors behind one another are one circle.
    """
    from matplotlib.figure import Figure

    positions = np.array(about["detectors"])
    weight = np.bincount(hits["detector"], hits["weight"], minlength=len(positions)) * _scale(about)
    first = np.full(len(positions), np.inf)
    np.minimum.at(first, hits["detector"], hits["time"])
    times = first[np.isfinite(first)]
    views = [_projected(positions[:, pair], weight, first) for pair in ((0, 1), (0, 2))]
    most = max(float(sums.max()) for _, sums, _ in views)

    def area(sums: Any) -> Any:
        # of the root: a hundredth of the light is a tenth of the area
        return 300 * np.sqrt(sums / most)

    figure = Figure(figsize=(9.5, 5), layout="constrained")
    both = figure.subplots(1, 2)
    for axes, pair, (where, sums, earliest) in zip(both, ((0, 1), (0, 2)), views, strict=True):
        axes.scatter(*where.T, s=3, color="0.7", label="sensor without a hit")
        seen = np.flatnonzero(np.isfinite(earliest))
        shown = axes.scatter(
            *where[seen].T,
            s=area(sums[seen]),
            c=earliest[seen],
            cmap=SCALE,
            vmin=times.min(),
            vmax=np.quantile(times, 0.95),
            edgecolors="black",
            linewidths=0.3,
        )
        _draw_source(axes, about, pair)
        axes.set(xlabel=f"{'xyz'[pair[0]]} (m)", ylabel=f"{'xyz'[pair[1]]} (m)", aspect="equal")
        axes.margins(0.08)
    both[0].set_title("from above", fontsize="medium")
    both[1].set_title("from the side", fontsize="medium")
    handles, labels = both[1].get_legend_handles_labels()
    largest = 10.0 ** math.floor(math.log10(most)) if most > 0 else 1.0
    for example in (largest / 100, largest / 10, largest):
        handles.append(both[1].scatter([], [], s=area(example), color="white", edgecolors="black", linewidths=0.5))
        labels.append(f"{example:,g} photons")
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.colorbar(shown, ax=both, label="time of the first hit (ns)", shrink=0.8, extend="max")
    figure.suptitle(f"{_title(about)}\n{weight.sum():,.4g} {UNIT}", fontsize="medium")
    return figure


def paths(world: World, photons: int) -> Any:
    """Photons' paths from the side, over the ice's scattering: computed by the reference in NumPy."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    found = reference.propagate(world, world.config.run.first, photons, paths=True).paths
    travelled = [np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1)) for path in found]
    flat = [path[:, (0, 2)] for path in found]
    source = world.config.source
    everything = np.concatenate([*flat, [[source.x_m, source.z_m]]])
    low, high = np.quantile(everything, 0.002, axis=0), np.quantile(everything, 0.998, axis=0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 * 1.05 + 1  # a square
    low, high = middle - half, middle + half
    heights = np.linspace(low[1], high[1], 600)
    scattering, _ = world.ice.coefficients(heights, np.full(600, 400.0))
    effective = scattering[:, None] * (1 - world.ice.g)
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    extent = (low[0], high[0], low[1], high[1])
    # light greys, on which all of the paths' colours show
    limits = {"vmin": 0, "vmax": 2 * effective.max()}
    ice = axes.imshow(effective, extent=extent, origin="lower", aspect="equal", cmap="Greys", **limits)
    segments = np.concatenate([np.stack((path[:-1], path[1:]), axis=1) for path in flat])
    lines = LineCollection(list(segments), cmap=SCALE, linewidths=0.9)
    lines.set_array(np.concatenate(travelled))
    lines.set_clim(0, np.quantile(np.concatenate(travelled), 0.95))
    axes.add_collection(lines)
    axes.plot(*np.array([path[-1] for path in flat]).T, ".", color="black", markersize=4, label="end")
    axes.plot(source.x_m, source.z_m, "x", color="crimson", markersize=8, markeredgewidth=2, label="source")
    axes.set(xlabel="x (m)", ylabel="z (m)", xlim=extent[:2], ylim=extent[2:])
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    scale = figure.colorbar(ice, label="effective scattering coefficient at 400 nm (1/m)", shrink=0.9)
    scale.ax.set_ylim(0, effective.max())
    figure.colorbar(lines, label="distance travelled (m)", shrink=0.9, extend="max")
    axes.set_title(f"{photons} photons of a {source.kind}", fontsize="medium")
    return figure


def straight(about: Mapping[str, Any], positions: Array) -> tuple[Array, Array]:
    """Distance of each position from the source (m), and when its light arrives there if it does not scatter (ns).

    A track's light leaves it at the Cherenkov angle, or at its nearer end.
    """
    source = SourceConfig(**about["settings"]["source"])
    # 420 nm: the middle of what the toy sensor sees of the Cherenkov spectrum
    wavelength = source.wavelength_nm or 420.0
    from_start, along = positions - _source(about), np.zeros(len(positions))
    axis = np.array(light.axis(source))
    if source.kind == "track":
        forward = from_start @ axis
        across = np.linalg.norm(from_start - forward[:, None] * axis, axis=1)
        cosine = 1 / medium.index(wavelength)
        along = np.clip(forward - across * cosine / math.sqrt(1 - cosine**2), 0, source.length_m)
        nearest = np.clip(forward, 0, source.length_m)
        distance = np.hypot(across, forward - nearest)
    else:
        distance = np.linalg.norm(from_start, axis=1)
    length = np.linalg.norm(from_start - along[:, None] * axis, axis=1)
    return distance, (along + length * medium.group_index(wavelength)) / medium.SPEED


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


def _projected(where: Array, weight: NDArray[Any], first: Array) -> tuple[Array, NDArray[Any], Array]:
    """Places that are one from this side, the sums of their weights, and the earliest of their hits."""
    one, inverse = np.unique(where, axis=0, return_inverse=True)
    which = inverse.reshape(-1)  # NumPy 2.0 gives it a second axis
    earliest = np.full(len(one), np.inf)
    np.minimum.at(earliest, which, first)
    return one, np.bincount(which, weight, minlength=len(one)), earliest


def _draw_source(axes: Any, about: Mapping[str, Any], pair: tuple[int, int]) -> None:
    """A cross; a track as a line too."""
    source = SourceConfig(**about["settings"]["source"])
    begin, look = _source(about), {"color": "crimson", "label": "source"}
    axes.plot(*begin[list(pair)], "x", markersize=8, markeredgewidth=2, zorder=3, **look)
    if source.kind == "track":
        end = begin + source.length_m * np.array(light.axis(source))
        axes.plot(*np.stack((begin, end))[:, pair].T, color="crimson", linewidth=1)


def _source(about: Mapping[str, Any]) -> Array:
    return np.array([about["settings"]["source"][name] for name in ("x_m", "y_m", "z_m")])


def _scale(about: Mapping[str, Any]) -> float:
    """Real photons for each simulated one, where that is known."""
    return float(about["real_photons"] / about["photons"]) if about["real_photons"] else 1.0


def _title(about: Mapping[str, Any]) -> str:
    source, made = about["settings"]["source"], about["photons"]
    if not about["real_photons"]:
        return f"{source['kind']} source, {made:,} photons emitted"
    energy = f"{source['energy_gev'] / 1000:g} TeV" if source["energy_gev"] >= 1000 else f"{source['energy_gev']:g} GeV"
    return f"{source['kind']} of {energy}, {about['real_photons']:.3g} photons emitted, {made:,} of them simulated"
