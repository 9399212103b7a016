"""The site builds without a warning, asks nobody else for anything, and its quick start is one sheet of paper."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import DOCS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-headless-shell")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("furo", reason="pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_asks_nobody_else(site: Path) -> None:
    for page in site.glob("*.html"):
        assert not re.search(r"<(?:link|script|img)[^>]+(?:href|src)=\"https?:", page.read_text()), page.name


def test_each_rule_has_its_address(site: Path) -> None:
    text = (site / "rules" / "OSG104.html").read_text()
    assert "request_memory = 2048" in text and "../rules.html" in text


def test_the_quick_start_is_one_sheet(site: Path, tmp_path: Path) -> None:
    if not BROWSER:
        pytest.skip("no chromium here: apt-get install chromium")
    paper, page = tmp_path / "paper.pdf", site / "ospool-quick-start.html"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-pdf-header-footer"]
    subprocess.run([BROWSER, *flags, f"--print-to-pdf={paper}", page.as_uri()], check=True, capture_output=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) == 1
