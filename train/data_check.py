"""What a training data set holds and what looks wrong with it, said before any work is done.

`check` counts, and names problems that no single row shows: the same query in two splits, queries with nothing to rank,
judgments that contradict each other. None of them stops a run; people decide. Rows that cannot be used at all (a
relevance outside 0..1, a pair given twice) are refused by `Dataset.load`, by file and line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from rich.console import Group, RenderableType
from rich.text import Text

from gen_rerank.bins import BIN_COUNT
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Judgment, Product, Split
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.rankable import unranked
from gen_rerank.reporting.numbers import bars, counted
from gen_rerank.reporting.tables import TextTable

SPLITS: tuple[Split, ...] = get_args(Split)
# How far, in units of relevance, the mean of a pair's labels may be from its relevance.
FAR = 0.3

_EXAMPLES = 3
_ROUNDING = 1e-9  # 0.9 - 0.6 is a little more than 0.3

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SplitSummary:
    """What is judged in one split.

    Attributes:
        queries: how many have a judgment.
        judgments: how many there are.
        products: how many are judged for some query.
        histogram: judgments by the nearest of the 11 bins; a relevance halfway between two counts for the upper.
    """

    queries: int
    judgments: int
    products: int
    histogram: tuple[int, ...]


class Annotators(NamedTuple):
    """How many single labels the judgments carry; 0 where only the relevance is given."""

    fewest: int
    median: float
    most: int


@dataclass(frozen=True)
class DataSummary:
    """A data set in a few figures.

    Attributes:
        products: in the catalog, judged or not.
        splits: by name: train, validation, test.
        annotators: labels a judgment, over all splits.
        problems: one sentence each, with a count and the first examples; empty if nothing looks wrong.
    """

    products: int
    splits: dict[str, SplitSummary]
    annotators: Annotators
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> DataSummary:
        """Return the summary of what `to_json` gave.

        Raises:
            BadInput: a field is missing or has another shape.
        """
        try:
            splits = {
                name: SplitSummary(**{**values, "histogram": tuple(values["histogram"])})
                for name, values in row["splits"].items()
            }
            return cls(row["products"], splits, Annotators(*row["annotators"]), tuple(row["problems"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"not a data summary: {type(error).__name__}: {error}") from error


def check(dataset: Dataset) -> DataSummary:
    """Return the counts and problems of a data set; a few seconds for a million judgments.

    Raises:
        BadInput: nothing is judged.

    Example:
        >>> check(Dataset.load("shop")).problems  # doctest: +SKIP
        ('no validation query has a judgment: …',)
    """
    if not dataset.judgments:
        raise BadInput("no query has a judgment; there is nothing to train on")
    columns, unrankable = _Columns.of(dataset), unranked(dataset)
    found = (
        _shared_queries(dataset),
        _nothing_to_rank(dataset, unrankable.alike),
        _single_judgments(unrankable.single),
        _contradictions(dataset, columns),
        _one_value(columns),
        _far_labels(dataset),
        _no_validation(columns),
    )
    counts = np.array([len(row.labels) for row in dataset.judgments])
    return DataSummary(
        products=len(dataset.products),
        splits={name: _split_summary(columns, place) for place, name in enumerate(SPLITS)},
        annotators=Annotators(int(counts.min()), float(np.median(counts)), int(counts.max())),
        problems=tuple(problem for problem in found if problem),
    )


def summary_table(summary: DataSummary) -> RenderableType:
    """Return the counts as a table, one row a split, with the problems below it.

    Example:
        >>> from rich.console import Console
        >>> Console().print(summary_table(check(Dataset.load("shop"))))  # doctest: +SKIP
    """
    labels = summary.annotators
    spread = f"{labels.fewest} to {labels.most}, median {labels.median:g}"
    table = TextTable(
        f"Data: {counted(summary.products, 'product')}",
        f"labels a judgment: {spread if labels.most else 'none'}",
    )
    table.add_column("Split", no_wrap=True)
    for name in ("Queries", "Judgments", "Products"):
        table.add_column(name, justify="right")
    table.add_column("Relevance 0 … 1", no_wrap=True)
    for name, split in summary.splits.items():
        counts = (f"{count:,}" for count in (split.queries, split.judgments, split.products))
        table.add_row(name, *counts, bars(split.histogram))
    return Group(table, *(Text(f"! {problem}", style="yellow") for problem in summary.problems))


@dataclass(frozen=True)
class _Columns:
    """The judgments as arrays `[n]`: places of query, product and split, and the relevance."""

    query: Ints
    product: Ints
    split: Ints
    relevance: Doubles

    @classmethod
    def of(cls, dataset: Dataset) -> _Columns:
        rows = dataset.judgments
        query = _places(dataset.queries, (row.query_id for row in rows))
        splits = np.array([SPLITS.index(row.split) for row in dataset.queries.values()])
        return cls(
            query=query,
            product=_places(dataset.products, (row.product_id for row in rows)),
            split=splits[query],
            relevance=np.array([row.relevance for row in rows]),
        )


class _Groups(NamedTuple):
    """Judgments that share a key: for each group its first row, its size, its lowest and its highest relevance."""

    first: Ints
    size: Ints
    low: Doubles
    high: Doubles

    @classmethod
    def of(cls, keys: Ints, relevance: Doubles) -> _Groups:
        """Return the groups in the order of their first rows."""
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        sizes = np.diff(starts, append=len(keys))
        low, high = (extreme.reduceat(relevance[order], starts) for extreme in (np.minimum, np.maximum))
        by_file = np.argsort(order[starts])
        return cls(order[starts][by_file], sizes[by_file], low[by_file], high[by_file])


def _split_summary(columns: _Columns, place: int) -> SplitSummary:
    here = columns.split == place
    nearest = np.floor(columns.relevance[here] * (BIN_COUNT - 1) + 0.5).astype(np.int64)
    return SplitSummary(
        queries=len(np.unique(columns.query[here])),
        judgments=int(here.sum()),
        products=len(np.unique(columns.product[here])),
        histogram=tuple(np.bincount(nearest, minlength=BIN_COUNT).tolist()),
    )


def _shared_queries(dataset: Dataset) -> str | None:
    seen: dict[str, dict[str, str]] = {}
    for query in dataset.queries.values():
        seen.setdefault(_folded(query.text), {}).setdefault(query.split, query.query_id)
    shared = {text: ids for text, ids in seen.items() if len(ids) > 1}
    examples = (f"“{text}” ({', '.join(f'{ids[name]}: {name}' for name in ids)})" for text, ids in shared.items())
    said = "in more than one split, so what is measured there was partly learned"
    return _problem(len(shared), ("query text is", "query texts are"), said, examples)


def _nothing_to_rank(dataset: Dataset, alike: Sequence[str]) -> str | None:
    first = {row.query_id: row for row in reversed(dataset.judgments)}
    examples = (f"{query_id} (all {first[query_id].relevance:g})" for query_id in alike)
    said = "one relevance for all judged products, so nothing to rank"
    return _problem(len(alike), ("query has", "queries have"), said, examples)


def _single_judgments(single: Sequence[str]) -> str | None:
    return _problem(len(single), ("query has", "queries have"), "a single judgment, so nothing to rank", single)


def _contradictions(dataset: Dataset, columns: _Columns) -> str | None:
    """Compare what reads the same: query texts, folded, and products that differ in nothing but their id."""
    texts = _numbers(_folded(query.text) for query in dataset.queries.values())
    contents = _numbers(_content(product) for product in dataset.products.values())
    groups = _Groups.of(texts[columns.query] * len(contents) + contents[columns.product], columns.relevance)
    differ = groups.low != groups.high
    rows = _judgments(dataset, groups.first[differ])
    examples = (
        f"“{dataset.queries[row.query_id].text}” × {row.product_id} ({low:g} to {high:g})"
        for row, low, high in zip(rows, groups.low[differ], groups.high[differ], strict=True)
    )
    said = "judged again under another query or product id, with another relevance"
    return _problem(int(differ.sum()), ("pair is", "pairs are"), said, examples)


def _one_value(columns: _Columns) -> str | None:
    by_split = {name: columns.relevance[columns.split == place] for place, name in enumerate(SPLITS)}
    flat = {name: values[0] for name, values in by_split.items() if len(values) and (values == values[0]).all()}
    examples = (f"{name} (all {value:g})" for name, value in flat.items())
    said = "a single relevance for everything, so nothing to learn or measure"
    return _problem(len(flat), ("split has", "splits have"), said, examples)


def _far_labels(dataset: Dataset) -> str | None:
    far = [row for row in dataset.judgments if row.labels and abs(_mean(row.labels) - row.relevance) > FAR + _ROUNDING]
    examples = (
        f"{row.query_id} × {row.product_id} (relevance {row.relevance:g}, mean {_mean(row.labels):.2f})" for row in far
    )
    said = f"labels whose mean is more than {FAR:g} from the relevance"
    return _problem(len(far), ("judgment has", "judgments have"), said, examples)


def _no_validation(columns: _Columns) -> str | None:
    if (columns.split == SPLITS.index("validation")).any():
        return None
    return "no validation query has a judgment: nothing is measured while training, unless it is an adapter's"


def _problem(count: int, subject: tuple[str, str], said: str, examples: Iterable[str]) -> str | None:
    """Return one sentence with the first examples, or None if there is nothing to say; `subject`: for one, for many."""
    if not count:
        return None
    more = f" and {count - _EXAMPLES:,} more" if count > _EXAMPLES else ""
    return f"{count:,} {subject[count > 1]} {said}: {', '.join(islice(examples, _EXAMPLES))}{more}"


def _places(names: Iterable[str], wanted: Iterable[str]) -> Ints:
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[name] for name in wanted], dtype=np.int64)


def _numbers(keys: Iterable[str | bytes]) -> Ints:
    """Return the same number for the same key, `[n]`."""
    number: dict[str | bytes, int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _content(product: Product) -> bytes:
    return blake2b(product.model_dump_json(exclude={"product_id"}).encode(), digest_size=16).digest()


def _judgments(dataset: Dataset, rows: Ints) -> Iterable[Judgment]:
    return (dataset.judgments[row] for row in rows)


def _mean(labels: tuple[float, ...]) -> float:
    return sum(labels) / len(labels)
