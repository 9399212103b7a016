from __future__ import annotations

from pathlib import Path

import pytest

from submit import project, stage_lines, stage_text
from submit.description import Description
from submit.errors import StageError
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


@pytest.mark.parametrize("task", ["predict", "evaluate"])
def test_a_job_that_needs_images_refuses_prepared_patients(tmp_path: Path, task: str) -> None:
    folder = project.new(project.DEFAULT_TEMPLATE, {"ospool_project": "P"}, tmp_path, ask=False)
    held, file = write(folder, make(1, kind="prepared")), folder / f"{task}.sub"
    before = file.read_text()
    with pytest.raises(StageError, match=rf"cannot {task} with .*: prepared patients, and it needs their images\."):
        stage_lines.use(held, [folder / "train.sub", file])
    assert file.read_text() == before and "staged/" not in (folder / "train.sub").read_text()
    assert stage_text.takers(held, [folder / "train.sub", file]) == [folder / "train.sub"]


def test_what_did_not_change_is_not_said_to_have(tmp_path: Path) -> None:
    folder = project.new(project.DEFAULT_TEMPLATE, {"ospool_project": "P"}, tmp_path, ask=False)
    done = Staged(write(folder, make(1)), unchanged=True)
    first, second = stage_text.edited(done, folder), stage_text.edited(done, folder)
    assert "changed: " in stage_text.notes(done, first)[-1] and "train.sub: data = " in stage_text.text(done, first)
    assert "changed: " not in stage_text.notes(done, second)[-1] and "train.sub" not in stage_text.text(done, second)
