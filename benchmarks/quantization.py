"""What each scheme costs in quality, over several trainings, and what it saves in time and memory.

`quality`: the nano preset is trained on the sample by several seeds; each model is quantized by every scheme,
re-aligned (phase 2 on the quantized backbone; as a control, on the model itself) and, if asked for, quantized after
quantization-aware training; `gen-rerank compare` measures all of them on the test queries, on which nothing was
trained, calibrated or chosen. `speed`: one comparison with its costs, of a nano model or of the 0.6B shape with random
weights, whose quality means nothing. `memory`: where the resident memory of vLLM goes, for the checkpoints that `speed`
made. Each step is a command that a user types; what is done is kept, so an interrupted benchmark goes on where it
stopped. `quantization_parts/` holds the parts.

Run: python benchmarks/quantization.py quality --out runs/quantization
     python benchmarks/quantization.py speed --shape 0.6b --out runs/quantization-0.6b
     python benchmarks/quantization.py memory --shape 0.6b --out runs/quantization-0.6b
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from gen_rerank.checkpoints.schemes import SCHEMES
from gen_rerank.errors import BadInput
from harness.command import new_app, run_app
from harness.models import make_model
from harness.steps import CommandSteps
from harness.tables import wide_console
from harness.traffic import Settings, Shape
from quant.comparison import Comparison
from quantization_parts.costs import speed_document
from quantization_parts.memory import memory_document
from quantization_parts.quality import quality_document
from quantization_parts.trainings import aware, quantized, train

COMPARISON = "comparison.json"

app = new_app()
Out = Annotated[Path, typer.Option(help="folder of data, models and comparisons")]
Document = Annotated[Path | None, typer.Option(help="where to write the tables for a document")]


def a_gate_failed(code: int, sentence: str) -> bool:
    """Say whether `gen-rerank compare` ended as it does when a gate fails, which is a result and says nothing more."""
    return code == 1 and not sentence


def compare(steps: CommandSteps, model: Path, *arguments: str | Path) -> Comparison:
    """Compare a model with its candidates and return what was found."""
    out = steps.folder / "compare"
    steps.run("compare", out, "gen-rerank", "compare", model, *arguments, may_stop=a_gate_failed)
    return Comparison.load(out / COMPARISON)


def show(text: str, document: Path | None) -> None:
    """Print a document, and write it where asked."""
    wide_console(150).print(Markdown(text))
    if document is not None:
        document.write_text(text, encoding="utf-8")


@app.command()
def quality(
    out: Out = Path("runs/quantization"),
    seeds: Annotated[int, typer.Option(help="trainings", min=1)] = 3,
    scheme: Annotated[list[str] | None, typer.Option(help="which; repeat for several; all by default")] = None,
    aware_scheme: Annotated[list[str] | None, typer.Option(help="also by quantization-aware training")] = None,
    seed: Annotated[int | None, typer.Option(help="only this one, and no table: for several processes", min=0)] = None,
    document: Document = None,
) -> None:
    """Train, quantize, re-align and compare; print one table over the seeds."""
    console = Console(width=150)
    steps = CommandSteps(out, console)
    data = out / "data"
    steps.run("data", data, "gen-rerank", "sample", "--seed", "0")
    schemes = scheme or [one.name for one in SCHEMES]
    comparisons = []
    for number in range(seeds) if seed is None else [seed]:
        folder = out / f"seed-{number}"
        here = CommandSteps(folder, console)
        model = train(here, folder, data, number)
        candidates = quantized(here, folder, model, data, schemes) + aware(here, folder, data, aware_scheme or ())
        comparisons.append(compare(here, model, *candidates, "--data", data, "--no-cost"))
    if seed is None:
        show(quality_document(comparisons), document)


@app.command()
def speed(
    out: Out = Path("runs/quantization-0.6b"),
    shape: Annotated[Shape, typer.Option(help="0.6b or nano")] = "0.6b",
    scheme: Annotated[list[str] | None, typer.Option(help="which; repeat for several; int8 by default")] = None,
    load_time: Annotated[list[str] | None, typer.Option(help="nf4, int8; repeatable")] = None,
    visits: Annotated[int, typer.Option(help="of each system", min=1)] = 3,
    queries: Annotated[int, typer.Option(help="of the shop that is scored", min=10)] = 60,
    document: Document = None,
) -> None:
    """Compare the costs of a shape with random weights (0.6b) or of the packaged nano base."""
    console = Console(width=150)
    steps = CommandSteps(out, console)
    data = out / "data"
    steps.run("data", data, "gen-rerank", "sample", "--seed", "0", "--products", "1000", "--queries", str(queries))
    model = make_model(Settings(shape), out)
    made = []
    for name in scheme or ["int8"]:
        steps.run(name, out / name, "gen-rerank", "quantize", model, "--scheme", name, "--examples", data)
        made.append(out / name)
    rows = [word for name in load_time or () for word in ("--load-time", name)]
    found = compare(steps, model, *made, "--data", data, "--visits", str(visits), *rows)
    show(speed_document(found), document)


@app.command()
def memory(
    out: Out = Path("runs/quantization-0.6b"),
    shape: Annotated[Shape, typer.Option(help="0.6b or nano")] = "0.6b",
    scheme: Annotated[list[str] | None, typer.Option(help="which; repeat for several; int8 by default")] = None,
    document: Document = None,
) -> None:
    """Show the resident memory of what `speed` made, beside the nano base: hardly more than libraries and processes."""
    model = make_model(Settings(shape), out)
    folders = [make_model(Settings("nano"), out), model, *(out / name for name in scheme or ["int8"])]
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"{folder} is not there; make it with: quantization.py speed --out {out}")
    show(memory_document(folders), document)


if __name__ == "__main__":
    run_app(app)
