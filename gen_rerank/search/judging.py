"""What `gen-rerank evaluate --index` does: from an index, a model and judged queries to recall, headroom, a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import RenderableType

from gen_rerank.bins import Distribution
from gen_rerank.data.dataset import Dataset, judged_split
from gen_rerank.data.records import BadRow, Pair
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import save_json
from gen_rerank.evaluation.measuring import EvaluationPlan, require_place
from gen_rerank.evaluation.systems import SystemNames
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.scorers.opening import prepare_scorer
from gen_rerank.scorers.scorer import TokenScorer
from gen_rerank.search.absent import Absent, absent_products
from gen_rerank.search.advice import Advice, advice
from gen_rerank.search.candidates import ProductCandidate, Retriever, Stockroom
from gen_rerank.search.headroom import DEEPEST, Headroom, RankedQuery, headroom
from gen_rerank.search.headroom_plot import headroom_svg
from gen_rerank.search.headroom_tables import headroom_table, unjudged_table
from gen_rerank.search.hits import hits_by_score
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.recall import RecallReport, recall_report
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.rules.pinned import pinned_candidates
from gen_rerank.search.rules.pricing import JudgedSearch, PriceList
from gen_rerank.system.publishing import require_apart, write_text_whole

# Scored together: 2,048 pairs at most are in memory, and as many a batch is made of.
_QUERIES_AT_ONCE = 8


@dataclass(frozen=True)
class RetrievalPlan:
    """What one run of `evaluate --index` measures.

    Attributes:
        evaluation: one model, the data, and how it is scored.
        index: a folder that `gen-rerank index` wrote.
        queries: how many of the judged queries are measured; None for all.
        plot: a file for the drawing, as SVG.
        rules: a file of the shop's rules, which are priced.
    """

    evaluation: EvaluationPlan
    index: Path
    queries: int | None = None
    plot: Path | None = None
    rules: Path | None = None


@dataclass(frozen=True)
class RetrievalReport:
    """What `evaluate --index` found.

    Attributes:
        legend: what was measured, in lines.
        name: of the model.
        recall: of each list.
        headroom: what each order is worth.
        absent: what the index lacks.
        advice: what follows from it.
        undefined: how many queries have no relevance above 0, and are left out of nDCG.
        bad_rows: the rows of the data that were left out.
        prices: what each rule costs; None without rules.
    """

    legend: tuple[str, ...]
    name: str
    recall: RecallReport
    headroom: Headroom
    absent: Absent
    advice: Advice
    undefined: int
    bad_rows: tuple[BadRow, ...]
    prices: PriceList | None = None

    def shown(self) -> Iterator[RenderableType]:
        """Yield what people see."""
        yield from self.legend
        if self.recall.queries:
            yield self.recall.table()
        yield from self.recall.remarks()
        yield headroom_table(self.headroom, self.name)
        yield unjudged_table(self.headroom, self.name)
        if self.prices is not None:
            yield self.prices.table()
        if self.undefined:
            queries = f"{self.undefined:,} of {self.undefined + len(self.headroom.query_ids):,} queries"
            yield f"{queries} have no judged product above relevance 0; they are left out of nDCG"
        yield from self.advice.sentences

    def to_json(self) -> dict[str, Any]:
        """Return all figures, with their definitions."""
        return {
            "legend": list(self.legend),
            "model": self.name,
            "recall": self.recall.to_json(),
            "headroom": self.headroom.to_json(),
            "not_in_index": self.absent.to_json(),
            "queries_without_relevance": self.undefined,
            "invest": self.advice.invest,
            "verdict": list(self.advice.sentences),
            **({} if self.prices is None else {"rules": self.prices.to_json()}),
            "left_out": [str(row) for row in self.bad_rows],
        }


def evaluate_retrieval(plan: RetrievalPlan) -> RetrievalReport:
    """Measure an index and a model behind it, and write JSON and the drawing where paths are given.

    Raises:
        BadInput: options that do not go together, a file that cannot be written, no such index, bad data, an empty
            split, no product that is relevant at all or none of them in the index, or a refused checkpoint or adapter.

    Example:
        >>> plan = RetrievalPlan(EvaluationPlan(("runs/model",), Path("shop")), Path("runs/index"))
        >>> evaluate_retrieval(plan).advice.invest  # doctest: +SKIP
        'retrieval'
    """
    _check(plan)
    asked = plan.evaluation
    rules = None if plan.rules is None else Rules.read(plan.rules)
    if rules is not None and not rules.used:
        raise BadInput(f"{plan.rules}: has no rules that could be priced")
    index = ProductIndex.open(plan.index)
    prices = None if rules is None else PriceList(rules, index.vectors_of)
    split = judged_split(asked.data, asked.split, asked.skip_bad_rows)
    dataset = drawn_queries(split, plan.queries)
    useful = [query_id for query_id, rows in dataset.by_query().items() if any(row.relevance > 0 for row in rows)]
    if not useful:
        raise BadInput(f"{asked.data}: no judged query of the split {asked.split!r} has a product above relevance 0")
    absent = absent_products(index, dataset, useful)
    if absent.products == absent.judged:
        raise BadInput(
            f"{plan.index}: holds none of the {absent.judged:,} products that {asked.data} judges above relevance 0; "
            f"it is an index of other products: gen-rerank index {asked.data} --out INDEX makes that of these"
        )
    prepared = prepare_scorer(asked.models[0], asked.backend, asked.adapter, asked.dtype)
    recall = recall_report(index, dataset)
    with prepared.open() as scorer:
        found = headroom(ranked_queries(index, dataset, useful, scorer, prices))
    name = SystemNames.of(asked.models, asked.adapter).models[0]
    judged = len(dataset.by_query())
    drawn = "" if plan.queries is None else f" of {len(split.by_query()):,}, drawn by a seeded hash of their ids"
    legend = (
        *([absent.sentence()] if absent.products else []),
        f"{plan.index}: {len(index):,} products",
        f"{asked.data}: {judged:,} judged queries{drawn} (split {asked.split!r})",
        f"{asked.models[0]}: {found.candidates:,} pairs, scored with {prepared}",
    )
    said = advice(found, name, absent)
    left = judged - len(useful)
    report = RetrievalReport(legend, name, recall, found, absent, said, left, dataset.bad_rows, prices)
    _write(plan, report)
    return report


def drawn_queries(dataset: Dataset, limit: int | None) -> Dataset:
    """Return a data set with so many of its judged queries: those whose ids have the smallest hashes.

    The same ids give the same queries, whatever their order, and a larger number holds the queries of a smaller one.

    Args:
        dataset: one split.
        limit: how many; None, or more than there are, leaves all.
    """
    judged = list(dataset.by_query())
    if limit is None or limit >= len(judged):
        return dataset
    kept = set(sorted(judged, key=lambda query_id: blake2b(query_id.encode(), digest_size=8).digest())[:limit])
    queries = {key: query for key, query in dataset.queries.items() if key in kept}
    judgments = tuple(row for row in dataset.judgments if row.query_id in kept)
    return Dataset(dataset.products, queries, judgments, dataset.bad_rows)


@dataclass(frozen=True, eq=False)
class ScoredQuery:
    """A judged query with its candidates and what the model says of each.

    Attributes:
        query_id: of the query.
        text: of the query.
        relevance: of all its judged products, by id.
        found: the candidates, in the order in which they were retrieved, then what is pinned.
        retrieved: how many of them were retrieved.
        scored: one distribution each, `[n]`.
    """

    query_id: str
    text: str
    relevance: dict[str, float]
    found: tuple[ProductCandidate, ...]
    retrieved: int
    scored: Distribution

    @property
    def ranked(self) -> RankedQuery:
        """What the headroom is measured on: the retrieved candidates alone."""
        of_found = [self.relevance.get(one.product.product_id, np.nan) for one in self.found[: self.retrieved]]
        return RankedQuery(
            self.query_id,
            np.array(list(self.relevance.values()), dtype=np.float64),
            np.array(of_found, dtype=np.float64),
            np.asarray(self.scored.mean[: self.retrieved], dtype=np.float64),
        )

    def judged_search(self, thresholds: Mapping[str, float]) -> JudgedSearch:
        """Return what rules are priced on."""
        hits = hits_by_score(self.found, self.scored, thresholds)
        return JudgedSearch(self.text, self.found, tuple(hits), self.relevance)


def scored_queries(
    index: Retriever,
    dataset: Dataset,
    query_ids: Sequence[str],
    scorer: TokenScorer,
    rules: Rules,
    stockroom: Stockroom | None,
) -> Iterator[ScoredQuery]:
    """Yield queries with their candidates, each pair scored once, a few queries at a time.

    Args:
        index: finds 256 candidates a query.
        dataset: has the judgments.
        query_ids: which queries.
        scorer: of the model.
        rules: say what is pinned, which is scored too.
        stockroom: knows what is pinned.
    """
    judged = dataset.by_query()
    with WorkProgress(transient=True) as progress:
        total = len(query_ids) * DEEPEST
        task = progress.add_task("scoring", total=total)
        for first in range(0, len(query_ids), _QUERIES_AT_ONCE):
            part = query_ids[first : first + _QUERIES_AT_ONCE]
            found = {key: index.candidates(dataset.queries[key].text, DEEPEST) for key in part}
            retrieved = {key: len(found[key]) for key in part}
            for key in part:
                found[key] += pinned_candidates(rules, dataset.queries[key].text, found[key], stockroom)
            pairs = [Pair(dataset.queries[key].text, one.product) for key in part for one in found[key]]
            total -= len(part) * DEEPEST - len(pairs)
            progress.update(task, total=total)
            nothing = Distribution.concatenate([])
            scored = scorer.score(pairs, advance=partial(progress.advance, task)) if pairs else nothing
            start = 0
            for key in part:
                end = start + len(found[key])
                relevance = {row.product_id: row.relevance for row in judged[key]}
                text = dataset.queries[key].text
                yield ScoredQuery(key, text, relevance, tuple(found[key]), retrieved[key], scored[start:end])
                start = end


def ranked_queries(
    index: Retriever, dataset: Dataset, query_ids: Sequence[str], scorer: TokenScorer, prices: PriceList | None = None
) -> Iterator[RankedQuery]:
    """Yield queries with their candidates' relevance and scores; the rules are priced on the way.

    Args:
        index: finds 256 candidates a query.
        dataset: has the judgments.
        query_ids: which queries.
        scorer: of the model.
        prices: is given each query; None where there are no rules.
    """
    rules = Rules() if prices is None else prices.rules
    stockroom = index if isinstance(index, ProductIndex) else None
    for one in scored_queries(index, dataset, query_ids, scorer, rules, stockroom):
        if prices is not None:
            prices.add(one.judged_search(scorer.checkpoint.card.calibration.thresholds))
        yield one.ranked


def _check(plan: RetrievalPlan) -> None:
    """Refuse options that do not go together, and files that cannot be written.

    Raises:
        BadInput: one of them.
    """
    asked = plan.evaluation
    if len(asked.models) > 1:
        raise BadInput("--index goes with one model; evaluate the others in runs of their own")
    single = {"gate": asked.gates, "baseline": asked.baseline, "measure": asked.measure, "scores": asked.scores}
    for option, given in single.items():
        if given:
            raise BadInput(f"--{option} does not go with --index; leave one of the two out")
    if plan.plot is not None and plan.plot.suffix.lower() != ".svg" and not _is_device(plan.plot):
        raise BadInput(f"{plan.plot}: the drawing is SVG; name a file that ends in .svg")
    for path in (asked.out, plan.plot):
        if path is not None:
            require_place(path, asked.data, asked.models, asked.adapter)
            require_apart(path, [(f"the rules {plan.rules}", plan.rules)] if plan.rules else [])
            if plan.index.resolve() in path.resolve().parents:
                raise BadInput(f"{path}: lies in the index that is read; name another place")
    if asked.out is not None and plan.plot is not None and asked.out.resolve() == plan.plot.resolve():
        raise BadInput(f"{asked.out}: --out and --plot are one file; name two")


def _is_device(path: Path) -> bool:
    """Return whether a path is a pipe or a device, such as /dev/stdout, which has no ending."""
    return path.absolute().is_relative_to("/dev") or (path.exists() and not path.is_file() and not path.is_dir())


def _write(plan: RetrievalPlan, report: RetrievalReport) -> None:
    out, plot = plan.evaluation.out, plan.plot
    for path in (out, plot):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if out is not None:
        save_json(out, report.to_json())
    if plot is not None:
        write_text_whole(plot, headroom_svg(report.headroom, report.name))
