"""A training in several jobs: each ends with 0 at its share of the steps and hands its work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unet_segmentation.training import result, words
from unet_segmentation import cli


def test_a_chain_is_the_run(trained: Path, phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    """Each link begins in an empty folder, as a job of its own does."""
    before = ""
    for number, until in enumerate((0.3, 0.7, 1.0)):
        out = tmp_path / str(number)
        start = [f"checkpoint.start={before}"] if before else []
        assert cli.main(words(phantoms, out, f"checkpoint.until={until}", *start)) == 0
        before = str(out / "handed-on")
        assert (out / "metrics.json").is_file() == (until == 1.0)
        assert (out / "handed-on").is_dir() != (until == 1.0)
    said = capsys.readouterr().out
    assert f"step 4 of 12: go on with --set checkpoint.start={tmp_path / '0'}/handed-on" in said
    assert "resumed    at step 8 of 12" in said
    assert result(tmp_path / "2")["weights_sha256"] == result(trained)["weights_sha256"]
    assert (tmp_path / "2" / "history.csv").read_bytes() == (trained / "history.csv").read_bytes()


def test_a_link_that_left_goes_on_from_its_own_checkpoint(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    assert cli.main(words(phantoms, tmp_path / "0", "checkpoint.until=0.3")) == 0
    rest = (f"checkpoint.start={tmp_path / '0' / 'handed-on'}", "checkpoint.leave_every_steps=3")
    assert [cli.main(words(phantoms, tmp_path / "1", *rest)) for _ in range(3)] == [85, 85, 0]
    assert result(tmp_path / "1")["weights_sha256"] == result(trained)["weights_sha256"]


@pytest.mark.parametrize("there", [False, True])
def test_a_start_that_holds_nothing_is_no_new_beginning(
    phantoms: Path, tmp_path: Path, there: bool, capsys: Any
) -> None:
    start = tmp_path / "handed-on"
    if there:
        start.mkdir()
    assert cli.main(words(phantoms, tmp_path, f"checkpoint.start={start}")) == 65
    assert (
        f"checkpoint.start: no whole checkpoint in {start}; what a job left as handed-on; " in capsys.readouterr().err
    )


def test_one_of_another_run_is_refused(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(words(phantoms, tmp_path / "0", "checkpoint.until=0.3")) == 0
    start = f"checkpoint.start={tmp_path / '0' / 'handed-on'}"
    assert cli.main(words(phantoms, tmp_path / "1", start, "train.seed=2")) == 65
    assert "a checkpoint whose configuration is" in capsys.readouterr().err
