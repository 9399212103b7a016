"""Imports point strictly down, and a file reads in one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent

# docs/design.md, Layout
LAYERS = [
    {"errors", "units", "bars", "sites", "findings", "redaction", "privacy_words", "cli_group", "events"}
    | {"explain_cause", "explain_holds", "start", "published"},
    {
        "images",
        "definition",
        "description",
        "namespace",
        "job_history",
        "slots",
        "pool_config",
        "data_json",
        "compatibility",
    }
    | {"workflow", "explain_stderr", "legacy", "transfers"}
    | {"origin", "spool", "packs", "staged", "privacy_dicom"}
    | {"trials", "trainer", "dag_file", "named_files", "toml_lines", "faults"},
    {"gpus", "pool_root", "match", "submission", "gpu_memory", "dataset_facts"}
    | {"origin_folder", "origin_pelican", "origin_pelicanfs", "inventory", "shards", "privacy_nifti", "scrub_dicom"}
    | {"sampler", "eventlog", "stays", "explain_exit", "explain_log", "watch_job"},
    {"answers", "pool", "image_bounds", "ledger", "privacy_text", "disk", "stage_observed"}
    | {"fold_views", "node_job", "rungs", "runs", "slot_time", "explain_request", "explain_waiting"},
    {
        "rendering",
        "apptainer",
        "follow",
        "schedd",
        "jobs",
        "account",
        "explain_job",
        "pool_table",
        "rules",
        "migrate",
        "osdf_local",
        "privacy_skull",
        "scrub_files",
        "stage_uses",
        "stage_plan",
        "sweep",
        "chunks",
        "chain",
    },
    {
        "project",
        "ads",
        "report_advice",
        "scaling",
        "extension",
        "harm",
        "image_build",
        "doctor",
        "image_contents",
        "check",
        "origins",
        "privacy",
        "stage_store",
        "stage_plan_table",
        "sweep_results",
        "ensemble",
        "explain",
        "explain_table",
        "watch_queue",
    },
    {"demo", "doctor_table", "gpus_table", "preview", "check_table", "shipping", "scrub", "stage_lines", "stage_prune"}
    | {"image_push"}
    | {"halving", "harm_setup", "tryout_outcome", "report", "watch"},
    {"preview_table", "staging", "stage_store_table", "folds", "tryout", "report_page", "watch_table"},
    {"stage_text", "tryout_text", "report_text", "launch", "watch_live"},
    {"cli_explain", "cli_report", "cli_request", "cli_run", "cli_scale", "cli_stage", "cli_try", "cli_workflow"},
    {"cli"},
    {"__main__"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}


def imports(file: Path) -> Iterator[str]:
    """Dotted names of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in ("submit", "submit.runtime", "unet_segmentation", "photon_propagation"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


MODULES = sorted(file for file in (REPO / "submit").glob("*.py") if file.stem != "__init__")


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_submit_imports_point_down(file: Path) -> None:
    assert file.stem in LEVEL, f"{file.name}: give it a layer here and in docs/design.md"
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "submit" and parts[1] != "runtime":
            assert LEVEL[parts[1]] < LEVEL[file.stem], f"{file.name} imports {name}"
        assert parts[0] not in ("unet_segmentation", "photon_propagation"), (
            f"{file.name} imports {name}: a job's program"
        )


@pytest.mark.parametrize("file", sorted((REPO / "unet_segmentation").glob("*.py")), ids=lambda file: file.stem)
def test_the_trainer_knows_the_runtime_alone(file: Path) -> None:
    for name in imports(file):
        assert not name.startswith("submit") or name.startswith("submit.runtime"), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", sorted((REPO / "photon_propagation").glob("*.py")), ids=lambda file: file.stem)
def test_the_propagator_knows_the_runtime_alone(file: Path) -> None:
    for name in imports(file):
        assert not name.startswith("unet_segmentation"), f"{file.name} imports {name}"
        assert not name.startswith("submit") or name.startswith("submit.runtime"), f"{file.name} imports {name}"


@pytest.mark.parametrize("package", ["submit", "submit/runtime", "unet_segmentation", "photon_propagation"])
def test_a_file_reads_in_one_sitting(package: str) -> None:
    long = {
        file.name: count
        for file in (REPO / package).glob("*.py")
        if (count := len(file.read_text().splitlines())) > 300
    }
    assert not long
