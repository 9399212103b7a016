"""Images on the OSDF: named by content, never overwritten."""

from __future__ import annotations

import getpass
import hashlib
from pathlib import Path

import pytest

from submit import image_push, origin_pelicanfs, pool, pool_root
from submit.errors import ImageError


@pytest.fixture
def ospool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands at the place of /ospool, which only access points have."""
    monkeypatch.setenv("OSGDL_OSPOOL", str(tmp_path / "ospool"))
    folder = tmp_path / "ospool" / "ap40" / "data" / getpass.getuser()
    folder.mkdir(parents=True)
    return folder


def missing() -> None:
    raise ImportError


@pytest.fixture
def sif(tmp_path: Path) -> Path:
    file = tmp_path / "unet-v1.sif"
    file.write_bytes(b"image" * 1000)
    return file


def test_push_copies_under_a_name_with_the_content_hash(ospool: Path, sif: Path) -> None:
    seen: list[tuple[int, int]] = []
    url = image_push.push(sif, None, lambda done, total: seen.append((done, total)))
    digest = hashlib.sha256(sif.read_bytes()).hexdigest()[:12]
    assert url == f"osdf:///ospool/ap40/data/{getpass.getuser()}/unet-v1-{digest}.sif"
    assert [file.read_bytes() for file in ospool.iterdir()] == [sif.read_bytes()]
    assert seen[-1] == (5000, 5000)


def test_push_again_copies_nothing_and_a_new_image_gets_a_new_name(ospool: Path, sif: Path) -> None:
    first = image_push.push(sif, None, lambda done, total: None)
    assert image_push.push(sif, None, lambda done, total: pytest.fail("copied again")) == first
    sif.write_bytes(b"other")
    assert image_push.push(sif, str(ospool), lambda done, total: None) != first
    assert len(list(ospool.iterdir())) == 2


def test_push_to_a_url_to_a_new_folder_and_to_the_local_pool(ospool: Path, sif: Path, cache: Path) -> None:
    url = f"osdf:///ospool/ap40/data/{getpass.getuser()}/images"
    pushed = image_push.push(sif, url, lambda done, total: None)
    assert pushed.startswith(f"{url}/unet-v1-") and (ospool / "images").is_dir()
    local = image_push.push(sif, None, lambda done, total: None, local=True)
    assert local == pushed.replace("/images", "")
    assert (pool.osdf() / local.removeprefix("osdf:///")).read_bytes() == sif.read_bytes()


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
        image_push.push(sif, str(tmp_path), lambda done, total: None)
    with pytest.raises(ImageError, match="to='osdf:///ospool/ap40': above the folders that people are given"):
        image_push.push(sif, "osdf:///ospool/ap40", lambda done, total: None)
    with pytest.raises(ImageError, match=r"ap40/data/nobody: no way to it from here"), monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        patch.setattr(origin_pelicanfs, "file_system", missing)
        image_push.push(sif, "osdf:///ospool/ap40/data/nobody", lambda done, total: None)
    monkeypatch.setenv("OSGDL_OSPOOL", str(tmp_path / "elsewhere"))
    with pytest.raises(ImageError, match="on this machine; want one folder"):
        image_push.push(sif, None, lambda done, total: None)


def test_a_build_is_seen_by_others(cache: Path) -> None:
    assert not pool_root.busy("image"), "no lock was ever made"
    with pool_root.locked("image"):
        assert pool_root.busy("image")
    assert not pool_root.busy("image")
