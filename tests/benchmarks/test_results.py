"""The rows of results.json and the table, and that no bench breaks unseen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import gpu, pairs, photons, quality, results, run
from benchmarks.results import Result

REPO = Path(__file__).parents[2]
KEYS = {"name", "ours", "peer", "ratio", "goal", "unit", "command"}


def row(name: str, ratio: float | None = 2.0, goal: float = 1.5) -> Result:
    return Result(name, 20.123456, 10.0, ratio, goal, "images/s", "make bench BENCH=step")


def test_rows_are_merged_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    results.report(row("a"), row("b"), file=file)
    results.report(row("a", ratio=1.0), file=file)
    rows = results.read(file)
    assert [(r["name"], r["ratio"]) for r in rows] == [("a", 1.0), ("b", 2.0)]
    assert rows[0]["ours"] == 20.12 and set(rows[0]) >= KEYS
    assert not list(tmp_path.glob("*.part"))
    assert "MISSED" in capsys.readouterr().out


def test_the_table_says_what_is_reached() -> None:
    lines = results.table([row("a").as_dict(), row("b", ratio=1.49).as_dict(), gpu.missing("c", "no GPU").as_dict()])
    verdicts = [line.split("  ")[-1] for line in lines.splitlines()[1:]]
    assert verdicts == ["reached", "MISSED", "no GPU"]


def test_what_is_kept_in_the_repository() -> None:
    for found in results.read():
        assert set(found) >= KEYS, found
        command = re.fullmatch(r"make bench BENCH=(\w+)", found["command"])
        assert command and command[1] in run.BENCHES, found
        if found["ratio"] is None:
            assert found["details"]["note"]


def test_what_the_arithmetic_allows() -> None:
    """33.5e12 lanes times clock of an H100 SXM: half of the 67 TFLOP/s of its data sheet, a multiply-add being two."""
    known = {"compute_capability_major_nv": 9, "compute_capability_minor_nv": 0}
    h100 = SimpleNamespace(**known, max_compute_units=132, max_clock_frequency=1980)
    assert photons.lanes_hz(h100) == pytest.approx(67e12 / 2, rel=0.01)
    assert photons.lanes_hz(SimpleNamespace(max_compute_units=64, max_clock_frequency=2000)) == 0, "not NVIDIA's"


@pytest.mark.parametrize("name", run.BENCHES)
def test_every_bench_is_there(name: str) -> None:
    assert import_module(f"benchmarks.{name}").main


def test_an_unknown_bench(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["stepp"]) == 2
    assert "BENCH=stepp: not a bench; there are match, " in capsys.readouterr().err


def test_sides_alternate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def measure(command: list[str]) -> dict[str, float]:
        order.append(command[0])
        return {"images_per_s": float(len(order))}

    monkeypatch.setattr(pairs, "measure", measure)
    monkeypatch.setattr(pairs, "others", lambda: 0.25)
    found = pairs.alternate({"a": ["a"], "b": ["b"]}, 3)
    assert "".join(order) == "abbaab"
    assert pairs.medians(found) == {"a": 4.0, "b": 3.0}
    assert pairs.disturbed(found) == 0.25
    assert capsys.readouterr().out.count("not a quiet machine: others keep 25% of it busy") == 6


def test_others_are_seen() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert 1 / (2 * (os.cpu_count() or 1)) < pairs.others() <= 1
    finally:
        busy.kill()
        busy.wait()


def test_another_network_is_no_comparison() -> None:
    assert pairs.equal({"a": [{"parameters": 5}], "b": [{"parameters": 5}]}) == 5
    with pytest.raises(SystemExit, match="not the same network"):
        pairs.equal({"a": [{"parameters": 5}], "b": [{"parameters": 6}]})


def test_a_worker_that_fails_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="exit code 1"):
        pairs.measure([sys.executable, "-c", "raise ValueError('broken')"])
    assert "ValueError: broken" in capsys.readouterr().err


def test_quality_goes_on_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def train(minutes: float, seed: int, out: Path) -> quality.Found:
        made.append(seed)
        dice = {"p1": {"whole": 0.8}, "p2": {"whole": 0.6 + seed / 10}}
        return {"dice": dice, "steps": 5, "images_per_s": 4.0, "training_s": 60.0}

    monkeypatch.setattr(quality, "SIDES", {"ours": train, "monai": train})
    trainings = {side: [quality.unit(tmp_path, side, 1, seed) for seed in (1, 2)] for side in ("ours", "monai")}
    again = {side: [quality.unit(tmp_path, side, 1, seed) for seed in (1, 2)] for side in ("ours", "monai")}
    assert again == trainings and made == [1, 2, 1, 2]
    (found,) = quality.rows(trainings, 1)
    assert found.ours == pytest.approx(0.775) and found.ratio == 1.0
    assert json.loads(json.dumps(found.as_dict()))["details"]["ours"] == [0.8, 0.7, 0.8, 0.8]


def test_arithmetic_of_the_papers_network() -> None:
    """Known for it: 268 GFLOP to train on an image of 240 x 240."""
    assert gpu.CASES["dong, 240x240, batch 10"].flop() / 1e9 == pytest.approx(268, abs=1)


def test_arithmetic_by_hand() -> None:
    """One channel, two levels of 1 and 2 maps, 4 x 4 pixels, one region."""
    case = gpu.Case(1, 2, "none", (4, 4), 1, channels=1, regions=1)
    first = 16 * 9 * (1 * 1 + 1 * 1)
    second = 4 * 9 * (1 * 2 + 2 * 2)
    up = 4 * 9 * 2 * 1 + 16 * 9 * (2 * 1 + 1 * 1)
    assert case.flop() == 3 * 2 * (first + second + up + 16)


def test_a_gpus_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The better backend counts; one that does not run is left out. No GPU is needed to compare numbers."""
    speeds = {"jax": 330.0, "pytorch": 300.0}

    def once(name: str, *rest: object) -> dict[str, float | None] | None:
        busy = None if name == "pytorch" else 97.0
        return {"images_per_s": speeds[name], "parameters": 9, "busy": busy} if name in speeds else None

    monkeypatch.setattr(gpu, "once", once)
    name, case = next(iter(gpu.CASES.items()))
    row = gpu.compare(name, case, "NVIDIA H200", 2, 1.0)
    assert row.ratio == pytest.approx(1.1) and row.details["backend"] == "jax"
    assert row.details["share_of_peak"]["jax"] == pytest.approx(330 * 268.4e9 / 989.4e12, abs=0.001)
    assert row.details["busy_percent"] == {"jax": 97.0}
    del speeds["jax"]
    assert gpu.compare(name, case, "NVIDIA H200", 1, 1.0).details["note"] == "not measured: ran only pytorch"
