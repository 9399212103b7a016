"""The plugin that serves osdf:/// in the local pool, asked as HTCondor asks it; no pool needed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import osdf_local, pool
from submit.errors import PoolError

JANE = "osdf:///ospool/ap40/data/jane"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("osdf_plugin", pool.OSDF_PLUGIN)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PLUGIN = load()


@dataclass
class Osdf:
    """A folder laid out like the pool's."""

    root: Path

    @property
    def jane(self) -> Path:
        return self.root / "osdf/origin/ospool/ap40/data/jane"

    def start(self, *pairs: tuple[str, Path], upload: bool = False, site: str = "UCSD") -> subprocess.Popen[str]:
        self.count = getattr(self, "count", 0) + 1
        asked, answer = self.root / f"{self.count}.in", self.root / f"{self.count}.out"
        asked.write_text("".join(f'[ LocalFileName = "{local}"; Url = "{url}" ]' for url, local in pairs))
        answer.write_text(" " * 16384)  # as HTCondor does
        ad = self.root / f"{site}.ad"
        ad.write_text(f'Machine = "gpu01"\nGLIDEIN_Site = "{site}"\n')
        words = [sys.executable, str(self.root / "etc" / pool.OSDF_PLUGIN.name)]
        words += ["-infile", str(asked), "-outfile", str(answer), *(["-upload"] if upload else [])]
        return subprocess.Popen(words, env={**os.environ, "_CONDOR_MACHINE_AD": str(ad)}, text=True)

    def run(self, *pairs: tuple[str, Path], upload: bool = False, site: str = "UCSD") -> tuple[int, list[Any]]:
        """(exit code, result ads) as HTCondor's own parser reads them."""
        code = self.start(*pairs, upload=upload, site=site).wait()
        return code, self.answers(self.count)

    def answers(self, number: int) -> list[Any]:
        import classad2

        return list(classad2.parseAds((self.root / f"{number}.out").read_text()))

    def get(self, name: str = "x.tar", site: str = "UCSD") -> bytes:
        local = self.root / "sandbox" / "got"
        code, (ad,) = self.run((f"{JANE}/{name}", local), site=site)
        assert code == 0 and ad["TransferSuccess"] is True, ad
        assert ad["TransferTotalBytes"] == ad["TransferFileBytes"] == local.stat().st_size
        return local.read_bytes()

    def refused(self, url: str, upload: bool = False, code: int = 1) -> str:
        local = self.root / "sandbox" / "refused"
        if upload:
            local.write_text("new")
        exit_code, (ad,) = self.run((url, local), upload=upload)
        assert exit_code == code and ad["TransferSuccess"] is False and ad["TransferRetryable"] is (code == 11)
        assert upload or not local.exists()
        return str(ad["TransferError"])


@pytest.fixture
def osdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Osdf:
    """An origin with jane's x.tar; osdf_local takes its folder for a running pool's."""
    here = Osdf(tmp_path)
    for folder in (tmp_path / "etc", tmp_path / "sandbox", tmp_path / "osdf/cache", here.jane):
        folder.mkdir(parents=True)
    shutil.copy(pool.OSDF_PLUGIN, tmp_path / "etc")
    (here.jane / "x.tar").write_bytes(bytes(range(200)) * 5)
    monkeypatch.setattr(pool, "folder", lambda: tmp_path)
    monkeypatch.setattr(pool, "osdf", lambda: tmp_path / "osdf/origin")
    monkeypatch.setattr(pool, "init_pid", lambda: 1)
    return here


HELD = bytes(range(200)) * 5


def test_says_what_it_is() -> None:
    done = subprocess.run([sys.executable, pool.OSDF_PLUGIN, "-classad"], capture_output=True, text=True)
    assert done.returncode == 0 and 'SupportedMethods = "osdf"' in done.stdout
    assert all(" = " in line for line in done.stdout.splitlines())
    assert subprocess.run([sys.executable, pool.OSDF_PLUGIN, "-infile"], capture_output=True).returncode == 1


def test_downloads_and_answers_every_ad(osdf: Osdf) -> None:
    (osdf.jane / "b").write_text("b")
    first, second, third = (osdf.root / "sandbox" / name for name in "123")
    code, ads = osdf.run((f"{JANE}/x.tar", first), (f"{JANE}/no", second), (f"{JANE}/b", third))
    assert code == 1 and [ad["TransferSuccess"] for ad in ads] == [True, False, True]
    assert [ad["TransferUrl"] for ad in ads] == [f"{JANE}/{name}" for name in ("x.tar", "no", "b")]
    assert first.read_bytes() == HELD and third.read_text() == "b" and ads[0]["TransferHostName"] == "UCSD"
    assert ads[1]["TransferError"].endswith(
        "/no: no such object: server returned 404 Not Found; want one that was uploaded"
    )
    assert osdf.refused(JANE).endswith("a folder, and no object; want one that was uploaded")


def test_a_cache_goes_by_name(osdf: Osdf) -> None:
    assert osdf.get(site="UCSD") == HELD
    (osdf.jane / "x.tar").write_text("changed")
    assert osdf.get(site="UCSD") == HELD
    assert osdf.get(site="Nebraska") == b"changed"
    assert osdf.get("x.tar?directread", site="UCSD") == b"changed"
    (osdf.jane / "x.tar").unlink()
    assert osdf.get(site="UCSD") == HELD


def test_uploads_and_never_overwrites(osdf: Osdf) -> None:
    local = osdf.root / "sandbox" / "out"
    local.write_text("out")
    code, (ad,) = osdf.run((f"{JANE}/run/deep/out.tar", local), upload=True)
    assert code == 0 and ad["TransferTotalBytes"] == 3 and (osdf.jane / "run/deep/out.tar").read_text() == "out"
    assert osdf.refused(f"{JANE}/x.tar", upload=True).endswith("x.tar: remote object already exists, upload aborted")
    assert (osdf.jane / "x.tar").read_bytes() == HELD
    local.unlink()
    code, (ad,) = osdf.run((f"{JANE}/new", local), upload=True)
    assert code == 1 and ad["TransferError"].endswith("out: no file; the OSDF takes files, no folders")
    assert sorted(osdf_local.objects()) == [f"{JANE}/run/deep/out.tar", f"{JANE}/x.tar"]
    # what staging builds there has no name yet
    spool = osdf.jane / ".osgdl-0123456789abcdef.spool"
    spool.mkdir()
    for path in (spool / "shard-0", spool.with_suffix(".lock"), osdf.jane / ".x.osgdl-0123456789abcdef.part"):
        path.write_bytes(b"half")
    assert sorted(osdf_local.objects()) == [f"{JANE}/run/deep/out.tar", f"{JANE}/x.tar"]


def test_of_two_uploads_one_wins(osdf: Osdf) -> None:
    osdf_local.spoil(slow="1MB/s", uploads=True)
    files = [osdf.root / "sandbox" / name for name in "ab"]
    for file in files:
        file.write_bytes(file.name.encode() * 300_000)
    running = [osdf.start((f"{JANE}/one", file), upload=True) for file in files]
    seen = set()
    while any(one.poll() is None for one in running):
        # half an object is never seen
        seen |= {(osdf.jane / "one").stat().st_size if (osdf.jane / "one").exists() else 0}
        seen |= {size for url, size in osdf_local.objects().items() if url.endswith("one")}
        time.sleep(0.01)
    assert sorted(one.wait() for one in running) == [0, 1] and seen <= {0, 300_000}
    won = next(file for file, one in zip(files, running, strict=True) if one.returncode == 0)
    assert (osdf.jane / "one").read_bytes() == won.read_bytes()
    assert not list(osdf.jane.glob(".*"))


@pytest.mark.parametrize("upload", [False, True])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"{JANE}/../../../../../etc/osdf_plugin.py", "no object's name"),
        (f"{JANE}/%2e%2e/%2e%2e/secret", "no object's name"),
        (f"{JANE}/a%00b", "no object's name"),
        (f"{JANE}//x.tar", "no object's name"),
        ("osdf:///", "no object's name"),
        ("osdf://ospool/ap40/data/jane/x.tar", "want three slashes"),
        ("stash:///ospool/ap40/data/jane/x.tar", "want three slashes"),
        (f"{JANE}/folder?recursive", "?recursive is not in the local pool"),
        (f"{JANE}/x.tar?directread&pack=auto", "?pack is not in the local pool"),
        (f"{JANE}/leads-out/secret", "leads out of the origin by a link"),
        (f"{JANE}/secret-link", "leads out of the origin by a link"),
    ],
)
def test_refuses_what_leads_astray(osdf: Osdf, url: str, words: str, upload: bool) -> None:
    outside = osdf.root / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (osdf.jane / "leads-out").symlink_to(outside)
    (osdf.jane / "secret-link").symlink_to(outside / "secret")
    assert words in osdf.refused(url, upload=upload)
    assert [file.read_text() for file in outside.iterdir()] == ["secret"]


def test_truncates_so_often_and_succeeds(osdf: Osdf) -> None:
    osdf_local.spoil(truncate=0.5, times=2)
    assert [len(osdf.get()) for _ in range(3)] == [500, 500, 1000]
    assert osdf_local.faults() == []


def test_counts_right_with_many_at_once(osdf: Osdf) -> None:
    for _ in range(5):
        osdf_local.clear()
        osdf_local.spoil(truncate=0.5, times=5)
        locals_ = [osdf.root / "sandbox" / str(number) for number in range(8)]
        running = [osdf.start((f"{JANE}/x.tar", local)) for local in locals_]
        assert [one.wait() for one in running] == [0] * 8
        assert sorted(local.stat().st_size for local in locals_) == [500] * 5 + [1000] * 3


def test_serves_stale_bytes_but_not_directly(osdf: Osdf) -> None:
    osdf_local.spoil(stale=True)
    stale = osdf.get()
    assert len(stale) == 1000 and sum(one != other for one, other in zip(stale, HELD, strict=True)) == 1
    assert osdf.get("x.tar?directread") == HELD
    osdf_local.clear()
    assert osdf.get() == HELD


def test_is_slow(osdf: Osdf) -> None:
    osdf_local.spoil(slow="2kB/s", only="x.*")
    began = time.monotonic()
    assert osdf.get() == HELD
    assert time.monotonic() - began >= 0.5


def test_fails_where_and_how_it_is_told(osdf: Osdf) -> None:
    osdf_local.spoil(fail=1, at_sites="UCSD", only="*.tar", times=1)
    (osdf.jane / "x.zip").write_text("zip")
    assert osdf.get(site="Nebraska") == HELD and osdf.get("x.zip") == b"zip"
    words = "x.tar: server returned 500 Internal Server Error (a fault of the local pool: osgdl pool osdf)"
    assert osdf.refused(f"{JANE}/x.tar", code=11).endswith(words)
    assert osdf.get() == HELD
    osdf_local.spoil(fail=1, permanent=True, uploads=True)
    assert osdf.get() == HELD
    assert "403 Forbidden" in osdf.refused(f"{JANE}/up", upload=True)
    osdf_local.clear()
    osdf_local.spoil(fail=0.5)
    codes = {osdf.run((f"{JANE}/x.tar", osdf.root / "sandbox/got"))[0] for _ in range(20)}
    assert codes == {0, 11}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"slow": "fast"}, "slow='fast': not a speed; a number above 0 with kB/s"),
        ({"slow": "0MB/s"}, "not a speed"),
        ({"truncate": 1.0}, "truncate=1.0: not such a share; a number from 0 up to but not 1"),
        ({"truncate": float("nan")}, "not such a share"),
        ({"fail": 0.0}, "fail=0.0: not such a share; a number above 0, at most 1"),
        ({"fail": 1, "times": 0}, "times=0: not a count"),
        ({"fail": 1, "at_sites": "UCSD, Nowhere"}, "sites='Nowhere': no such site; one of Badlands"),
        ({"only": "*.tar"}, "a condition and no fault"),
        ({"uploads": True}, "a condition and no fault"),
        ({"stale": True, "uploads": True}, "an upload cannot be stale"),
        ({"slow": "1MB/s", "permanent": True}, "there is no --fail"),
    ],
)
def test_faults_that_cannot_be(osdf: Osdf, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(PoolError) as error:
        osdf_local.spoil(**asked)
    assert words in str(error.value) and osdf_local.faults() == []


def test_reports(osdf: Osdf, monkeypatch: pytest.MonkeyPatch) -> None:
    osdf_local.spoil()
    assert osdf_local.report(as_json=False).endswith("bytes in 1 objects\nfaults: none")
    osdf_local.spoil(slow="1MB/s", truncate=0.5, stale=True, fail=0.3, only="*.zst", at_sites="UCSD,Nebraska", times=2)
    text = osdf_local.report(as_json=False)
    assert "fault: truncate: 50% of the bytes arrive; downloads of *.zst at UCSD, Nebraska, 2 times more" in text
    value = json.loads(osdf_local.report(as_json=True))
    assert value["objects"] == {f"{JANE}/x.tar": 1000} and value["bytes"] == 1000
    assert [rule["kind"] for rule in value["faults"]] == ["slow", "truncate", "stale", "fail"]
    # with the pool down the objects are there, the faults are not
    monkeypatch.setattr(pool, "init_pid", lambda: None)
    assert osdf_local.faults() == [] and osdf_local.objects()
    with pytest.raises(PoolError, match="the local pool is down"):
        osdf_local.spoil(fail=1)


def test_the_folder_behind_a_path(osdf: Osdf) -> None:
    assert osdf_local.origin("/ospool/ap40/data/jane/") == osdf_local.origin(JANE) == osdf.jane
    for path in ("ospool/x", "/", "/ospool/../x", "/ospool//x", "osdf:///"):
        with pytest.raises(PoolError, match="no place in the OSDF"):
            osdf_local.origin(path)


@given(st.dictionaries(st.sampled_from(["Url", "LocalFileName", "Other"]), st.text(st.characters(codec="ascii"))))
def test_reads_what_htcondor_writes(value: dict[str, str]) -> None:
    import htcondor2  # noqa: F401 - before classad2
    import classad2  # isort: skip

    value = {name: text.replace("\0", "") for name, text in value.items()}
    ad = classad2.ClassAd({**value, "Number": 3, "Inner": {"Url": "no", "List": ["[", "]"]}})
    wanted = {name.lower(): text for name, text in value.items()}
    assert PLUGIN.parse_ads(f"{ad}\n{ad}") == [wanted, wanted]
    assert classad2.ClassAd(PLUGIN.unparsed({**value, "Ok": True, "Inner": {"n": 1.5}}))["Ok"] is True
    assert {name: classad2.ClassAd(PLUGIN.unparsed(value))[name] for name in value} == value
