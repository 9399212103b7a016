"""The pictures, made by the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photon_propagation import cli, reference, settings, world

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


def test_a_way_is_the_photons_own() -> None:
    here = world.build(settings.load(None, ["source.kind=cascade"]))
    one = reference.propagate(here, 7, 5, ways=True)
    for way, length, scatters, end in zip(one.ways, one.path, one.scatters, one.place, strict=True):
        assert len(way) == scatters + 2  # emission, scatters, end
        assert np.linalg.norm(np.diff(way, axis=0), axis=1).sum() == pytest.approx(length)
        assert np.array_equal(way[-1], end)


def test_settings_are_printed_with_their_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    said = capsys.readouterr().out
    assert "[source]\n# point: isotropic" in said and 'kind = "cascade"' in said and "angular = [0.5, 0.5]" in said
