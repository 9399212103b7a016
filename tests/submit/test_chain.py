"""`osgdl chain`: the workflow of one training in several jobs, as HTCondor and `osgdl check` read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from submit import chain, check, stage_lines
from submit.errors import KitError
from tests.submit import manifests
from tests.submit.test_folds import arguments, nodes


def test_each_link_begins_where_the_one_before_ended(folder: Path) -> None:
    (folder / "data").mkdir()
    done = chain.write(folder, 3)
    assert done.result == "results/chain/link-2"
    found = nodes(folder, "chain.dag")
    assert [arguments(folder, found[f"link-{link}"]) for link in range(3)] == [
        "\"train 'data' results/chain/link-0 'checkpoint.until=0.333333'\" <- job, config.toml, data, ",
        "\"train 'data' results/chain/link-1 'checkpoint.until=0.666667' 'checkpoint.start=handed-on'\""
        " <- job, config.toml, data, results/chain/link-0/handed-on",
        "\"train 'data' results/chain/link-2 'checkpoint.start=handed-on'\""
        " <- job, config.toml, data, results/chain/link-1/handed-on",
    ]
    text = done.dag.read_text()
    assert "PARENT link-0 CHILD link-1\n" in text and "PARENT link-1 CHILD link-2\n" in text
    assert check.check([done.dag]) == []
    before = done.dag.stat().st_mtime_ns
    chain.write(folder, 3)
    assert done.dag.stat().st_mtime_ns == before, "done again, nothing changes"


def test_staged_data_stay_with_it(folder: Path) -> None:
    path = manifests.write(folder, manifests.make(2))
    stage_lines.use(path, [folder / "train.sub"])
    chain.write(folder, 2)
    sent = arguments(folder, nodes(folder, "chain.dag")["link-1"])
    assert sent.count("osdf:///") == 2 and sent.endswith(", results/chain/link-0/handed-on")


def test_refusals(folder: Path) -> None:
    with pytest.raises(KitError, match="--links=1: out of range; 2 to 1000 are wanted"):
        chain.write(folder, 1)
    with pytest.raises(KitError, match="--out='a b': no name"):
        chain.write(folder, 2, "a b")
    chain.write(folder, 2)
    with pytest.raises(KitError, match=r"--out='chain': chain\.dag is there"):
        chain.write(folder, 3)
    train = folder / "train.sub"
    train.write_text(train.read_text().replace("queue 1", "queue 2"))
    with pytest.raises(KitError, match=r"train\.sub:\d+: queue 2; want `queue 1`"):
        chain.write(folder, 2, "other")


def test_a_folder_that_no_machine_can_fill_is_refused(folder: Path) -> None:
    (folder / "data/P1/scan").mkdir(parents=True)
    (folder / "data/P1").chmod(0o555)
    with pytest.raises(KitError, match=r"train\.sub:\d+: data/P1: may not be written by its owner"):
        chain.write(folder, 2)
