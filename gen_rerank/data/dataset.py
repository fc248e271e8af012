"""A data set: a folder of products, queries and judgments, read, checked against each other, split, written.

The folder holds `products.jsonl`, and where there are any `queries.jsonl` and `judgments.jsonl` (or `.jsonl.gz`, or
`.parquet` with the same columns): a catalog alone is a data set too. A bad row is reported with its file, its line and
the reason. This module knows nothing of models, prompts or metrics.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast, get_args

from gen_rerank.data.reading import (
    ENDINGS,
    RowReader,
    find_rows_file,
    refuse_bad_rows,
    rows_file,
    rows_places,
    write_rows,
)
from gen_rerank.data.records import BadRow, Judgment, Pair, Product, Query, Split
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import opened_before_named, require_writable


@dataclass(frozen=True)
class Dataset:
    """A validated folder of products, with its queries and judgments.

    Attributes:
        products: by product id, in file order.
        queries: by query id, in file order; empty where the folder has none.
        judgments: in file order, empty where the folder has none; every id in them exists, and no pair is judged twice.
        bad_rows: what `skip_bad_rows` left out; empty otherwise.
    """

    products: dict[str, Product]
    queries: dict[str, Query]
    judgments: tuple[Judgment, ...]
    bad_rows: tuple[BadRow, ...] = ()

    @classmethod
    def load(cls, folder: str | Path, *, skip_bad_rows: bool = False, judged_only: bool = False) -> Dataset:
        """Read and validate a data set folder.

        Args:
            folder: holds `products`, and `queries` and `judgments` where there are any, as `.jsonl`, `.jsonl.gz` or
                `.parquet`.
            skip_bad_rows: leave bad rows out and list them in `bad_rows` instead of raising.
            judged_only: keep the products that are judged, where there are judgments; the others are checked, and none
                of them stays in memory.

        Raises:
            BadInput: there are no products, judgments without queries, a file without rows, or a bad row (the message
                names file, line and reason).

        Example:
            >>> Dataset.load("shop").of("test")  # doctest: +SKIP
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise BadInput(
                f"{folder}: no such folder; a data set is a folder with products.jsonl and, where there are any, "
                "queries.jsonl and judgments.jsonl"
            )
        products = RowReader(rows_file(folder, "products"), Product)
        judged_rows = find_rows_file(folder, "judgments")
        judgments = RowReader(judged_rows, Judgment) if judged_rows else None
        asked = rows_file(folder, "queries") if judged_rows else find_rows_file(folder, "queries")
        queries = RowReader(asked, Query) if asked else None
        wanted = _judged_products(judged_rows) if judged_rows and judged_only else None
        by_product = {row.product_id: row for _, row in products.numbered(lambda row: row.product_id, wanted)}
        by_query = {row.query_id: row for row in queries.unique(lambda row: row.query_id)} if queries else {}
        # Else the judgments would be blamed for it.
        files: list[tuple[RowReader[Any] | None, Sized]] = [(products, by_product or wanted or ()), (queries, by_query)]
        for reader, rows in files:
            if reader and not (rows or reader.bad):
                raise BadInput(f"{reader.file}: no usable rows")
        judged = list(_known(judgments, by_query, by_product)) if judgments else []
        bad = tuple(row for reader in (products, queries, judgments) if reader for row in reader.bad)
        if not skip_bad_rows:
            refuse_bad_rows(bad)
        for reader, rows in [*files, (judgments, judged)]:
            if reader and not rows:
                raise BadInput(f"{reader.file}: no usable rows")
        return cls(by_product, by_query, tuple(judged), bad)

    def save(self, folder: str | Path) -> None:
        """Write the JSON Lines files into `folder`, which is created; each takes the place of an older one.

        They are read again before they get their names. A file without rows is not written, and an older one goes.

        Raises:
            BadInput: what was written does not give this data set again, or `folder` holds the rows in another form.
        """
        folder = Path(folder)
        require_writable(folder)
        rows = {"products": self.products.values(), "queries": self.queries.values(), "judgments": self.judgments}
        for name in rows:
            for ending in ENDINGS[1:]:
                if (folder / f"{name}{ending}").exists():
                    raise BadInput(f"{folder}: holds {name}{ending}; choose another folder, or remove the file")
        with TemporaryDirectory(prefix=".", suffix=".partial", dir=folder) as made:
            for name, kept in rows.items():
                if kept:
                    write_rows(Path(made) / f"{name}.jsonl", kept)
            if opened_before_named(Dataset.load, Path(made), folder).fingerprint != self.fingerprint:
                raise BadInput(f"{folder}: what was written reads differently, so nothing was saved")
            for name, kept in rows.items():
                if kept:
                    (Path(made) / f"{name}.jsonl").replace(folder / f"{name}.jsonl")
                else:
                    (folder / f"{name}.jsonl").unlink(missing_ok=True)

    def of(self, *splits: Split) -> Dataset:
        """Return the same products with only the queries and judgments of one split, or of several."""
        queries = {key: query for key, query in self.queries.items() if query.split in splits}
        judgments = tuple(row for row in self.judgments if row.query_id in queries)
        return Dataset(self.products, queries, judgments, self.bad_rows)

    def pair(self, judgment: Judgment) -> Pair:
        """Return the texts that a judgment is about."""
        return Pair(self.queries[judgment.query_id].text, self.products[judgment.product_id])

    def by_query(self) -> dict[str, list[Judgment]]:
        """Return the judgments of each judged query, in file order."""
        groups: dict[str, list[Judgment]] = defaultdict(list)
        for judgment in self.judgments:
            groups[judgment.query_id].append(judgment)
        return dict(groups)

    def judged_splits(self) -> str:
        """Return which splits have judged queries, and how many, for a sentence that refuses another.

        Example:
            >>> Dataset.load("shop").judged_splits()  # doctest: +SKIP
            'judged queries: train has 240, validation has 30'
        """
        judged = {row.query_id for row in self.judgments}
        count = Counter(query.split for key, query in self.queries.items() if key in judged)
        found = [f"{split} has {count[split]:,}" for split in get_args(Split) if count[split]]
        return f"judged queries: {', '.join(found)}" if found else "no query of any split has one"

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 over all rows: the same data gives the same 16 hexadecimal digits on every machine."""
        digest = hashlib.sha256()
        for row in (*self.products.values(), *self.queries.values(), *self.judgments):
            digest.update(row.model_dump_json().encode())
        return digest.hexdigest()[:16]


def _judged_products(file: Path) -> set[str]:
    """Return the ids of the products that a file of judgments names."""
    return {row.product_id for _, row in RowReader(file, Judgment).valid()}


def _known(
    reader: RowReader[Judgment], queries: Mapping[str, Query], products: Mapping[str, Product]
) -> Iterator[Judgment]:
    """Yield the judgments whose query and product are there; the others are refused."""
    for line, row in reader.numbered(lambda row: f"{row.query_id} × {row.product_id}"):
        if row.query_id not in queries:
            reader.refuse(line, f"query_id {row.query_id!r} is not in {rows_file(reader.file.parent, 'queries').name}")
        elif row.product_id not in products:
            reader.refuse(
                line, f"product_id {row.product_id!r} is not in {rows_file(reader.file.parent, 'products').name}"
            )
        else:
            yield row


def is_data_folder(path: Path) -> bool:
    """Return whether a path is a folder that holds rows under the names of a data set; they are not read.

    Example:
        >>> is_data_folder(Path("/no/such/folder"))
        False
    """
    return any(place.is_file() for place in rows_places(path))


def judged_split(data: Path, split: str, skip_bad_rows: bool = False) -> Dataset:
    """Return one split of a data set folder.

    Raises:
        BadInput: no such split, bad data, or nothing judged in it.
    """
    if split not in get_args(Split):
        raise BadInput(f"there is no split {split!r}; choose one of {', '.join(get_args(Split))}")
    return judged_part(Dataset.load(data, skip_bad_rows=skip_bad_rows), split, data)


def judged_part(dataset: Dataset, split: str, data: Path) -> Dataset:
    """Return one split of a data set.

    Args:
        dataset: that was loaded.
        split: one of `Split`.
        data: from which folder, for the sentence.

    Raises:
        BadInput: nothing is judged in it.
    """
    require_judged(dataset, data)
    part = dataset.of(cast(Split, split))
    if not part.judgments:
        raise BadInput(f"{data}: no query of the split {split!r} has a judgment; {dataset.judged_splits()}")
    return part


def require_judged(dataset: Dataset, folder: Path) -> None:
    """Refuse a data set without judgments.

    Args:
        dataset: that was loaded.
        folder: from which, for the sentence.

    Raises:
        BadInput: it has none.
    """
    if not dataset.judgments:
        raise BadInput(
            f"{folder}: has no judgments.jsonl, and judged queries are needed here; gen-rerank import adds them"
        )
