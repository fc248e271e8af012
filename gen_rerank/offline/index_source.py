"""Pairs that an index finds: each query of a file with its candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gen_rerank.data.reading import RowReader
from gen_rerank.data.records import Pair
from gen_rerank.errors import BadInput
from gen_rerank.offline.inputs import InputSlice
from gen_rerank.offline.rows import AskedQuery, NamedPair
from gen_rerank.offline.sources import OpenedSource, RowCount
from gen_rerank.search.index import SYNONYMS, WORDS, ProductIndex
from gen_rerank.search.settings import FILE


def index_hash(index: Path) -> str:
    """Return a SHA-256, 16 hexadecimal digits, that is another one after each change of an index.

    Raises:
        BadInput: there is no index.

    Example:
        >>> index_hash(Path("runs/index"))  # doctest: +SKIP
        '1d0c7e6a5b3f2a90'
    """
    ProductIndex.open(index)
    digest = hashlib.sha256()
    for name in (FILE, f"{WORDS}/meta.json", SYNONYMS):
        file = index / name
        digest.update(name.encode() + (file.read_bytes() if file.exists() else b""))
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class IndexedQueries:
    """Queries, and the index that finds their candidates.

    Attributes:
        index: a folder that `gen-rerank index` wrote, from the root.
        top: how many candidates of a query.
        known: `index_hash` of it.
    """

    index: Path
    top: int
    known: str

    def open(self) -> OpenedSource:
        """Open the index.

        Raises:
            BadInput: it cannot be opened.
        """
        return OpenedQueries(self, ProductIndex.open(self.index))


class OpenedQueries:
    """Reads queries, and finds their candidates.

    Args:
        source: which index, as it was when the run began.
        index: opened.
    """

    def __init__(self, source: IndexedQueries, index: ProductIndex) -> None:
        self._source = source
        self._index = index

    def pairs(self, given: InputSlice, count: RowCount) -> Iterator[NamedPair]:
        """Yield the candidates of each query, best first.

        Raises:
            BadInput: the index was changed since the run began.
        """
        reader = RowReader(given.file.path, AskedQuery, given.part)
        reader.bad = count.bad
        self._require_unchanged()
        for line, row in reader.valid():
            count.used += 1
            for found in self._index.candidates(row.text, self._source.top):
                yield NamedPair(line, row.query_id, found.product.product_id, Pair(row.text, found.product))
        self._require_unchanged()

    def _require_unchanged(self) -> None:
        if index_hash(self._source.index) != self._source.known:
            raise BadInput(
                f"{self._source.index}: the index was changed while its candidates were scored; score those that it "
                "finds now into another --out"
            )
