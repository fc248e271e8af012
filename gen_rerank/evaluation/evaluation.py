"""From a judged data set and one score a pair to a report: ranking, calibration, slices, all with intervals.

An `Evaluation` keeps its per-query values, so two of them can be compared query by query long after the models are
gone; a scores file keeps the distributions themselves. Models are left to `gen_rerank.scorers`, the formulas to
`gen_rerank.evaluation.metrics`, and what people see to `gen_rerank.evaluation.tables`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import Distribution
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation import metrics
from gen_rerank.evaluation.metrics import Doubles, Interval, ReliabilityBin
from gen_rerank.evaluation.rankable import NONE_UNRANKED, Unranked, unranked
from gen_rerank.system.publishing import write_text_anywhere

RPS = "RPS"
MSE = "MSE"
# The measure by which one figure says it all: the shop's first screen.
HEADLINE = "nDCG@5"
ECE = f"ECE({metrics.RELIABILITY_BINS} bins)"
RANKING_MEASURES = tuple(measure.name for measure in metrics.MEASURES)
DISTRIBUTION_MEASURES = (RPS, MSE, ECE)
# Those with one value a query, of which there are paired differences.
QUERY_MEASURES = (*RANKING_MEASURES, RPS, MSE)

_MEANINGS = {
    **{measure.name: measure.meaning for measure in metrics.MEASURES},
    RPS: "ranked probability score in units of relevance, against each annotator's label; "
    "mean of a query's pairs, then of queries",
    MSE: "squared error of the score against the relevance; mean of a query's pairs, then of queries",
    ECE: "mean |mean score - mean relevance| over equal-width bins of the score, weighted by pairs; "
    "interval over queries",
}

_CONVENTIONS = (
    "intervals are 95% percentile bootstrap over queries, 2,000 resamples; every query weighs the same; candidates are "
    "the judged products; ties are broken by a seeded hash, never by the order of the file"
)


@dataclass(frozen=True)
class Slice:
    """The queries that carry one tag: how many, and the mean of each measure over those for which it is defined."""

    queries: int
    measures: dict[str, Interval]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well one system ranks and how honest its distributions are, on one split.

    Attributes:
        name: of the system.
        data: fingerprint of the evaluated data; only evaluations of the same data can be compared.
        queries: how many were judged.
        pairs: how many were judged.
        ranking: each ranking measure, higher is better; see `gen_rerank.evaluation.metrics.MEASURES`.
        calibration: `RPS`, `MSE` and `ECE(10 bins)`, lower is better; None for scores without distributions.
        slices: by tag, in alphabetical order; ranking measures, `RPS` and `MSE`.
        reliability: the bins of the reliability diagram that have pairs; empty without distributions.
        query_ids: the judged queries, in the order of `per_query`.
        per_query: by measure, `[queries]` float64; NaN where the measure is undefined.
        unranked: the queries in which no order is better than another; empty in reports from before it was said.
        scored_with: backend and number type, as people read them; empty for floors, and in reports from before it was
            said.
    """

    name: str
    data: str
    queries: int
    pairs: int
    ranking: dict[str, Interval]
    calibration: dict[str, Interval] | None
    slices: dict[str, Slice]
    reliability: tuple[ReliabilityBin, ...]
    query_ids: tuple[str, ...]
    per_query: dict[str, Doubles]
    unranked: Unranked = NONE_UNRANKED
    scored_with: str = ""

    @property
    def calibrated(self) -> dict[str, Interval]:
        """The calibration measures; empty for scores without distributions."""
        return self.calibration or {}

    def to_json(self) -> dict[str, Any]:
        """Return what `save` writes; every figure comes with its definition.

        Values of queries are not rounded, so that a system does not differ from itself when it was read again.
        """
        per_query = {name: [None if np.isnan(x) else x for x in row.tolist()] for name, row in self.per_query.items()}
        used = [*self.ranking, *self.calibrated]
        return {
            "name": self.name,
            "data": self.data,
            "queries": self.queries,
            "pairs": self.pairs,
            "scored_with": self.scored_with,
            "ranking": _intervals(self.ranking),
            "calibration": None if self.calibration is None else _intervals(self.calibration),
            "slices": {tag: {"queries": row.queries, **_intervals(row.measures)} for tag, row in self.slices.items()},
            "reliability": [row._asdict() for row in self.reliability],
            "conventions": _CONVENTIONS,
            "measures": {name: _MEANINGS[name] for name in used},
            "unranked": self.unranked.to_json(),
            "query_ids": list(self.query_ids),
            "per_query": per_query,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation of what `to_json` gave.

        Raises:
            BadInput: a field is missing or has another shape, or these are several evaluations.
        """
        if isinstance(row, Mapping) and "evaluations" in row:
            raise BadInput("holds several evaluations; save one model's: gen-rerank evaluate MODEL DATA --out FILE")
        try:
            slices = {
                tag: Slice(int(values["queries"]), _read_intervals({k: v for k, v in values.items() if k != "queries"}))
                for tag, values in row["slices"].items()
            }
            per_query = {name: np.array(values, dtype=np.float64) for name, values in row["per_query"].items()}
            if any(len(values) != len(row["query_ids"]) for values in per_query.values()):
                raise ValueError("per_query has not one value a query")
            return cls(
                name=str(row["name"]),
                data=str(row["data"]),
                queries=int(row["queries"]),
                pairs=int(row["pairs"]),
                ranking=_read_intervals(row["ranking"]),
                calibration=None if row["calibration"] is None else _read_intervals(row["calibration"]),
                slices=slices,
                reliability=tuple(ReliabilityBin(**values) for values in row["reliability"]),
                query_ids=tuple(row["query_ids"]),
                per_query=per_query,
                unranked=Unranked.from_json(row["unranked"]) if "unranked" in row else NONE_UNRANKED,
                scored_with=str(row.get("scored_with", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"not an evaluation: {type(error).__name__}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write the report as JSON."""
        save_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read a report that `save` wrote.

        Raises:
            BadInput: there is no such file, or it is not a report.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:  # BadInput among them
            raise BadInput(f"{path}: {error}") from error


def evaluate(name: str, dataset: Dataset, scores: Distribution | npt.ArrayLike, *, seed: int = 0) -> Evaluation:
    """Return the report of one system on one split.

    Args:
        name: of the system, for tables.
        dataset: what is judged; most often `dataset.of("test")`.
        scores: one row a judgment, in the order of `dataset.judgments`: distributions, or `[n]` plain scores on any
            scale (a floor), which are ranked but not calibrated.
        seed: of the bootstrap and of the hash that breaks ties.

    Raises:
        BadInput: there are no judgments, not one score each, or a score that is NaN.

    Example:
        >>> test = Dataset.load("shop").of("test")  # doctest: +SKIP
        >>> evaluate("BM25", test, bm25_scores(test)).ranking["nDCG@10"]  # doctest: +SKIP
        Interval(mean=0.871, low=0.855, high=0.886)
    """
    rows = dataset.judgments
    if not rows:
        raise BadInput("there are no judgments to evaluate on")
    distribution = scores if isinstance(scores, Distribution) else None
    values = scores.mean if isinstance(scores, Distribution) else np.asarray(scores, dtype=np.float64)
    if values.shape != (len(rows),):
        raise BadInput(f"{len(rows)} judgments need as many scores, not {list(values.shape)}")
    queries, products = [row.query_id for row in rows], [row.product_id for row in rows]
    gold = np.array([row.relevance for row in rows])
    per_query = metrics.ranking(queries, products, gold, values, seed=seed)
    ranking = _summary(per_query, seed)
    calibration = None
    if distribution is not None:
        labels = [row.labels or (row.relevance,) for row in rows]
        per_query[RPS] = _query_means(queries, metrics.ranked_probability_score(distribution, labels))
        per_query[MSE] = _query_means(queries, (values - gold) ** 2)
        error = metrics.calibration_error(queries, values, gold, seed=seed)
        calibration = {**_summary({name: per_query[name] for name in (RPS, MSE)}, seed), ECE: error}
    query_ids = tuple(dict.fromkeys(queries))
    return Evaluation(
        name=name,
        data=dataset.fingerprint,
        queries=len(query_ids),
        pairs=len(rows),
        ranking=ranking,
        calibration=calibration,
        slices=_slices(dataset, query_ids, per_query, seed),
        reliability=() if distribution is None else tuple(metrics.reliability(values, gold)),
        query_ids=query_ids,
        per_query=per_query,
        unranked=unranked(dataset),
    )


def save_json(path: str | Path, value: Any) -> None:
    """Write figures as JSON, so that a reader meets the old file or the new one; into a device or a pipe as they come.

    Example:
        >>> save_json("/dev/null", {"nDCG@5": 0.9})
    """
    write_text_anywhere(Path(path), json.dumps(value, indent=1, allow_nan=False) + "\n")


def difference(a: Evaluation, b: Evaluation, *, seed: int = 0) -> dict[str, Interval]:
    """Return a − b for each measure both have per query, with paired bootstrap intervals over queries.

    An interval without 0 in it is a difference that is not the luck of these queries; one measure at a time.

    Raises:
        BadInput: the two were not evaluated on the same data.
    """
    if a.data != b.data or a.query_ids != b.query_ids:
        raise BadInput(f"{a.name!r} and {b.name!r} were evaluated on different data ({a.data} and {b.data})")
    common = [name for name in a.per_query if name in b.per_query and not np.isnan(a.per_query[name]).all()]
    return {name: metrics.paired(a.per_query[name], b.per_query[name], seed=seed) for name in common}


def _slices(
    dataset: Dataset, query_ids: tuple[str, ...], per_query: Mapping[str, Doubles], seed: int
) -> dict[str, Slice]:
    members: dict[str, list[int]] = {}
    for i, query_id in enumerate(query_ids):
        for tag in dict.fromkeys(dataset.queries[query_id].tags):
            members.setdefault(tag, []).append(i)
    return {
        tag: Slice(len(rows), _summary({name: values[rows] for name, values in per_query.items()}, seed))
        for tag, rows in sorted(members.items())
    }


def _summary(per_query: Mapping[str, Doubles], seed: int) -> dict[str, Interval]:
    """Return the interval of each measure that is defined for a query at least."""
    known = {name: values for name, values in per_query.items() if not np.isnan(values).all()}
    return {name: metrics.bootstrap(values, seed=seed) for name, values in known.items()}


def _query_means(query_ids: list[str], values: Doubles) -> Doubles:
    number = {query: i for i, query in enumerate(dict.fromkeys(query_ids))}
    group = np.array([number[query] for query in query_ids])
    return np.bincount(group, weights=values) / np.bincount(group)


def _intervals(rows: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {name: [round(value, 6) for value in row.to_json()] for name, row in rows.items()}


def _read_intervals(rows: Mapping[str, list[float]]) -> dict[str, Interval]:
    return {name: Interval.from_json(row) for name, row in rows.items()}
