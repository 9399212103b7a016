"""All benches, or those named: python -m benchmarks.run [NAME ...]

Each is a module here that puts its rows into benchmarks/results.json; one that fails does not stop the others. At the
end the table of all rows, those of earlier runs too.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.pairs import BUILD, ROOT
from benchmarks.results import read, table

BENCHES = (
    "match",
    "prepare",
    "step",
    "pipeline",
    "checkpoint",
    "quality",
    "staging",
    "watch",
    "report",
    "photons",
    "gpu",
)


def main(names: list[str]) -> int:
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        print(f"BENCH={unknown[0]}: not a bench; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    BUILD.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names or BENCHES:
        print(f"\n{name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT).returncode:
            failed.append(name)
    print(f"\n{table(read())}")
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
