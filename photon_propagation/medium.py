"""Light in ice: its speeds, and what a charged particle makes of it. Wavelengths in nm, lengths in m, times in ns.

Indices: Price and Woschnagg, Role of group and phase velocity in high-energy neutrino observatories (Astropart. Phys.
15, 2001, 97), polynomials in micrometres. Yields: Raedel and Wiebusch, Calculation of the Cherenkov light yield from
low energetic secondary particles accompanying high-energy muons in ice and water (Astropart. Phys. 38, 2012, 53) and
from electromagnetic cascades in ice (Astropart. Phys. 44, 2013, 102). They simulated ice of 0.910 g/cm3; a length in
denser ice is shorter. IceCube's ppc and clsim have the same polynomials, ppc the same yields and densities.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPEED = 0.299792458  # of light in vacuum, m/ns
FINE_STRUCTURE = 1 / 137.035999
# by rising powers of the wavelength in micrometres
INDEX = (1.55749, -1.57988, 3.99993, -4.68271, 2.09354)
GROUP = (1.227106, -0.954648, 1.42568, -0.711832)  # times the index
SIMULATED, DENSITY = 0.910, 0.9216  # g/cm3: of the ice that the yields were simulated in, and of that at the South Pole
CASCADE_M_PER_GEV = 5.321 * SIMULATED / DENSITY  # of tracks of beta 1
RADIATION_LENGTH_M = 0.3608 / DENSITY  # 36.08 g/cm2


def index(wavelength: Any) -> Any:
    """Of refraction, for the phase; 300 to 600 nm."""
    return np.polynomial.polynomial.polyval(np.asarray(wavelength, float) / 1000, INDEX)


def group_index(wavelength: Any) -> Any:
    """Of refraction, for a pulse."""
    return index(wavelength) * np.polynomial.polynomial.polyval(np.asarray(wavelength, float) / 1000, GROUP)


def cherenkov_density(wavelength: Any) -> Any:
    """Photons for each metre of a track of beta 1 and each nm (Frank and Tamm)."""
    metres = np.asarray(wavelength, float)
    return 2 * math.pi * FINE_STRUCTURE / metres**2 * 1e9 * (1 - 1 / index(wavelength) ** 2)


def cherenkov_photons(low: float, high: float) -> float:
    """Photons for each metre of a track of beta 1 between two wavelengths."""
    grid = np.linspace(low, high, 2001)
    return float(np.trapezoid(cherenkov_density(grid), grid))


def muon_track(energy_gev: float) -> float:
    """Metres of tracks of beta 1 for each metre of a muon: its own, and of its secondaries below 500 MeV."""
    return 1 + (0.1880 + 0.0206 * math.log(energy_gev)) * SIMULATED / DENSITY


def inverse_cdf(x: NDArray[np.float64], density: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    """x where the distribution with this density has reached 0, 1/(points-1), ..., 1: between them, linear."""
    steps = np.diff(x) * (density[1:] + density[:-1]) / 2
    reached = np.concatenate(([0.0], np.cumsum(steps)))
    return np.interp(np.linspace(0, 1, points), reached / reached[-1], x)
