"""Where the pairs of a slice come from: rows with texts, rows of ids joined with a data folder, or an index.

A source is what a worker is told; it opens it for itself, on whatever machine it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gen_rerank.data.reading import RowReader
from gen_rerank.data.records import BadRow, Pair
from gen_rerank.errors import BadInput
from gen_rerank.offline.inputs import InputSlice
from gen_rerank.offline.rows import NamedPair, PairRow, product_in_row
from gen_rerank.offline.texts import Texts


@dataclass
class RowCount:
    """What became of the rows of a slice while it was read.

    Attributes:
        used: the rows that gave pairs, or were queries that nothing was found for.
        bad: the others, with their reasons.
    """

    used: int
    bad: list[BadRow]


class OpenedSource(Protocol):
    """Gives the pairs of slices."""

    def pairs(self, given: InputSlice, count: RowCount) -> Iterator[NamedPair]:
        """Yield the pairs of a slice in the order of its rows, and count what becomes of each row."""


class Source(Protocol):
    """What is scored, as a worker is told it: it can be sent to another process."""

    def open(self) -> OpenedSource:
        """Open what pairs come from.

        Raises:
            BadInput: it cannot be opened here.
        """


@dataclass(frozen=True)
class PairFiles:
    """Files of pairs.

    Attributes:
        texts: what `texts.read_texts` wrote; None where the rows have their texts.
    """

    texts: Path | None

    def open(self) -> OpenedSource:
        """Open the texts, if there are any."""
        return OpenedPairFiles(None if self.texts is None else Texts(self.texts))


class OpenedPairFiles:
    """Reads rows of pairs, and joins what they leave out.

    Args:
        texts: of a data folder; None where there is none.
    """

    def __init__(self, texts: Texts | None) -> None:
        self._texts = texts

    def pairs(self, given: InputSlice, count: RowCount) -> Iterator[NamedPair]:
        """Yield the pairs of a slice; a row whose texts cannot be had is bad."""
        reader = RowReader(given.file.path, PairRow, given.part)
        reader.bad = count.bad
        for line, row in reader.valid():
            try:
                pair = self._pair(row)
            except BadInput as error:
                reader.refuse(line, str(error))
            else:
                count.used += 1
                yield NamedPair(line, row.query_id, row.product_id, pair)

    def _pair(self, row: PairRow) -> Pair:
        query = row.query
        product = None if row.product is None else product_in_row(row)
        if self._texts is not None:
            query = query or self._texts.query(row.query_id)
            product = product or self._texts.product(row.product_id)
        for what, name, found in (("query", row.query_id, query), ("product", row.product_id, product)):
            if found is None and self._texts is None:
                raise BadInput(f"column {what!r} is missing; give it, or join the ids with a data folder (--data)")
            if found is None:
                raise BadInput(f"{what}_id {name!r} is not in the data folder, and the row has no {what!r}")
        assert query is not None
        assert product is not None
        return Pair(query, product)
