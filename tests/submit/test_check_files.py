"""Which files `osgdl check` looks at where none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from submit import check
from submit.errors import KitError


def test_what_dagman_wrote_is_left_out(tmp_path: Path) -> None:
    for name in ("train.sub", "folds.dag", "folds.dag.condor.sub"):
        (tmp_path / name).write_text("")
    assert [path.name for path in check.files_here(tmp_path)] == ["folds.dag", "train.sub"]
    assert [path.name for path in check.files_here(tmp_path, workflows=False)] == ["train.sub"]


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r": no \.sub and no \.dag file here; want one\. Name it\.$"):
        check.files_here(tmp_path)
