"""What the server does when clients, machines and operators are at their worst: ten experiments, a server each.

Each is a file of `experiments/`. Every score that comes back is compared with the one that plain transformers gave the
same pair before, so that an answer that was lost, swapped or mixed shows; the server computes in float32 for that,
which makes equal mean equal. Its score cache is off where work is wanted. A finding is a figure, and where something is
promised also what was wanted; one that is not held makes the exit code 1.

Run: python benchmarks/reliability.py --out runs/reliability.json
     python benchmarks/reliability.py --only overload --minutes 10
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from experiments import adapters, batch, disk, fuzz, hostile, kill, overload, slow, stop, vanish
from experiments.finding import Finding, Notes, Sizes
from experiments.scored import ScoredTraffic
from gen_rerank.errors import BadInput
from harness.command import run
from harness.models import make_model
from harness.tables import FigureTable
from harness.this_run import ThisRun
from harness.traffic import Settings

DEMO = Path("runs/demo/model")

EXPERIMENTS: dict[str, Callable[[Notes, ScoredTraffic, Sizes], None]] = {
    "fuzz": fuzz.run,
    "hostile": hostile.run,
    "overload": overload.run,
    "kill": kill.run,
    "slow": slow.run,
    "vanish": vanish.run,
    "stop": stop.run,
    "disk": disk.run,
    "adapters": adapters.run,
    "batch": batch.run,
}


def shown(value: float | int | str) -> str:
    """Return a figure as people read it.

    Example:
        >>> shown(0.12345), shown(3083.4), shown(200), shown("all")
        ('0.123', '3083', '200', 'all')
    """
    if isinstance(value, float):
        return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return str(value)


def table_of(notes: Notes) -> FigureTable:
    """Return the findings of an experiment as a table."""
    rows = [
        (found.what, shown(found.value), found.wanted, found.wanted and ("held" if found.held else "NOT HELD"))
        for found in notes.findings
    ]
    return FigureTable(notes.experiment, ("What", "Measured", "Wanted", ""), rows)


def run_experiments(names: Sequence[str], model: Path, sizes: Sizes, out: Path) -> list[Finding]:
    """Run one after the other and write what was found after each, so that an interruption loses little."""
    about, console = asdict(ThisRun.now()), Console(width=150)
    traffic = ScoredTraffic(model, sizes.requests, sizes.documents)
    findings: list[Finding] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        started = time.monotonic()
        notes = Notes(name)
        EXPERIMENTS[name](notes, traffic, sizes)
        notes.stated("seconds that the experiment took", time.monotonic() - started)
        findings += notes.findings
        content = {"about": about, "model": str(model), "sizes": asdict(sizes), "findings": list(map(asdict, findings))}
        out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        table_of(notes).show(console)
    return findings


def main(
    model: Annotated[
        Path | None, typer.Option(help=f"a checkpoint; {DEMO} if it is there, else the packaged nano")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(EXPERIMENTS)}; repeatable")] = None,
    out: Annotated[Path, typer.Option(help="JSON of all findings")] = Path("runs/reliability.json"),
    documents: Annotated[int, typer.Option(min=3, help="of a request")] = Sizes.documents,
    requests: Annotated[int, typer.Option(min=1, help="that differ")] = Sizes.requests,
    cases: Annotated[int, typer.Option(min=2, help="fuzz: for each route")] = Sizes.cases,
    minutes: Annotated[float, typer.Option(min=0.05, help="overload: how long")] = Sizes.minutes,
    times: Annotated[float, typer.Option(min=1.0, help="overload: of the measured capacity")] = Sizes.times,
    queued_pairs: Annotated[int, typer.Option(help="overload: the server's bound")] = Sizes.queued_pairs,
    clients: Annotated[int, typer.Option(min=1, help="kill, stop: at the same time")] = Sizes.clients,
    body_seconds: Annotated[float, typer.Option(min=0.1, help="slow: the server's limit")] = Sizes.body_seconds,
    slow: Annotated[int, typer.Option(min=1, help="slow: clients")] = Sizes.slow,
    vanishing: Annotated[int, typer.Option(min=1, help="vanish: clients")] = Sizes.vanishing,
    swaps: Annotated[int, typer.Option(min=3, help="adapters: loads, replacements and unloads")] = Sizes.swaps,
    compared: Annotated[int, typer.Option(min=1, help="batch: requests asked twice")] = Sizes.compared,
) -> None:
    """Harm a server in all these ways, and print what became of its promises."""
    if unknown := set(only or ()) - set(EXPERIMENTS):
        raise BadInput(f"--only {min(unknown)}: choose among {', '.join(EXPERIMENTS)}")
    sizes = Sizes(
        documents,
        requests,
        cases,
        minutes,
        times,
        queued_pairs,
        clients,
        body_seconds,
        slow,
        vanishing,
        swaps,
        compared,
    )
    with tempfile.TemporaryDirectory() as folder:
        chosen = model or (DEMO if DEMO.is_dir() else make_model(Settings("nano"), Path(folder)))
        findings = run_experiments(only or list(EXPERIMENTS), chosen, sizes, out)
    raise typer.Exit(0 if all(found.held for found in findings) else 1)


if __name__ == "__main__":
    run(main)
