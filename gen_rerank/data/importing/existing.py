"""What lies in the folder that an import writes into: its catalog and its queries are used, its judgments guarded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gen_rerank.data.reading import Row, RowReader, find_rows_file
from gen_rerank.data.records import Identifier, Product, Query, Record, Text
from gen_rerank.errors import BadInput

NAMES = ("products", "queries", "judgments")


class InformationNeed(Record):
    """What somebody with a query wants, in a sentence: a row of `needs.jsonl`."""

    query_id: Identifier
    need: Text


@dataclass(frozen=True)
class DataThere:
    """What a folder holds before judgments are imported into it.

    Attributes:
        product_ids: of its catalog; None where it has none, so that an import brings its own.
        queries: by id, in file order.
        needs: of `needs.jsonl`.
    """

    product_ids: frozenset[str] | None = None
    queries: tuple[Query, ...] = ()
    needs: tuple[InformationNeed, ...] = ()

    @classmethod
    def look(cls, out: Path, *, replace: bool = False) -> DataThere:
        """Return what is there.

        Args:
            out: the folder that will be written; it need not exist.
            replace: judgments that are there may be replaced.

        Raises:
            BadInput: as `refuse_unfit`, or a row is bad.
        """
        refuse_unfit(out, replace=replace)
        if not out.is_dir():
            return cls()
        products = _rows(out, "products", Product, lambda row: row.product_id)
        queries = _rows(out, "queries", Query, lambda row: row.query_id)
        return cls(frozenset(row.product_id for row in products) or None, tuple(queries), needs_of(out))


def needs_of(folder: Path) -> tuple[InformationNeed, ...]:
    """Return the written information needs of a data folder, each once; none where it has no `needs.jsonl`.

    Raises:
        BadInput: a row is bad.
    """
    return tuple(_rows(folder, "needs", InformationNeed, lambda row: (row.query_id, row.need)))


def refuse_unfit(out: Path, *, replace: bool) -> None:
    """Refuse a place into which no judgments can be imported.

    Args:
        out: an empty or missing folder is fit, and one with a catalog or queries.
        replace: one with judgments is fit too.

    Raises:
        BadInput: it is a file, holds something else, or has judgments that may not be replaced.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file; name a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not any(find_rows_file(out, name) for name in NAMES):
        raise BadInput(f"{out}: holds files, and none of products, queries or judgments; choose another folder")
    if find_rows_file(out, "judgments") and not replace:
        raise BadInput(
            f"{out}: has judgments already; choose another folder, or put the new ones in their place with --replace"
        )


def _rows(folder: Path, name: str, record: type[Row], key: Callable[[Row], object]) -> Iterator[Row]:
    """Yield the rows of a file that may be missing.

    Raises:
        BadInput: a row is bad.
    """
    file = find_rows_file(folder, name)
    if file is None:
        return
    reader = RowReader(file, record)
    yield from reader.unique(key)
    if reader.bad:
        raise BadInput(f"{reader.bad[0]}; correct the row first")
