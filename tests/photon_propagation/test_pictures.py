"""The pictures, made by the commands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photon_propagation import cli, hits, medium, pictures, reference, settings, world

PNG = b"\x89PNG\r\n\x1a\n"


def test_plot_and_paths_write_pictures(device: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["source.kind=track", "source.x_m=20", "source.z_m=-200", "source.length_m=400", "run.next=20000"]
    words += ["detector.radius_m=1", f"checkpoint.folder={tmp_path / 'checkpoint'}"]
    sets = [word for setting in words for word in ("--set", setting)]
    assert cli.main(["run", "--out", str(tmp_path), "--device", "cpu", *sets]) == 0
    said = capsys.readouterr().out
    assert "20,000 photons" in said and "photons/s on cpu" in said
    assert cli.main(["plot", str(tmp_path / "hits.npz"), "--out", str(tmp_path / "pictures")]) == 0
    assert cli.main(["paths", "--out", str(tmp_path / "pictures"), "--photons", "5", *sets]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["light-curves.png", "hit-map.png", "photon-paths.png"]
    for name in names:
        assert (tmp_path / "pictures" / name).read_bytes().startswith(PNG)


def test_a_path_is_the_photons_own() -> None:
    here = world.build(settings.load(None, ["source.kind=cascade"]))
    one = reference.propagate(here, 7, 5, paths=True)
    for path, length, scatters, end in zip(one.paths, one.path, one.scatters, one.position, strict=True):
        assert len(path) == scatters + 2  # emission, scatters, end
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() == pytest.approx(length)
        assert np.array_equal(path[-1], end)


def test_settings_are_printed_with_their_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    said = capsys.readouterr().out
    assert "[source]\n# point: isotropic" in said and 'kind = "cascade"' in said and "angular = [0.5, 0.5]" in said


def test_the_direct_light_of_a_point_and_of_a_track() -> None:
    about = {"settings": settings.load(None, ["source.kind=point", "source.z_m=10"]).as_dict()}
    distance, time = pictures.straight(about, np.array([[30.0, 0.0, 50.0]]))
    assert distance == pytest.approx([50.0])
    assert time == pytest.approx([50.0 * medium.group_index(420.0) / medium.SPEED])
    words = ["source.kind=track", "source.zenith_deg=180", "source.z_m=100", "source.length_m=200"]
    about = {"settings": settings.load(None, words).as_dict()}
    # beside its middle, above its beginning, below its end
    distance, time = pictures.straight(about, np.array([[30.0, 0.0, 0.0], [0.0, 0.0, 120.0], [40.0, 0.0, -130.0]]))
    assert distance == pytest.approx([30.0, 20.0, 50.0])
    # the Cherenkov cone, from the formula of the angle
    n, group = float(medium.index(420.0)), float(medium.group_index(420.0))
    angle = math.acos(1 / n)
    along = 100 - 30 / math.tan(angle)
    assert time[0] == pytest.approx((along + group * 30 / math.sin(angle)) / medium.SPEED)
    assert time[1] == pytest.approx(group * 20 / medium.SPEED)


@pytest.mark.parametrize("count", [1, 2, 60])
def test_few_hits_are_drawn_too(count: int, tmp_path: Path) -> None:
    made = np.zeros(count, hits.HITS)
    made["time"], made["weight"] = 300 + np.arange(count) % 7, 0.5
    here = settings.load(None, ["detector.layout=one"])
    about = {"settings": here.as_dict(), "detectors": [[50.0, 0.0, 0.0]], "photons": 10, "real_photons": None}
    assert [path.name for path in pictures.draw(made, about, tmp_path)] == ["light-curves.png", "hit-map.png"]
