"""The two figures that are told of ERESS and are both called nDCG@5: the published one and MTEB's, side by side.

They differ in gain and in ideal, so that they cannot be compared with each other, nor with the house's own nDCG@5. Each
stands above the same figure of random order, which says what it is worth. Everything else about a ranking is left to
`gen_rerank.evaluation.evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ir_measures
import numpy as np
import numpy.typing as npt
from ir_measures import nDCG

from gen_rerank.bins import Distribution
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.floors import random_scores
from gen_rerank.evaluation.metrics import Doubles, Interval, bootstrap, shuffled_ranks
from gen_rerank.evaluation.tables import judged
from gen_rerank.reporting.tables import WideTable

CUTOFF = 5
PUBLISHED = f"published nDCG@{CUTOFF}"
MTEB = f"MTEB nDCG@{CUTOFF}"
RANDOM = "random"

MEANINGS = {
    PUBLISHED: f"gain 2^relevance - 1, log2(rank + 1) discount; the ideal is the best order of the model's own first "
    f"{CUTOFF}, so that it says nothing of what they are; 0 where none of them has a relevance above 0",
    MTEB: "gain round(100 x relevance), log2(rank + 1) discount, by pytrec_eval; the ideal is the best order of all "
    "judged products; 0 where none has a gain above 0",
}
_CONVENTIONS = (
    "mean over all judged queries, with 95% percentile bootstrap intervals over queries; ties are broken by a seeded "
    "hash of query and product"
)
# Of MTEB's qrels, which are integers.
_MTEB_SCALE = 100


@dataclass(frozen=True)
class EressReport:
    """Both figures of each system, on one split.

    Attributes:
        data: fingerprint of what was judged.
        queries: how many were judged.
        pairs: how many were judged.
        systems: by name, in the order given and random order last; each figure by its name.
    """

    data: str
    queries: int
    pairs: int
    systems: dict[str, dict[str, Interval]]

    def table(self) -> WideTable:
        """Return one row a system and one column a figure, with 95% intervals."""
        caption = [
            "mean [95% bootstrap interval over queries]; compare down a column, never along a row",
            *(f"{name}: {meaning}" for name, meaning in MEANINGS.items()),
        ]
        title = f"The two nDCG@{CUTOFF} of ERESS: {judged(self.queries, self.pairs)}"
        table = WideTable(title, "\n".join(caption), "System", list(MEANINGS))
        for system, figures in self.systems.items():
            table.add_row(system, [str(figures[name]) for name in MEANINGS])
        return table

    def to_json(self) -> dict[str, Any]:
        """Return all figures as `[mean, low, high]`, with what they mean."""
        return {
            "data": self.data,
            "queries": self.queries,
            "pairs": self.pairs,
            "systems": {
                system: {name: [round(value, 6) for value in found.to_json()] for name, found in figures.items()}
                for system, figures in self.systems.items()
            },
            "measures": MEANINGS,
            "conventions": _CONVENTIONS,
        }


def eress_report(
    dataset: Dataset, systems: Mapping[str, Distribution | npt.ArrayLike], *, seed: int = 0
) -> EressReport:
    """Return both figures of each system and of random order.

    Args:
        dataset: what is judged; most often `dataset.of("test")`.
        systems: by name, one row a judgment in the order of `dataset.judgments`: a distribution, or `[n]` scores.
        seed: of the bootstrap, of the random order, and of the hash that breaks ties.

    Raises:
        BadInput: there are no judgments, not one score each, a score that is NaN, or a system named "random".

    Example:
        >>> test = Dataset.load("eress").of("test")  # doctest: +SKIP
        >>> console().print(eress_report(test, {"ours": distribution}).table())  # doctest: +SKIP
    """
    rows = dataset.judgments
    if not rows:
        raise BadInput("there are no judgments to evaluate on")
    if RANDOM in systems:
        raise BadInput(f"a system may not be named {RANDOM!r}: that is the row of random order")
    queries, products = [row.query_id for row in rows], [row.product_id for row in rows]
    gold = [row.relevance for row in rows]
    figures = {}
    for name, given in {**systems, RANDOM: random_scores(dataset, seed)}.items():
        scores = given.mean if isinstance(given, Distribution) else given
        per_query = {
            PUBLISHED: published_ndcg(queries, products, gold, scores, seed=seed),
            MTEB: mteb_ndcg(queries, products, gold, scores, seed=seed),
        }
        figures[name] = {measure: bootstrap(values, seed=seed) for measure, values in per_query.items()}
    return EressReport(dataset.fingerprint, len(set(queries)), len(rows), figures)


def published_ndcg(
    query_ids: Sequence[str],
    product_ids: Sequence[str],
    relevance: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    cutoff: int = CUTOFF,
    seed: int = 0,
) -> Doubles:
    """Return the published nDCG of each query, `[queries]` float64 in [0, 1], in the order of their first rows.

    The gain is 2^relevance − 1. The ideal is the best order of the model's own first `cutoff`: a model that puts five
    poor products first has 1.0 if it puts them in the right order, and random order has a high figure. Where nothing
    among the first has a relevance above 0, the quotient is undefined and is counted as 0.

    Args:
        query_ids: `[n]`, the query of each pair.
        product_ids: `[n]`, the product of each pair.
        relevance: `[n]` in [0, 1].
        scores: `[n]`, higher is better, on any scale; ties are broken as in `shuffled_ranks`.
        cutoff: how many count.
        seed: of the hash that breaks ties.

    Raises:
        BadInput: lengths differ, or a score is NaN.

    Example:
        >>> published_ndcg(["q"] * 6, list("abcdef"), [1, 0, 0, 0, 0, 0.5], [1, 6, 5, 4, 3, 2]).round(3).tolist()
        [0.387]
    """
    gains = _ranked(query_ids, product_ids, np.exp2(np.asarray(relevance, dtype=np.float64)) - 1, scores, seed)
    return np.array([_quotient(row[:cutoff]) for row in gains])


def mteb_ndcg(
    query_ids: Sequence[str],
    product_ids: Sequence[str],
    relevance: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    cutoff: int = CUTOFF,
    seed: int = 0,
) -> Doubles:
    """Return the nDCG that MTEB's `ERESSReranking` has for each query, `[queries]` in the order of their first rows.

    By pytrec_eval (Van Gysel & de Rijke, SIGIR 2018) on the integers round(100 × relevance); a query without one above
    0 counts as 0, as there. Only ties differ: MTEB leaves them to trec_eval, which takes the larger id first. The
    arguments are those of `published_ndcg`.

    Raises:
        BadInput: lengths differ, or a score is NaN.

    Example:
        >>> mteb_ndcg(["q", "q"], ["a", "b"], [1.0, 0.0], [0.1, 0.9]).round(3).tolist()
        [0.631]
    """
    ranks = shuffled_ranks(query_ids, product_ids, scores, seed=seed)
    grades = np.rint(_MTEB_SCALE * np.asarray(relevance, dtype=np.float64)).astype(int).tolist()
    gold: dict[str, dict[str, int]] = {query: {} for query in query_ids}
    run: dict[str, dict[str, float]] = {query: {} for query in query_ids}
    for query, product, grade, rank in zip(query_ids, product_ids, grades, ranks.tolist(), strict=True):
        gold[query][product] = grade
        run[query][product] = -float(rank)
    found = ir_measures.pytrec_eval.evaluator([nDCG @ cutoff], gold).iter_calc(run)
    values = {each.query_id: each.value for each in found}
    return np.array([values[query] for query in gold])


def _ranked(
    query_ids: Sequence[str], product_ids: Sequence[str], gains: Doubles, scores: npt.ArrayLike, seed: int
) -> list[Doubles]:
    """Return the gains of each query's products, the highest score first."""
    ranks = shuffled_ranks(query_ids, product_ids, scores, seed=seed)
    places: dict[str, list[int]] = {}
    for place, query in enumerate(query_ids):
        places.setdefault(query, []).append(place)
    return [gains[rows][np.argsort(ranks[rows])] for rows in places.values()]


def _quotient(gains: Doubles) -> float:
    """Return DCG over that of the same gains in their best order; 0 where there is no gain."""
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    ideal = float(np.sort(gains)[::-1] @ discounts)
    return float(gains @ discounts) / ideal if ideal else 0.0
