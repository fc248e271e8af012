"""An index is made from a stream of products, and changed by one commit: both whole or not at all.

Neither holds the products in memory. A new index is filled beside the old one and takes its name at the end; a change
is tantivy's commit, so that a writer which is killed leaves what was committed before.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tantivy

from gen_rerank.data.reading import RowReader, products_file
from gen_rerank.data.records import BadRow, Product, product_text
from gen_rerank.errors import BadInput, first_line
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.search.fields import ANALYZER, ID, document_of, key_of, schema
from gen_rerank.search.index import SYNONYMS, VECTORS, WORDS, ProductIndex, open_words, read_synonyms
from gen_rerank.search.settings import FILE, IndexSettings
from gen_rerank.search.vectors import TextEncoder, Vectors
from gen_rerank.search.words import analyzer
from gen_rerank.system.publishing import folder_appearing, is_full_disk, opened_before_named, refuse_taken

_WRITER_BYTES = 128_000_000
_ENCODED_AT_ONCE = 1024


@dataclass(frozen=True)
class IndexChange:
    """What became of an index.

    Attributes:
        given: rows that were read.
        added: products that it did not hold.
        replaced: rows in whose place a later one of the same id stands now.
        deleted: products that it does not hold any more.
        unknown: ids that were to be deleted, and that it did not hold.
        products: how many it holds now.
        bad_rows: rows that were left out.
    """

    given: int
    added: int
    replaced: int
    deleted: int
    unknown: tuple[str, ...]
    products: int
    bad_rows: tuple[BadRow, ...]


def build_index(
    source: Path,
    out: Path,
    settings: IndexSettings,
    *,
    synonyms: Path | None = None,
    skip_bad_rows: bool = False,
) -> IndexChange:
    """Index the products of a file or a data folder; an older index at `out` is replaced when the new one is whole.

    Args:
        source: `.jsonl`, `.jsonl.gz` or `.parquet`, or a folder that holds products.
        out: where the index goes.
        settings: its language, and the model of its vectors.
        synonyms: a file of the shop's.
        skip_bad_rows: leave bad rows out.

    Raises:
        BadInput: no products, a bad row, no such language, a file at `out` that is no index, or a full disk.

    Example:
        >>> build_index(Path("shop"), Path("runs/index"), IndexSettings()).products  # doctest: +SKIP
        2400
    """
    reader = RowReader(products_file(source), Product)
    analyzer(settings.language)
    if synonyms is not None:
        _checked_synonyms(synonyms, settings.language)
    with folder_appearing(out, _refuse_no_index) as folder:
        (folder / WORDS).mkdir()
        made = tantivy.Index(schema(), path=str(folder / WORDS))
        made.register_tokenizer(ANALYZER, analyzer(settings.language))
        settings.write(folder)
        if synonyms is not None:
            shutil.copyfile(synonyms, folder / SYNONYMS)
        with _writing(made, out) as writer:
            given = _add(writer, _rows(reader, skip_bad_rows), folder, settings)
            writer.commit()
            writer.wait_merging_threads()
        if not given:
            raise BadInput(f"{reader.file}: no usable rows")
        products = len(opened_before_named(ProductIndex.open, folder, out))
    return IndexChange(given, products, given - products, 0, (), products, tuple(reader.bad))


def change_index(
    folder: Path,
    *,
    add: Path | None = None,
    delete: Sequence[str] = (),
    synonyms: Path | None = None,
    skip_bad_rows: bool = False,
) -> IndexChange:
    """Take products out of an index and put others in, in one commit; searches go on meanwhile.

    Args:
        folder: of the index.
        add: products, as `build_index` reads them; one that the index holds already is replaced.
        delete: ids of products that go.
        synonyms: take the place of those that the index has.
        skip_bad_rows: leave bad rows out.

    Raises:
        BadInput: no such index, another writer is at it, a bad row, or a full disk; then the index is as it was.

    Example:
        >>> change_index(Path("runs/index"), delete=["p1"]).deleted  # doctest: +SKIP
        1
    """
    index = ProductIndex.open(folder)
    reader = None if add is None else RowReader(products_file(add), Product)
    if synonyms is not None:
        _checked_synonyms(synonyms, index.settings.language)
    unknown = index.gone(delete)
    before = len(index)
    given = 0
    with _writing(open_words(folder, index.settings), folder) as writer:
        for product_id in delete:
            writer.delete_documents_by_term(ID, product_id)
        if reader is not None:
            given = _add(writer, _rows(reader, skip_bad_rows), folder, index.settings)
        writer.commit()
        writer.wait_merging_threads()
    if synonyms is not None:
        shutil.copyfile(synonyms, folder / SYNONYMS)
    products = len(index)
    deleted = len(set(delete) - unknown)
    added = products - before + deleted
    bad = () if reader is None else tuple(reader.bad)
    return IndexChange(given, added, given - added, deleted, tuple(sorted(unknown)), products, bad)


def _add(writer: tantivy.IndexWriter, products: Iterable[Product], folder: Path, settings: IndexSettings) -> int:
    """Write products, each in the place of an older one of its id; return how many rows there were."""
    encoder = TextEncoder(settings.vectors) if settings.vectors else None
    given = 0
    with WorkProgress(transient=True) as progress:
        task = progress.add_task("indexing", total=None)
        for rows in _parts(products, _ENCODED_AT_ONCE):
            for product in rows:
                writer.delete_documents_by_term(ID, product.product_id)
                writer.add_document(document_of(product))
            if encoder:
                vectors = encoder.encode([product_text(product) for product in rows])
                Vectors(folder / VECTORS).add([key_of(product.product_id) for product in rows], vectors)
            given += len(rows)
            progress.advance(task, len(rows))
    return given


def _rows(reader: RowReader[Product], skip_bad_rows: bool) -> Iterator[Product]:
    """Yield the products of a file; at its end, complain of bad rows unless they are left out."""
    for _, product in reader.valid():
        if skip_bad_rows or not reader.bad:
            yield product
    if reader.bad and not skip_bad_rows:
        more = f" (and {len(reader.bad) - 1} more)" if len(reader.bad) > 1 else ""
        raise BadInput(f"{reader.bad[0]}{more}; correct the row, or pass --skip-bad-rows to leave such rows out")


def _parts(products: Iterable[Product], size: int) -> Iterator[list[Product]]:
    part: list[Product] = []
    for product in products:
        part.append(product)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


@contextmanager
def _writing(index: tantivy.Index, out: Path) -> Iterator[tantivy.IndexWriter]:
    """Give the index's only writer; what it did not commit is nothing.

    Raises:
        BadInput: another one is at it, or the disk is full.
    """
    try:
        writer = index.writer(_WRITER_BYTES, 1)
    except ValueError as error:
        if "LockBusy" not in str(error):
            raise _in_words(error, out) from error
        raise BadInput(f"{out}: another run is changing this index; wait for its end") from error
    try:
        yield writer
    except ValueError as error:
        if isinstance(error, BadInput):
            raise
        raise _in_words(error, out) from error
    finally:
        del writer


def _in_words(error: ValueError, out: Path) -> BadInput:
    reason = "the disk is full" if is_full_disk(error) else first_line(error)
    return BadInput(f"{out}: cannot be written ({reason}); nothing was changed")


def _checked_synonyms(file: Path, language: str) -> None:
    if not file.is_file():
        raise BadInput(f"{file}: no such file; synonyms are lines such as `sofa, couch`")
    read_synonyms(file, language)


def _refuse_no_index(out: Path) -> None:
    """Refuse to replace anything but an older index."""
    if not (out / FILE).is_file():
        refuse_taken(out)
