"""A starter that answers chirp, and a job's environment, for real: a TCP server and ad files on the disk."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


class Starter(socketserver.ThreadingTCPServer):
    """Speaks the part of the chirp protocol that the runtime uses, and keeps what was set, as the text that came over
    the wire.
    """

    allow_reuse_address = True
    daemon_threads = True
    cookie = "ab12\\34"  # with a character that must be escaped on the wire

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.attributes: dict[str, str] = {}
        self.answer = b"0\n"


class _Handler(socketserver.StreamRequestHandler):
    server: Starter

    def handle(self) -> None:
        known = False
        for line in self.rfile:
            words = [re.sub(r"\\(.)", r"\1", w) for w in re.findall(r"((?:\\.|[^\\ ])+)", line[:-1].decode())]
            if words[0] == "cookie":
                known = words[1] == self.server.cookie
                self.wfile.write(b"0\n" if known else b"-1\n")
            elif known and words[0] == "set_job_attr_delayed" and len(words) == 3:
                self.server.attributes[words[1]] = words[2]
                self.wfile.write(self.server.answer)
            else:
                self.wfile.write(b"-8\n")


@pytest.fixture(autouse=True)
def outside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "_CONDOR_CHIRP_CONFIG",
        "_CONDOR_MACHINE_AD",
        "_CONDOR_JOB_AD",
        "_CONDOR_AssignedGPUs",
        "CUDA_VISIBLE_DEVICES",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    with Starter() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        config = tmp_path / ".chirp.config"
        config.write_text(f"127.0.0.1 {server.server_address[1]} {server.cookie}\n")
        monkeypatch.setenv("_CONDOR_CHIRP_CONFIG", str(config))
        yield server
        server.shutdown()


class Job:
    """The ad files of a job; the text is HTCondor's old syntax."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch

    def ads(self, machine: str = "", job: str = "") -> None:
        for variable, text in (("_CONDOR_MACHINE_AD", machine), ("_CONDOR_JOB_AD", job)):
            path = self._folder / variable
            path.write_text(text)
            self._monkeypatch.setenv(variable, str(path))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, monkeypatch)
