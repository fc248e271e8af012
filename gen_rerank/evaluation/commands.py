"""`gen-rerank score` and `gen-rerank evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen_rerank.reporting.shell import (
    AdapterName,
    BackendName,
    Data,
    Model,
    Out,
    SkipBadRows,
    Split,
    console,
    list_left_out,
    say,
    written,
)

app = typer.Typer()


@app.command()
def score(
    model: Model,
    data: Data,
    out: Out,
    split: Split = "test",
    backend: BackendName = "transformers",
    adapter: AdapterName = None,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Write the distribution of every judged pair of a split, as JSON Lines.

    Example: gen-rerank score runs/model shop --out scores.jsonl --backend vllm
    """
    from gen_rerank.evaluation.measuring import score_split

    done = score_split(model, data, split, backend, skip_bad_rows, out, adapter=adapter)
    list_left_out(console(), done.bad_rows)
    console().print(f"{out}: {done.pairs:,} pairs, {done.pairs_per_second:,.0f} a second ({backend})")


@app.command()
def evaluate(
    model: Model,
    data: Data,
    split: Split = "test",
    backend: BackendName = "transformers",
    adapter: AdapterName = None,
    out: Annotated[Path | None, written("--out", "Write the evaluation as JSON.")] = None,
    scores: Annotated[Path | None, written("--scores", "Write the distributions as JSON Lines.")] = None,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Measure ranking and calibration beside the floors random and BM25, with 95% intervals, per slice.

    Example: gen-rerank evaluate runs/model shop --out evaluation.json
    """
    from gen_rerank.evaluation.measuring import evaluate_model

    report = evaluate_model(model, data, split, backend, skip_bad_rows, out, scores, adapter=adapter)
    list_left_out(console(), report.bad_rows)
    for part in report.shown:
        if isinstance(part, str):
            say(part)
        else:
            console().print(part)
