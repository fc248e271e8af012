"""The pairs that a student learns from its teacher, judged or not, and the run that has them.

They come from a data folder (its training queries × what is judged for them), from an index (what it finds for those
queries, first ranks and deeper ones) or from a file of pairs. Queries of the splits validation and test never give a
pair. What the teacher says of them is `teacher`'s.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from accelerate import PartialState
from pydantic import BeforeValidator
from rich.console import Console

from gen_rerank.bins import BIN_COUNT
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.documents import product_of
from gen_rerank.data.reading import ENDINGS, RowReader, refuse_bad_rows
from gen_rerank.data.records import Grade, Judgment, Pair, Product, Query, Record, Text
from gen_rerank.data.values import BadValue
from gen_rerank.errors import BadInput
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.reporting.shell import list_left_out
from train.data_check import SPLITS, Annotators, DataSummary, SplitSummary, check, summary_table
from train.opened_run import OpenedRun, prepared_place

DEPTH = 256  # the deepest rank of an index from which a candidate is drawn, which is what a search hands to a reranker

# A query's text and a limit become products, best first.
Retriever = Callable[[str, int], Sequence[Product]]


@dataclass(frozen=True)
class Candidates:
    """What an index adds to the pairs.

    Attributes:
        index: the folder.
        count: of the first candidates of each training query, and again of those drawn from deeper ranks.
        seed: of what is drawn.
    """

    index: str
    count: int
    seed: int = 0


def _described(given: Any) -> Any:
    """Return the product of a title or an object; without an id of its own its content gives one."""
    try:
        product = product_of(given, "it")
    except BadInput as error:
        raise BadValue(str(error)) from error
    if isinstance(given, dict) and given.get("product_id") is not None:
        return product
    content = product.model_dump_json(exclude={"product_id"})
    return product.model_copy(update={"product_id": blake2b(content.encode(), digest_size=8).hexdigest()})


class WrittenPair(Record):
    """One row of a file of pairs: a query, a product as a title or an object, and its relevance where it is judged."""

    query: Text
    product: Annotated[Product, BeforeValidator(_described)]
    relevance: Grade | None = None


@dataclass(frozen=True)
class TeachingPairs:
    """Pairs for a teacher, those of one query together.

    Attributes:
        dataset: products, training queries, and the judgments of those pairs that have one.
        rows: (query id, product id) of each pair, no pair twice.
    """

    dataset: Dataset
    rows: tuple[tuple[str, str], ...]

    @classmethod
    def judged(cls, dataset: Dataset) -> Self:
        """Return the judged pairs of the training queries."""
        train = dataset.of("train")
        groups = train.by_query()
        return cls(train, tuple((row.query_id, row.product_id) for rows in groups.values() for row in rows))

    @classmethod
    def read(cls, file: Path, *, skip_bad_rows: bool = False) -> Self:
        """Return the pairs of a file of `WrittenPair`s; all its queries are training queries.

        Raises:
            BadInput: it is of another form, has no pairs, or a bad row: without text, given twice, or with a product
                whose id another one has.
        """
        if not file.name.endswith(ENDINGS):
            raise BadInput(f"{file}: pairs are read from a data folder, or from {', '.join(ENDINGS)}")
        reader = RowReader(file, WrittenPair)
        products: dict[str, Product] = {}
        found: dict[str, list[WrittenPair]] = defaultdict(list)
        for line, row in reader.numbered(lambda row: f"{row.query} × {row.product.product_id}"):
            if products.setdefault(row.product.product_id, row.product) != row.product:
                reader.refuse(line, f"the product {row.product.product_id} was given before with other texts")
                continue
            found[row.query].append(row)
        if not skip_bad_rows:
            refuse_bad_rows(tuple(reader.bad))
        if not found:
            raise BadInput(f"{file}: no usable pairs")
        queries = {text: Query(query_id=text, text=text, split="train") for text in found}
        judgments = tuple(
            Judgment(query_id=row.query, product_id=row.product.product_id, relevance=row.relevance)
            for rows in found.values()
            for row in rows
            if row.relevance is not None
        )
        pairs = tuple((text, row.product.product_id) for text, rows in found.items() for row in rows)
        return cls(Dataset(products, queries, judgments, tuple(reader.bad)), pairs)

    def with_candidates(self, retrieve: Retriever, count: int, seed: int) -> Self:
        """Return these pairs and unjudged ones that a retriever finds for the training queries.

        For each query they are the first `count` candidates, which are hard to tell apart, and as many drawn from the
        ranks behind them down to `DEPTH`, so that the student sees what is further away too. What is drawn depends on
        the seed and the query's text alone.

        Args:
            retrieve: finds products.
            count: of the first ones.
            seed: of what is drawn.
        """
        products = dict(self.dataset.products)
        groups: dict[str, list[str]] = {query_id: [] for query_id in self.dataset.queries}
        for query_id, product_id in self.rows:
            groups[query_id].append(product_id)
        with WorkProgress() as progress:
            task = progress.add_task("finding candidates", total=len(groups))
            for query_id, query in self.dataset.queries.items():
                given = set(groups[query_id])
                ranked = [one for one in retrieve(query.text, DEPTH) if one.product_id not in given]
                for product in [*ranked[:count], *_drawn(ranked[count:], count, f"{seed}:{query.text}")]:
                    products.setdefault(product.product_id, product)
                    groups[query_id].append(product.product_id)
                progress.advance(task)
        rows = tuple((query_id, product_id) for query_id, ids in groups.items() for product_id in ids)
        return replace(self, dataset=replace(self.dataset, products=products), rows=rows)

    def texts(self) -> list[Pair]:
        """Return what the teacher reads, in the order of the rows."""
        queries, products = self.dataset.queries, self.dataset.products
        return [Pair(queries[query_id].text, products[product_id]) for query_id, product_id in self.rows]

    def labels(self) -> tuple[list[int], list[Judgment]]:
        """Return the places of the judged pairs among the rows, and their judgments."""
        judged = {(row.query_id, row.product_id): row for row in self.dataset.judgments}
        places = [place for place, row in enumerate(self.rows) if row in judged]
        return places, [judged[self.rows[place]] for place in places]

    def graded(self, relevance: Sequence[float]) -> Dataset:
        """Return all pairs as judgments with this relevance, in their order, so that they are trained on like others.

        Args:
            relevance: one a pair, in [0, 1].
        """
        judgments = tuple(
            Judgment(query_id=query_id, product_id=product_id, relevance=grade)
            for (query_id, product_id), grade in zip(self.rows, relevance, strict=True)
        )
        return replace(self.dataset, judgments=judgments)

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256, 16 hexadecimal digits, over the texts of all pairs and the judgments."""
        digest = hashlib.sha256()
        for pair in self.texts():
            digest.update(f"{pair.query}\0{pair.product.model_dump_json()}\0".encode())
        for row in self.dataset.judgments:
            digest.update(row.model_dump_json().encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class TaughtRun(OpenedRun):
    """A run whose training pairs need no judgments.

    Attributes:
        pairs: what the teacher is asked about.
    """

    pairs: TeachingPairs

    @classmethod
    def opened(
        cls,
        source: str | Path,
        out: str | Path,
        console: Console,
        candidates: Candidates | None,
        *,
        skip_bad_rows: bool = False,
    ) -> TaughtRun:
        """Read the pairs and show, on the first process, what there is of them before any work.

        Args:
            source: a data folder, or a file of pairs.
            out: where the result will appear.
            console: where it is shown.
            candidates: what an index adds.
            skip_bad_rows: leave bad rows out.

        Raises:
            BadInput: `out` holds something, bad data, an index that cannot be opened, or there are no pairs.
        """
        out = prepared_place(out)
        source = Path(source)
        if source.is_file():
            pairs = TeachingPairs.read(source, skip_bad_rows=skip_bad_rows)
            dataset = pairs.dataset
        elif source.is_dir():
            dataset = Dataset.load(source, skip_bad_rows=skip_bad_rows)
            pairs = TeachingPairs.judged(dataset)
        else:
            raise BadInput(f"{source}: no such folder or file; pairs are a data folder, or JSON Lines with pairs")
        given = len(pairs.rows)
        if candidates is not None:
            pairs = pairs.with_candidates(_retriever(candidates.index), candidates.count, candidates.seed)
        if not pairs.rows:
            raise BadInput(
                f"{source}: no pairs to learn from: no query of the split 'train' has a judged product, or one that an "
                "index finds; --index INDEX --candidates N asks one"
            )
        summary = _summary(dataset)
        if PartialState().is_main_process:
            list_left_out(console, dataset.bad_rows)
            console.print(summary_table(summary))
            found = "" if candidates is None else f" and {len(pairs.rows) - given:,} that {candidates.index} finds"
            console.print(f"pairs to learn: {given:,} of {source}{found}; {len(pairs.labels()[0]):,} are judged")
        folder = out.with_name(out.name + ".training")
        train, validation = dataset.of("train"), dataset.of("validation")
        return cls(source, out, folder, dataset, summary, train, validation, pairs)

    def begin(self, settings: dict[str, Any], *, resume: bool) -> Path | None:
        """Return the state to go on from, if the pairs are the same too."""
        return super().begin({**settings, "pairs": self.pairs.fingerprint}, resume=resume)


def _summary(dataset: Dataset) -> DataSummary:
    """Return the counts of data of which nothing need be judged."""
    if dataset.judgments:
        return check(dataset)
    empty = SplitSummary(0, 0, 0, (0,) * BIN_COUNT)
    return DataSummary(len(dataset.products), dict.fromkeys(SPLITS, empty), Annotators(0, 0.0, 0))


def _retriever(folder: str) -> Retriever:
    """Open an index.

    Raises:
        BadInput: there is none, it is of another version, or its package is missing.
    """
    try:
        from gen_rerank.search.index import ProductIndex
    except ModuleNotFoundError as error:
        raise BadInput(
            f"--index needs the package {error.name}; install it with pip install 'gen-rerank[search]'"
        ) from error
    index = ProductIndex.open(folder)
    return lambda query, limit: [one.product for one in index.candidates(query, limit)]


def _drawn(ranked: Sequence[Product], count: int, seed: str) -> list[Product]:
    number = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest())
    chosen = np.random.default_rng(number).permutation(len(ranked))[:count]
    return [ranked[place] for place in sorted(chosen.tolist())]
