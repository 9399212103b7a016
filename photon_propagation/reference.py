"""The same photons in NumPy, in double precision and on the same random numbers: what the kernel is compared with.

Every photon goes a free path in each turn of one loop; every detector is tried, without a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_propagation import detector, medium, source
from photon_propagation.hits import COUNTS, HITS, Hits, ordered
from photon_propagation.philox import block
from photon_propagation.world import TINY, World, cascade_norm

Array = NDArray[np.float64]
ABSORBED, DETECTED, ESCAPED, STOPPED = range(4)


@dataclass(frozen=True)
class Outcome:
    """Hits in canonical order; fate, scatters, position and length of the path at each photon's end; where they were
    asked for, the paths: positions of all scatters, shape (points, 3), the first the emission, the last the end.
    """

    hits: Hits
    fate: NDArray[np.int64]
    scatters: NDArray[np.int64]
    position: Array
    path: Array
    paths: list[Array]

    def counts(self) -> dict[str, int]:
        """As a batch of the kernel has them."""
        fates = [int((self.fate == number).sum()) for number in range(4)]
        return dict(zip(COUNTS, [*fates, int(self.scatters.sum())], strict=True))


def propagate(world: World, first: int, photons: int, paths: bool = False) -> Outcome:
    """Photons first, first + 1, ... from their emission to their end."""
    config = world.config
    seed = config.run.seed
    number = np.arange(first, first + photons, dtype=np.uint64)
    position, direction, wavelength, absorption, along = _emission(world, number)
    per_metre = medium.group_index(wavelength) / medium.SPEED
    scales = world.ice.scales(wavelength)
    fate, scatters = np.full(photons, -1), np.zeros(photons, np.int64)
    path, layer = np.zeros(photons), world.ice.layer(position[:, 2])
    found: list[Hits] = []
    points = [[one.copy()] for one in position] if paths else []
    live = np.arange(photons)
    while len(live):
        draws = np.empty((4, len(live)))
        for count in np.unique(scatters[live]):
            same = scatters[live] == count
            draws[:, same] = block(int(count) + 2, number[live[same]], seed)
        step, left, layer[live] = _walk(
            world,
            position[live, 2],
            direction[live, 2],
            layer[live],
            [s[live] for s in scales],
            -np.log(draws[0]),
            absorption[live],
        )
        who, which, enters = _met(world, position[live], direction[live], step)
        if config.detector.oversize == 1:
            order = np.lexsort((enters, who))
            who, nearest = np.unique(who[order], return_index=True)
            which, enters = which[order][nearest], enters[order][nearest]
        if len(who):
            ids = live[who]
            hit = np.zeros(len(ids), HITS)
            hit["seed"], hit["photon"], hit["detector"], hit["scatters"] = seed, number[ids], which, scatters[ids]
            hit["path"] = path[ids] + enters
            hit["time"] = along[ids] / medium.SPEED + hit["path"] * per_metre[ids]
            met = position[ids] + direction[ids] * enters[:, None]
            for axis, name in enumerate("xyz"):
                hit[name], hit[f"d{name}"] = met[:, axis], direction[ids, axis]
            hit["wavelength"] = wavelength[ids]
            hit["weight"] = _weight(world, wavelength[ids], direction[ids, 2])
            found.append(hit)
        if config.detector.oversize == 1:
            step[who], left[who] = enters, 1.0  # positive: not absorbed
            fate[live[who]] = DETECTED
        path[live] += step
        position[live] += direction[live] * step[:, None]
        absorption[live] = left
        for one in live if paths else ():
            points[one].append(position[one].copy())
        ended = fate[live] == DETECTED
        fate[live[~ended & (left == 0)]] = ABSORBED
        ended |= left == 0
        far = ~ended & ((position[live] ** 2).sum(axis=1) > config.ice.world_m**2)
        fate[live[far]] = ESCAPED
        ended |= far
        scatters[live[~ended]] += 1
        stopped = ~ended & (scatters[live] == config.run.most_scatters)
        fate[live[stopped]] = STOPPED
        ended |= stopped
        live, draws = live[~ended], draws[:, ~ended]
        direction[live] = turn(direction[live], scatter(draws[1], draws[3], world.ice.g, world.ice.f_sl), draws[2])
    hits = ordered(np.concatenate(found)) if found else np.zeros(0, HITS)
    return Outcome(hits, fate, scatters, position, path, [np.array(one) for one in points])


def scatter(u: Array, which: Array, g: float, f_sl: float) -> Array:
    """1 - cos of the angle: Henyey-Greenstein, or simplified Liu for a share."""
    s = 2 * u - 1
    below = 1 + g * s
    henyey = (1 - g) * (1 - s) / below * ((1 - g * g) / below + 1 - g) / 2
    return np.where(which < f_sl, 2 - 2 * u ** ((1 - g) / (1 + g)), henyey)


def turn(direction: Array, lost: Array, azimuth: Array) -> Array:
    """Directions turned by the angle whose cosine is 1 - lost, at `azimuth`, in turns (0 to 1); shape (photons, 3)."""
    x, y, z = direction.T
    # rounding can leave `lost` just outside of 0 to 2
    sine, angle = np.sqrt(np.maximum(lost * (2 - lost), 0)), azimuth * 2 * math.pi
    sign = np.where(z < 0, -1.0, 1.0)
    a = -1 / (sign + z)
    b = x * y * a
    one = np.stack((1 + sign * x * x * a, sign * b, -sign * x), axis=1)
    two = np.stack((b, sign + y * y * a, -y), axis=1)
    turned = (
        direction * (1 - lost)[:, None] + one * (sine * np.cos(angle))[:, None] + two * (sine * np.sin(angle))[:, None]
    )
    return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True))


def _emission(world: World, number: NDArray[np.uint64]) -> tuple[Array, Array, Array, Array, Array]:
    """Position, direction, wavelength, absorption lengths to go, metres of the particle before it, of each photon."""
    config = world.config.source
    u = block(0, number, world.config.run.seed)
    grid = np.linspace(0, 1, len(world.wavelengths))
    wavelength = np.interp(u[0], grid, world.wavelengths)
    axis = np.array(source.axis(config))
    direction, along = np.tile(axis, (len(number), 1)), np.zeros(len(number))
    cone = 1 - 1 / medium.index(wavelength)
    if config.kind == "point":
        direction = turn(np.tile([0.0, 0.0, 1.0], (len(number), 1)), 2 * u[3], u[2])
    elif config.kind == "track":
        along = u[3] * config.length_m
        direction = turn(direction, cone, u[2])
    elif config.kind == "cascade":
        along = np.interp(u[3], np.linspace(0, 1, len(world.profile)), world.profile)
        more = block(1, number, world.config.run.seed)
        lost = (-np.log(1 - more[0] * cascade_norm()) / source.CASCADE_B) ** (1 / source.CASCADE_A)
        direction = turn(turn(direction, np.minimum(lost, 2), more[1]), cone, u[2])
    position = np.array([config.x_m, config.y_m, config.z_m]) + axis * along[:, None]
    return position, direction, wavelength, -np.log(u[1]), along


def _walk(
    world: World,
    z: Array,
    dz: Array,
    layer: NDArray[np.int64],
    scales: list[Array],
    scattering: Array,
    absorption: Array,
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Metres to the next scatter or the end, absorption lengths left there (0 is the end), and the layer."""
    table, top = world.ice, len(world.ice.layers) - 1
    step, left, layer, scattering = np.zeros(len(z)), absorption.copy(), layer.copy(), scattering.copy()
    live, up = np.arange(len(z)), dz > 0
    while len(live):
        rows = table.layers[layer[live]]
        b = rows[:, 0] * scales[0][live]
        a = rows[:, 1] * scales[1][live] + rows[:, 2] * scales[2][live]
        with np.errstate(divide="ignore"):
            to_scatter, to_absorption = scattering[live] / b, left[live] / a
            edge = table.bottom + table.thickness * (layer[live] + up[live])
            to_boundary = np.maximum((edge - z[live]) / dz[live] - step[live], 0)
        to_boundary[(layer[live] == np.where(up[live], top, 0)) | (dz[live] == 0)] = np.inf
        part = np.minimum(to_scatter, to_absorption)
        ends = part < to_boundary
        last, on = live[ends], live[~ends]
        step[last] += part[ends]
        left[last] = np.where(to_absorption <= to_scatter, 0, left[live] - part * a)[ends]
        step[on] += to_boundary[~ends]
        scattering[on] = np.maximum(scattering[on] - (to_boundary * b)[~ends], TINY)
        left[on] = np.maximum(left[on] - (to_boundary * a)[~ends], TINY)
        layer[on] += np.where(up[on], 1, -1)
        live = on
    return step, left, layer


def _met(
    world: World, position: Array, direction: Array, step: Array
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Which photons meet which detectors, and after how many metres."""
    radius, oversize = world.config.detector.radius_m, world.config.detector.oversize
    to = world.detectors[None] - position[:, None]
    closest = (to * direction[:, None]).sum(axis=2)
    across = to - direction[:, None] * closest[..., None]
    depth2 = radius**2 - (across**2).sum(axis=2) / oversize**2
    enters = closest - np.sqrt(np.maximum(depth2, 0))
    who, which = np.nonzero((depth2 > 0) & (enters >= 0) & (enters <= step[:, None]))
    return who, which, enters[who, which]


def _weight(world: World, wavelength: Array, dz: Array) -> Array:
    share = np.interp(wavelength, detector.WAVELENGTHS, world.acceptance)
    angular = np.polynomial.polynomial.polyval(dz, world.config.detector.angular)
    return np.asarray(share * np.maximum(angular, 0) / world.config.detector.oversize**2)
