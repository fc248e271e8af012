"""Whether the tiers of `gen-rerank calibrate` keep their promises on queries that they have not seen.

Queries are drawn many times. Each time everything is fitted on the drawn ones (temperature, map, thresholds) and
measured on others, in two ways. *Halves*: a random half is drawn, and the other half measures; its own mean is a draw
too, so a promise that just holds looks broken more often than it is. *Draws*: as many queries are drawn with
replacement, as if from a large shop of these queries, and all of them measure, so that what is promised is known
exactly. A promise at 90% may be broken in 10% of the draws.

Copies of a model (int8, fp8) are read with the reference's calibration, as they are served; another shop's queries with
the calibration of the first, which promises nothing there.

Run: python benchmarks/promises.py --shop sample=runs/demo/model,runs/demo/data --out results.json
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import numpy as np
import typer

from gen_rerank.calibration.promises import CONFIDENCE
from gen_rerank.calibration.tiers import THRESHOLDS, Tier
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.folds import Places
from gen_rerank.data.records import Split
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.tier_figures import tier_figures
from gen_rerank.fitting.judged_pairs import JudgedPairs
from gen_rerank.fitting.steps import choose_step
from gen_rerank.fitting.thresholds import TierChoice, all_promises, choose_thresholds
from gen_rerank.reporting.numbers import figure
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.scorers.opening import prepare_scorer
from gen_rerank.scorers.scoring import logits_of_pairs
from harness.command import run
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun

HALVES, DRAWS = "halves", "draws"
HEADER = (
    "shop, promise", "queries", "promised in", "broken", "of promised", "may be", "mean loss", "highest",
    "queries shown something", "products shown",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ReadShop:
    """Judged queries as several models read them.

    Attributes:
        name: of the shop.
        readings: by the name of the model, the reference's first; all of the same pairs.
        carried: other shops' queries, read by the reference, by name.
        before: the reference's calibration.
    """

    name: str
    readings: Mapping[str, JudgedPairs]
    carried: Mapping[str, JudgedPairs]
    before: Calibration

    @property
    def reference(self) -> JudgedPairs:
        """What the model says that is calibrated."""
        return next(iter(self.readings.values()))


@dataclass(frozen=True)
class TierOutcome:
    """A tier of one draw, measured on other queries.

    Attributes:
        kept: whether its promise was made.
        loss: what was lost there.
        limit: what was promised.
        shows: the share of queries that show something.
        shown: the share of products that are shown.
    """

    kept: bool
    loss: float
    limit: float
    shows: float
    shown: float


def measure(
    chosen: Mapping[Tier, TierChoice], calibration: Calibration, others: JudgedPairs
) -> dict[Tier, TierOutcome]:
    """Return what tiers do for queries that had no part in them."""
    thresholds = {str(tier): one.threshold for tier, one in chosen.items()}
    scores, found = others.read(calibration).mean, {}
    for tier, figures in tier_figures(scores, others.relevance, others.queries, thresholds).items():
        one = chosen[tier]
        losses = figures.loss(one.promise.loss)
        known = losses[~np.isnan(losses)]
        found[tier] = TierOutcome(
            kept=one.kept,
            loss=float(known.mean()) if len(known) else 0.0,
            limit=one.promise.limit,
            shows=float(1 - figures.silent.mean()),
            shown=float(figures.shown.sum() / len(others.relevance)),
        )
    return found


def one_draw(
    shop: ReadShop, promises: list[str], way: str, rng: np.random.Generator
) -> dict[str, dict[Tier, TierOutcome]]:
    """Fit on drawn queries and measure on others, for each reading and each other shop."""
    count = shop.reference.count
    half = count // 2
    if way == HALVES:
        drawn = rng.permutation(count)[:half]
        others = np.setdiff1d(np.arange(count), drawn)
    else:
        drawn, others = rng.integers(count, size=half), np.arange(count)
    fitted = of_queries(shop.reference, drawn)
    calibration = choose_step(fitted, shop.before).calibration
    scores = fitted.read(calibration).mean
    chosen = choose_thresholds(scores, fitted.relevance, fitted.queries, all_promises(promises))
    found = {name: measure(chosen, calibration, of_queries(pairs, others)) for name, pairs in shop.readings.items()}
    return found | {name: measure(chosen, calibration, pairs) for name, pairs in shop.carried.items()}


def of_queries(pairs: JudgedPairs, queries: Places) -> JudgedPairs:
    """Return the pairs of some queries; one that is drawn twice is two queries, in one fold."""
    places = [np.flatnonzero(pairs.queries == query) for query in queries]
    rows = np.concatenate(places)
    return JudgedPairs(
        pairs.logits[rows],
        pairs.values,
        pairs.relevance[rows],
        tuple(pairs.labels[row] for row in rows),
        np.repeat(np.arange(len(queries)), [len(place) for place in places]),
        pairs.folds[rows],
    )


def summary(found: list[TierOutcome]) -> dict[str, Any]:
    """Return how often a promise was made and broken, and what tiers showed where it was made."""
    kept = [one for one in found if one.kept]
    broken = sum(one.loss > one.limit for one in kept)
    most = 1 - CONFIDENCE + 2 * sqrt(CONFIDENCE * (1 - CONFIDENCE) / len(found))
    return {
        "draws": len(found),
        "promised": len(kept),
        "broken": broken,
        "broken_share": broken / len(found),
        "broken_of_promised": broken / len(kept) if kept else None,
        "may_be_broken": most,
        "mean_loss": float(np.mean([one.loss for one in kept])) if kept else None,
        "highest_loss": max((one.loss for one in kept), default=None),
        "queries_shown_something": float(np.mean([one.shows for one in kept])) if kept else None,
        "products_shown": float(np.mean([one.shown for one in kept])) if kept else None,
    }


def results_of(
    shop: ReadShop, promises: list[str], draws: int, seed: int, advance: Callable[[], object]
) -> Iterator[dict[str, Any]]:
    """Yield one row for each way of drawing, each reading and each promise."""
    wanted = all_promises(promises)
    for way in (HALVES, DRAWS):
        rng = np.random.default_rng(seed)
        found: list[dict[str, dict[Tier, TierOutcome]]] = []
        for _ in range(draws):
            found.append(one_draw(shop, promises, way, rng))
            advance()
        for name in found[0]:
            for tier in THRESHOLDS:
                yield {
                    "shop": shop.name,
                    "read_by": name,
                    "carried": name in shop.carried,
                    "way": way,
                    "promise": str(wanted[tier]),
                    "queries": shop.reference.count,
                    **summary([one[name][tier] for one in found]),
                }


def table(rows: list[dict[str, Any]], way: str) -> FigureTable:
    """Return the rows of one way of drawing as a table."""
    cells = [
        (
            f"{row['shop']}{', ' if row['read_by'] else ''}{row['read_by']}: {row['promise']}",
            f"{row['queries'] // 2:,}",
            f"{row['promised']:,} of {row['draws']:,}",
            figure(row["broken_share"], ".1%"),
            figure(row["broken_of_promised"], ".1%"),
            figure(None if row["carried"] else row["may_be_broken"], ".1%"),
            figure(row["mean_loss"], ".1%"),
            figure(row["highest_loss"], ".1%"),
            figure(row["queries_shown_something"], ".0%"),
            figure(row["products_shown"], ".0%"),
        )
        for row in rows
        if row["way"] == way
    ]
    measured = "the other half" if way == HALVES else "the queries that they were drawn from"
    return FigureTable(
        f"Promises, {way}",
        HEADER,
        cells,
        f"queries: on which one draw is fitted. Broken, of all draws: the promise was made, and {measured} lost more "
        "than the limit; may be: 10% and two standard errors of such a share. Loss and what is shown: where the "
        "promise was made",
    )


def main(
    shop: Annotated[list[str], typer.Option(help="NAME=MODEL,DATA; repeat for several")],
    copy: Annotated[list[str], typer.Option(help="SHOP:NAME=MODEL, with its calibration")] = [],  # noqa: B006
    carry: Annotated[list[str], typer.Option(help="SHOP:NAME=DATA, another shop")] = [],  # noqa: B006
    promise: Annotated[list[str], typer.Option(help="as gen-rerank calibrate takes it")] = [],  # noqa: B006
    split: Annotated[list[str], typer.Option(help="whose queries are drawn")] = ["validation"],  # noqa: B006
    draws: Annotated[int, typer.Option(min=1)] = 500,
    seed: int = 0,
    runs: Annotated[Path, typer.Option(help="where logits are kept")] = Path("runs/promises"),
    out: Annotated[Path | None, typer.Option(help="where to write the results as JSON")] = None,
) -> None:
    """Draw, fit, measure and print."""
    this = ThisRun.now()
    unknown = [one for one in split if one not in get_args(Split)]
    if unknown:
        raise BadInput(f"--split {unknown[0]}: choose of {', '.join(get_args(Split))}")
    splits = cast(list[Split], split)
    shops = [opened(one, copy, carry, splits, runs) for one in shop]
    rows: list[dict[str, Any]] = []
    with WorkProgress(transient=True) as progress:
        task = progress.add_task("drawing", total=2 * draws * len(shops))
        for one in shops:
            rows += results_of(one, promise, draws, seed, lambda: progress.advance(task))
    console = wide_console(150)
    console.print(this.heading(), highlight=False, soft_wrap=True)
    for way in (HALVES, DRAWS):
        table(rows, way).show(console)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"run": this.heading(), "seed": seed, "rows": rows}, indent=1) + "\n", "utf-8")


def opened(given: str, copies: list[str], carried: list[str], splits: list[Split], runs: Path) -> ReadShop:
    """Return a shop with all its readings; what was scored before is not scored again."""
    name, _, places = given.partition("=")
    model, _, data = places.partition(",")
    if not (name and model and data):
        raise BadInput(f"--shop {given}: write NAME=MODEL,DATA")
    readings = {"": reading(f"{name}", model, Path(data), splits, runs)}
    for label, place in named(copies, name):
        readings[label] = reading(f"{name}-{label}", place, Path(data), splits, runs)
    others = {
        f"carried to {label}": reading(f"{name}-to-{label}", model, Path(place), splits, runs)
        for label, place in named(carried, name)
    }
    return ReadShop(name, readings, others, prepare_scorer(model).checkpoint.card.calibration)


def named(given: list[str], shop: str) -> Iterator[tuple[str, str]]:
    """Yield name and place of what is given as SHOP:NAME=PLACE for one shop."""
    for text in given:
        of, _, rest = text.partition(":")
        name, _, place = rest.partition("=")
        if not (of and name and place):
            raise BadInput(f"{text}: write SHOP:NAME=PLACE")
        if of == shop:
            yield name, place


def reading(name: str, model: str, data: Path, splits: list[Split], runs: Path) -> JudgedPairs:
    """Return what a model says of a shop's queries; logits are kept beside the fingerprints of model and data."""
    judged = Dataset.load(data).of(*splits)
    prepared = prepare_scorer(model)
    file = runs / f"{name}-{prepared.checkpoint.fingerprint}-{judged.fingerprint}.npy"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with prepared.open() as scorer, WorkProgress(transient=True) as progress:
            np.save(file, logits_of_pairs(scorer, [judged.pair(row) for row in judged.judgments], progress, name))
    return JudgedPairs.of(judged, np.load(file), prepared.checkpoint.card.readout.values)


if __name__ == "__main__":
    run(main)
