"""The products that an import has met, and those that lay there before, on disk and not in memory.

SQLite keeps both in a temporary database without a name: it goes with the process, however that ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.json_text import NotJson, read_json
from gen_rerank.data.records import Product
from gen_rerank.errors import BadInput

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE met (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID;
CREATE TABLE earlier (id TEXT PRIMARY KEY, product TEXT) WITHOUT ROWID;
BEGIN;
"""
ADDED, CHANGED, GONE = "added", "changed", "gone"


class CatalogIndex:
    """Ids that were met, and the products of the last import that were not met yet."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.compares = False

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[CatalogIndex]:
        """Open an empty one, which is gone with the block.

        Raises:
            BadInput: its temporary file cannot be written, such as on a full disk.
        """
        database = sqlite3.connect("", isolation_level=None)
        try:
            database.executescript(_TABLES)
            yield cls(database)
        except sqlite3.OperationalError as error:
            raise BadInput(
                f"the temporary file of ids cannot be written ({error}); make room, or set SQLITE_TMPDIR"
            ) from error
        finally:
            database.close()

    def load_earlier(self, file: Path) -> int:
        """Read the products that an import is compared with; return how many lines of the file are none.

        Args:
            file: JSON Lines, as imports write them.
        """
        self.compares = True
        unread = 0
        with file.open("rb") as lines:
            for line in lines:
                try:
                    product = Product.model_validate(read_json(line.rstrip()))
                except (NotJson, ValidationError):
                    unread += bool(line.strip())
                    continue
                row = (product.product_id, product.model_dump_json())
                self._database.execute("INSERT OR IGNORE INTO earlier VALUES (?, ?)", row)
        return unread

    def meet(self, product: Product, line: int) -> int | None:
        """Note a product; return the line of an earlier one with its id, None where it is the first."""
        done = self._database.execute("INSERT OR IGNORE INTO met VALUES (?, ?)", (product.product_id, line))
        if done.rowcount:
            return None
        found = self._database.execute("SELECT line FROM met WHERE id = ?", (product.product_id,)).fetchone()
        assert found is not None, "it was not inserted because it is there"
        return int(found[0])

    def compare(self, product: Product, report: ImportReport) -> None:
        """Tell the report what became of a product since the last import."""
        if not self.compares:
            return
        key = (product.product_id,)
        found = self._database.execute("SELECT product FROM earlier WHERE id = ?", key).fetchone()
        if found is None:
            report.compare(ADDED, product.product_id, "", product.title)
            return
        self._database.execute("DELETE FROM earlier WHERE id = ?", key)
        if found[0] != product.model_dump_json():
            before = Product.model_validate_json(found[0])
            names = (name for name in Product.model_fields if getattr(before, name) != getattr(product, name))
            name = next(names, "attributes")  # in another order
            report.compare(CHANGED, f"{product.product_id} {name}", getattr(before, name), getattr(product, name))

    def report_gone(self, report: ImportReport) -> None:
        """Tell the report which products of the last import did not come again."""
        for product_id, written in self._database.execute("SELECT id, product FROM earlier ORDER BY id"):
            report.compare(GONE, product_id, Product.model_validate_json(written).title)
