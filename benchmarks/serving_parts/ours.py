"""Our engine, asked from Python: cold requests, and warm ones where a row of them is wanted."""

from __future__ import annotations

from pathlib import Path

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.engine_plan import plan
from harness.models import make_model
from harness.timing import timed
from harness.traffic import WARM_UP_PAIRS, RequestMaker, Requests, Settings
from serving_parts.arithmetic import PrefixCache, request_flops
from serving_parts.turns import COLD, INT8, INT8_WARM, QUERY_FIRST, WARM, TimedRow, Turn


def engine_rows(turn: Turn, settings: Settings, folder: Path) -> list[TimedRow]:
    """Return the cold row of our engine and, but for the query-first prompt, the warm one."""
    match turn.way:
        case "query_first":
            return rows_of(turn, settings, make_model(settings, folder, "query_first"), (QUERY_FIRST,))
        case "int8":
            return rows_of(turn, settings, int8_model(settings, folder), (INT8, INT8_WARM))
        case _:
            return rows_of(turn, settings, make_model(settings, folder), (COLD, WARM))


def rows_of(turn: Turn, settings: Settings, model: Path, names: tuple[str, ...]) -> list[TimedRow]:
    """Return the cold row of our engine on a model, and the warm one if it has a name."""
    from gen_rerank.scorers.vllm import VllmScorer

    checkpoint = Checkpoint.open(model)
    maker = RequestMaker(checkpoint.tokenizer, settings, turn.visit)
    cold = Requests(maker.fresh)
    with VllmScorer(checkpoint, choices=settings.choices) as scorer:
        scorer.score(maker.fresh(WARM_UP_PAIRS))
        cold_times = timed(scorer.score, iter(cold), settings)
        products = [pair.product for pair in cold.made[-1]]
        warm = Requests(lambda: maker.about(products))
        warm_times = timed(scorer.score, iter(warm), settings) if len(names) > 1 else []
    arguments = plan(checkpoint, settings.choices).arguments()
    cache = PrefixCache(arguments["block_size"])
    note = "eager" if arguments["enforce_eager"] else "compiled"
    rows = []
    for name, asked, times in zip(names, (cold, warm), (cold_times, warm_times), strict=False):
        flops = request_flops(checkpoint, asked.made, cache)
        rows.append(TimedRow(name, turn.visit, settings.candidates, 1, tuple(times), sum(times), flops, note))
    return rows


def int8_model(settings: Settings, folder: Path) -> Path:
    """Write the model of `make_model`, quantized, unless it is there, and return its folder."""
    made = folder / f"{settings.shape}-int8"
    if not made.is_dir():
        from quant.quantize import quantize

        quantize(make_model(settings, folder), "int8", made)
    return made
