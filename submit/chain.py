"""`osgdl chain`: one training as several jobs, for a pool whose slots are shorter than it. Each link ends with code 0
at its share of the steps, and hands its checkpoint on; the last one's results are those of one whole run.

    link-0 -> link-1 -> ...      train.sub; results/OUT/link-0/handed-on travels to link-1

Within a link the job leaves and comes back (exit code 85) as ever. What a chain adds: each link is a job of its own,
with its own tries, and what it did is on the access point for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from submit import named_files, node_job
from submit.dag_file import Layer, dag_text
from submit.errors import KitError, wrong
from submit.trials import quoted

MOST = 1000
HANDED_ON = "handed-on"  # the trainer's folder for it


@dataclass(frozen=True)
class Chain:
    """What was written, and where the last link's results will be."""

    dag: Path
    result: str


def write(project: Path, links: int, out: str = "chain") -> Chain:
    """Writes OUT.dag beside train.sub. Done again with the same wishes, it changes nothing.

    Raises:
        KitError: no project, too few or too many links, its data cannot be sent, or OUT is taken.
    """
    named_files.require_name(out)
    if not 2 <= links <= MOST:
        raise KitError(wrong("--links", links, "out of range", f"2 to {MOST} are wanted", "E.g. --links 4"))
    job = node_job.read(project / node_job.TRAIN, ("data", "result", node_job.SETTINGS))
    node_job.require_fillable(job)
    layers = []
    for link in range(links):
        settings, objects = list[str](), job.value("data_objects")
        if link < links - 1:
            settings.append(f"checkpoint.until={(link + 1) / links:.6g}")
        if link:
            settings.append(f"checkpoint.start={HANDED_ON}")
            objects = ", ".join(filter(None, [objects, f"results/{out}/link-{link - 1}/{HANDED_ON}"]))
        said = {"data": job.value("data"), "data_objects": objects, "settings": quoted(settings)}
        layers.append(
            Layer(f"link-{link}", node_job.TRAIN, [{**said, "result": f"results/{out}/link-{link}"}], alone=True)
        )
    dag = project / f"{out}.dag"
    named_files.write(named_files.missing(project, out, {dag: dag_text(layers).encode()}))
    return Chain(dag, f"results/{out}/link-{links - 1}")
