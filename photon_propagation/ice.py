"""Tables of ice: layers of one thickness with their scattering and absorption. tables/layered.txt says the format."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput

TABLES = Path(__file__).parent / "tables"
# name: least, greatest
HEADER = {
    "alpha": (-10.0, 10.0),
    "kappa": (-10.0, 10.0),
    "A": (0.0, 1e9),
    "B": (0.0, 2e4),
    "g": (0.0, 0.999),
    "f_SL": (0.0, 1.0),
}
LEAST = 1e-6  # 1/m, of scattering and absorption: every photon comes to its end, and places can be counted in cells
COLUMNS = ("depth", "b_e", "a_dust", "delta_tau")
MOST_LAYERS = 100_000


@dataclass(frozen=True)
class Ice:
    """A table, upwards.

    Attributes:
        alpha, kappa, pure_a, pure_b: exponents of scattering and of dust; A (1/m) and B (nm) of pure ice.
        g, f_sl: mean cosine of a scatter; share of simplified Liu.
        bottom: z of the lowest layer's lower edge, m.
        thickness: of a layer, m.
        layers: effective scattering and dust's absorption at 400 nm (1/m), factor of pure ice; shape (layers, 3).
        sha256: of the file.
    """

    alpha: float
    kappa: float
    pure_a: float
    pure_b: float
    g: float
    f_sl: float
    bottom: float
    thickness: float
    layers: NDArray[np.float64]
    sha256: str

    def layer(self, z: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number of the layer at each height."""
        number = np.floor((z - self.bottom) / self.thickness).astype(np.int64)
        return np.clip(number, 0, len(self.layers) - 1)

    def scales(self, wavelength: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """What scattering, dust and pure ice are multiplied by at each wavelength."""
        ratio = wavelength / 400
        pure = self.pure_a * np.exp(-self.pure_b / wavelength)
        return ratio**-self.alpha / (1 - self.g), ratio**-self.kappa, pure

    def coefficients(self, z: NDArray[np.float64], wavelength: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Scattering and absorption, 1/m."""
        scattering, dust, pure = self.scales(wavelength)
        layer = self.layers[self.layer(z)]
        return layer[..., 0] * scattering, layer[..., 1] * dust + layer[..., 2] * pure


def read(name: str, depth: float) -> Ice:
    """A table that comes with the program, or a file; `depth` is where z is 0.

    Raises:
        BadInput: no such file, or a line that does not fit; names file and line.
    """
    path = TABLES / f"{name}.txt" if name in ("layered", "uniform") else Path(name)
    header: dict[str, float] = {}
    rows: list[tuple[float, ...]] = []
    content = content_of(path, "ice.table")
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        where, mend = f"{path}:{number}", f"edit {path}"
        if "=" in text:
            key, _, value = (part.strip() for part in text.partition("="))
            if key not in HEADER or key in header:
                held = "a second time" if key in header else "unknown"
                raise BadInput(where, f"{key}: {held}", f"{', '.join(HEADER)}, each once", mend)
            (header[key],) = numbers(where, value, (key,), mend)
            low, high = HEADER[key]
            if not low <= header[key] <= high:
                raise BadInput(where, f"{key} = {value}", f"{low:g} to {high:g}", mend)
        elif text:
            rows.append(numbers(where, text, COLUMNS, mend))
            if min(rows[-1][:3]) < 0 or rows[-1][3] <= -100:
                raise BadInput(where, text, "depth, b_e and a_dust not below 0, delta_tau above -100", mend)
    missing = [key for key in HEADER if key not in header]
    if missing or not 1 <= len(rows) <= MOST_LAYERS:
        held = f"no {missing[0]}" if missing else f"{len(rows)} layers"
        wanted = "`name = value` for " + ", ".join(HEADER) + f"; 1 to {MOST_LAYERS} layers"
        raise BadInput(path, held, wanted, f"edit {path}; {TABLES / 'layered.txt'} is an example")
    made = _upwards(path, np.array(sorted(rows, reverse=True)), header, depth, hashlib.sha256(content).hexdigest())
    middles = np.asarray(made.bottom + (np.arange(len(rows)) + 0.5) * made.thickness, np.float64)
    for wavelength in (300.0, 600.0):
        scattering, absorption = made.coefficients(middles, np.full(len(rows), wavelength))
        both = scattering + absorption
        if not (np.isfinite(both).all() and both.min() >= LEAST):
            held = f"scattering and absorption of {both.min():g} together at {wavelength:g} nm"
            raise BadInput(path, held, f"{LEAST:g} or more in every layer", f"edit {path}")
    return made


def _upwards(path: Path, table: NDArray[np.float64], header: dict[str, float], depth: float, sha256: str) -> Ice:
    steps = -np.diff(table[:, 0])
    thickness = float(steps.mean()) if len(steps) else 1.0
    # half a per cent: depths are often rounded
    if len(steps) and (thickness <= 0 or np.abs(steps - thickness).max() > 0.005 * thickness):
        worst = int(np.abs(steps - thickness).argmax())
        pair = f"{table[worst, 0]:g} and {table[worst + 1, 0]:g} m"
        held = f"layers at {pair}, where others are {np.median(steps):g} m apart"
        raise BadInput(path, held, "layers of one thickness, each once", f"edit {path}")
    return Ice(
        alpha=header["alpha"],
        kappa=header["kappa"],
        pure_a=header["A"],
        pure_b=header["B"],
        g=header["g"],
        f_sl=header["f_SL"],
        bottom=depth - float(table[0, 0]) - thickness / 2,
        thickness=thickness,
        layers=np.column_stack((table[:, 1], table[:, 2], 1 + 0.01 * table[:, 3])),
        sha256=sha256,
    )


def content_of(path: Path, key: str) -> bytes:
    """The bytes of a file that a setting names.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as fault:
        raise BadInput(path, f"cannot be read ({fault.strerror})", f"the file of {key}", f"change {key}") from fault


def numbers(where: str, text: str, names: tuple[str, ...], mend: str) -> tuple[float, ...]:
    """As many finite numbers as names in a line.

    Raises:
        BadInput: there are not.
    """
    try:
        found = tuple(float(word) for word in text.split())
    except ValueError:
        found = ()
    if len(found) != len(names) or not all(map(math.isfinite, found)):
        raise BadInput(where, repr(text[:80]), f"{len(names)} number{'s' * (len(names) > 1)}: {' '.join(names)}", mend)
    return found
