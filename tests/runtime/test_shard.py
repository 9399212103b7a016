"""A shard that is not what its manifest says: which of the two faults it is, and what is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from submit.runtime import inputs, manifest, shard, zstd
from submit.runtime.exit_codes import BadInput, BadMachine, Fault
from tests.runtime import staged
from tests.runtime.test_tar import header, pax, signed

TWO = {"a/first.nii": b"1" * 3000, "a/second.nii": b"2" * 3000}
END = bytes(1024)


def fault(path: Path, kind: type[Fault]) -> str:
    with pytest.raises(kind) as caught:
        inputs.opened(path)
    assert type(caught.value) is kind
    assert not (path.parent / "small").exists()
    return str(caught.value)


def one(path: Path) -> Path:
    return path.with_name(manifest.read(path).shards[0].name)


@pytest.mark.parametrize(("at", "said"), [(600, "a/first.nii"), (512 + 3072 + 600, "a/second.nii")])
def test_the_first_wrong_member_is_named(tmp_path: Path, at: int, said: str) -> None:
    path = staged.build(tmp_path, TWO, 1)
    content = bytearray(one(path).read_bytes())
    content[at] ^= 1
    one(path).write_bytes(content)
    assert fault(path, BadMachine).startswith(
        f"{one(path)}: not the bytes that were staged (SHA-256), {said} in it is wrong; "
    )


def test_a_flip_in_a_header(tmp_path: Path) -> None:
    path = staged.build(tmp_path, TWO, 1)
    content = bytearray(one(path).read_bytes())
    content[512 + 3072 + 2] ^= 1
    one(path).write_bytes(content)
    assert "a/second.nii in it is wrong" in fault(path, BadMachine)


def test_a_flip_between_the_files(tmp_path: Path) -> None:
    path = staged.build(tmp_path, TWO, 1)
    content = bytearray(one(path).read_bytes())
    content[512 + 3000 + 5] ^= 1
    one(path).write_bytes(content)
    said = fault(path, BadMachine)
    assert "all files in it are right" in said and "?directread" in said


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_short_one(tmp_path: Path, compression: str) -> None:
    path = staged.build(tmp_path, TWO, 1, compression)
    content = one(path).read_bytes()
    one(path).write_bytes(content[:-1])
    said = f"{one(path)}: {len(content) - 1:,} bytes; {len(content):,}, as the manifest says; a transfer or a cache"
    assert fault(path, BadMachine).startswith(said)


@pytest.mark.parametrize("same_size", [True, False])
def test_two_that_were_swapped(tmp_path: Path, same_size: bool) -> None:
    path = staged.build(tmp_path, TWO if same_size else {**TWO, "b": b"b" * 9000}, 2)
    first, second = (path.with_name(shard.name) for shard in manifest.read(path).shards)
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    said = fault(path, BadMachine)
    assert any(
        said.startswith(f"{x}: the bytes of {y.name}; its own; two shards were swapped")
        for x, y in ((first, second), (second, first))
    )


def test_one_that_the_disk_does_not_give(tmp_path: Path) -> None:
    """/proc/self/mem is a file whose first byte cannot be read: EIO, as of a dying disk."""
    path = staged.build(tmp_path, TWO, 1)
    found = manifest.read(path).shards[0]
    with pytest.raises(BadMachine, match=r"mem: cannot be read .Input/output error.; all its bytes; a transfer"):
        shard.extract(Path("/proc/self/mem"), found, [found], tmp_path / "out", lambda count: None)


def test_one_that_cannot_be_opened(tmp_path: Path) -> None:
    path = staged.build(tmp_path, TWO, 1)
    found = manifest.read(path).shards[0]
    with pytest.raises(BadMachine, match=r"gone: cannot be read .No such file or directory."):
        shard.extract(tmp_path / "gone", found, [found], tmp_path / "out", lambda count: None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (staged.tar({"../evil": b"", **TWO}), "'../evil' points outside its folder"),
        (staged.tar({"/evil": b"", **TWO}), "'/evil' points outside its folder"),
        (staged.tar({**TWO, "c": b"3"}), "'c' is not in the manifest"),
        (staged.tar({"a/first.nii": TWO["a/first.nii"]}), "'a/second.nii' is missing"),
        (staged.tar({**TWO, "a/first.nii": b"1"}), "'a/first.nii' has 1 bytes, 3,000 in the manifest"),
        (staged.tar({"./a/first.nii": b"1"}), "'./a/first.nii' is not in the manifest"),
        (staged.tar(TWO)[:-1024] + staged.tar(TWO), "'a/first.nii' is in it twice"),
        (header("a/first.nii", kind=b"2", linkname="/etc/passwd") + END, "'a/first.nii' is a link"),
        (header("a/first.nii", kind=b"1", linkname="a/second.nii") + END, "'a/first.nii' is a hard link"),
        (header("a/first.nii", kind=b"3") + END, "'a/first.nii' is a device"),
        (header("a/first.nii", kind=b"S") + END, "'a/first.nii' is a file with holes"),
        (pax(b"16 path=../evil\n") + header("a/first.nii") + END, "'../evil' points outside"),
        (pax(b"22 GNU.sparse.major=1\n") + header("a/first.nii") + END, "'a/first.nii' is a file with holes"),
        (header("a/", kind=b"5") + staged.tar(TWO), "'a/' is not in the manifest"),
        (signed(header("a/first.nii")[:156] + b"5" + header()[157:]) + END, "'a/first.nii' is a folder"),
        (staged.tar(TWO)[:-1024], "unreadable (it ends before the end-of-archive mark)"),
        (staged.tar(TWO) + b"x" * 512, "unreadable (bytes after its end-of-archive mark)"),
        (b"<html>" * 200, "unreadable (a header"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_hash_that_agrees_and_a_content_that_does_not(
    tmp_path: Path, content: bytes, said: str, compression: str
) -> None:
    box = tmp_path / "box"
    path = staged.manifest(box, [staged.shard(box, 0, content, TWO, compression)])
    message = fault(path, BadInput)
    assert message.startswith(f"{one(path)}: {said}")
    assert message.endswith("; what the manifest says, whose SHA-256 agrees; stage the data again with `osgdl stage`")
    assert [path.name for path in tmp_path.iterdir()] == ["box"]
    assert {path.suffix for path in box.iterdir()} <= {".json", ".tar", ".zst"}


def test_zstd_that_is_none_although_its_hash_agrees(tmp_path: Path) -> None:
    made = staged.shard(tmp_path, 0, staged.tar(TWO), TWO)
    name = f"{Path(made.name).stem}.tar.zst"
    (tmp_path / made.name).rename(tmp_path / name)
    fields = {**vars(made), "name": name, "compression": "zstd"}
    path = staged.manifest(tmp_path, [manifest.Shard(**fields)])
    assert "unreadable (no whole zstd" in fault(path, BadInput)


def test_a_bomb_whose_hash_agrees(tmp_path: Path) -> None:
    content = staged.tar({**TWO, "a/first.nii": bytes(30_000_000)})
    path = staged.manifest(tmp_path, [staged.shard(tmp_path, 0, content, TWO, "zstd")])
    assert "'a/first.nii' has 30,000,000 bytes, 3,000 in the manifest" in fault(path, BadInput)


def test_nothing_reads_zstd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = staged.build(tmp_path, TWO, 1, "zstd")
    monkeypatch.setattr(zstd, "MODULES", ())
    monkeypatch.setenv("PATH", "")
    said = fault(path, BadInput)
    assert said.startswith(f"{one(path)}: compressed with zstd, which nothing in this image reads; the Python package")


def test_the_program_zstd_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("zstd"):
        pytest.skip("no program zstd here")
    monkeypatch.setattr(zstd, "MODULES", ())
    path = staged.build(tmp_path, TWO, 1, "zstd")
    content = one(path).read_bytes()
    one(path).write_bytes(content[:-5] + b"?" + content[-4:])
    assert "SHA-256" in fault(path, BadMachine)
    one(path).write_bytes(content)
    assert staged.contents(inputs.folder(path)) == TWO


def test_what_is_read_is_told(tmp_path: Path) -> None:
    made = staged.shard(tmp_path, 0, staged.tar(TWO), TWO)
    told: list[int] = []
    shard.extract(tmp_path / made.name, made, [made], tmp_path / "out", told.append)
    assert sum(told) == made.bytes
    assert shard.first_wrong(tmp_path / "out", made.files) == ""
