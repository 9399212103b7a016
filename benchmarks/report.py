"""`osgdl report` on very many jobs: seconds, and the size of its page.

python -m benchmarks.report [--jobs 5000] [--events 150000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks import event_logs
from submit import report, report_page, report_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--events", type=int, default=150_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        event_logs.main([name, "--jobs", str(options.jobs), "--events", str(options.events)])
        began = time.perf_counter()
        found = report.of_places([Path(name)])
        read = time.perf_counter()
        page, text = report_page.html(found), report_text.text(found)
        done = time.perf_counter()
    print(f"{len(found.accounts)} jobs: {read - began:.1f} s to read, {done - read:.1f} s to write")
    print(f"the page has {len(page.encode()) / 1e6:.2f} MB, the text {len(text)} characters")


if __name__ == "__main__":
    main()
