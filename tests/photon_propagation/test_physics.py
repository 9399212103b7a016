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


TURNS = """
__kernel void call(const float lost, __global real *made) {
    uint i = get_global_id(0);
    real cosine = i / (real)32 - 1;
    real3 turned = turn((real3)(sqrt(1 - cosine * cosine), 0, cosine), lost, UNIFORM(i << 26));
    made[3 * i] = turned.x, made[3 * i + 1] = turned.y, made[3 * i + 2] = turned.z;
}
"""


def called(here: world.World, device: Any, code: str, size: int, items: int, *arguments: Any) -> NDArray[np.float64]:
    """What a kernel writes that calls one of the propagator's functions, in single precision."""
    import pyopencl

    context = pyopencl.Context([device])
    queue = pyopencl.CommandQueue(context)
    code = opencl.header(here.numbers()) + opencl.KERNEL.read_text() + code
    kernel = pyopencl.Kernel(pyopencl.Program(context, code).build(), "call")
    made = np.empty(size, np.float32)
    buffer = pyopencl.Buffer(context, pyopencl.mem_flags.WRITE_ONLY, made.nbytes)
    kernel(queue, (items,), None, *arguments, buffer)
    pyopencl.enqueue_copy(queue, made, buffer)
    return made.astype(float)


def cosines(here: world.World, device: Any, count: int) -> NDArray[np.float64]:
    """Of single scatters, by the kernel's own function."""
    return 1 - called(here, device, SCATTERS, count, count, np.uint32(1), np.uint32(count))


@pytest.mark.parametrize("lost", [-1e-6, -1e-8, 0.0, 1.0, 2.0, 2 + 1e-6])
def test_a_direction_stays_one_just_outside_of_what_a_cosine_can_be(lost: float, device: Any, worlds: Worlds) -> None:
    turned = called(worlds(), device, TURNS, 3 * 64, 64, np.float32(lost)).reshape(64, 3)
    cosine = np.arange(64) / 32 - 1
    ahead = np.stack((np.sqrt(1 - cosine**2), np.zeros(64), cosine), axis=1)
    known = reference.turn(ahead, np.full(64, lost), np.arange(64) / 64)
    for directions in (turned, known):
        assert np.allclose((directions**2).sum(axis=1), 1, atol=1e-5)
        assert np.allclose((directions * ahead).sum(axis=1), np.clip(1 - lost, -1, 1), atol=1e-5)


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
    position = ends(worlds(*words, scattering=0.02, g=g, liu=liu), device, many(30_000)).position
    axis = np.array(source.axis(settings.load(None, words[:1] + words[3:]).source))
    n = scatters
    assert off(position @ axis, free * (1 - g**n) / (1 - g)) < BOUND
    square = 2 * free**2 * (n / (1 - g) - g * (1 - g**n) / (1 - g) ** 2)
    assert off((position**2).sum(axis=1), square) < BOUND
    across = position @ np.array([-axis[2], 0, axis[0]])
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
    position = ends(
        worlds("source.kind=point", scattering=scattering, absorption=absorption), device, many(40_000)
    ).position
    radius = np.linalg.norm(position, axis=1)
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
    assert np.abs(batch.ends.position - known.position).max() < 1e-6
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
    # n - wavelength dn/dwavelength: two fits of their own, which agree within what they leave out
    wavelength = np.linspace(300, 600, 301)
    slope = np.gradient(medium.index(wavelength), wavelength, edge_order=2)
    assert np.abs(medium.index(wavelength) - wavelength * slope - medium.group_index(wavelength)).max() < 1.1e-3


def test_the_yields_are_those_of_ppc() -> None:
    """Its numbers, with its density of ice; for 1 GeV, 10 TeV, and a metre."""
    metre = medium.cherenkov_photons(300, 600)
    assert math.isclose(medium.RADIATION_LENGTH_M, 0.39652 * 0.910 / 0.9216, rel_tol=1e-4)
    for energy in (1.0, 1e4):
        cascade = settings.SourceConfig(kind="cascade", energy_gev=energy)
        assert source.photons(cascade) == pytest.approx(5.321 * 0.910 / 0.9216 * energy * metre, rel=1e-6)
        track = settings.SourceConfig(kind="track", energy_gev=energy, length_m=1.0)
        extra = (0.1880 + 0.0206 * math.log(energy)) * 0.910 / 0.9216
        assert source.photons(track) == pytest.approx((1 + extra) * metre, rel=1e-6)
    assert source.photons(settings.SourceConfig(kind="point")) is None


def test_a_cascades_directions_are_near_those_that_were_simulated() -> None:
    """Raedel and Wiebusch (2013) fit the photons of an electron's cascade by a exp(b |cos - cos_c|^c) + d."""
    random, index, count = np.random.default_rng(1), 1.33, 400_000
    power = -np.log(1 - random.random(count) * world.cascade_norm()) / source.CASCADE_B
    along = np.tile([0.0, 0.0, 1.0], (count, 1))
    particle = reference.turn(along, np.minimum(power ** (1 / source.CASCADE_A), 2), random.random(count))
    cosine = np.sort(reference.turn(particle, np.full(count, 1 - 1 / index), random.random(count))[:, 2])
    grid = np.linspace(-1, 1, 20_001)
    density = 4.27033 * np.exp(-6.02527 * np.abs(grid - 1 / index) ** 0.29887) - 0.00103
    reached = integrate.cumulative_trapezoid(density, grid, initial=0)
    assert 2 * math.pi * reached[-1] == pytest.approx(1, abs=0.02)  # or the formula is not theirs
    apart = np.abs(np.interp(cosine, grid, reached / reached[-1]) - np.arange(count) / count).max()
    assert apart == pytest.approx(0.045, abs=0.005)


def test_a_tracks_light_leaves_on_its_cone(device: Any, worlds: Worlds) -> None:
    """Without scattering, each absorbed photon lies on a cone about its position on the track."""
    words = ("source.kind=track", "source.length_m=0.001", "source.zenith_deg=110", "source.azimuth_deg=40")
    position = ends(worlds(*words, scattering=0.0, absorption=0.01), device, 2000).position
    axis = np.array(source.axis(settings.load(None, words).source))
    cosine = position @ axis / np.linalg.norm(position, axis=1)
    far = np.linalg.norm(position, axis=1) > 5
    assert np.abs(cosine[far] - 1 / float(medium.index(400.0))).max() < 1e-3


def test_a_cascades_light_has_its_length_and_peaks_on_the_cone(device: Any, worlds: Worlds, many: Many) -> None:
    words = ("source.kind=cascade", "source.energy_gev=1e4")
    # absorbed at once: the position is where on the cascade it was made
    along = ends(worlds(*words, scattering=0.0, absorption=1e4), device, many(20_000)).position[:, 2]
    a, b = 2.01849 + 0.63176 * math.log(1e4), 0.63207  # as ppc has them
    assert off(along, a / b * medium.RADIATION_LENGTH_M) < BOUND
    assert along.std() == pytest.approx(math.sqrt(a) / b * medium.RADIATION_LENGTH_M, rel=0.05)
    far = ends(worlds(*words, "source.energy_gev=1", scattering=0.0, absorption=1e-3), device, many(20_000)).position
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
    a, b = 2.01849 + 0.63176 * math.log(energy), 0.63207
    made = source.profile(settings.SourceConfig(kind="cascade", energy_gev=energy)) / medium.RADIATION_LENGTH_M
    assert (np.diff(made) >= 0).all() and made[-1] - made[-2] <= 2 / b + 1e-9
    assert np.trapezoid(made, dx=1 / (len(made) - 1)) == pytest.approx(a / b, rel=2e-4)
