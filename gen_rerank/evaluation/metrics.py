"""Measures of rankings and of relevance distributions, each with a name that says what it is.

Ranking measures come from trec_eval through `ir_measures`; calibration measures are here, intervals in `intervals`. All
conventions that change a figure (gain, threshold, ties, normalisation) are in `MEASURES` and in the docstrings. This
module sees arrays only: what a data set, a split or a slice is, `gen_rerank.evaluation.evaluation` knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import ir_measures
import numpy as np
import numpy.typing as npt
from ir_measures import AP, RR, nDCG

from gen_rerank.bins import BIN_COUNT, Distribution
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.intervals import RESAMPLES, Interval, draws

Doubles = npt.NDArray[np.float64]

RELEVANT_FROM = 0.8
RELIABILITY_BINS = 10

# trec_eval's grades are integers. nDCG does not change when all gains are multiplied by one number.
_GRADE_SCALE = 10_000


@dataclass(frozen=True)
class Measure:
    """A ranking measure: its name, its conventions in words, and what computes it."""

    name: str
    meaning: str
    trec: Any

    @property
    def graded(self) -> bool:
        """Whether any relevance counts, and not only whether it is above the threshold."""
        return bool(self.trec.NAME == "nDCG")

    def is_defined(self, best: int) -> bool:
        """Return whether it has a value for a query whose best product has this grade, as trec_eval is told it."""
        return best >= (1 if self.graded else _GRADE)

    def is_decided(self, worst: int, best: int) -> bool:
        """Return whether one order of a query's products is better than another."""
        return self.is_defined(best) and worst < (best if self.graded else _GRADE)


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
    measures = {measure.trec: measure for measure in MEASURES}
    place = {query: i for i, query in enumerate(grades)}
    values = {measure.name: np.full(len(place), np.nan) for measure in MEASURES}
    best = {query: max(row.values()) for query, row in grades.items()}
    for found in ir_measures.pytrec_eval.evaluator(list(measures), grades).iter_calc(run):
        measure = measures[found.measure]
        if measure.is_defined(best[found.query_id]):
            values[measure.name][place[found.query_id]] = found.value
    return values


def deciding_queries(query_ids: Sequence[str], relevance: npt.ArrayLike) -> dict[str, int]:
    """Return, for each measure of `MEASURES`, in how many queries one order of the products is better than another.

    In the others the measure is undefined, or the same for whoever ranks: nDCG where all products are equally relevant,
    MRR and MAP where all are relevant. They say nothing of two systems, however many they are.

    Args:
        query_ids: `[n]`, the query of each pair.
        relevance: `[n]` in [0, 1].

    Raises:
        BadInput: lengths differ, or a relevance is NaN or outside [0, 1].

    Example:
        >>> deciding_queries(["q", "q", "r", "r"], [1.0, 0.9, 0.5, 0.5])["nDCG@5"]
        1
    """
    grades: dict[str, list[int]] = {}
    gold = _relevance(relevance, len(query_ids))
    for query, grade in zip(query_ids, np.rint(gold * _GRADE_SCALE).astype(int).tolist(), strict=True):
        grades.setdefault(query, []).append(grade)
    ends = [(min(found), max(found)) for found in grades.values()]
    return {measure.name: sum(measure.is_decided(*query) for query in ends) for measure in MEASURES}


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
