"""Images on the OSDF: named by content, never overwritten."""

from __future__ import annotations

import getpass
import hashlib
from pathlib import Path

import pytest

from submit import image_push
from submit.errors import ImageError


@pytest.fixture
def ospool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands at the place of /ospool, which only access points have."""
    monkeypatch.setenv("OSGDL_OSPOOL", str(tmp_path / "ospool"))
    folder = tmp_path / "ospool" / "ap40" / "data" / getpass.getuser()
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def sif(tmp_path: Path) -> Path:
    file = tmp_path / "unet-v1.sif"
    file.write_bytes(b"image" * 1000)
    return file


def test_push_copies_under_a_name_with_the_content_hash(ospool: Path, sif: Path) -> None:
    seen: list[tuple[int, int]] = []
    url = image_push.push(sif, None, lambda done, total: seen.append((done, total)))
    digest = hashlib.sha256(sif.read_bytes()).hexdigest()[:12]
    assert url == f"osdf://{ospool}/unet-v1-{digest}.sif"
    assert [file.read_bytes() for file in ospool.iterdir()] == [sif.read_bytes()]
    assert seen[-1] == (5000, 5000)


def test_push_again_copies_nothing_and_a_new_image_gets_a_new_name(ospool: Path, sif: Path) -> None:
    first = image_push.push(sif, None, lambda done, total: None)
    assert image_push.push(sif, None, lambda done, total: pytest.fail("copied again")) == first
    sif.write_bytes(b"other")
    assert image_push.push(sif, ospool, lambda done, total: None) != first
    assert len(list(ospool.iterdir())) == 2


def test_a_copy_that_is_cut_leaves_nothing(ospool: Path, sif: Path) -> None:
    def cut(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_push.push(sif, None, cut)
    assert list(ospool.iterdir()) == []


def test_what_cannot_be_pushed_is_said(
    ospool: Path, sif: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match=r"nothing\.sif: no \.sif file"):
        image_push.push(tmp_path / "nothing.sif", None, lambda done, total: None)
    with pytest.raises(ImageError, match="not on the OSDF"):
        image_push.push(sif, tmp_path, lambda done, total: None)
    with pytest.raises(ImageError, match="no such folder; want one of an access point"):
        image_push.push(sif, ospool / "images", lambda done, total: None)
    monkeypatch.setenv("OSGDL_OSPOOL", str(tmp_path / "elsewhere"))
    with pytest.raises(ImageError, match="on this machine; want one folder"):
        image_push.push(sif, None, lambda done, total: None)
