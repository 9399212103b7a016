"""zstd by each of the ways there are: the same bytes, and the same fault."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
from collections.abc import Iterator

import pytest
import zstandard

from submit.runtime import zstd

CONTENT = os.urandom(300_000) + b"again and again" * 100_000
FRAME = zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT)


@pytest.fixture(params=[*zstd.MODULES, zstd.PROGRAM])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name: str = request.param
    if name == zstd.PROGRAM:
        if not shutil.which(name):
            pytest.skip("no program zstd here")
        monkeypatch.setattr(zstd, "MODULES", ())
    else:
        top = name.partition(".")[0]
        if importlib.util.find_spec(top) is None or importlib.util.find_spec(name) is None:
            pytest.skip(f"no {name} here")
        monkeypatch.setattr(zstd, "MODULES", (name,))
        monkeypatch.setenv("PATH", "")
    yield name


def read(source: zstd.Readable, size: int = 100_000) -> bytes:
    found = []
    with zstd.opened(source) as stream:
        while part := stream.read(size):
            assert len(part) <= size
            found.append(part)
        assert stream.read(size) == b""
    return b"".join(found)


def test_it_comes_back(way: str) -> None:
    assert read(io.BytesIO(FRAME)) == CONTENT
    assert read(io.BytesIO(FRAME + FRAME)) == CONTENT * 2


@pytest.mark.parametrize(
    "content",
    [b"<html>404 Not Found</html>" * 9, FRAME[:1000] + b"?" * 1000 + FRAME[2000:]],
    ids=["html", "overwritten"],
)
def test_damage_is_said(way: str, content: bytes) -> None:
    with pytest.raises(zstd.Damaged, match="no whole zstd"):
        read(io.BytesIO(content))


def test_it_may_be_left_early(way: str) -> None:
    with zstd.opened(io.BytesIO(FRAME)) as stream:
        assert stream.read(10) == CONTENT[:10]


def test_a_fault_of_the_source_comes_through(way: str) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 200_000:
                raise RuntimeError("the disk went")
            return super().read(50_000)

    with pytest.raises(RuntimeError, match="the disk went"):
        read(Broken(FRAME))


def test_a_frame_that_wants_a_large_window(way: str) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=29, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = compressor.compress(b"x" * 1000) + compressor.flush()
    with pytest.raises(zstd.Damaged):
        read(io.BytesIO(frame))


def test_nothing_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "MODULES", ("osgdl_no_such_module",))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(zstd.Missing), zstd.opened(io.BytesIO(FRAME)):
        pass
