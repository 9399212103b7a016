"""Bytes out of zstd, by whatever there is: Python has it from 3.14 on, images of other Pythons carry a package or the
program.

All are asked in the same way and hold a window of 128 MiB at most, zstd's own limit for a stranger's bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import IO, Any, Callable, cast

from submit.runtime.tar import Readable

MODULES = ("compression.zstd", "zstandard", "backports.zstd")
PROGRAM = "zstd"
MEMORY = "--memory=128MiB"
_CHUNK = 1 << 18


class Damaged(Exception):
    """No zstd, or not all of it."""


class Missing(Exception):
    """Nothing here can read it."""


@contextlib.contextmanager
def opened(source: Readable) -> Iterator[Readable]:
    """The bytes in `source`, as they are asked for. When this ends, nothing reads `source` any more.

    Raises:
        Missing: no module and no program.
        Damaged: when they are read.
    """
    for name in MODULES:
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        if name == "zstandard":
            stream = module.ZstdDecompressor().stream_reader(source, read_across_frames=True, closefd=False)
        else:
            stream = module.ZstdFile(source)
        yield _Stream(stream.read, (module.ZstdError, EOFError))
        return
    program = shutil.which(PROGRAM)
    if program is None:
        raise Missing
    with _piped(program, source) as stream:
        yield stream


class _Stream:
    def __init__(self, read: Callable[[int], bytes], faults: tuple[type[Exception], ...]) -> None:
        self._read, self._faults = read, faults

    def read(self, size: int, /) -> bytes:
        try:
            return self._read(size)
        except self._faults as fault:
            raise Damaged(f"no whole zstd ({fault})") from fault


@contextlib.contextmanager
def _piped(program: str, source: Readable) -> Iterator[Readable]:
    process = subprocess.Popen(
        [program, "-d", "-c", "-q", MEMORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    into, out, said = (cast(IO[bytes], pipe) for pipe in (process.stdin, process.stdout, process.stderr))
    fault: list[Exception] = []

    def feed() -> None:
        try:
            with contextlib.suppress(BrokenPipeError), into:
                while True:
                    content = source.read(_CHUNK)
                    if not content:
                        break
                    into.write(content)
        except Exception as caught:  # of the source: whoever reads here is to see it
            fault.append(caught)
            process.kill()

    feeder = threading.Thread(target=feed, daemon=True)

    def read(size: int) -> bytes:
        content = out.read(size)
        if not content:
            code = process.wait()
            feeder.join()
            if fault:
                raise fault[0]
            if code:
                raise EOFError(" ".join(said.read().decode(errors="replace").split()) or f"exit code {code}")
        return content

    feeder.start()
    try:
        yield _Stream(read, (EOFError,))
    finally:
        process.kill()
        feeder.join()
        process.wait()
        out.close()
        said.close()
