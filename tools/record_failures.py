"""Makes the failures of tests/submit/failures/failures.toml on the local pool and keeps what they leave.

    OSGDL_POOL=failures .venv/bin/python tools/record_failures.py [NAME ...]

Each is submitted, made to fail where it does not by itself, and followed until it is held or gone. Kept are its event
log, the end of its stderr, and the ad of what is still in the queue; the project's folder is written as /home/jane/...
What is right to say of it stands in failures.toml, by hand.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from submit import eventlog, explain, harm, osdf_local, pool, project
from submit.description import Description
from submit.errors import KitError
from submit.follow import submit as condor_submit
from submit.job_history import JobHistory
from tests.pool import test_trainer
from unet_segmentation import phantom

HERE = Path(__file__).resolve().parents[1] / "tests" / "submit" / "failures"
KEPT = HERE / "recorded"
HOME = "/home/jane"
OSDF = "osdf:///ospool/ap40/data/jane"
LONGEST_ERR = 6000  # bytes, from its end
LIMIT_S = 900
AT_ONCE = 10
PLAIN = """\
log = logs/$(Cluster).log
output = logs/$(Cluster).$(Process).out
error = logs/$(Cluster).$(Process).err
should_transfer_files = YES
request_cpus = 1
request_memory = 200MB
request_disk = 200MB
+ProjectName = "BrainTumours"
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row that is made on the pool; its fields are explained at the head of failures.toml."""

    name: str
    project: str = "mine"
    script: str = "exit 0"
    lines: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    change: str = ""
    act: str = ""
    dag: str = ""
    ends: str = "over"

    def ended(self, job: JobHistory) -> bool:
        """Whether it is where it is to be recorded."""
        state, _, seconds = self.ends.partition(" ")
        if self.ends == "over":
            return job.state in ("held", "done", "removed")
        if self.ends == "out of reach":
            return bool(job.said) and job.said[-1][1] == self.ends
        since = job.starts[-1].time if state == "running" and job.starts else job.submitted
        return job.state == state and time.time() - since > float(seconds)


@dataclass
class Made:
    """A case in the queue."""

    case: Case
    folder: Path
    cluster: int
    acted: bool = False

    @property
    def job(self) -> str:
        return f"{self.cluster}.0"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.cluster}.log"

    def history(self) -> JobHistory | None:
        return eventlog.read(self.log).get((self.cluster, 0))


# ---- what is done to them


def evict(made: Made) -> None:
    """Its machine is taken away three times, and no other takes it."""
    for start in (1, 2, 3):
        while not (job := made.history()) or job.state != "running" or len(job.starts) < start:
            time.sleep(0.5)
        if start == 3:
            harm.condor("condor_qedit", made.job, "Requirements", "False")
        time.sleep(1.5)
        harm.evict(made.job)


def die(made: Made) -> None:
    """Its startd and its starter are killed."""
    job = made.history()
    assert job is not None  # noqa: S101 - it runs
    target = harm.Target(made.cluster, 0, job.starts[-1], {})
    harm.kill(*harm.daemons("condor_startd", target.startd), target.starter)


ACTS: dict[str, Callable[[Made], None]] = {
    "hold": lambda made: harm.condor("condor_hold", "-reason", "wrong data set", made.job),
    "remove": lambda made: harm.condor("condor_rm", made.job),
    "evict": evict,
    "die": die,
}


def full(folder: Path) -> None:
    """A file system without room, at the access point."""
    (folder / "full").mkdir()
    harm.mount("-t", "tmpfs", "-o", "size=100k,mode=777", "tmpfs", str(folder / "full"))


def closed(folder: Path) -> None:
    """A file that nobody may read."""
    (folder / "closed.csv").write_text("x")
    harm.root("sh", "-c", "touch /pool/tmp/shut; chmod 0 /pool/tmp/shut")
    harm.mount("--bind", "/pool/tmp/shut", str(folder / "closed.csv"))


def on_osdf(name: str) -> None:
    file = osdf_local.origin(OSDF.removeprefix("osdf://")) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("here before")


def refused(_: Path) -> None:
    on_osdf("refused.tar.zst")
    osdf_local.spoil(fail=1, permanent=True, only="refused.tar.zst")


def disk_policy(_: Path) -> None:
    """The execution points hold a job for its disk, as those of the OSPool do."""
    line = "use policy:HOLD_IF_DISK_EXCEEDED"
    harm.root("sh", "-c", f"grep -q '{line}' /pool/condor_config || echo '{line}' >> /pool/condor_config")
    harm.root("condor_reconfig", "-all", may_fail=True)


CHANGES: dict[str, Callable[[Path], object]] = {
    "full": full,
    "closed": closed,
    "taken": lambda _: on_osdf("taken.keras"),
    "refused": refused,
    "disk_policy": disk_policy,
    "large": lambda folder: (folder / "large.bin").write_bytes(bytes(3 << 20)),
    "shut": lambda folder: (folder / "shut").mkdir(0o555),
}


# ---- projects and submit files


def projects(place: Path, cases: list[Case]) -> dict[str, Path]:
    """The folders that these cases take."""
    made = {"mine": place / "plain"}
    (made["mine"] / "logs").mkdir(parents=True)
    for kind in sorted({case.project for case in cases} - {"mine"}):
        answers = {"ospool_project": "BrainTumours", "epochs": "1", "project_name": f"Brain tumours {kind}"}
        folder = made[kind] = project.new(project.DEFAULT_TEMPLATE, answers, place, ask=False)
        if kind == "real":
            phantom.write(folder / "phantoms", phantom.parts(3, "2:1"), 1, "brats2021", test_trainer.SIZE)
            test_trainer.configure(folder, "train", steps=6, batch_size=2, patch=32)
            test_trainer.configure(folder, "model", width=4, levels=3)
            for fault in test_trainer.FAULTS:
                data = folder / f"real-{fault.__name__.replace('_', '-')}"
                shutil.copytree(folder / "phantoms", data)
                fault(data)
        else:
            package = folder / "job" / "unet_segmentation"
            shutil.copy(HERE / "failing.py", package / "__main__.py")
            messages = {case.name: case.message for case in cases if case.message}
            (package / "messages.json").write_text(json.dumps(messages))
            (folder / "training").mkdir()
    return made


def prepared(case: Case, folder: Path) -> Path:
    """The submit file, with all that it needs."""
    file = folder / f"{case.name}.sub"
    lines = [line.replace("OSDF/", f"{OSDF}/") for line in case.lines]
    for name, text in case.files.items():
        (folder / name).write_bytes(text.encode())
    if case.project == "mine":
        script = folder / f"{case.name}.sh"
        script.write_text(case.script if case.script.startswith("#!") else f"#!/bin/sh\n{case.script}\n")
        script.chmod(0o755)
        file.write_text(f"executable = {script.name}\n{PLAIN}" + "\n".join([*lines, "queue", ""]))
    else:
        description = Description.read(folder / "train.sub")
        for line in lines:
            name, _, value = line.partition("=")
            description.set(name.strip(), value.strip())
        kept = description.text.split("\n")
        if any(line.startswith("container_image") for line in lines):  # never both
            kept = [line for line in kept if not line.startswith("+SingularityImage")]
        file.write_text("\n".join(kept))
        (folder / case.name).mkdir(exist_ok=True)
    if case.change:
        CHANGES[case.change](folder)
    return file


def submitted(case: Case, folder: Path) -> Made:
    """In the queue, itself or as a workflow's one node."""
    file = prepared(case, folder)
    if not case.dag:
        data = [f"data={case.name}"] if case.project != "mine" else []
        return Made(case, folder, condor_submit(file, *data, *case.words))
    (folder / case.dag).mkdir(exist_ok=True)
    before = set((folder / "logs").iterdir())
    data_line = f'VARS A data="{case.dag}"\n' if case.project != "mine" else ""
    file.with_suffix(".dag").write_text(f"JOB A {file.name}\n{data_line}")
    done = pool.run(["condor_submit_dag", "-force", f"{case.name}.dag"], cwd=folder)
    if done.returncode:
        raise KitError(done.stderr)
    while not (new := [log for log in set((folder / "logs").iterdir()) - before if log.suffix == ".log"]):
        time.sleep(0.5)
    return Made(case, folder, int(new[0].stem))


# ---- following and keeping


def keep(made: Made) -> None:
    """What it left, without this machine's folders."""
    folder = KEPT / made.case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def clean(text: str) -> str:
        return text.replace(str(made.folder.parent), HOME)

    (folder / "job.log").write_text(clean(made.log.read_text()))
    ads = pool.run(["condor_q", made.job, "-json", "-attributes", explain.ATTRIBUTES], cwd=Path("/")).stdout
    if ads.strip() and made.case.ends != "over":
        (folder / "job.json").write_text(clean(json.dumps(json.loads(ads)[0], indent=1, sort_keys=True) + "\n"))
    err = made.folder / "logs" / f"{made.job}.err"
    if err.exists() and (text := err.read_text(errors="replace")):
        if len(text) > LONGEST_ERR:
            text = text[-LONGEST_ERR:].partition("\n")[2]
        (folder / "job.err").write_text(clean(text))


def follow(waiting: list[Made]) -> None:
    """Until each is where its case ends, or its time is over."""
    began = time.monotonic()
    while waiting:
        for made in list(waiting):
            job = made.history()
            settled = job and job.state == "running" and time.time() - job.starts[-1].time > 1
            if made.case.act and not made.acted and settled:
                made.acted = True
                ACTS[made.case.act](made)
            done = job is not None and made.case.ended(job) and (made.acted or not made.case.act)
            seconds = time.monotonic() - began
            if done or seconds > LIMIT_S:
                time.sleep(0.5)
                keep(made)
                waiting.remove(made)
                said = f"{job.state} {job.hold_reason or job.exit_code}" if job else "no log"
                print(f"{made.case.name}: {'' if done else 'NOT '}done after {seconds:.0f} s: {said[:200]}", flush=True)
                pool.run(["condor_rm", str(made.cluster)], cwd=Path("/"))
        time.sleep(0.5)


def cases() -> list[Case]:
    """The rows that are made on the pool."""
    rows: list[dict[str, Any]] = tomllib.loads((HERE / "failures.toml").read_text(encoding="utf-8"))["failure"]
    return [
        Case(**{name: value for name, value in row.items() if name != "right"}) for row in rows if "source" not in row
    ]


def main(names: list[str]) -> None:
    """Records the cases of these names; none: all."""
    pool.up(print)
    chosen = [case for case in cases() if not names or case.name in names]
    with tempfile.TemporaryDirectory(prefix="record-") as place:
        folders = projects(Path(place), chosen)
        while chosen:
            batch, chosen = chosen[:AT_ONCE], chosen[AT_ONCE:]
            follow([submitted(case, folders[case.project]) for case in batch])


if __name__ == "__main__":
    main(sys.argv[1:])
