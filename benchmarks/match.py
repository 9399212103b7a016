"""How long `osgdl match` takes over 20,000 slots: python benchmarks/match.py ADS [SLOTS]

ADS: what `condor_status -long` printed of some slots, of which 20,000 are made that differ in what differs between
machines (name, memory, disk, cores left, the pilot's end). Prints seconds for reading the snapshot and for the match,
on one core, and the share that naive matching of whole ads would take for the same answer.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import classad2
import htcondor2  # noqa: F401 - before the first ad with countMatches

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


def main(ads_file: Path, count: int) -> None:
    samples = [ad for ad in ads_file.read_text().split("\n\n") if "=" in ad]
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
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "slots.json.gz"
        began = time.perf_counter()
        Slots.of_ads(ads).write(file)
        made = time.perf_counter() - began
        began = time.perf_counter()
        slots = Slots.read(file)
        read = time.perf_counter() - began
        began = time.perf_counter()
        found = match(JOB, slots)
        matched = time.perf_counter() - began
        size = file.stat().st_size / 1e6
    part = ads[:500]
    began = time.perf_counter()
    job = classad2.parseOne(JOB, classad2.ParserType.Old)
    naive = sum(classad2.parseOne(ad, classad2.ParserType.Old).symmetricMatch(job) for ad in part)
    whole = (time.perf_counter() - began) * count / len(part)
    if naive != match(JOB, Slots.of_ads(part)).matching_slots:
        raise SystemExit("the two ways disagree")
    print(f"{count} slots, {len(found.clauses)} clauses: snapshot made in {made:.1f} s ({size:.1f} MB)")
    print(f"read {read:.2f} s + match {matched:.2f} s = {read + matched:.2f} s; {found.matching_slots} slots match")
    print(f"whole ads one by one, the yes or no alone: {whole:.1f} s; ratio {whole / (read + matched):.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20_000)
