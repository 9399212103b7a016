"""The text of a DAGMan file, by `htcondor2.dags`: layers of nodes of one submit file each, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

# One more try of a node that used up its job's own; not where the data or the configuration is wrong
RETRIES, WRONG_INPUT = 1, 65


@dataclass(frozen=True)
class Layer:
    """Nodes of one submit file, with what each of them says by VARS: NAME-0, NAME-1, ...

    Attributes:
        alone: the only node is called NAME.
        job: a job runs; without one the node is its `pre` alone.
        pre: words of the command that runs on the access point before each node's job; {node} is the node's name.
        notes: the file that takes what it prints.
        skip: exit code of `pre` with which the node is done without its job.
        fails: a failed job fails the node, after another try; otherwise the node is done, too.
    """

    name: str
    submit_file: str
    said: Sequence[Mapping[str, str]] = ({},)
    alone: bool = False
    job: bool = True
    pre: Sequence[str] = ()
    notes: str = ""
    skip: int | None = None
    fails: bool = True


class _Here(PurePosixPath):
    """A submit file as DAGMan finds it from the folder where it is started: a project may be moved."""

    def absolute(self) -> _Here:
        return self


def dag_text(layers: Sequence[Layer]) -> str:
    """Each node of a layer follows the node of its number in the layer before, where there are as many, else all."""
    from htcondor2 import dags
    from htcondor2.dags import writer

    alone = {layer.name for layer in layers if layer.alone}
    notes = {layer.name: layer.notes for layer in layers if layer.notes}

    class Names(dags.SimpleFormatter):  # type: ignore[misc]
        """NAME-NUMBER, or NAME."""

        def generate(self, layer_name: str, node_index: int) -> str:
            return layer_name if layer_name in alone else f"{layer_name}-{node_index}"

    class Writer(writer.DAGWriter):  # type: ignore[misc]
        """With the reason for trying again, which `osgdl check` would ask for."""

        def yield_node_meta_lines(self, node: Any, name: str) -> Iterator[str]:
            if node.retries is not None:
                yield "# meant: what the job's own tries did not mend is queued anew, once"
                yield "# osgdl: ignore OSG802"
            for line in super().yield_node_meta_lines(node, name):
                debug = f"SCRIPT DEBUG {notes[node.name]} ALL PRE" if node.name in notes else "SCRIPT PRE"
                yield line.replace("SCRIPT PRE", debug, 1).replace("{node}", name)

    dag, last = dags.DAG(), None
    for layer in layers:
        about: dict[str, Any] = {
            "name": layer.name,
            "submit_description": _Here(layer.submit_file),
            "vars": [dict(said) for said in layer.said],
            "noop": not layer.job,
        }
        if layer.job and layer.fails:
            about |= {"retries": RETRIES, "retry_unless_exit": WRONG_INPUT}
        if layer.pre:
            about |= {"pre": dags.Script(layer.pre[0], list(layer.pre[1:])), "pre_skip_exit_code": layer.skip}
        if not layer.fails:
            about["post"] = dags.Script("/bin/true")
        if last is None:
            last = dag.layer(**about)
        else:
            last = last.child_layer(
                edge=dags.OneToOne() if len(last) == len(layer.said) else dags.ManyToMany(), **about
            )
    lines = Writer(dag, Names()).yield_dag_file_lines()
    head = "# Written by osgdl; start it in the folder of the submit files:  condor_submit_dag FILE\n"
    return head + "".join(f"{line}\n" for line in lines)
