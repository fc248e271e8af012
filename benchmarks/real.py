"""The figures about real shops: which settings to train with, and what the trained models are worth.

Steps, each a command below; what is finished is kept in `--out`, so that an interrupted run goes on where it stopped:

- `data` imports Home Depot, Chorus, a Quepid book and ESCI with `gen-rerank import`, and mixes them with `gen-rerank
  mix`. `screen` is a sample of Home Depot's training queries with a fifth of them held out.
- `floors` measures random order, BM25 and MiniLM as a bi-encoder on a split.
- `screen` trains variants of a preset, one choice at a time, and measures them on the queries that were held out: the
  validation queries stay unread.
- `sft` trains with TRL's SFTTrainer as it comes; as a variant of `screen` it is a peer.
- `final` measures given checkpoints and the floors on Home Depot's validation queries and Chorus' test queries, and
  writes down in validation_reads.json that they were read.

Run: python benchmarks/real.py data --source path/to/data --out runs/real
     python benchmarks/real.py screen --preset small --out runs/real
     python benchmarks/real.py final --model small=runs/real/small --out runs/real
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gen_rerank.data.dataset import judged_split
from gen_rerank.reporting.numbers import counted
from gen_rerank.system.steps import Steps
from harness.command import new_app, run_app
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun
from real_parts.final import READS, SHOPS, beside_floors, final_rows, note_reading, read_models
from real_parts.folders import RealFolders
from real_parts.measured import floors as floors_of
from real_parts.screening import Screening
from real_parts.tables import SystemRow, figures, gaps
from real_parts.variants import chosen, unlike

PACKAGES = ("torch", "transformers", "trl", "sentence-transformers", "vllm", "bm25s")
WIDTH = 200

app = new_app()
console = wide_console(WIDTH)

Out = Annotated[Path, typer.Option(help="where data, models, scores and tables go")]
Backend = Annotated[str, typer.Option(help="that scores: transformers or vllm")]
RUNS = Path("runs/real")


@app.command()
def data(
    source: Annotated[Path, typer.Option(help="the folder with homedepot, chorus, esci and quepid")],
    out: Out = RUNS,
) -> None:
    """Import the shops and mix them."""
    RealFolders(out, console).make(source)


@app.command()
def floors(
    folder: Annotated[Path, typer.Argument(help="a data folder", metavar="DATA")],
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    out: Out = RUNS,
) -> None:
    """Measure random order, BM25 and MiniLM as a bi-encoder."""
    about = ThisRun.now(PACKAGES)
    found = floors_of(judged_split(folder, split), Steps(out / "floors" / "steps.json"))
    title = f"{folder}, {split} queries"
    finish(about, out / "floors" / f"{folder.name}-{split}.md", [figures(title, [SystemRow((one,)) for one in found])])


@app.command()
def screen(
    preset: Annotated[str, typer.Option(help="that is varied: a name or a file")] = "small",
    only: Annotated[
        str | None, typer.Option(help="variants, separated by commas; the reference is always there")
    ] = None,
    seeds: Annotated[int, typer.Option(help="trainings of each variant", min=1)] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="of each training, for a quick look at the whole")] = None,
    backend: Backend = "transformers",
    out: Out = RUNS,
) -> None:
    """Train variants of a preset and measure them on held-out training queries."""
    about = ThisRun.now(PACKAGES)
    variants = unlike(chosen(None if only is None else [name.strip() for name in only.split(",")]), preset)
    rows = Screening(RealFolders(out, console), preset, seeds, steps, backend, console).run(variants)
    quick = [] if steps is None else [f"**A quick look: every training was cut to {steps} steps. It says nothing.**"]
    title = f"{preset}: variants on held-out training queries of Home Depot"
    finish(about, out / "screen" / f"{Path(preset).stem}.md", [figures(title, rows, trained=True)], quick)


@app.command()
def sft(
    folder: Annotated[Path, typer.Option("--data", help="a data folder")],
    out: Annotated[Path, typer.Option(help="the checkpoint's folder")],
    config: Annotated[str, typer.Option(help="a preset or a recipe's file")] = "small",
) -> None:
    """Train a recipe's base with TRL's SFTTrainer as it comes."""
    from real_parts.sft import train_sft
    from train.recipe import Recipe

    train_sft(Recipe.load(config), folder, out)


@app.command()
def final(
    model: Annotated[list[str], typer.Option(help="NAME=FOLDER of a checkpoint; repeat for several")],
    backend: Backend = "transformers",
    out: Out = RUNS,
) -> None:
    """Measure checkpoints beside the floors on Home Depot's validation and Chorus' test queries; the reading counts."""
    about, folders, models = ThisRun.now(PACKAGES), RealFolders(out, console), read_models(model)
    for shop in SHOPS:
        folders.there(folders.shop(shop.name))
    readings = note_reading(out, models, about.command)
    tables = []
    for shop in SHOPS:
        rows = final_rows(folders, shop, models, backend)
        tables += [figures(shop.title, rows), gaps(f"{shop.title}: beside the floors", beside_floors(rows))]
    names = sorted({name for one in readings for name in one["models"]})
    count = (
        f"Home Depot's validation queries were read {counted(len(readings), 'time')} ({READS}), for {', '.join(names)}."
    )
    finish(about, out / "final" / "final.md", tables, [count])


def finish(about: ThisRun, file: Path, tables: Sequence[FigureTable], notes: Sequence[str] = ()) -> None:
    """Print tables, and write them as Markdown with command, date and machine."""
    parts = [about.heading(), *notes]
    for table in tables:
        table.show(console)
        parts += [f"### {table.title}", table.document()]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    console.print(file, soft_wrap=True)


if __name__ == "__main__":
    run_app(app)
