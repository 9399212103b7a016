"""The trainer looks at the data before they leave: a process of its own, on phantoms."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import pytest

from submit.errors import StageError
from submit.runtime import manifest
from submit.staged import Options
from tests.submit.dataset_maker import held, shards, stage, unpacked


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSGDL_CACHE", str(tmp_path / "cache"))


def trainer(*words: object) -> None:
    done = subprocess.run([sys.executable, "-m", "unet_segmentation", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients in train/, one in validation/; and the same prepared."""
    folder = tmp_path_factory.mktemp("made")
    trainer("phantom", "--out", folder / "phantoms", "--split", "2:1", "--size", 40, 48, 32)
    trainer("prepare", "--data", folder / "phantoms", "--out", folder / "prepared")
    return folder


def test_what_it_says_is_in_the_manifest(made: Path, tmp_path: Path) -> None:
    done = stage(made / "phantoms", tmp_path / "origin", tmp_path, Options())
    said = manifest.read(done.manifest)
    assert said.synthetic and said.kind == "files" and said.dataset
    names = sorted(said.dataset["patients"])
    assert len(names) == 3 and sorted(name for shard in said.shards for name in shard.patients) == names
    assert said.split and (len(said.split["training"]), len(said.split["validation"])) == (2, 1)
    for shard in said.shards:
        assert len({name in said.split["training"] for name in shard.patients}) <= 1
    assert unpacked(tmp_path / "origin", list(shards(done))) == held(made / "phantoms")
    assert stage(made / "phantoms", tmp_path / "origin", tmp_path, Options()).unchanged


def test_prepared_patients(made: Path, tmp_path: Path) -> None:
    done = stage(made / "prepared", tmp_path / "origin", tmp_path, Options())
    said = manifest.read(done.manifest)
    assert said.kind == "prepared" and said.synthetic and said.dataset and len(said.dataset["patients"]) == 3
    assert unpacked(tmp_path / "origin", list(shards(done))) == {
        path: some for path, some in held(made / "prepared").items() if not path.startswith(".")
    }


def test_a_fault_stops_all(made: Path, tmp_path: Path) -> None:
    source = shutil.copytree(made / "phantoms", tmp_path / "broken")
    file = sorted(source.rglob("*flair*"))[1]
    image = nibabel.load(file)
    nibabel.save(image.slicer[1:], file)  # another shape than the other channels'
    words = r"the trainer refuses it, as said above; nothing left\. Mend that"
    with pytest.raises(StageError, match=words) as caught:
        stage(source, tmp_path / "origin", tmp_path, Options())
    assert file.name in str(caught.value)
    assert not (tmp_path / "origin").exists() and not (tmp_path / "staged").exists()


def test_another_layout(made: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="the trainer refuses it"):
        stage(made / "phantoms", tmp_path / "origin", tmp_path, Options(layout="brats2015"))


def test_the_projects_own_trainer(made: Path, tmp_path: Path) -> None:
    """As its jobs will: what somebody changed in it counts."""
    own = tmp_path / "job/unet_segmentation"
    own.mkdir(parents=True)
    (own / "__init__.py").touch()
    (own / "__main__.py").write_text("raise SystemExit('this is mine')")
    with pytest.raises(StageError, match=r"this is mine\n.*the trainer refuses it"):
        stage(made / "phantoms", tmp_path / "origin", tmp_path, Options())
