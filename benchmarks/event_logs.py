"""Event logs of any number of jobs, in the text that HTCondor 25 writes, for benchmarks and tests.

    python -m benchmarks.event_logs FOLDER [--jobs 5000] [--events 150000] [--logs 5] [--seed 1]

Each job goes the way that jobs of the OSPool go: waits, takes in its files, runs, leaves with exit code 85 now and
then, is evicted, is held and released, ends. A share of them has not ended. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

BEGAN = 1_795_000_000  # seconds since the epoch of the first condor_submit: 2026-11-18
HOST = "<10.0.0.1:9618?addrs=10.0.0.1-9618&alias=ap.example.org&noUDP&sock=schedd_1_75de>"
SITES = (
    ("UNL", "NVIDIA H100 80GB HBM3", 9.0, 81079),
    ("UCSD", "NVIDIA A100-SXM4-40GB", 8.0, 40536),
    ("Wisconsin", "NVIDIA L40S", 8.9, 45589),
    ("Syracuse", "Quadro RTX 6000", 7.5, 24024),
    ("Clarkson", "Tesla T4", 7.5, 15109),
    ("SDSC-PRP", "NVIDIA GeForce RTX 3090", 8.6, 24257),
)
# how the jobs stand at the end of the log, and how many of a hundred
ENDS = {"done": 70, "running": 14, "idle": 6, "held": 5, "removed": 2, "failed": 3}
HOLDS = (
    (3, 65, "osgdl: exit code 65, try 1: patient_007/t1c.nii.gz: shape 240x240x154, want 240x240x155; re-export it"),
    (34, 102, "Error from slot1_3@gpu07.unl.example: Docker job has gone over cgroup memory limit of 8192 megabytes."),
    (13, 256, "Transfer input files failure at execution point slot1@gpu12.ucsd.example: Failed to execute the plugin"),
    (3, 139, "osgdl: signal 11, try 3: see the end of logs/12.0.err"),
)
USAGE = (
    "\t\tUsr 0 00:41:07, Sys 0 00:01:13  -  {0} Remote Usage\n\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  {0} Local Usage\n"
)
BYTES = "\t{sent}  -  {which} Bytes Sent By Job\n\t{got}  -  {which} Bytes Received By Job\n"


class Job:
    """Writes the events of one job, one after the other, from `now` on."""

    def __init__(self, cluster: int, proc: int, now: int, chance: random.Random) -> None:
        self.cluster, self.proc, self.now = cluster, proc, now
        self.chance = chance
        self.events: list[tuple[int, str]] = []
        self.site = SITES[0]

    def say(self, number: int, text: str) -> None:
        """An event of this type, now."""
        when = datetime.fromtimestamp(self.now, UTC).replace(tzinfo=None).isoformat(" ")
        self.events.append((self.now, f"{number:03} ({self.cluster:03}.{self.proc:03}.000) {when} {text}\n...\n"))

    def later(self, least: int, most: int) -> None:
        """Time passes, in seconds."""
        self.now += self.chance.randint(least, most)

    def start(self) -> None:
        """Files come, and it begins."""
        self.site = self.chance.choice(SITES)
        site, gpu, capability, memory = self.site
        where = f"<203.0.113.{self.chance.randint(1, 254)}:40311?addrs=203.0.113.9-40311&CCBID=10.0.0.1:9618%3faddrs>"
        self.later(20, 4000)
        self.say(40, f"Started transferring input files\n\tTransferring to host: {where}")
        self.later(2, 120)
        self.say(40, "Finished transferring input files")
        self.later(0, 2)
        number = self.chance.randint(1, 40)
        self.say(
            1,
            f"Job executing on host: {where}\n"
            f"\tSlotName: slot1_{number % 8 + 1}@glidein_{number}@gpu{number:02}.{site.lower()}.example\n"
            f'\tCondorScratchDir = "/srv/condor/dir_{self.cluster}{self.proc}"\n\tCpus = 4\n\tDisk = 21000000\n'
            f'\tGLIDEIN_ResourceName = "{site}-GPU"\n\tGLIDEIN_Site = "{site}"\n\tGPUs = 1\n'
            f"\tGPUs_Capability = {capability}\n"
            f'\tGPUs_DeviceName = "{gpu}"\n\tGPUs_DriverVersion = 12.4\n\tGPUs_GlobalMemoryMb = {memory}\n'
            f'\tMachine = "gpu{number:02}.{site.lower()}.example"\n\tMemory = 8192',
        )

    def image_size(self) -> None:
        """What it takes is reported."""
        self.later(5, 300)
        size = self.chance.randint(100_000, 4_000_000)
        self.say(
            6,
            f"Image size of job updated: {size}\n\t{size // 1024}  -  MemoryUsage of job (MB)\n"
            f"\t{size * 3 // 4}  -  ResidentSetSize of job (KB)",
        )

    def checkpoint(self) -> None:
        """Leaves with 85; the files go home."""
        self.later(600, 1800)
        self.say(40, "Started transferring output files")
        self.later(1, 30)
        self.say(40, "Finished transferring output files")

    def resources(self) -> str:
        """The table at the end of a run."""
        return (
            "\tPartitionable Resources :    Usage  Request Allocated  Assigned\n"
            f"\t   Cpus                 : {self.chance.random() * 4:8.2f}        4         4\n"
            f"\t   Disk (KB)            : {self.chance.randint(10_000, 9_000_000):8} 20971520  21000000\n"
            f"\t   GPUs                 : {self.chance.random():8.2f}        1         1"
            f'  "GPU-{self.chance.getrandbits(32):08x}"\n'
            f"\t   Memory (MB)          : {self.chance.randint(900, 8000):8}     8192      8192\n"
        )

    def traffic(self, *which: str) -> str:
        """The bytes that went."""
        sent, got = self.chance.randint(200, 90_000_000), self.chance.randint(10_000_000, 900_000_000)
        return "".join(BYTES.format(sent=sent, got=got, which=one) for one in which)

    def evict(self) -> None:
        """The machine is taken away."""
        self.later(300, 9000)
        self.say(
            4,
            "Job was evicted. Code 1007 Subcode 0\n\t(0) CPU times\n"
            + USAGE.format("Run")
            + self.traffic("Run")
            + "\tReason: the pilot retires\n"
            + self.resources().rstrip("\n"),
        )

    def hold(self) -> None:
        """It ends in a hold."""
        self.later(60, 4000)
        code, subcode, reason = self.chance.choice(HOLDS)
        self.say(12, f"Job was held.\n\t{reason}\n\tCode {code} Subcode {subcode}")

    def end(self, code: int) -> None:
        """Results go home, and it leaves the queue."""
        self.checkpoint()
        when = datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.say(
            5,
            f"Job terminated.\n\t(1) Normal termination (return value {code})\n"
            + USAGE.format("Run")
            + USAGE.format("Total")
            + self.traffic("Run", "Total")
            + self.resources()
            + f"\n\tJob terminated of its own accord at {when} with exit-code {code}.",
        )


def of_job(cluster: int, proc: int, events: int, seed: int) -> list[tuple[int, str]]:
    """(time, text) of the events of one job, in order; at least 8 of them, and as many as `events` where it ran."""
    chance = random.Random(f"{seed}.{cluster}.{proc}")
    (end,) = chance.choices(list(ENDS), list(ENDS.values()))
    job = Job(cluster, proc, BEGAN + chance.randint(0, 3600), chance)
    job.say(0, f"Job submitted from host: {HOST}")
    if end == "idle":
        return job.events
    closing = {"done": 3, "failed": 3, "held": 1, "removed": 1, "running": 0}[end]
    job.start()
    while len(job.events) + closing < events:
        room = events - closing - len(job.events)
        what = chance.random()
        if what < 0.12 and room >= 4:
            job.evict()
            job.start()
        elif what < 0.14 and room >= 5:
            job.hold()
            job.later(600, 7200)
            job.say(13, "Job was released.\n\tvia condor_release (by user jane)")
            job.start()
        elif what < 0.4 and room >= 2:
            job.checkpoint()
        else:
            job.image_size()
    if end in ("done", "failed"):
        job.end(0 if end == "done" else 1)
    elif end == "held":
        job.hold()
    elif end == "removed":
        job.later(10, 600)
        job.say(9, "Job was aborted.\n\tvia condor_rm (by user jane)")
    return job.events


def of_cluster(cluster: int, jobs: int, events: int, seed: int = 1, late: bool = False) -> Iterator[str]:
    """The events of a cluster in the order of time, about `events` of them.

    Args:
        late: its jobs are materialised one after the other.
    """
    happened = [(BEGAN, (cluster, -1), _factory(35, cluster, f"Cluster submitted from host: {HOST}"))] if late else []
    for proc in range(jobs):
        share = events * (proc + 1) // jobs - events * proc // jobs
        happened += [(at, (cluster, proc), text) for at, text in of_job(cluster, proc, share, seed)]
    happened.sort(key=lambda event: event[:2])
    yield from (text for _, _, text in happened)


def _factory(number: int, cluster: int, text: str) -> str:
    when = datetime.fromtimestamp(BEGAN, UTC).replace(tzinfo=None).isoformat(" ")
    return f"{number:03} ({cluster:03}.-01.-01) {when} {text}\n...\n"


def write(folder: Path, jobs: int = 5000, events: int = 150_000, logs: int = 5, seed: int = 1) -> list[Path]:
    """Event logs FOLDER/CLUSTER.log of a cluster each, with so many jobs and about so many events together."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(logs):
        first, last = jobs * number // logs, jobs * (number + 1) // logs
        share = events * last // jobs - events * first // jobs
        path = folder / f"{101 + number}.log"
        path.write_text("".join(of_cluster(101 + number, last - first, share, seed, late=last - first > 1)))
        written.append(path)
    return written


def main(words: Sequence[str] | None = None) -> None:
    """Writes the logs and says how many events they have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--logs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    written = write(options.folder, options.jobs, options.events, options.logs, options.seed)
    count = sum(path.read_text().count("\n...\n") for path in written)
    print(f"{len(written)} logs, {count} events, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
