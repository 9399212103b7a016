"""A CPU device, and worlds made of a few lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from photon_propagation import opencl, settings, world

# every photon of 400 nm, one ice, all hits counted
PLAIN = ("source.wavelength_nm=400", "detector.acceptance=all", "detector.angular=[1.0]")


@pytest.fixture(scope="session")
def device() -> Any:
    pytest.importorskip("pyopencl", reason="no pyopencl: pip install -e '.[photons]'")
    return opencl.choose("cpu")[0]


@pytest.fixture
def worlds(tmp_path: Path) -> Callable[..., world.World]:
    """A world of settings; ice of one layer where `scattering` (effective) and `absorption` are given, in 1/m."""

    def make(
        *assignments: str,
        scattering: float | None = None,
        absorption: float = 0.0,
        g: float = 0.9,
        liu: float = 0.45,
        plain: bool = True,
    ) -> world.World:
        words = [*(PLAIN if plain else ()), *assignments]
        if scattering is not None:
            table = tmp_path / f"ice-{scattering}-{absorption}-{g}-{liu}.txt"
            header = f"alpha = 1\nkappa = 1\nA = 0\nB = 1\ng = {g}\nf_SL = {liu}\n"
            table.write_text(f"{header}1950 {scattering!r} {absorption!r} 0\n")
            words.append(f"ice.table={table}")
        return world.build(settings.load(None, words))

    return make


@pytest.fixture(scope="session")
def many(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """A count of photons: so many, and twenty times as many with --soak."""
    factor = 20 if request.config.getoption("--soak") else 1
    return lambda count: count * factor
