"""`osgdl scale`: what it writes, that it takes it back, and what it refuses. Nothing is submitted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from submit import check, cli, gpus, images, scaling
from submit.description import Description
from submit.errors import KitError
from submit.toml_lines import TomlLines
from unet_segmentation import config
from unet_segmentation.schedule import rate

FILES = ("train.sub", "config.toml", "osgdl.json")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert text.count(old) == 1, text
    (folder / name).write_text(text.replace(old, new))


def train(folder: Path) -> config.TrainConfig:
    return config.load(folder / "config.toml").train


def refused(folder: Path, count: int, batch: str = "scaled") -> str:
    """The message; one line, and nothing is written."""
    before = contents(folder)
    with pytest.raises(KitError) as caught:
        scaling.scale(folder / "train.sub", count, batch)
    assert contents(folder) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_request_is_what_a_new_project_with_so_many_gpus_has(folder: Path, count: int) -> None:
    scaling.scale(folder / "train.sub", count)
    held = Description.read(folder / "train.sub")
    wanted = gpus.request(images.offered()["tensorflow-2.21"], count, "10GB", False)
    for name in (*scaling.REQUEST, "request_disk", "gpus_minimum_memory"):
        assert held.get(name) == str(getattr(wanted, name)), name
    assert [finding.rule.id for finding in check.check([folder / "train.sub"])] == ["OSG619"], "that one GPU waits less"


def test_the_training_of_four_gpus(folder: Path) -> None:
    done = scaling.scale(folder / "train.sub", 4)
    now = train(folder)
    assert (now.batch_size, now.learning_rate, now.warm_up, now.epochs) == (32, 2e-3, 0.05, 100)
    assert [str(change) for change in done.changes][-3:] == [
        "config.toml: train.batch_size = 32 (was 8)",
        "config.toml: train.learning_rate = 0.002 (was 1e-3)",
        "config.toml: train.warm_up = 0.05 (new)",
    ]
    assert "most machines of the OSPool offer one GPU" in done.notes[0] and "osgdl folds" in done.notes[1]
    assert rate(2500, 50_000, now) == 2e-3 > rate(2000, 50_000, now), "without the limit of 100 steps"


def test_a_fixed_batch_changes_the_request_alone(folder: Path) -> None:
    before = contents(folder)
    done = scaling.scale(folder / "train.sub", 4, "fixed")
    assert {change.name for change in done.changes} == set(scaling.REQUEST)
    assert (folder / "config.toml").read_bytes() == before["config.toml"]
    scaling.scale(folder / "train.sub", 4)
    assert train(folder).batch_size == 32
    scaling.scale(folder / "train.sub", 4, "fixed")
    assert (folder / "config.toml").read_bytes() == before["config.toml"]


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without its trainer, whose check takes a tenth of a second."""
    place = tmp_path_factory.mktemp("shared")
    for name in FILES:
        (place / name).write_bytes((made / name).read_bytes())
    return place


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 8), st.sampled_from(scaling.BATCHES)), max_size=4))
def test_back_at_one_gpu_everything_is_as_it_was(shared: Path, way: list[tuple[int, str]]) -> None:
    """And the way there leaves no trace either: where it leads to is what one step would write."""
    before = contents(shared)
    for count, batch in way:
        if batch == "fixed" and 8 % count:
            continue
        scaling.scale(shared / "train.sub", count, batch)
        there = contents(shared)
        assert scaling.scale(shared / "train.sub", count, batch).changes == []
        scaling.scale(shared / "train.sub", 1)
        assert contents(shared) == before
        scaling.scale(shared / "train.sub", count, batch)
        assert contents(shared) == there
    scaling.scale(shared / "train.sub", 1)
    assert contents(shared) == before


def test_own_values_are_scaled(folder: Path) -> None:
    """And what a file does not ask for stays out."""
    edit(folder, "train.sub", "request_cpus         = 4", "request_cpus = 3")
    edit(folder, "train.sub", "request_memory       = 8GB", "request_memory       = 1500 MB")
    edit(folder, "train.sub", "retry_request_memory = 16GB\n", "")
    edit(folder, "config.toml", "learning_rate = 1e-3", "learning_rate = 3e-4  # tried\nwarm_up = 0.1\nsteps = 1001")
    before = contents(folder)
    scaling.scale(folder / "train.sub", 2)
    held, now = Description.read(folder / "train.sub"), train(folder)
    assert [held.get(name) for name in scaling.REQUEST] == ["2", "6", "3000MB", None]
    assert (now.batch_size, now.warm_up, now.steps) == (16, 0.1, 501)
    assert now.learning_rate == pytest.approx(3e-4 * math.sqrt(2), rel=1e-3)
    assert "  # tried\n" in (folder / "config.toml").read_text()
    scaling.scale(folder / "train.sub", 1)
    assert contents(folder) == before


def test_a_project_that_was_made_for_two_gpus(folder: Path) -> None:
    """Is what it starts from and comes back to."""
    edit(folder, "train.sub", "request_gpus            = 1", "request_gpus            = 2")
    before = contents(folder)
    scaling.scale(folder / "train.sub", 1)
    assert (train(folder).batch_size, Description.read(folder / "train.sub").get("request_cpus")) == (4, "2")
    scaling.scale(folder / "train.sub", 2)
    assert contents(folder) == before


def test_a_project_without_a_record_gets_one(folder: Path) -> None:
    (folder / "osgdl.json").unlink()
    scaling.scale(folder / "train.sub", 2)
    assert set(json.loads((folder / "osgdl.json").read_text())) == {scaling.KEY}
    scaling.scale(folder / "train.sub", 1)
    assert train(folder).batch_size == 8


@pytest.mark.parametrize("count", [0, 9, -1])
def test_no_machine_has_so_many(folder: Path, count: int) -> None:
    assert refused(folder, count) == f"--gpus={count}: no machine has so many; 1 to 8. E.g. --gpus 2."


def test_wishes_that_are_none(folder: Path) -> None:
    assert refused(folder, 2, "doubled") == "--batch='doubled': unknown; scaled or fixed. Leave it out for scaled."
    with pytest.raises(KitError, match=r"other\.sub: No such file or directory; want a submit file"):
        scaling.scale(folder / "other.sub", 2)
    (folder / "config.toml").rename(folder / "settings.toml")
    with pytest.raises(KitError, match=r"config\.toml: not there; .*For a script of your own write request_gpus, "):
        scaling.scale(folder / "train.sub", 2)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("request_gpus            = 1", "request_gpus = $(n)", "request_gpus = $(n); a whole number above 0"),
        ("request_gpus            = 1\n", "", "request_gpus is not set; a whole number above 0 is wanted"),
        ("request_cpus         = 4", "request_cpus = 4.5", "request_cpus = 4.5; a whole number above 0 is wanted"),
        ("request_memory       = 8GB", "request_memory = 8000", "request_memory = 8000: has no unit; want a"),
        ("\nqueue 1", "\nsettings = 'train.steps=9'\nqueue 1", "wins over config.toml. Move train.steps there."),
    ],
    ids=["expression", "no-gpus", "cpus", "memory", "settings"],
)  # fmt: skip
def test_a_submit_file_that_cannot_be_scaled(folder: Path, old: str, new: str, said: str) -> None:
    edit(folder, "train.sub", old, new)
    assert said in refused(folder, 2)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("batch_size = 8\n", "", "train.batch_size is not set; a whole number above 0 is wanted"),
        ("learning_rate = 1e-3\n", "", "train.learning_rate is not set; a number is wanted"),
        ("learning_rate = 1e-3", "learning_rate = true", "train.learning_rate = true; a number is wanted"),
        ("batch_size = 8", "batch_size = '8'", "train.batch_size: not on a plain line"),
        ("batch_size = 8", "batch_size = 2048", "train.batch_size: 8192; 1 to 4096"),
        ("batch_size = 8", "batch_size = 8\nsplit = 3", "multiple of 3 is wanted (train.split = 3). Write 9 there"),
        ("learning_rate = 1e-3", "learning_rate = 0.9", "train.learning_rate: 1.8; 1e-08 to 1.0"),
    ],
    ids=["no-batch", "no-rate", "rate", "quoted", "too-large", "split", "too-fast"],
)
def test_settings_that_cannot_be_scaled(folder: Path, old: str, new: str, said: str) -> None:
    edit(folder, "config.toml", old, new)
    assert said in refused(folder, 4)


def test_a_fixed_batch_that_does_not_divide(folder: Path) -> None:
    assert refused(folder, 3, "fixed").endswith(
        "train.batch_size = 8: not the same for each GPU; a multiple of 3 is wanted. Write 9 there."
    )


def test_what_was_changed_by_hand_meanwhile(folder: Path) -> None:
    scaling.scale(folder / "train.sub", 2)
    edit(folder, "config.toml", "batch_size = 16", "batch_size = 24")
    assert "train.batch_size = 24: changed since osgdl scale; 16 is wanted, which it wrote" in refused(folder, 4)
    record = json.loads((folder / "osgdl.json").read_text())
    del record[scaling.KEY]
    (folder / "osgdl.json").write_text(json.dumps(record))
    scaling.scale(folder / "train.sub", 4)
    assert train(folder).batch_size == 48, "24 are the batch of two"


@pytest.mark.parametrize("text", ["{", '{"scale": 3}', '{"scale": {"base": 1, "values": {"a": [1]}}}'])
def test_a_record_that_is_none(folder: Path, text: str) -> None:
    (folder / "osgdl.json").write_text(text)
    assert "osgdl.json: cannot be read" in refused(folder, 2)


def test_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    run = CliRunner().invoke
    done = run(cli.app, ["scale", "--gpus", "2", "--json"])
    held = json.loads(done.stdout)
    assert held["gpus"] == 2
    assert held["changes"][0] == {"file": "train.sub", "name": "request_gpus", "from": "1", "to": "2"}
    assert run(cli.app, ["scale", "--gpus", "2"]).stdout == "train.sub: so already\n"
    assert (
        run(cli.app, ["scale", "train.sub", "--gpus", "1"]).stdout.splitlines()[0]
        == "train.sub: request_gpus = 1 (was 2)"
    )
    assert run(cli.app, ["scale"]).exit_code == 2
    assert TomlLines.read(Path("config.toml")).get("train", "batch_size") == "8"
