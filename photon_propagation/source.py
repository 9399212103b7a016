"""Sources of light: their spectrum, their length, and how many photons they really make."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from photon_propagation import medium
from photon_propagation.settings import SourceConfig

KINDS = ("point", "beam", "track", "cascade")  # numbered as in the kernel
LOW, HIGH = 300.0, 600.0  # nm, of the Cherenkov spectrum: where the index is known and ice is clear
WAVELENGTHS, PROFILES = 1025, 4097  # points of the tables
# Directions of a cascade's particles: density ~ x^(a-1) exp(-b x^a) of x = 1 - cos, as IceCube's ppc and clsim have it.
# On the Cherenkov cone about them the photons' directions are somewhat wider than those that Raedel and Wiebusch (2013)
# simulated: mean cosine 0.624 and 0.657, distributions that are nowhere farther apart than 0.045
CASCADE_A, CASCADE_B = 0.39, 2.61


def axis(source: SourceConfig) -> tuple[float, float, float]:
    """Unit vector of the direction of flight."""
    zenith, azimuth = math.radians(source.zenith_deg), math.radians(source.azimuth_deg)
    return math.sin(zenith) * math.cos(azimuth), math.sin(zenith) * math.sin(azimuth), math.cos(zenith)


def wavelengths(source: SourceConfig) -> NDArray[np.float64]:
    """Where the spectrum's distribution has reached 0, ..., 1; nm."""
    if source.wavelength_nm:
        return np.full(WAVELENGTHS, source.wavelength_nm)
    grid = np.linspace(LOW, HIGH, 6001)
    return medium.inverse_cdf(grid, medium.cherenkov_density(grid), WAVELENGTHS)


def profile(source: SourceConfig) -> NDArray[np.float64]:
    """The same of where along a cascade its light is made; m.

    A gamma distribution in radiation lengths: a = 2.01849 + 1.45469 log10(E/GeV), b = 0.63207, which Raedel and
    Wiebusch (Astropart. Phys. 44, 2013, 102) found for an electron.
    """
    a, b = 2.01849 + 1.45469 * math.log10(source.energy_gev), 0.63207
    t = np.linspace(0, (a + 12 * math.sqrt(a) + 20) / b, 40_001)
    with np.errstate(divide="ignore"):
        log = (a - 1) * np.log(b * t) - b * t
    made = medium.inverse_cdf(t, np.exp(log - log.max()), PROFILES)
    # between the last two a straight line to the end of `t` would put one photon in `PROFILES` far behind the shower:
    # there the profile falls as exp(-b t), whose mean is that of a line of twice its length
    made[-1] = made[-2] + 2 / b
    return made * medium.RADIATION_LENGTH_M


def photons(source: SourceConfig) -> float | None:
    """How many the source really makes between LOW and HIGH; None where only the user knows: point and beam."""
    per_metre = medium.cherenkov_photons(LOW, HIGH)
    if source.kind == "cascade":
        return per_metre * medium.CASCADE_M_PER_GEV * source.energy_gev
    if source.kind == "track":
        return per_metre * source.length_m * medium.muon_track(source.energy_gev)
    return None
