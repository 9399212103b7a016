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
    """Nodes NAME-0, NAME-1, ... of one submit file, with what each of them says by VARS."""

    name: str
    submit_file: str
    said: Sequence[Mapping[str, str]]


class _Here(PurePosixPath):
    """A submit file as DAGMan finds it from the folder where it is started: a project may be moved."""

    def absolute(self) -> _Here:
        return self


def dag_text(layers: Sequence[Layer]) -> str:
    """Each node of a layer follows the node of its number in the layer before, where there are as many, else all."""
    from htcondor2 import dags
    from htcondor2.dags import writer

    class Writer(writer.DAGWriter):  # type: ignore[misc]
        """With the reason for trying again, which `osgdl check` would ask for."""

        def yield_node_meta_lines(self, node: Any, name: str) -> Iterator[str]:
            yield "# meant: what the job's own tries did not mend is queued anew, once"
            yield "# osgdl: ignore OSG802"
            yield from super().yield_node_meta_lines(node, name)

    dag, last = dags.DAG(), None
    for layer in layers:
        about = {
            "name": layer.name,
            "submit_description": _Here(layer.submit_file),
            "vars": [dict(said) for said in layer.said],
            "retries": RETRIES,
            "retry_unless_exit": WRONG_INPUT,
        }
        if last is None:
            last = dag.layer(**about)
        else:
            last = last.child_layer(
                edge=dags.OneToOne() if len(last) == len(layer.said) else dags.ManyToMany(), **about
            )
    lines = Writer(dag, dags.SimpleFormatter(separator="-")).yield_dag_file_lines()
    head = "# Written by osgdl; start it in the folder of the submit files:  condor_submit_dag FILE\n"
    return head + "".join(f"{line}\n" for line in lines)
