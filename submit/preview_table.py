"""`osgdl match` for people: how many slots each clause leaves, and what it costs."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from submit.match import Clause
from submit.preview import Preview


def text(preview: Preview) -> str:
    """Two tables and one sentence."""
    found = preview.found
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title, justify in (
            ("slots left", "right"),
            ("alone", "right"),
            ("without it", "right"),
            ("clause", "left"),
        ):
            table.add_column(title, justify=justify)  # type: ignore[arg-type]
        table.add_row(str(found.slots), "", "", f"all slots of {preview.pool}")
        for clause in found.clauses:
            gain = f"+{clause.gain_if_dropped}" if clause.gain_if_dropped else ""
            table.add_row(str(clause.survivors), str(clause.alone), gain, clause.text + _relaxed(clause))
        console.print(table)
        for title, counted in (("site", found.by_site), ("GPU", found.by_gpu)):
            if counted:
                rows = Table(box=None, pad_edge=False, header_style="bold")
                rows.add_column("slots" if title == "site" else "GPUs", justify="right")
                rows.add_column(title)
                for name, number in counted.items():
                    rows.add_row(str(number), name)
                console.print()
                console.print(rows)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, "", verdict(preview)])


def verdict(preview: Preview) -> str:
    """The answer in one line, and what to do where it is no."""
    found = preview.found
    first = f" (the first of {preview.jobs} jobs)" if preview.jobs > 1 else ""
    if found.matching_slots:
        gpus = f" with {found.matching_gpus} GPUs that fit" if found.matching_gpus else ""
        return f"{preview.file}{first}: {found.matching_slots} of {found.slots} slots would take it{gpus}."
    if found.no_gpu_free:
        return (
            f"{preview.file}{first}: no GPU is free in {preview.pool} now, so nothing is known against the request. "
            f"The OSPool brings GPUs when jobs ask for them; let it wait: osgdl submit {preview.file} --yes."
        )
    best = max(found.clauses, key=lambda clause: clause.gain_if_dropped)
    if best.gain_if_dropped:
        return (
            f"{preview.file}{first}: none of {found.slots} slots would take it. "
            f"Without `{best.text}` {best.gain_if_dropped} would.{_relaxed(best)}"
        )
    rarest = min(found.clauses, key=lambda clause: clause.alone)
    return (
        f"{preview.file}{first}: none of {found.slots} slots would take it, and no single clause is to blame; "
        f"the rarest is `{rarest.text}` ({rarest.alone} slots)."
    )


def _relaxed(clause: Clause) -> str:
    if clause.relaxed is None:
        return ""
    value, gain = clause.relaxed
    return f"  [{value:g} would win {gain}]"
