"""From a judged data set and one score a pair to a report: ranking, calibration, slices, all with intervals.

An `Evaluation` keeps its per-query values, so two of them can be compared query by query long after the models are
gone; a scores file keeps the distributions themselves. Models are left to `gen_rerank.scorers`, the formulas to
`gen_rerank.evaluation.metrics`, and what people see to `gen_rerank.evaluation.tables`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_rerank.bins import BIN_COUNT, Distribution
from gen_rerank.data.records import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation import metrics
from gen_rerank.evaluation.metrics import Doubles, Interval, ReliabilityBin

RPS = "RPS"
MSE = "MSE"
ECE = f"ECE({metrics.RELIABILITY_BINS} bins)"

_MEANINGS = {
    **{measure.name: measure.meaning for measure in metrics.MEASURES},
    RPS: "ranked probability score in units of relevance, against each annotator's label; mean of a query's pairs, then of queries",
    MSE: "squared error of the score against the relevance; mean of a query's pairs, then of queries",
    ECE: "mean |mean score - mean relevance| over equal-width bins of the score, weighted by pairs; interval over queries",
}  # fmt: skip

_CONVENTIONS = (
    "intervals are 95% percentile bootstrap over queries, 2,000 resamples; every query weighs the same; candidates are the "
    "judged products; ties are broken by a seeded hash, never by the order of the file"
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

    def to_json(self) -> dict[str, Any]:
        """Return what `save` writes; every figure comes with its definition."""
        per_query = {
            name: [None if np.isnan(x) else round(x, 6) for x in row.tolist()] for name, row in self.per_query.items()
        }
        used = [*self.ranking, *(self.calibration or {})]
        return {
            "name": self.name,
            "data": self.data,
            "queries": self.queries,
            "pairs": self.pairs,
            "ranking": _intervals(self.ranking),
            "calibration": None if self.calibration is None else _intervals(self.calibration),
            "slices": {tag: {"queries": row.queries, **_intervals(row.measures)} for tag, row in self.slices.items()},
            "reliability": [row._asdict() for row in self.reliability],
            "conventions": _CONVENTIONS,
            "measures": {name: _MEANINGS[name] for name in used},
            "query_ids": list(self.query_ids),
            "per_query": per_query,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation of what `to_json` gave.

        Raises:
            BadInput: a field is missing or has another shape.
        """
        try:
            slices = {
                tag: Slice(int(values["queries"]), _read_intervals({k: v for k, v in values.items() if k != "queries"}))
                for tag, values in row["slices"].items()
            }
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
                per_query={name: np.array(values, dtype=np.float64) for name, values in row["per_query"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"not an evaluation: {type(error).__name__}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write the report as JSON."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")

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
    )


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


def random_scores(dataset: Dataset, seed: int = 0) -> Doubles:
    """Return a random score for each judgment, `[n]` in [0, 1): the floor that says what a figure is worth."""
    return np.random.default_rng(seed).random(len(dataset.judgments))


def bm25_scores(dataset: Dataset) -> Doubles:
    """Return the BM25 score of each judgment, `[n]`; the statistics are those of all the data set's products."""
    from gen_rerank.bm25 import BM25

    index = BM25.of_products(dataset.products.values())
    place = {product_id: i for i, product_id in enumerate(dataset.products)}
    found = np.zeros(len(dataset.judgments))
    rows_of: dict[str, list[int]] = {}
    for i, row in enumerate(dataset.judgments):
        rows_of.setdefault(row.query_id, []).append(i)
    for query_id, rows in rows_of.items():
        scores = index.scores(dataset.queries[query_id].text)
        found[rows] = scores[[place[dataset.judgments[i].product_id] for i in rows]]
    return found


class ScoredPair(BaseModel):
    """One row of a scores file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query_id: str
    product_id: str
    score: float
    std: float
    probabilities: Annotated[tuple[float, ...], Field(min_length=BIN_COUNT, max_length=BIN_COUNT)]


@dataclass(frozen=True, eq=False)
class Scores:
    """The distributions of named pairs, as read from a scores file.

    Attributes:
        pairs: `[n]` (query id, product id), in file order, no pair twice.
        distribution: n rows, in the same order.
    """

    pairs: tuple[tuple[str, str], ...]
    distribution: Distribution

    def of(self, dataset: Dataset) -> Distribution:
        """Return one distribution a judgment of `dataset`, in its order.

        Raises:
            BadInput: a judged pair has no score.
        """
        place = {pair: i for i, pair in enumerate(self.pairs)}
        wanted = [(row.query_id, row.product_id) for row in dataset.judgments]
        missing = [pair for pair in wanted if pair not in place]
        if missing:
            query_id, product_id = missing[0]
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise BadInput(f"no score for the judged pair {query_id} × {product_id}{more}")
        return self.distribution[[place[pair] for pair in wanted]]


def write_scores(path: str | Path, dataset: Dataset, distribution: Distribution) -> None:
    """Write one JSON line a judgment: query_id, product_id, score, std, probabilities, all with six decimals.

    Raises:
        BadInput: not one distribution a judgment.
    """
    if len(distribution) != len(dataset.judgments):
        raise BadInput(f"{len(dataset.judgments)} judgments need as many distributions, not {len(distribution)}")
    columns = [
        x.astype(np.float64).round(6).tolist()
        for x in (distribution.mean, distribution.std, distribution.probabilities)
    ]
    with Path(path).open("w", encoding="utf-8") as file:
        for row, score, std, probabilities in zip(dataset.judgments, *columns, strict=True):
            ids = {"query_id": row.query_id, "product_id": row.product_id}
            file.write(
                json.dumps({**ids, "score": score, "std": std, "probabilities": probabilities}, ensure_ascii=False)
                + "\n"
            )


def read_scores(path: str | Path) -> Scores:
    """Read a scores file.

    Raises:
        BadInput: there is no such file, it is empty, or a line is not a row of it; the message names the line.
    """
    try:
        rows = dict(_scored_lines(Path(path)))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    if not rows:
        raise BadInput(f"{path}: no scores")
    try:
        return Scores(tuple(rows), Distribution(np.array(list(rows.values()))))
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _scored_lines(path: Path) -> Iterator[tuple[tuple[str, str], tuple[float, ...]]]:
    seen: set[tuple[str, str]] = set()
    with path.open("rb") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = ScoredPair.model_validate_json(text)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                raise BadInput(f"{path}:{line}: {where}{': ' if where else ''}{first['msg']}") from error
            pair = (row.query_id, row.product_id)
            if pair in seen:
                raise BadInput(f"{path}:{line}: the pair {pair[0]} × {pair[1]} was already given")
            seen.add(pair)
            yield pair, row.probabilities


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
