from __future__ import annotations

from pathlib import Path

import pytest

from submit import project, stage_text
from submit.description import Description
from submit.staged import Staged
from tests.submit.manifests import make, write

FILES = ("evaluate.sub", "predict.sub", "train.sub")


@pytest.mark.parametrize(("kind", "changed"), [("files", FILES), ("prepared", ("train.sub",))])
def test_prepared_patients_are_for_training_alone(tmp_path: Path, kind: str, changed: tuple[str, ...]) -> None:
    folder = project.new(project.DEFAULT_TEMPLATE, {"ospool_project": "P"}, tmp_path, ask=False)
    done = Staged(write(folder, make(2, kind=kind)))
    assert tuple(change.path.name for change in stage_text.edited(done, folder)) == changed
    sent = {name: Description.read(folder / name).get("data") or "" for name in FILES}
    assert tuple(name for name in FILES if sent[name].startswith("staged/")) == changed


def test_what_did_not_change_is_not_said_to_have(tmp_path: Path) -> None:
    folder = project.new(project.DEFAULT_TEMPLATE, {"ospool_project": "P"}, tmp_path, ask=False)
    done = Staged(write(folder, make(1)), unchanged=True)
    first, second = stage_text.edited(done, folder), stage_text.edited(done, folder)
    assert "changed: " in stage_text.notes(done, first)[-1] and "train.sub: data = " in stage_text.text(done, first)
    assert "changed: " not in stage_text.notes(done, second)[-1] and "train.sub" not in stage_text.text(done, second)
