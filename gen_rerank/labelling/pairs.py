"""Which pairs are judged: those of the data, or some that an index finds for each query, drawn from all its ranks.

Pairs come query by query, and queries in the order of a seeded hash: what a budget ends early is a random part of the
queries, and a judge that changes during a run is not taken for queries that differ.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np

from gen_rerank.data import values
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.importing.splitting import SplitPlan, folded
from gen_rerank.data.reading import RowReader, refuse_bad_rows
from gen_rerank.data.records import Pair, Query
from gen_rerank.errors import BadInput
from gen_rerank.labelling.journal import JudgedPair
from gen_rerank.system.processes import scratch_folder

# As many as a search reads and scores by default.
CANDIDATES = 256


@dataclass(frozen=True)
class PairPlan:
    """Which pairs are judged.

    Attributes:
        per_query: so many of an index's candidates for each query; None takes the pairs that the data have judged.
        index: a folder that `gen-rerank index` wrote; None makes an index of the data's products for this run.
        queries: a file of queries, one a line or as `queries.jsonl`; None takes those of the data.
        seed: of what is drawn.
    """

    per_query: int | None = None
    index: Path | None = None
    queries: Path | None = None
    seed: int = 0


def with_queries(data: Dataset, plan: PairPlan) -> Dataset:
    """Return the data with the queries of the plan's file in the place of its own, if there is one.

    Raises:
        BadInput: the file cannot be read, or has no queries.
    """
    if plan.queries is None:
        return data
    read = _queries_of(plan.queries, plan.seed)
    judgments = tuple(row for row in data.judgments if row.query_id in read)
    return Dataset(data.products, read, judgments, data.bad_rows)


def pairs_to_judge(data: Dataset, folder: Path, plan: PairPlan) -> list[JudgedPair]:
    """Return the pairs that are to be judged, in the order in which they are asked.

    Args:
        data: with queries.
        folder: where it lies, for the sentence and for an index of it.
        plan: which pairs.

    Raises:
        BadInput: there are no queries, or no pairs; or the index cannot be read.
    """
    if not data.queries:
        raise BadInput(f"{folder}: has no queries; give a file of them, one a line, with --queries")
    if plan.per_query is None:
        if plan.index is not None:
            raise BadInput("--index gives candidates of each query; say how many of them are judged with --per-query")
        if not data.judgments:
            raise BadInput(
                f"{folder}: has no judged pairs of these queries; say with --per-query how many products are judged "
                "for each query"
            )
        products = {key: [row.product_id for row in rows] for key, rows in data.by_query().items()}
    else:
        products = _drawn(data, folder, plan)
    place = SplitPlan(seed=plan.seed).place
    order = sorted(products, key=lambda key: (place(folded(data.queries[key].text)), key))
    return [
        JudgedPair(key, product, Pair(data.queries[key].text, data.products[product]))
        for key in order
        for product in products[key]
    ]


def drawn_ranks(found: int, wanted: int, seed: str) -> list[int]:
    """Return so many ranks from 0, one of each stratum; strata grow with the rank: the top is read most densely.

    Args:
        found: how many candidates there are.
        wanted: how many of them are judged.
        seed: of the rank within its stratum.

    Example:
        >>> drawn_ranks(4, 8, "desk"), len(drawn_ranks(256, 8, "desk"))
        ([0, 1, 2, 3], 8)
    """
    if found <= wanted:
        return list(range(found))
    edges = np.geomspace(1, found + 1, wanted + 1)
    ends = [0]
    for number, edge in enumerate(edges[1:].tolist(), start=1):
        # Each stratum has a rank, and leaves one for each that follows.
        ends.append(min(max(round(edge) - 1, ends[-1] + 1), found - (wanted - number)))
    rng = random.Random(seed)
    return [rng.randrange(first, end) for first, end in pairwise(ends)]


def _drawn(data: Dataset, folder: Path, plan: PairPlan) -> dict[str, list[str]]:
    """Return the products of each query: some of what an index finds.

    Raises:
        BadInput: nothing is found for any query, or the index holds other products.
    """
    from gen_rerank.search.index import ProductIndex

    assert plan.per_query is not None
    drawn: dict[str, list[str]] = {}
    with _index_folder(folder, plan) as place:
        index = ProductIndex.open(place)
        for key, query in data.queries.items():
            found = [one.product.product_id for one in index.candidates(query.text, CANDIDATES)]
            strange = next((product for product in found if product not in data.products), None)
            if strange is not None:
                raise BadInput(
                    f"{plan.index}: finds {values.shown(strange)}, which is no product of {folder}; make the index anew"
                )
            ranks = drawn_ranks(len(found), plan.per_query, f"{plan.seed} {query.text}")
            if ranks:
                drawn[key] = [found[rank] for rank in ranks]
    if not drawn:
        raise BadInput(f"{folder}: its products have no word of any query; are these the queries of this shop?")
    return drawn


@contextmanager
def _index_folder(folder: Path, plan: PairPlan) -> Iterator[Path]:
    """Give the folder of an index; one that is made goes with the block."""
    if plan.index is not None:
        yield plan.index
        return
    from gen_rerank.search.building import build_index
    from gen_rerank.search.settings import IndexSettings

    with scratch_folder() as scratch:
        build_index(folder, scratch / "index", IndexSettings(), skip_bad_rows=True)  # bad rows were told of before
        yield scratch / "index"


def _queries_of(file: Path, seed: int) -> dict[str, Query]:
    """Return the queries of a file by their ids; those of a text file get one by their text, and a split by its hash.

    Raises:
        BadInput: it cannot be read, or has no queries.
    """
    if file.name.endswith((".jsonl", ".jsonl.gz", ".parquet")):
        reader = RowReader(file, Query)
        found = {row.query_id: row for row in reader.unique(lambda row: row.query_id)}
        refuse_bad_rows(reader.bad)
    else:
        found = _one_a_line(file, seed)
    if not found:
        raise BadInput(f"{file}: has no queries; write one a line")
    return found


def _one_a_line(file: Path, seed: int) -> dict[str, Query]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: is no text in UTF-8; write one query a line") from error
    texts: dict[str, str] = {}
    for line in lines:
        text = values.text(line)
        if text is not None:
            texts.setdefault(folded(text), text)
    splits = SplitPlan(seed=seed).draw(texts)
    ids = {key: f"q-{blake2b(key.encode(), digest_size=5).hexdigest()}" for key in texts}
    return {ids[key]: Query(query_id=ids[key], text=text, split=splits[key]) for key, text in texts.items()}
