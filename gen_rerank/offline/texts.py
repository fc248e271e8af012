"""The texts of a data folder by their ids, on disk: pairs of ids are joined with them, however large the catalog is.

An SQLite file that a run makes for itself and removes. Many may read it at once.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cachetools import LRUCache

from gen_rerank.data.reading import RowReader, rows_file
from gen_rerank.data.records import BadRow, Product
from gen_rerank.data.slices import cut_file
from gen_rerank.errors import BadInput
from gen_rerank.offline.manifest import FileRecord
from gen_rerank.offline.rows import AskedQuery

# Products that are kept as objects: neighbouring pairs often name the same ones.
_KEPT = 10_000


def read_texts(folder: Path, out: Path) -> tuple[list[FileRecord], list[BadRow]]:
    """Write the texts of a data folder's products and queries; return which files they are from, and their bad rows.

    Args:
        folder: a data folder.
        out: the SQLite file, which is not there yet.

    Raises:
        BadInput: a file is not there, or of another form.

    Example:
        >>> read_texts(Path("shop"), Path("texts"))[1]  # doctest: +SKIP
        []
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; a data set is a folder with products.jsonl and queries.jsonl")
    products = RowReader(rows_file(folder, "products"), Product)
    queries = RowReader(rows_file(folder, "queries"), AskedQuery)
    with closing(sqlite3.connect(out)) as database, database:
        database.execute("PRAGMA synchronous = OFF")  # a run that is killed makes it again
        for table in ("products", "queries"):
            database.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, said TEXT) WITHOUT ROWID")
        for line, product in products.valid():
            if not _added(database, "products", product.product_id, product.model_dump_json(exclude_defaults=True)):
                products.refuse(line, f"{product.product_id} was already given")
        for line, query in queries.valid():
            if not _added(database, "queries", query.query_id, query.text):
                queries.refuse(line, f"{query.query_id} was already given")
    records = []
    for file in (products.file, queries.file):
        cut = cut_file(file, _KEPT, 2**24)
        records.append(FileRecord(name=file.name, sha256=cut.sha256, rows=cut.rows))
    return records, [*products.bad, *queries.bad]


class Texts:
    """What `read_texts` wrote.

    Example:
        >>> Texts(Path("texts")).query("q1")  # doctest: +SKIP
        'oak desk'
    """

    def __init__(self, file: Path) -> None:
        """Open the file; nobody writes it any more."""
        self._database = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        self._products: LRUCache[str, Product] = LRUCache(_KEPT)

    def query(self, query_id: str) -> str | None:
        """Return a query's text; None where there is no such query."""
        return self._said("queries", query_id)

    def product(self, product_id: str) -> Product | None:
        """Return a product; None where there is no such product."""
        if product_id not in self._products:
            said = self._said("products", product_id)
            if said is None:
                return None
            self._products[product_id] = Product.model_validate_json(said)
        return self._products[product_id]

    def _said(self, table: str, name: str) -> str | None:
        found = self._database.execute(f"SELECT said FROM {table} WHERE id = ?", (name,)).fetchone()  # noqa: S608
        return None if found is None else found[0]


def _added(database: sqlite3.Connection, table: str, name: str, said: str) -> bool:
    return database.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", (name, said)).rowcount > 0  # noqa: S608
