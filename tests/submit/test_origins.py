"""Which way leads to a destination, and whether there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import origin, origin_pelicanfs, origins
from submit.errors import StageError
from submit.origin import Room, bytes_words
from submit.origin_folder import FolderOrigin
from submit.origin_pelican import PelicanOrigin
from submit.origin_pelicanfs import PelicanfsOrigin

URL = "osdf:///ospool/ap40/data/jane/brats"


@pytest.fixture(autouse=True)
def ospool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands at the place of /ospool; nothing is mounted there yet, no client is on PATH, no pelicanfs to import."""
    monkeypatch.setenv("OSGDL_OSPOOL", str(tmp_path / "ospool"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(origin_pelicanfs, "MODULE", "no_such_pelicanfs")
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ospool"


def found_folder(dest: str, local: bool = False) -> FolderOrigin:
    found = origins.find(dest, local)
    assert isinstance(found, FolderOrigin)
    return found


def test_a_folder_absolute_or_relative(tmp_path: Path) -> None:
    for dest in (str(tmp_path / "staged"), "staged", "./staged/", "bin/../staged"):
        found = found_folder(dest)
        assert (found.folder, found.url) == (tmp_path / "staged", str(tmp_path / "staged"))
    assert not (tmp_path / "staged").exists(), "made before anything is put there"
    found.spool()
    assert found_folder("staged").folder.is_dir()


@pytest.mark.parametrize(
    ("dest", "said"),
    [
        ("", "no place to stage to"),
        (" ", "no place to stage to"),
        ("a\0b", "no place to stage to"),
        ("missing/staged", r"missing is not there; a folder to make it in is wanted\. mkdir -p .*/missing/staged"),
        ("file", "a file; a folder, or osdf:///"),
    ],
)
def test_no_folder(dest: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StageError, match=f"^DEST=.*: .*{said}"):
        origins.find(dest)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "closed"
    place.mkdir(mode=0o500)
    mounted = False
    if os.getuid() == 0:  # to whom the mode says nothing
        monkeypatch.undo()
        mounted = not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "none", place], capture_output=True
        ).returncode
        if not mounted:
            pytest.skip("root can write to every folder, and nothing can be mounted here")
    try:
        for dest in (place, place / "staged"):
            with pytest.raises(StageError, match=r"you cannot write there; a folder of yours is wanted\."):
                origins.find(str(dest))
    finally:
        if mounted:
            subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize(
    ("dest", "mend"),
    [
        ("osdf://ospool/ap40/data/jane/brats", URL),
        ("osdf:/ospool/ap40/data/jane/brats", URL),
        ("osdf:ospool/ap40/data/jane/brats", URL),
        ("osdf:////ospool/ap40/data/jane/brats", URL),
        ("osdf://osg-htc.org/ospool/ap40/data/jane/brats", URL),
        ("pelican://osg-htc.org/ospool/ap40/data/jane/brats", URL),
        ("stash:///ospool/ap40/data/jane/brats", URL),
        ("OSDF:///ospool/ap40/data/jane/brats", URL),
        ("osdf:///ospool/ap40/data/jane/brats?directread", URL),
        ("osdf:///ospool/ap40/data/jane/brats#top", URL),
        ("https://example.org/brats", "osdf:///ospool/ap40/data/USER/brats"),
        ("osdf:///chtc/staging/jane", "osdf:///ospool/ap40/data/USER/brats"),
        ("osdf:///", "osdf:///ospool/ap40/data/USER/brats"),
    ],
)
def test_another_url_is_refused_with_the_one_that_is_meant(dest: str, mend: str) -> None:
    for local in (False, True):
        with pytest.raises(StageError, match=r"^DEST=") as caught:
            origins.find(dest, local)
        assert str(caught.value).endswith(f"E.g. {mend}.")


@pytest.mark.parametrize(
    "dest",
    [
        "osdf:///ospool",
        "osdf:///ospool/ap40/data",
        "osdf:///ospool/a b/data/jane",
        "osdf:///ospool/ap40/data/../x",
        "osdf:///ospool/ap40/data/jane,x",
        "osdf:///ospool/ap40/data/jane/%20",
    ],
)
def test_a_place_that_nobody_is_given_or_no_transfer_takes(dest: str) -> None:
    with pytest.raises(
        StageError, match=r"above the folders that people are given|not a path that every transfer takes"
    ):
        origins.find(dest)


@pytest.mark.parametrize("dest", ["osdf:///ospool/ap40//data/jane", "osdf:///ospool/ap40/data//brats"])
def test_a_variable_that_is_not_set(dest: str) -> None:
    with pytest.raises(StageError, match=r"an empty name between slashes; .* Is the \$USER in it set\.$"):
        origins.find(dest)


@given(st.text(max_size=40).map(lambda text: f"osdf:///ospool/ap40/data/{text}"))
def test_a_url_leads_below_the_mount_or_is_refused(dest: str) -> None:
    (origins.ospool() / "ap40/data/jane").mkdir(parents=True, exist_ok=True)
    try:
        found = origins.find(dest)
    except StageError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, FolderOrigin)
        assert found.url == dest.rstrip("/")
        assert (origins.ospool() / "ap40/data") in found.folder.resolve().parents


def test_the_mount_is_taken_by_url_by_path_and_by_a_link_to_it(ospool: Path, tmp_path: Path) -> None:
    (ospool / "ap40/data/jane").mkdir(parents=True)
    (tmp_path / "mine").symlink_to(ospool / "ap40/data/jane")
    for dest in (URL, f"{URL}/", str(ospool / "ap40/data/jane/brats"), "ospool/ap40/data/jane/brats", "mine/brats"):
        found = found_folder(dest)
        assert (found.folder, found.url) == (ospool / "ap40/data/jane/brats", URL)
    assert found_folder(f"{URL}/2015/a").folder == ospool / "ap40/data/jane/brats/2015/a"
    (ospool / "ap40/data/jane/file").touch()
    with pytest.raises(StageError, match="no way to it"):
        origins.find("osdf:///ospool/ap40/data/jane/file/x")


def test_the_local_pool_comes_first_when_asked_for(
    ospool: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (ospool / "ap40/data/jane").mkdir(parents=True)
    monkeypatch.setenv("OSGDL_CACHE", str(tmp_path / "cache"))
    found = found_folder(URL, local=True)
    assert found.url == URL
    assert tmp_path / "cache" in found.folder.parents
    assert found.folder.parts[-5:] == ("ospool", "ap40", "data", "jane", "brats")
    assert found.put(Path(__file__), "x.tar", lambda done, total: None) is True
    assert found_folder("staged", local=True).url == str(tmp_path / "staged")


@pytest.mark.parametrize("name", ["pelican", "osdf"])
def test_then_the_client_on_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
    (tmp_path / "bin" / name).chmod(0o755)
    found = origins.find(f"{URL}/")
    assert isinstance(found, PelicanOrigin)
    assert (found.url, found.program) == (URL, str(tmp_path / "bin" / name))


def test_then_pelicanfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_pelicanfs.py").write_text("class OSDFFileSystem: pass\n")
    monkeypatch.setattr(origin_pelicanfs, "MODULE", "some_pelicanfs")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = origins.find(URL)
    assert isinstance(found, PelicanfsOrigin)
    assert found.url == URL
    sys.modules.pop("some_pelicanfs")


def test_no_way_names_all_of_them(ospool: Path) -> None:
    with pytest.raises(StageError) as caught:
        origins.find(URL)
    said = str(caught.value)
    for way in (f"{ospool}/ap40/data/jane ", "pelican or osdf on PATH", "pelicanfs", "--local"):
        assert way in said


class Place(FolderOrigin):
    """A folder with as much room as a test says."""

    def __init__(self, room: Room) -> None:
        super().__init__(Path("staged"), URL)
        self._room = room

    def room(self) -> Room:
        return self._room


def test_room_is_checked_with_numbers_and_the_form() -> None:
    quota = "the quota of /ospool/ap40/data/jane: 99.0 GB of 100.0 GB used"
    with pytest.raises(StageError) as caught:
        origins.check_room(Place(Room(1_000_000_000, None, quota)), 2_500_000_000, 3)
    assert str(caught.value) == (
        f"{URL}: room for 1.0 GB ({quota}), 2.5 GB are wanted. "
        f"Remove what is not needed, or ask for quota: {origin.QUOTA_FORM}"
    )
    with pytest.raises(StageError, match=r"room for 12 files \(.*\), 1,000 are wanted"):
        origins.check_room(Place(Room(None, 12, quota)), 1 << 50, 1000)
    origins.check_room(Place(Room(10, 3, "")), 10, 3)
    origins.check_room(Place(Room(None, None, "")), 1 << 60, 1 << 40)


def test_sizes_in_words() -> None:
    counts = (0, 999, 1000, 999_949, 999_950, 1_234_567, 100_000_000_000, 5_000_000_000_000_000)
    words = "0 bytes, 999 bytes, 1.0 kB, 999.9 kB, 1.0 MB, 1.2 MB, 100.0 GB, 5000.0 TB"
    assert ", ".join(map(bytes_words, counts)) == words
