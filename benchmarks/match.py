"""How long `osgdl match` takes over 20,000 slots, on one core, against matching whole ads one by one.

    make bench BENCH=match           python -m benchmarks.match [--ads FILE] [--slots N] [--rounds N]

Of the slots of the local pool, or of what `condor_status -long` printed into FILE, 20,000 are made that differ in what
differs between machines (name, memory, disk, cores left, the pilot's end). Ours reads the snapshot and says for each
clause how many slots meet it; the plain way gives the yes or no alone. Goals: 3 seconds, and less than the plain way.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import classad2
import htcondor2  # noqa: F401 - before the first ad with countMatches

from benchmarks.pairs import BUILD
from benchmarks.results import Result, report
from submit.match import match
from submit.slots import Slots

JOB = """RequestCpus = 4
RequestMemory = 8192
RequestDisk = 10485760
RequestGPUs = 1
GPUsMinCapability = 6.0
GPUsMaxCapability = 9.0
GPUsMinMemory = 10240
GPUsMinRuntime = 12000
ProjectName = "X"
JobDurationCategory = "Medium"
RequireGPUs = Capability >= GPUsMinCapability && Capability <= GPUsMaxCapability && \
GlobalMemoryMb >= GPUsMinMemory && MaxSupportedVersion >= GPUsMinRuntime
Requirements = (HAS_SINGULARITY =?= True) && (HAS_CVMFS_singularity_opensciencegrid_org =?= True) && \
(TARGET.Arch == "X86_64") && (TARGET.OpSys == "LINUX") && (TARGET.Disk >= RequestDisk) && \
(TARGET.Memory >= RequestMemory) && (TARGET.Cpus >= RequestCpus) && \
(countMatches(MY.RequireGPUs,TARGET.AvailableGPUs) >= RequestGPUs) && TARGET.HasFileTransfer
"""


LIMIT_S = 3.0
COMMAND = "make bench BENCH=match"


def ask_pool() -> str:
    """The slots of the local pool, which is started."""
    osgdl = [sys.executable, "-m", "submit"]
    subprocess.run([*osgdl, "pool", "up"], check=True)
    status = ["condor_status", "-long", "-constraint", "PartitionableSlot"]
    return subprocess.run([*osgdl, "pool", "exec", "--", *status], check=True, stdout=subprocess.PIPE, text=True).stdout


def made(samples: list[str], count: int) -> list[str]:
    """So many ads, each a sample with another name, size and end."""
    chance = random.Random(1)
    ads = []
    for number in range(count):
        ad = chance.choice(samples)
        changed = {
            "Name": f'"slot1@node{number}"',
            "Machine": f'"node{number}.example"',
            "Memory": str(chance.randrange(2048, 262144)),
            "Disk": str(chance.randrange(10**6, 10**9)),
            "Cpus": str(chance.randrange(1, 65)),
            "GLIDEIN_ToDie": str(int(time.time()) + chance.randrange(0, 200_000)),
        }
        lines = [(line.split(" =")[0], line) for line in ad.split("\n")]
        ads.append("\n".join(f"{name} = {changed[name]}" if name in changed else line for name, line in lines))
    return ads


def ours(file: Path) -> tuple[float, int]:
    """Seconds to read the snapshot and match, and how many slots match."""
    began = time.perf_counter()
    found = match(JOB, Slots.read(file))
    return time.perf_counter() - began, found.matching_slots


def plain(ads: list[str]) -> tuple[float, int]:
    """Seconds to parse and match whole ads, and how many match."""
    began = time.perf_counter()
    job = classad2.parseOne(JOB, classad2.ParserType.Old)
    count = sum(classad2.parseOne(ad, classad2.ParserType.Old).symmetricMatch(job) for ad in ads)
    return time.perf_counter() - began, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=Path, help="what condor_status -long printed; default: asks the local pool")
    parser.add_argument("--slots", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    text = options.ads.read_text() if options.ads else ask_pool()
    ads = made([ad for ad in text.split("\n\n") if "=" in ad], options.slots)
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        file = Path(folder) / "slots.json.gz"
        Slots.of_ads(ads).write(file)
        pairs = [(ours(file), plain(ads)) for _ in range(options.rounds)]
    if len({count for pair in pairs for _, count in pair}) != 1:
        raise SystemExit("the two ways disagree")
    fast, slow = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
    details = {"slots": options.slots, "matching": pairs[0][0][1], "rounds": options.rounds}
    name = f"match {options.slots} slots"
    report(
        Result(f"{name}: the time allowed", fast, LIMIT_S, LIMIT_S / fast, 1.0, "s", COMMAND, details),
        Result(f"{name}: whole ads one by one", fast, slow, slow / fast, 1.0, "s", COMMAND, details),
    )


if __name__ == "__main__":
    main()
