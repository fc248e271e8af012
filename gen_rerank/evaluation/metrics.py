"""Measures of rankings and of relevance distributions, each with a name that says what it is.

Ranking measures come from trec_eval through `ir_measures`; calibration measures and bootstrap intervals are here. All
conventions that change a figure (gain, threshold, ties, normalisation) are in `MEASURES` and in the docstrings. This
module sees arrays only: what a data set, a split or a slice is, `gen_rerank.evaluation.evaluation` knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import ir_measures
import numpy as np
import numpy.typing as npt
from ir_measures import AP, RR, nDCG

from gen_rerank.bins import BIN_COUNT, Distribution
from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import figure

Doubles = npt.NDArray[np.float64]

RELEVANT_FROM = 0.8
RELIABILITY_BINS = 10
RESAMPLES = 2000
# With fewer queries an interval is narrow by luck, with one it has no width at all: nothing is said of luck then, in no
# table, test or gate.
LEAST_QUERIES = 5

# trec_eval's grades are integers. nDCG does not change when all gains are multiplied by one number.
_GRADE_SCALE = 10_000
# Draws at a time: as many as a core's cache holds; benchmarks/bench_intervals.py measures it.
BOOTSTRAP_CELLS = 50_000


@dataclass(frozen=True)
class Measure:
    """A ranking measure: its name, its conventions in words, and what computes it."""

    name: str
    meaning: str
    trec: Any


def _ndcg(cutoff: int) -> Measure:
    meaning = (
        f"nDCG of the first {cutoff}, linear gain (the relevance itself), log2(rank + 1) discount; "
        "the ideal order is that of all judged products; undefined without any relevance above 0"
    )
    return Measure(f"nDCG@{cutoff}", meaning, nDCG @ cutoff)


_THRESHOLD = f"rel>={RELEVANT_FROM}"
_RELEVANT = f"relevant is {RELEVANT_FROM} or more; undefined when no product is"
_GRADE = round(RELEVANT_FROM * _GRADE_SCALE)

MEASURES: tuple[Measure, ...] = (
    _ndcg(1),
    _ndcg(5),
    _ndcg(10),
    Measure(f"MRR({_THRESHOLD})", f"1 / rank of the first relevant product; {_RELEVANT}", RR(rel=_GRADE)),
    Measure(f"MAP({_THRESHOLD})", f"mean precision at the ranks of the relevant products; {_RELEVANT}", AP(rel=_GRADE)),
)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% confidence interval; as JSON `[mean, low, high]`.

    Attributes:
        mean: over queries.
        low: the lower end.
        high: the upper end.
        queries: how many there are; None where it is not known.
    """

    mean: float
    low: float
    high: float
    queries: int | None = field(default=None, compare=False, repr=False)

    @property
    def few(self) -> bool:
        """Whether there are too few queries to say what is luck: such an interval is not shown, and nothing tested."""
        return self.queries is not None and self.queries < LEAST_QUERIES

    def to_json(self) -> list[float]:
        """Return `[mean, low, high]`."""
        return [self.mean, self.low, self.high]

    @classmethod
    def from_json(cls, row: Sequence[float], queries: int | None = None) -> Interval:
        """Return the interval of `[mean, low, high]` over so many queries."""
        mean, low, high = row
        return cls(float(mean), float(low), float(high), queries)

    def shown(self, form: str = ".3f") -> str:
        """Return the mean and the interval as people read them; of few queries the mean alone.

        Example:
            >>> Interval(0.0012, -0.0021, 0.0049, 40).shown("+.4f"), Interval(0.5, 0.5, 0.5, 1).shown()
            ('+0.0012 [-0.0021, +0.0049]', '0.500')
        """
        mean, low, high = (figure(value, form) for value in self.to_json())
        return mean if self.few else f"{mean} [{low}, {high}]"

    def __str__(self) -> str:
        """Return `0.912 [0.890, 0.931]`."""
        return self.shown()


class ReliabilityBin(NamedTuple):
    """One row of a reliability diagram: the pairs whose score is in [low, high), or [low, 1] for the last one."""

    low: float
    high: float
    pairs: int
    predicted: float
    observed: float


class Agreement(NamedTuple):
    """How alike two score vectors are: Kendall's tau-b of their orders, and the largest |difference|."""

    tau: float
    max_difference: float


def shuffled_ranks(
    query_ids: Sequence[str], product_ids: Sequence[str], scores: npt.ArrayLike, *, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return the rank of each pair within its query, `[n]` from 1, the highest score first.

    Equal scores are ordered by a seeded hash of (query id, product id). The order of the rows, which may follow the
    gold labels, has no influence; nor have trec_eval's own tie rules (by document id), since no two ranks are equal.

    Raises:
        BadInput: not one score a pair, or a score that is NaN.

    Example:
        >>> shuffled_ranks(["q", "q", "r"], ["a", "b", "a"], [0.2, 0.9, 0.5]).tolist()
        [2, 1, 1]
    """
    values = _vector(scores, len(query_ids), "scores")
    number = {query: i for i, query in enumerate(dict.fromkeys(query_ids))}
    groups = np.array([number[query] for query in query_ids], dtype=np.int64)
    coins = np.array([_coin(seed, *pair) for pair in zip(query_ids, product_ids, strict=True)], dtype=np.uint64)
    order = np.lexsort((coins, -values, groups))
    ranks = np.empty(len(values), dtype=np.int64)
    starts = np.searchsorted(groups[order], groups[order], side="left")
    ranks[order] = np.arange(len(values)) - starts + 1
    return ranks


def ranking(
    query_ids: Sequence[str],
    product_ids: Sequence[str],
    relevance: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    seed: int = 0,
) -> dict[str, Doubles]:
    """Return each measure of `MEASURES` for each query.

    Computed by trec_eval (Buckley; `pytrec_eval`: Van Gysel & de Rijke, SIGIR 2018). Every pair is judged, so there are
    no unjudged products. Grades reach trec_eval as integers, relevance × 10,000: nDCG does not depend on the scale.

    Args:
        query_ids: `[n]`, the query of each pair.
        product_ids: `[n]`, the product of each pair.
        relevance: `[n]` in [0, 1].
        scores: `[n]`, higher is better, on any scale; ties are broken as in `shuffled_ranks`.
        seed: of the hash that breaks ties.

    Returns:
        by measure, `[queries]` float64 in [0, 1] in the order in which queries first occur; NaN where the measure is
        undefined, which depends on the relevance alone.

    Raises:
        BadInput: lengths differ, a score or relevance is NaN, a relevance is outside [0, 1].

    Example:
        >>> ranking(["q", "q"], ["a", "b"], [1.0, 0.0], [0.1, 0.9])["MRR(rel>=0.8)"].tolist()
        [0.5]
    """
    gold = _relevance(relevance, len(query_ids))
    ranks = shuffled_ranks(query_ids, product_ids, scores, seed=seed)
    grades: dict[str, dict[str, int]] = {query: {} for query in query_ids}
    run: dict[str, dict[str, float]] = {query: {} for query in query_ids}
    integers = np.rint(gold * _GRADE_SCALE).astype(int).tolist()
    for query, product, grade, rank in zip(query_ids, product_ids, integers, ranks.tolist(), strict=True):
        grades[query][product] = grade
        run[query][product] = -float(rank)
    names = {measure.trec: measure.name for measure in MEASURES}
    place = {query: i for i, query in enumerate(grades)}
    values = {measure.name: np.full(len(place), np.nan) for measure in MEASURES}
    best = {query: max(row.values()) for query, row in grades.items()}
    for found in ir_measures.pytrec_eval.evaluator(list(names), grades).iter_calc(run):
        needed = 1 if found.measure.NAME == "nDCG" else _GRADE
        if best[found.query_id] >= needed:
            values[names[found.measure]][place[found.query_id]] = found.value
    return values


def ranked_probability_score(predicted: Distribution, observed: Sequence[Sequence[float]]) -> Doubles:
    """Return the ranked probability score (RPS) of each pair, `[n]` in [0, 1]; 0 is perfect.

    RPS = Σₖ (F(k) − O(k))² / 10, over the eleven bins, with F and O the distribution functions of prediction and
    observation (Epstein, "A scoring system for probability forecasts of ranked categories", 1969). Divided by
    K − 1 = 10 it is in units of relevance: the CRPS of a distribution on 0.0, 0.1 … 1.0. For a pair with several
    labels it is the mean of the RPS against each. A label between two bins is split linearly between them.

    Args:
        predicted: n distributions.
        observed: n sequences of labels in [0, 1], one at least in each: the annotators' labels, or the relevance alone.

    Raises:
        BadInput: numbers of pairs differ, a pair has no label, a label is not in [0, 1].

    Example:
        >>> sure_of_0_7 = Distribution(np.eye(11)[[7]])
        >>> ranked_probability_score(sure_of_0_7, [[0.5]]).round(6).tolist()
        [0.2]
    """
    if len(predicted) != len(observed):
        raise BadInput(f"{len(predicted)} distributions for {len(observed)} observations")
    counts = np.array([len(labels) for labels in observed], dtype=np.int64)
    if (counts == 0).any():
        raise BadInput(f"pair {int(np.flatnonzero(counts == 0)[0])} has no label")
    labels = _relevance([label for row in observed for label in row], int(counts.sum()))
    pair = np.repeat(np.arange(len(observed)), counts)
    steps = np.cumsum(label_weights(labels), axis=1)
    forecast = np.cumsum(predicted.probabilities, axis=1, dtype=np.float64)
    squared = ((forecast[pair] - steps)[:, :-1] ** 2).sum(axis=1) / (BIN_COUNT - 1)
    return np.bincount(pair, weights=squared, minlength=len(observed)) / counts


def label_weights(labels: npt.ArrayLike) -> Doubles:
    """Return labels as weights of the bins, `[n, 11]`: all on one bin, or split linearly between the two neighbours.

    Raises:
        BadInput: a label is not in [0, 1].

    Example:
        >>> label_weights([0.25])[0, 1:5].round(6).tolist()
        [0.0, 0.5, 0.5, 0.0]
    """
    values = _relevance(labels, None)
    # Rounded, so that 0.3 × 10 is 3 and not 3.0000000000000004.
    position = np.round(values * (BIN_COUNT - 1), 9)
    below = np.minimum(position.astype(int), BIN_COUNT - 2)
    share = position - below
    weights, rows = np.zeros((len(values), BIN_COUNT)), np.arange(len(values))
    weights[rows, below] = 1.0 - share
    weights[rows, below + 1] += share
    return weights


def reliability(
    predicted: npt.ArrayLike, observed: npt.ArrayLike, bins: int = RELIABILITY_BINS
) -> list[ReliabilityBin]:
    """Return the reliability table of scores: equal-width bins of the score, the empty ones left out.

    Args:
        predicted: `[n]` scores in [0, 1] (means of distributions).
        observed: `[n]` relevance in [0, 1].
        bins: how many.

    Raises:
        BadInput: lengths differ, or a value is not in [0, 1].

    Example:
        >>> reliability([0.91, 0.95], [1.0, 0.5])[0].observed
        0.75
    """
    place, scores, gold = _binned(predicted, observed, bins)
    rows = []
    for i in np.unique(place).tolist():
        inside = place == i
        means = float(scores[inside].mean()), float(gold[inside].mean())
        rows.append(ReliabilityBin(i / bins, (i + 1) / bins, int(inside.sum()), *means))
    return rows


def calibration_error(
    query_ids: Sequence[str],
    predicted: npt.ArrayLike,
    observed: npt.ArrayLike,
    *,
    bins: int = RELIABILITY_BINS,
    seed: int = 0,
) -> Interval:
    """Return the expected calibration error (ECE) of scores as estimates of graded relevance, in units of relevance.

    ECE = Σ_b (n_b / n) · |mean score in b − mean relevance in b| over equal-width bins of the score: Naeini et al.,
    "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015, with graded relevance in place of
    hits. Every pair weighs the same. The interval resamples queries; since noise can only add to an absolute value, it
    lies high where there are few pairs, and may then leave the estimate itself below it.

    Raises:
        BadInput: there are no pairs, lengths differ, or a value is not in [0, 1].

    Example:
        >>> calibration_error(["q", "q"], [0.91, 0.95], [1.0, 0.5]).mean.__round__(6)
        0.18
    """
    place, scores, gold = _binned(predicted, observed, bins)
    if len(place) != len(query_ids) or not len(place):
        raise BadInput(f"{len(place)} scores for {len(query_ids)} pairs; at least one is needed")
    number = {query: i for i, query in enumerate(dict.fromkeys(query_ids))}
    group = np.array([number[query] for query in query_ids])
    gaps = np.zeros((len(number), bins))  # the sum of score - relevance, by query and bin
    np.add.at(gaps, (group, place), scores - gold)
    sizes = np.bincount(group, minlength=len(number))
    rng, n = np.random.default_rng(seed), len(number)
    drawn = []
    for rows in draws(RESAMPLES, n):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=rows).astype(np.float64)
        drawn.append(np.abs(weights @ gaps).sum(axis=1) / (weights @ sizes))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return Interval(float(np.abs(gaps.sum(axis=0)).sum() / sizes.sum()), float(low), float(high), n)


def bootstrap(values: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the mean of per-query values with its 95% percentile bootstrap interval over queries.

    Queries, not pairs, are drawn: the pairs of a query are not independent (Sakai, "Evaluating evaluation metrics based
    on the bootstrap", SIGIR 2006). NaN marks a query for which the measure is undefined, and is left out.

    `values` are `[queries]`; the same `seed` and number of values give the same draws.

    Raises:
        BadInput: no value is defined, or one is infinite.

    Example:
        >>> bootstrap([0.5, 0.5, 0.5])
        Interval(mean=0.5, low=0.5, high=0.5)
    """
    given = np.asarray(values, dtype=np.float64)
    known = given[~np.isnan(given)]
    if given.ndim != 1 or not len(known) or not np.isfinite(known).all():
        raise BadInput("a bootstrap interval needs a list of finite values, one a query, and at least one of them")
    rng = np.random.default_rng(seed)
    n = len(known)
    means = [known[rng.integers(n, size=(rows, n))].mean(axis=1) for rows in draws(resamples, n)]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(float(known.mean()), float(low), float(high), n)


def paired(a: npt.ArrayLike, b: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the mean of a − b over queries with its paired bootstrap interval: the same queries drawn for both.

    `a` and `b` have the same queries in the same order; NaN in either leaves a query out. The rest is as in
    `bootstrap`.

    Raises:
        BadInput: lengths differ, or no query is defined for both.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise BadInput(f"a paired difference needs the same queries on both sides, not {len(first)} and {len(second)}")
    return bootstrap(first - second, resamples=resamples, seed=seed)


def agreement(a: npt.ArrayLike, b: npt.ArrayLike) -> Agreement:
    """Compare two score vectors of the same pairs.

    Kendall's tau-b ("The treatment of ties in ranking problems", 1945) is 1 for equal vectors, and 0 when just one of
    them has any order, where it is not defined.

    Raises:
        BadInput: lengths differ, there are no scores, or one is NaN.

    Example:
        >>> agreement([0.1, 0.2, 0.3], [0.1, 0.3, 0.2]).max_difference.__round__(6)
        0.1
    """
    from scipy.stats import kendalltau

    first = _vector(a, None, "scores")
    second = _vector(b, len(first), "scores")
    if not len(first):
        raise BadInput("there are no scores to compare")
    if np.array_equal(first, second):
        return Agreement(1.0, 0.0)
    tau = float(kendalltau(first, second).statistic)
    return Agreement(0.0 if np.isnan(tau) else tau, float(np.abs(first - second).max()))


def draws(resamples: int, width: int) -> Iterable[int]:
    """Return how many resamples of so many values to draw at a time, so that they fit into a core's cache.

    Example:
        >>> list(draws(2000, 40))
        [1250, 750]
    """
    step = max(1, BOOTSTRAP_CELLS // width)
    return (min(step, resamples - start) for start in range(0, resamples, step))


def _coin(seed: int, query_id: str, product_id: str) -> int:
    text = f"{seed}\0{query_id}\0{product_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def _vector(values: npt.ArrayLike, length: int | None, what: str) -> Doubles:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or (length is not None and len(vector) != length):
        expected = "a list of" if length is None else length
        raise BadInput(f"expected {expected} {what}, not an array of shape {list(vector.shape)}")
    if np.isnan(vector).any():
        raise BadInput(f"{what}: number {int(np.flatnonzero(np.isnan(vector))[0])} is NaN")
    return vector


def _relevance(values: npt.ArrayLike, length: int | None) -> Doubles:
    vector = _vector(values, length, "relevance values")
    outside = (vector < 0) | (vector > 1)
    if outside.any():
        raise BadInput(f"relevance values are between 0 and 1, not {vector[outside][0]}")
    return vector


def _binned(
    predicted: npt.ArrayLike, observed: npt.ArrayLike, bins: int
) -> tuple[npt.NDArray[np.int64], Doubles, Doubles]:
    gold = _relevance(observed, None)
    scores = _relevance(predicted, len(gold))
    place = np.minimum(np.floor(np.round(scores * bins, 6)).astype(np.int64), bins - 1)
    return place, scores, gold
