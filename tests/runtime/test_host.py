from __future__ import annotations

from pathlib import Path
from typing import Any

from submit.runtime import host
from submit.runtime.request import Request


def test_a_full_disk_is_told_from_a_broken_one(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(host.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    (full,) = host.disk(tmp_path, Request(), simulated=False)
    assert full.failure.id == "disk-full" and str(full.fault).startswith(f"scratch: {tmp_path}: No space left")
    monkeypatch.setattr(host.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    (broken,) = host.disk(tmp_path, Request(), simulated=False)
    assert broken.failure.id == "disk-read-only"
    assert not list(tmp_path.iterdir())


def test_a_processor_without_avx(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(host.platform, "machine", lambda: "x86_64")
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Intel(R) Xeon(R) CPU E5540\nflags\t\t: fpu sse sse2 sse4_2\n")
    (found,) = host.processor(info)
    assert found.failure.id == "no-avx" and found.held == "Intel(R) Xeon(R) CPU E5540"
    info.write_text("flags\t\t: fpu sse avx avx2\n")
    assert not list(host.processor(info)) and not list(host.processor(tmp_path / "absent"))
    monkeypatch.setattr(host.platform, "machine", lambda: "aarch64")
    info.write_text("flags\t\t: fpu\n")
    assert not list(host.processor(info))


def test_little_shared_memory(monkeypatch: Any, tmp_path: Path) -> None:
    assert [f.failure.id for f in host.shared_memory(Request(), tmp_path / "absent")] == ["shm-small"]
    assert [f.failure.id for f in host.shared_memory(Request(min_shm_mb=1), tmp_path / "absent")] == ["shm-below"]
