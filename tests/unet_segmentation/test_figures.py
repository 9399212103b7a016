"""Pictures: every shape of input gives one, and what is drawn lies where the data has it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from unet_segmentation import curves, figures
from unet_segmentation.labels import conventions
from unet_segmentation.volumes import Volume

BRATS = conventions()["brats2017-2021"]
SHAPE = (30, 36, 12)
BLUE, YELLOW, RED = ((86, 180, 233), (240, 228, 66), (213, 94, 0))  # whole, core, enhancing


def volume(affine: Any = None, dark: float = 0.0) -> Volume:
    values = np.full(SHAPE, dark, np.float32)
    values[4:-4, 4:-4, 1:-1] = np.random.default_rng(1).normal(5, 1, (22, 28, 10))
    return Volume(Path("x.nii"), values, np.eye(4) if affine is None else affine, "")


def flat(value: float) -> Volume:
    return Volume(Path("x.nii"), np.full(SHAPE, value, np.float32), np.eye(4), "")


def labels(value: int = 2) -> NDArray[np.uint8]:
    found = np.zeros(SHAPE, np.uint8)
    found[6:14, 8:20, 3:8] = value
    return found


def picture(path: Path) -> NDArray[np.uint8]:
    """(rows, columns, 3)"""
    read = matplotlib.image.imread(io.BytesIO(path.read_bytes()), format="png")
    return np.rint(np.asarray(read)[..., :3] * 255).astype(np.uint8)


def coloured(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(image.astype(int) - colour).max(axis=-1) < 24
    return near


@pytest.mark.parametrize(
    ("name", "images", "truth", "predicted"),
    [
        ("one modality", {"ct": volume()}, labels(), labels()),
        ("no tumour", {"flair": volume(), "t1c": volume()}, labels(0), labels(0)),
        ("all background", {"flair": flat(0)}, labels(0), labels()),
        ("thick slices", {"flair": volume(np.diag([1, 1, 30, 1]))}, labels(), labels(4)),
        ("negative background", {"flair": volume(dark=-3)}, labels(), labels()),
        ("not a number", {"flair": flat(np.nan)}, labels(), labels()),
        ("$\\frac{1$ <b> & 患者 " + "long " * 40, {"$x": volume()}, labels(), labels()),
        ("bytes \udcff", {"flair": volume()}, labels(), labels()),
    ],
    ids=["modality", "none", "dark", "thick", "negative", "nan", "name", "bytes"],
)
def test_any_patient_can_be_drawn(
    tmp_path: Path, name: str, images: dict[str, Volume], truth: NDArray[Any], predicted: NDArray[Any]
) -> None:
    figures.overlay(tmp_path / "p.png", name, images, truth, predicted, BRATS, "Dice $1")
    drawn = picture(tmp_path / "p.png")
    assert 300 < drawn.shape[0] < 3000 and 300 < drawn.shape[1] < 2000 and drawn.std() > 1


def test_truth_on_the_left_prediction_on_the_right(tmp_path: Path) -> None:
    """One modality: the truth's column has oedema alone, the prediction's enhancing tumour alone."""
    figures.overlay(tmp_path / "p.png", "p", {"flair": volume()}, labels(2), labels(4), BRATS, "")
    drawn = picture(tmp_path / "p.png")[100:-60]  # without titles and legend
    half = drawn.shape[1] // 2
    assert coloured(drawn[:, :half], BLUE).sum() > 100 and not coloured(drawn[:, :half], RED).any()
    assert coloured(drawn[:, half:], RED).sum() > 100


def test_radiological(tmp_path: Path) -> None:
    """Low x is the patient's left where x runs to the right (RAS: identity), right where it runs to the left: the
    tumour changes sides with the affine.
    """
    sides = []
    for sign in (1, -1):
        moved = np.zeros(SHAPE, np.uint8)
        moved[5:9, 8:20, 3:8] = 2
        figures.overlay(tmp_path / "p.png", "p", {"flair": volume(np.diag([sign, 1, 1, 1]))}, moved, moved, BRATS, "")
        drawn = picture(tmp_path / "p.png")
        axial = drawn[100 : drawn.shape[0] // 2, : drawn.shape[1] // 2]
        columns = np.flatnonzero(coloured(axial, BLUE).any(axis=0))
        sides.append(columns.mean() / axial.shape[1])
    assert sides[0] > 0.6 and sides[1] < 0.4  # RAS: low x is left, and left is on the right of the picture


def test_colours_follow_the_regions() -> None:
    many = figures.colours([f"r{number}" for number in range(8)])
    assert list(many.values())[:6] == list(figures.COLOURS) and many["r6"] == figures.COLOURS[0]


@pytest.mark.parametrize("count", [1, 4])
def test_live_overlay(tmp_path: Path, count: int) -> None:
    image = np.zeros((40, 60), np.float16)
    image[5:-5, 5:-5] = 1
    truth = {"whole": np.zeros((40, 60), bool), "core": np.zeros((40, 60), bool)}
    truth["whole"][10:30, 10:20] = True
    predicted = {"whole": np.zeros((40, 60), bool), "core": truth["whole"]}
    path = tmp_path / "live" / "p.png"
    panels = [(f"m{number}", image) for number in range(count)]
    figures.live_overlay(path, panels, truth, predicted, "p, step 5: whole $0.5 " * 5)
    drawn = picture(path)
    top, bottom = drawn[: drawn.shape[0] // 2], drawn[drawn.shape[0] // 2 : -60]
    assert coloured(top, BLUE).sum() > 50 and not coloured(top, YELLOW).any()
    assert coloured(bottom, YELLOW).sum() > 50 and not coloured(bottom, BLUE).any()
    rows = np.flatnonzero(coloured(top, BLUE).any(axis=1))
    assert rows.mean() < top.shape[0] * 0.6  # low y is above


# Curves


def history(steps: int) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    for step in range(1, steps + 1):
        rows.append({"step": step, "loss": 2 / step, "dice": 1 - 1 / step, "rate": 1e-3, "images_per_s": 40.0})
        rows[-1]["input_wait"] = 0.02
        if step % 5 == 0:
            rows.append({"step": step, "validation_whole": 0.8, "validation_$core": 0.7})
    return rows


@pytest.mark.parametrize(
    "rows",
    [
        [],
        history(1),
        history(40),
        [{"step": 1, "loss": float("nan"), "dice": None}, {"step": 2, "loss": -1.0}],
        [{"step": 3, "validation_whole": 0.5}],
    ],
    ids=["empty", "one", "many", "nan", "validation"],
)
def test_curves_of_any_history(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    curves.draw(tmp_path / "curves.png", rows, "a $ run")
    assert picture(tmp_path / "curves.png").shape[1] == 1100
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_long_curves_keep_their_last_point() -> None:
    rows = [{"step": step, "loss": 1.0} for step in range(1, 100_001)]
    points = curves._series(rows, "loss")
    assert len(points) <= curves.POINTS and points[-1][0] == 100_000


def test_what_is_no_number_is_left_out() -> None:
    values = (1.0, float("nan"), None, float("inf"), "", 2)
    rows = [{"step": step, "loss": value} for step, value in enumerate(values)]
    assert curves._series(rows, "loss") == [(0, 1.0), (5, 2.0)]
