"""Tests the machine before the first byte of data is read: a minute there saves a night on a GPU that lies.

    python3 -m submit.runtime.preflight --json results/1.0/preflight.json

Host first (disk, shared memory, C library, processor); then, where the job asked for a GPU, its device files, the
driver, the facts against the request, and a computation with a known answer. With `--opencl` the same by way of OpenCL:
on the GPU, or on the CPU where the job asked for none or its GPU is simulated. Leaves with the exit code of the
contract: 75 where another machine may do, 65 where none would. A check that cannot be made is a warning.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

from submit.runtime import chirp, classad, devices, exit_codes, failures, gpu, host, opencl_check, request, visible
from submit.runtime.files import write_json
from submit.runtime.findings import Finding, found

SECONDS = "ChirpOsgdlPreflightSeconds"
PHOTON_NS = "ChirpOsgdlPhotonNs"  # of the known photons: what the machine is worth
FINE = "fine"


@dataclass
class Report:
    """What the preflight found; its fields are those of the JSON.

    Attributes:
        verdict: `fine`, `machine` or `request`.
        code: 0, 75 or 65.
        sentence: the verdict in one line.
        failure: id of the row in the failure table; empty if fine.
        facts: of machine and GPUs.
        seconds: a check, and `total`.
        warnings: one line each.
    """

    verdict: str = FINE
    code: int = exit_codes.DONE
    sentence: str = ""
    failure: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Preflight:
    """One run of the checks; the first finding that is no warning ends it.

    Args:
        known_answer: also compute something whose answer is known.
        time_limit_s: for each process that asks a driver.
        opencl: the job computes with OpenCL.
    """

    def __init__(self, known_answer: bool = True, time_limit_s: float = gpu.TIME_LIMIT_S, opencl: bool = False) -> None:
        self.report = Report()
        self.bad: Optional[Finding] = None
        self._known_answer, self._time_limit_s, self._opencl = known_answer, time_limit_s, opencl

    def run(self) -> Report:
        """Makes the checks; `bad` is then what speaks against the machine or the request, if anything does."""
        began = time.monotonic()
        place, wanted = devices.here(), request.read(classad.job_ad())
        assigned = devices.assigned_gpus()
        self.report.facts = {**asdict(place), "assigned": assigned, "glibc": host.glibc(), "devices": []}
        self._check("disk", lambda: host.disk(host.scratch(), wanted, place.simulated))
        self._check("shm", lambda: host.shared_memory(wanted))
        self._check("glibc", lambda: host.c_library(wanted))
        self._check("processor", host.processor)
        if wanted.gpus:
            if not place.simulated:
                self._check("files", lambda: gpu.check_files(assigned))
            self._check("visible", lambda: visible.check(os.environ.get(visible.VARIABLE), assigned, wanted))
            self._check("gpu", lambda: self._gpu(wanted, assigned))
        if self._opencl:
            on_cpu = place.simulated or not wanted.gpus
            self._check("opencl", lambda: self._ask_opencl(wanted, assigned, on_cpu))
        self.report.seconds["total"] = round(time.monotonic() - began, 3)
        self._conclude(wanted)
        return self.report

    def _gpu(self, wanted: request.Request, assigned: list[str]) -> Iterable[Finding]:
        probed = gpu.ask(self._known_answer, self._time_limit_s)
        self.report.seconds.update({stage: round(s, 3) for stage, s in probed.seconds.items()})
        self.report.facts.update(probed.driver)
        self.report.facts["devices"] = [
            {**device, "free_mb": probed.memory.get(device["index"])} for device in probed.devices
        ]
        return gpu.judge(probed, wanted, assigned)

    def _ask_opencl(self, wanted: request.Request, assigned: list[str], on_cpu: bool) -> Iterable[Finding]:
        probed = opencl_check.ask(on_cpu, self._known_answer, self._time_limit_s)
        self.report.facts["opencl"] = opencl_check.facts(probed)
        return opencl_check.judge(probed, wanted, assigned, on_cpu)

    def _check(self, name: str, check: Callable[[], Iterable[Finding]]) -> None:
        if self.bad:
            return
        began = time.monotonic()
        try:
            findings = list(check())
        except Exception as fault:  # a fault of the check must not end a job that might run
            findings = [found("cannot-check", f"{name}: {type(fault).__name__}: {fault}")]
        self.report.seconds[name] = round(time.monotonic() - began, 3)
        self.report.warnings += [
            f"{f.failure.where}: {f.held}; {f.failure.diagnosis}" for f in findings if f.is_warning
        ]
        self.bad = next((finding for finding in findings if not finding.is_warning), None)

    def _conclude(self, wanted: request.Request) -> None:
        report, seconds = self.report, self.report.seconds["total"]
        if self.bad:
            report.verdict, report.failure = self.bad.failure.verdict, self.bad.failure.id
            report.code = exit_codes.BAD_INPUT if report.verdict == failures.REQUEST else exit_codes.BAD_MACHINE
            report.sentence = str(self.bad.fault)
            return
        simulated = "simulated " if report.facts["simulated"] else ""
        gpus = [
            f"{simulated}{d['name']}, capability {d['capability']:.1f}, {d['free_mb']} MiB free"
            for d in report.facts["devices"]
        ]
        told = ", known answer right" if gpus and self._known_answer else ""
        what = "; ".join(gpus) if wanted.gpus else "no GPU asked for"
        for device in report.facts.get("opencl", {}).get("devices", []):
            took = "" if device["photon_ns"] is None else f", {device['photon_ns']:.3g} ns a photon"
            what += f"; OpenCL on {device['name']}{took}"
        report.sentence = f"preflight  fine: {what}{told} ({seconds:.1f} s)"


def main(arguments: Optional[list[str]] = None) -> int:
    """Runs it for the job; the exit code of the contract, or an exception that becomes it."""
    parser = argparse.ArgumentParser(
        prog="python3 -m submit.runtime.preflight", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument(
        "--known-answer", action=argparse.BooleanOptionalAction, default=True, help="compute something known on the GPU"
    )
    parser.add_argument("--opencl", action="store_true", help="the job computes with OpenCL")
    parser.add_argument("--time-limit", type=float, default=gpu.TIME_LIMIT_S, metavar="S", help="for the driver")
    options = parser.parse_args(arguments)
    preflight = Preflight(options.known_answer, options.time_limit, options.opencl)
    report = preflight.run()
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if options.json:
        try:
            write_json(options.json, asdict(report))
        except OSError as fault:  # of a bad disk the verdict says more
            print(f"warning: {options.json}: {fault.strerror}", file=sys.stderr)
    chirp.publish(SECONDS, report.seconds["total"])
    for device in report.facts.get("opencl", {}).get("devices", [])[:1]:
        if device["photon_ns"] is not None:
            chirp.publish(PHOTON_NS, device["photon_ns"])
    if preflight.bad:
        raise preflight.bad.fault
    print(report.sentence, file=sys.stderr)
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(exit_codes.run(main))
