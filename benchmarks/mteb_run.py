"""A checkpoint in mteb: one of its reranking tasks, or the test queries of a data folder as such a task.

A task's data is fetched from the hub by mteb, once; a data folder asks no network. Measures are mteb's: nDCG counts
ties, grades and ideals in its own way, so its figures stand beside mteb's, not beside `gen-rerank evaluate`'s.

Run: python benchmarks/mteb_run.py runs/demo/model --task ERESSReranking
     python benchmarks/mteb_run.py runs/demo/model --data shop
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gen_rerank.errors import BadInput
from gen_rerank.scorers.opening import Backend, DtypeChoice
from gen_rerank.system.publishing import require_writable_file
from harness.command import run
from harness.tables import FigureTable
from harness.this_run import ThisRun

PACKAGES = ("torch", "transformers", "mteb")
SHOWN = ("ndcg_at_1", "ndcg_at_5", "ndcg_at_10", "map_at_10", "mrr_at_10")


def main(
    model: Annotated[str, typer.Argument(help="a checkpoint folder or a hub name")],
    task: Annotated[str | None, typer.Option(help="of mteb's reranking tasks, such as ERESSReranking")] = None,
    data: Annotated[Path | None, typer.Option(help="a data folder, whose test queries become a task")] = None,
    backend: Annotated[Backend, typer.Option(help="transformers or vllm")] = "transformers",
    dtype: Annotated[DtypeChoice, typer.Option(help="auto, float32 or bfloat16")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="where mteb keeps results; nothing is kept by default")] = None,
    out: Annotated[Path | None, typer.Option(help="a file for all of mteb's scores, as JSON")] = None,
) -> None:
    """Run one task and print its main score and the measures that rerankers are told by."""
    if (task is None) is (data is None):
        raise BadInput("say what to run: --task ERESSReranking, or --data and a data folder")
    if out is not None:
        require_writable_file(out)
    import mteb

    from gen_rerank.evaluation.mteb_model import MtebReranker
    from train.progress import quiet_libraries

    quiet_libraries()
    about = ThisRun.now(PACKAGES)
    chosen = _shop_task(data) if data is not None else _task(str(task))
    reranker = MtebReranker.load(model, backend, dtype=dtype)
    began = time.perf_counter()
    kept = None if cache is None else mteb.ResultCache(cache)
    try:
        found = mteb.evaluate(reranker, chosen, cache=kept, show_progress_bar=False, co2_tracker=False)
    except ConnectionError as error:
        raise BadInput(
            f"the data of {task} cannot be fetched ({error}); run it where the hub can be reached"
        ) from error
    (result,) = found.task_results
    seconds = time.perf_counter() - began
    console = Console(soft_wrap=True)
    console.print(f"{about.date}, {about.machine}, {about.versions}", highlight=False)
    console.print(f"{reranker.name}: {seconds:,.0f} s", highlight=False)
    for split, parts in result.scores.items():
        rows = [[f"main score ({chosen.metadata.main_score})", *(f"{part['main_score']:.4f}" for part in parts)]]
        rows += [[name, *(f"{part[name]:.4f}" for part in parts)] for name in SHOWN if name in parts[0]]
        header = ("Measure", *(str(part["hf_subset"]) for part in parts))
        FigureTable(f"{result.task_name}, {split}", header, rows).show(Console(width=100))
    if out is not None:
        out.write_text(json.dumps(result.scores, indent=1) + "\n", encoding="utf-8")


def _shop_task(data: Path) -> Any:
    from gen_rerank.data.dataset import Dataset
    from harness.mteb_shop import ShopReranking

    judged = Dataset.load(data).of("test")
    if not judged.judgments:
        raise BadInput(f"{data}: no query of the split 'test' has a judgment")
    return ShopReranking(judged)


def _task(name: str) -> Any:
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError as error:
        raise BadInput(f"mteb has no task {name!r}; ERESSReranking is one") from error


if __name__ == "__main__":
    run(main)
