"""The eight validations: every number against a formula, or against the reference, within a bound of the statistics.

BOUND is in standard errors: a true formula fails one check in 150,000. The seeds are fixed: a check that holds, holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from photon_propagation import hits, ice, medium, opencl, reference, settings, source, world

BOUND = 4.5
LEAST_P = 1e-5  # of a Kolmogorov-Smirnov test

Worlds = Callable[..., world.World]
Many = Callable[[int], int]


def ends(here: world.World, device: Any, photons: int) -> opencl.Ends:
    batch = opencl.Propagator(here, device, ends=True).batch(0, photons)
    assert batch.ends is not None
    return batch.ends


def off(sample: NDArray[np.float64], expected: float) -> float:
    """Standard errors between a mean and what it should be."""
    return abs(float(sample.mean()) - expected) / (float(sample.std()) / math.sqrt(len(sample)))


# 1


def test_free_paths_are_exponential(device: Any, worlds: Worlds, many: Many) -> None:
    here = worlds("source.kind=beam", "run.most_scatters=1", "ice.world_m=100000", scattering=0.02, g=0.9)
    # so many that one of them would draw the largest number of 24 bits
    path = ends(here, device, many(200_000)).path
    assert off(path, 5.0) < BOUND  # 1 / 0.02 * (1 - 0.9)
    assert stats.kstest(path, "expon", args=(0, 5.0)).pvalue > LEAST_P


def test_survival_is_exponential(device: Any, worlds: Worlds, many: Many) -> None:
    path = ends(worlds(scattering=0.0, absorption=0.01), device, many(50_000)).path
    assert off(path, 100.0) < BOUND
    assert stats.kstest(path, "expon", args=(0, 100.0)).pvalue > LEAST_P


@pytest.mark.parametrize("zenith", [0, 60, 120])
def test_survival_through_layers_is_that_of_the_integral(
    zenith: int, device: Any, worlds: Worlds, many: Many, tmp_path: Path
) -> None:
    rows = ice.read("layered", 1950.0)
    table = tmp_path / "clear.txt"
    lines = [line for line in (ice.TABLES / "layered.txt").read_text().splitlines() if line[:1] not in "#"]
    layers = [line.split() for line in lines if line[0].isdigit()]
    header = [line for line in lines if "=" in line]
    table.write_text("\n".join([*header, *(f"{depth} 0 {dust} {warmer}" for depth, _, dust, warmer in layers)]))
    words = (f"ice.table={table}", "source.kind=beam", f"source.zenith_deg={zenith}", "source.z_m=-103.7")
    path = ends(worlds(*words), device, many(50_000)).path
    along = np.linspace(0, 4000, 400_001)
    height = -103.7 + along * math.cos(math.radians(zenith))
    _, absorption = rows.coefficients(height, np.full(len(along), 400.0))
    depth = integrate.cumulative_simpson(absorption, x=along, initial=0)
    assert stats.kstest(path, lambda x: 1 - np.exp(-np.interp(x, along, depth))).pvalue > LEAST_P


# 2

SCATTERS = """
__kernel void call(const uint seed, const uint count, __global real *lost) {
    uint i = get_global_id(0);
    uint4 word = philox((uint4)(0u, 0u, i, 0u), (uint2)(seed, 0u));
    if (i < count) lost[i] = scatter(UNIFORM(word.x), UNIFORM(word.y));
}
"""


def cosines(here: world.World, device: Any, count: int) -> NDArray[np.float64]:
    """Of single scatters, by the kernel's own function."""
    import pyopencl

    context = pyopencl.Context([device])
    queue = pyopencl.CommandQueue(context)
    code = opencl.header(here.numbers()) + opencl.KERNEL.read_text() + SCATTERS
    kernel = pyopencl.Kernel(pyopencl.Program(context, code).build(), "call")
    lost = np.empty(count, np.float32)
    buffer = pyopencl.Buffer(context, pyopencl.mem_flags.WRITE_ONLY, lost.nbytes)
    kernel(queue, (count,), None, np.uint32(1), np.uint32(count), buffer)
    pyopencl.enqueue_copy(queue, lost, buffer)
    return 1 - lost.astype(float)


@pytest.mark.parametrize("g", [0.0, 0.5, 0.9])
def test_henyey_greenstein_has_its_mean_and_its_distribution(g: float, device: Any, worlds: Worlds, many: Many) -> None:
    cosine = cosines(worlds(scattering=0.02, g=g, liu=0.0), device, many(200_000))
    assert off(cosine, g) < BOUND

    def cdf(x: Any) -> Any:
        return (1 + x) / 2 if g == 0 else (1 - g * g) / (2 * g) * (1 / np.sqrt(1 + g * g - 2 * g * x) - 1 / (1 + g))

    assert stats.kstest(cosine, cdf).pvalue > LEAST_P


@pytest.mark.parametrize("g", [0.5, 0.9])
def test_simplified_liu_has_its_mean_and_its_distribution(g: float, device: Any, worlds: Worlds, many: Many) -> None:
    cosine = cosines(worlds(scattering=0.02, g=g, liu=1.0), device, many(200_000))
    assert off(cosine, g) < BOUND
    power = (1 + g) / (1 - g)
    assert stats.kstest(cosine, lambda x: ((1 + x) / 2) ** power).pvalue > LEAST_P


def test_the_mixture_is_one(device: Any, worlds: Worlds, many: Many) -> None:
    mixed, henyey, liu = (
        (cosines(worlds(scattering=0.02, liu=share), device, many(200_000)) > 0.5).astype(float)
        for share in (0.45, 0.0, 1.0)
    )
    assert off(mixed, 0.55 * henyey.mean() + 0.45 * liu.mean()) < BOUND
    assert abs(henyey.mean() - liu.mean()) > 0.01  # or the check says nothing


# 3


@pytest.mark.parametrize(("scatters", "liu"), [(1, 0.45), (2, 0.0), (10, 0.45), (10, 1.0), (50, 0.45)])
def test_moments_after_so_many_free_paths(scatters: int, liu: float, device: Any, worlds: Worlds, many: Many) -> None:
    g, free = 0.9, 5.0
    words = ("source.kind=beam", f"run.most_scatters={scatters}", "ice.world_m=100000", "source.zenith_deg=35")
    place = ends(worlds(*words, scattering=0.02, g=g, liu=liu), device, many(30_000)).place
    axis = np.array(source.axis(settings.load(None, words[:1] + words[3:]).source))
    n = scatters
    assert off(place @ axis, free * (1 - g**n) / (1 - g)) < BOUND
    square = 2 * free**2 * (n / (1 - g) - g * (1 - g**n) / (1 - g) ** 2)
    assert off((place**2).sum(axis=1), square) < BOUND
    across = place @ np.array([-axis[2], 0, axis[0]])
    assert n == 1 or off(across, 0.0) < BOUND


# 4


def test_without_scattering_the_hits_are_those_of_the_solid_angle(device: Any, worlds: Worlds, many: Many) -> None:
    distance, radius, length = 20.0, 2.0, 50.0
    words = ("source.kind=point", "detector.layout=one", f"detector.distance_m={distance}")
    sphere = (f"detector.radius_m={radius}", "detector.oversize=1")
    here = worlds(*words, *sphere, scattering=0.0, absorption=1 / length)
    photons = many(200_000)
    batch = opencl.Propagator(here, device).batch(0, photons)

    def seen(cosine: float) -> float:
        enters = distance * cosine - math.sqrt(radius**2 - distance**2 * (1 - cosine**2))
        return math.exp(-enters / length) / 2

    edge = math.sqrt(1 - radius**2 / distance**2)
    share = integrate.quad(seen, edge, 1)[0]
    assert abs(batch.counts["detected"] - share * photons) < BOUND * math.sqrt(share * photons)
    # the fact sheet's formula, with the absorption over the middle's distance
    assert share == pytest.approx(0.5 * (1 - edge) * math.exp(-distance / length), rel=radius / length)
    speed = medium.SPEED / float(medium.group_index(400.0))
    first = float(batch.hits["time"].min())
    assert (
        first == pytest.approx((distance - radius) / speed, rel=1e-3) and first > (distance - radius) / speed * 0.99999
    )
    last = math.sqrt(distance**2 - radius**2) / speed
    assert batch.hits["time"].max() <= last * 1.00001
    assert np.allclose(batch.hits["time"], batch.hits["path"] / speed, rtol=1e-5)


# 5


def test_far_from_a_point_light_diffuses(device: Any, worlds: Worlds, many: Many) -> None:
    scattering, absorption = 0.1, 0.005  # effective length 10 m, absorption length 200 m
    place = ends(worlds("source.kind=point", scattering=scattering, absorption=absorption), device, many(40_000)).place
    radius = np.linalg.norm(place, axis=1)
    # exact, by the exponential decay of a direction's memory over the path: no approximation of diffusion in it
    assert off(radius**2, 2 / (absorption * (absorption + scattering))) < BOUND
    # where photons are absorbed is the fluence; far out it is (1/d) exp(-d / l_prop)
    edges = np.linspace(40, 160, 13)
    count, _ = np.histogram(radius, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    slope = np.polyfit(middle, np.log(count / middle), 1, w=np.sqrt(count))[0]
    propagation = math.sqrt(1 / (3 * absorption * scattering))
    # 5 %: the limit holds up to absorption / scattering, here a twentieth
    assert -1 / slope == pytest.approx(propagation, rel=0.05)


# 6


def test_the_oversize_factor_changes_nothing_far_from_the_source(
    device: Any, worlds: Worlds, many: Many, tmp_path: Path
) -> None:
    number = np.arange(60)
    cosine, around = 1 - (2 * number + 1) / 60, number * math.pi * (3 - math.sqrt(5))
    sine = np.sqrt(1 - cosine**2)
    places = 35 * np.stack((sine * np.cos(around), sine * np.sin(around), cosine), axis=1)
    file = tmp_path / "sphere.txt"
    file.write_text("\n".join(" ".join(map(str, place)) for place in places))
    photons, found = many(100_000), {}
    for oversize in (1, 5):
        words = (f"detector.layout={file}", "detector.radius_m=0.4", f"detector.oversize={oversize}")
        here = worlds("source.kind=point", *words, "ice.table=uniform")
        raw = opencl.Propagator(here, device).batch(0, photons).hits
        weights, times = raw["weight"].astype(float), raw["time"].astype(float)
        found[oversize] = (weights.sum(), (weights**2).sum(), np.average(times, weights=weights), times.std(), len(raw))
    (one, one2, early, spread, hits_one), (five, five2, late, spread5, hits_five) = found[1], found[5]
    assert abs(one - five) < BOUND * math.sqrt(one2 + five2)
    # a photon counts many times at k = 5: neighbouring hits are not independent
    assert abs(early - late) < BOUND * math.sqrt(spread**2 / hits_one + spread5**2 / (hits_five / 5))
    assert hits_five > 15 * hits_one > 1000


# 7


@pytest.mark.parametrize("kind", source.KINDS)
@pytest.mark.parametrize("oversize", [1, 5])
def test_every_photon_comes_to_one_end(kind: str, oversize: int, device: Any, worlds: Worlds) -> None:
    words = ("ice.world_m=60", "run.most_scatters=40", "detector.strings=2", "detector.spacing_m=10")
    sensors = ("detector.sensors=9", "detector.sensor_spacing_m=5", "detector.radius_m=1")
    here = worlds(f"source.kind={kind}", "source.length_m=40", *words, *sensors, f"detector.oversize={oversize}")
    photons = 20_001  # no multiple of a work group
    batch = opencl.Propagator(here, device, ends=True).batch(3, photons)
    counts = batch.counts
    assert counts["absorbed"] + counts["detected"] + counts["escaped"] + counts["stopped"] == photons
    assert batch.ends is not None
    assert np.bincount(batch.ends.fate, minlength=4).tolist() == [counts[name] for name in hits.COUNTS[:4]]
    assert int(batch.ends.scatters.sum()) == counts["scatters"]
    assert min(counts[name] for name in ("absorbed", "escaped", "stopped")) > 20
    assert (counts["detected"] > 20) == (oversize == 1) and len(batch.hits) > 20
    assert oversize == 5 or counts["detected"] == len(batch.hits)


# 8

CLOSE = ("detector.strings=2", "detector.spacing_m=20", "detector.sensors=5", "source.length_m=40", "source.y_m=3")


@pytest.mark.parametrize("kind", source.KINDS)
@pytest.mark.parametrize("oversize", [1, 5])
def test_in_double_precision_each_photon_is_the_references(
    kind: str, oversize: int, device: Any, worlds: Worlds, many: Many
) -> None:
    words = (f"source.kind={kind}", "source.zenith_deg=70", "detector.radius_m=1.5", f"detector.oversize={oversize}")
    here = worlds("run.precision=double", *CLOSE, *words, plain=False)
    first, photons = 2**32 - 500, many(2000)  # the number's upper word changes on the way
    batch = opencl.Propagator(here, device, ends=True).batch(first, photons)
    known = reference.propagate(here, first, photons)
    assert batch.counts == known.counts()
    assert batch.ends is not None
    assert np.array_equal(batch.ends.fate, known.fate) and np.array_equal(batch.ends.scatters, known.scatters)
    # 1e-6 m after kilometres and hundreds of turns, each of which makes what rounding did larger
    assert np.abs(batch.ends.place - known.place).max() < 1e-6
    found = hits.from_raw(batch.hits, here.config.run.seed)
    assert len(found) == len(known.hits) > (10 if oversize == 1 else 100)
    for name in found.dtype.names or ():
        assert np.allclose(found[name], known.hits[name], rtol=1e-9, atol=1e-7), name


def test_in_single_precision_the_hits_are_as_many(device: Any, worlds: Worlds, many: Many) -> None:
    words = ("source.kind=point", *CLOSE, "detector.radius_m=0.5")
    here = worlds(*words, plain=False)
    photons = many(4000)
    found = hits.from_raw(opencl.Propagator(here, device).batch(0, photons).hits, here.config.run.seed)
    known = reference.propagate(here, 0, photons).hits
    assert abs(len(found) - len(known)) < BOUND * math.sqrt(len(known))
    # most photons even go the same way
    both = np.intersect1d(found["photon"], known["photon"])
    assert len(both) > 0.95 * len(np.unique(known["photon"]))


# what the light is


def test_indices_and_yield_are_those_of_the_fact_sheet() -> None:
    assert float(medium.index(400.0)) == pytest.approx(1.3194, abs=5e-5)
    assert float(medium.group_index(400.0)) == pytest.approx(1.3561, abs=5e-5)
    assert math.degrees(math.acos(1 / medium.index(400.0))) == pytest.approx(40.72, abs=5e-3)
    assert medium.cherenkov_photons(300, 600) == pytest.approx(32_573, abs=1)


def test_a_tracks_light_leaves_on_its_cone(device: Any, worlds: Worlds) -> None:
    """Without scattering, each absorbed photon lies on a cone about its place on the track."""
    words = ("source.kind=track", "source.length_m=0.001", "source.zenith_deg=110", "source.azimuth_deg=40")
    place = ends(worlds(*words, scattering=0.0, absorption=0.01), device, 2000).place
    axis = np.array(source.axis(settings.load(None, words).source))
    cosine = place @ axis / np.linalg.norm(place, axis=1)
    far = np.linalg.norm(place, axis=1) > 5
    assert np.abs(cosine[far] - 1 / float(medium.index(400.0))).max() < 1e-3


def test_a_cascades_light_has_its_length_and_peaks_on_the_cone(device: Any, worlds: Worlds, many: Many) -> None:
    words = ("source.kind=cascade", "source.energy_gev=1e4")
    # absorbed at once: the place is where on the cascade it was made
    along = ends(worlds(*words, scattering=0.0, absorption=1e4), device, many(20_000)).place[:, 2]
    a, b = 2.03 + 0.604 * math.log(1e4), 0.633
    assert off(along, a / b * medium.RADIATION_LENGTH_M) < BOUND
    assert along.std() == pytest.approx(math.sqrt(a) / b * medium.RADIATION_LENGTH_M, rel=0.05)
    far = ends(worlds(*words, "source.energy_gev=1", scattering=0.0, absorption=1e-3), device, many(20_000)).place
    cosine = far[:, 2] / np.linalg.norm(far, axis=1)
    count, edges = np.histogram(cosine, np.linspace(-1, 1, 41))
    peak = edges[count.argmax()]
    assert peak <= 1 / float(medium.index(400.0)) <= peak + 0.05
    assert count[:10].sum() < 0.1 * len(cosine)


def test_wavelengths_are_those_of_the_spectrum(device: Any, worlds: Worlds) -> None:
    here = worlds("source.kind=point", "detector.layout=one", "detector.distance_m=2", plain=False)
    raw = opencl.Propagator(here, device).batch(0, 100_000).hits
    near = raw["wavelength"][raw["scatters"] == 0].astype(float)
    grid = np.linspace(300, 600, 3001)
    reached = integrate.cumulative_trapezoid(medium.cherenkov_density(grid), grid, initial=0)
    assert len(near) > 500
    assert stats.kstest(near, lambda x: np.interp(x, grid, reached / reached[-1])).pvalue > LEAST_P


def test_a_cascade_has_no_light_far_behind_it() -> None:
    """The table of its profile has the mean of the gamma distribution, and no jump at its end."""
    energy = 1e4
    a, b = 2.03 + 0.604 * math.log(energy), 0.633
    made = source.profile(settings.SourceConfig(kind="cascade", energy_gev=energy)) / medium.RADIATION_LENGTH_M
    assert (np.diff(made) >= 0).all() and made[-1] - made[-2] <= 2 / b + 1e-9
    assert np.trapezoid(made, dx=1 / (len(made) - 1)) == pytest.approx(a / b, rel=2e-4)
