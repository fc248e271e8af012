"""An index is made from a stream of products, and changed by one commit: both whole or not at all.

Neither holds the products in memory. A new index is filled beside the old one and takes its name at the end; a change
is tantivy's commit, so that a writer which is killed leaves what was committed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import tantivy

from gen_rerank.data.cleaning import visible
from gen_rerank.data.reading import RowReader, products_file, refuse_bad_rows
from gen_rerank.data.records import BadRow, Product, product_text
from gen_rerank.data.values import identifier
from gen_rerank.errors import BadInput
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.search.fields import ANALYZER, ID, document_of, key_of, schema
from gen_rerank.search.index import SYNONYMS, VECTORS, WORDS, ProductIndex, open_words, synonyms_of
from gen_rerank.search.replacing import refuse_no_index
from gen_rerank.search.settings import IndexSettings
from gen_rerank.search.synonyms import read_synonyms_text
from gen_rerank.search.vectors import TextEncoder, Vectors
from gen_rerank.search.words import analyzer
from gen_rerank.system.publishing import (
    alone_at,
    folder_appearing,
    is_full_disk,
    opened_before_named,
    require_room,
    write_text_whole,
)

_WRITER_BYTES = 128_000_000
_AT_ONCE = 4096  # products in memory, and vectors in a file


@dataclass(frozen=True)
class IndexChange:
    """What became of an index.

    Attributes:
        given: rows that were read.
        added: products that it did not hold.
        replaced: products, of the index or of earlier rows, in whose place a later row of the same id stands now.
        deleted: products that it does not hold any more.
        unknown: ids that were to be deleted, and that it held neither before nor after.
        products: how many it holds now.
        bad_rows: rows that were left out.
        synonyms: how many words and runs of words mean something else besides, by its synonyms.
    """

    given: int
    added: int
    replaced: int
    deleted: int
    unknown: tuple[str, ...]
    products: int
    bad_rows: tuple[BadRow, ...]
    synonyms: int = 0


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
        synonyms: a file of the shop's; None keeps those of the older index.
        skip_bad_rows: leave bad rows out.

    Raises:
        BadInput: no products, a bad row, no such language, something at `out` that is no index, or a full disk.

    Example:
        >>> build_index(Path("shop"), Path("runs/index"), IndexSettings()).products  # doctest: +SKIP
        2400
    """
    reader = RowReader(products_file(source), Product)
    analysis = analyzer(settings.language)
    meanings = None if synonyms is None else _checked_synonyms(synonyms, settings.language)
    with folder_appearing(out, refuse_no_index) as folder, _in_words(out):
        if meanings is None:
            meanings = _kept_synonyms(out / SYNONYMS, settings.language)
        (folder / WORDS).mkdir()
        made = tantivy.Index(schema(), path=str(folder / WORDS))
        made.register_tokenizer(ANALYZER, analysis)
        settings.write(folder)
        if meanings is not None:
            write_text_whole(folder / SYNONYMS, meanings)
        with _writing(made, out) as writer:
            given = _add(writer, _rows(reader, skip_bad_rows), folder, settings, _nothing_held)
        if not given:
            raise BadInput(f"{reader.file}: no usable rows")
        made_index = opened_before_named(ProductIndex.open, folder, out)
        products, meant = len(made_index), len(made_index.synonyms.meanings)
    return IndexChange(given, products, given - products, 0, (), products, tuple(reader.bad), meant)


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
        delete: ids of products that go; one that is added too stays, as it was added.
        synonyms: take the place of those that the index has.
        skip_bad_rows: leave bad rows out.

    Raises:
        BadInput: no such index, another run is writing it, a bad row, or a full disk; then the index is as it was.

    Example:
        >>> change_index(Path("runs/index"), delete=["p1"]).deleted  # doctest: +SKIP
        1
    """
    index = ProductIndex.open(folder)
    reader = None if add is None else RowReader(products_file(add), Product)
    meanings = None if synonyms is None else _checked_synonyms(synonyms, index.settings.language)
    require_room(folder)
    folder = folder.resolve()
    with alone_at(folder) as beside, _in_words(folder):
        before, unknown = len(index), index.gone(delete)
        if meanings is not None:
            write_text_whole(beside / SYNONYMS, meanings)
        given = 0
        with _writing(open_words(folder, index.settings), folder) as writer:
            for product_id in delete:
                writer.delete_documents_by_term(ID, product_id)
            if reader is not None:
                given = _add(writer, _rows(reader, skip_bad_rows), folder, index.settings, index.gone)
        if meanings is not None:
            (beside / SYNONYMS).replace(folder / SYNONYMS)
        products, meant = len(index), len(index.synonyms.meanings)
        never = tuple(sorted(index.gone(unknown)))
    deleted = len(set(delete) - unknown)
    added = products - before + deleted
    bad = () if reader is None else tuple(reader.bad)
    return IndexChange(given, added, given - added, deleted, never, products, bad, meant)


def read_ids(file: Path) -> list[str]:
    """Return the ids of a file, one a line, as products have them.

    Raises:
        BadInput: it cannot be read, is not UTF-8, or has no ids.

    Example:
        >>> read_ids(Path("sold.txt"))  # doctest: +SKIP
        ['p17', 'p18']
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror}); name a file with one id a line") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: is not text in UTF-8; save it as UTF-8, one id a line") from error
    found = [identifier(line) for line in lines if visible(line).strip()]
    if not found:
        raise BadInput(f"{file}: has no ids; write one a line")
    return found


def _add(
    writer: tantivy.IndexWriter,
    products: Iterable[Product],
    folder: Path,
    settings: IndexSettings,
    absent: Callable[[Iterable[str]], set[str]],
) -> int:
    """Write products, each in the place of an older one of its id; return how many rows there were.

    Only what was held before, or stood in an earlier row, is deleted: tantivy keeps each deletion in memory until the
    commit, where a million of them took more than a gigabyte. The keys of the rows take 64 bytes each.
    """
    encoder = TextEncoder(settings.vectors) if settings.vectors else None
    vectors = Vectors(folder / VECTORS)
    given = 0
    written: set[int] = set()
    with WorkProgress(transient=True) as progress:
        task = progress.add_task("indexing", total=None)
        for rows in _parts(products, _AT_ONCE):
            first = vectors.add(encoder.encode([product_text(product) for product in rows])) if encoder else None
            new = absent(product.product_id for product in rows)
            for i, product in enumerate(rows):
                key = key_of(product.product_id)
                if product.product_id not in new or key in written:
                    writer.delete_documents_by_term(ID, product.product_id)
                written.add(key)
                writer.add_document(document_of(product, None if first is None else first + i))
            given += len(rows)
            progress.advance(task, len(rows))
    return given


def _nothing_held(product_ids: Iterable[str]) -> set[str]:
    """Return all ids: a new index holds none of them."""
    return set(product_ids)


def _rows(reader: RowReader[Product], skip_bad_rows: bool) -> Iterator[Product]:
    """Yield the products of a file; at its end, complain of bad rows unless they are left out."""
    for _, product in reader.valid():
        if skip_bad_rows or not reader.bad:
            yield product
    if not skip_bad_rows:
        refuse_bad_rows(reader.bad)


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
    """Give the index's only writer; what it wrote is committed with the block's end, or removed.

    Raises:
        BadInput: another one is at it.
    """
    try:
        writer = index.writer(_WRITER_BYTES, 1)
    except ValueError as error:
        if "LockBusy" not in str(error):
            raise
        raise BadInput(f"{out}: another run is writing this index; wait for its end") from error
    try:
        writer.garbage_collect_files()  # what a killed run left has the names that this one will take
        yield writer
        writer.commit()
    except BaseException:
        with suppress(ValueError, OSError):  # on a full disk they may fail too; then the next writer removes the rest
            writer.rollback()
            writer.garbage_collect_files()
        raise
    finally:
        with suppress(ValueError, OSError):  # what was committed stands, merged or not
            writer.wait_merging_threads()


@contextmanager
def _in_words(out: Path) -> Iterator[None]:
    """Say in one sentence that an index cannot be written.

    Raises:
        BadInput: so tantivy or the system says.
    """
    try:
        yield
    except BadInput:
        raise
    except (ValueError, OSError) as error:
        told = str(error)
        if is_full_disk(error):
            told = "the disk is full"
        elif "writer was killed" in told:  # by the first error of its thread, of which tantivy tells no more
            told = "writing stopped, most likely because the disk is full"
        raise BadInput(f"{out}: cannot be written ({told}); nothing was changed") from error


def _checked_synonyms(file: Path, language: str) -> str:
    """Return the text of a file of synonyms.

    Raises:
        BadInput: it cannot be read, or a line has no synonyms.
    """
    text = read_synonyms_text(file)
    synonyms_of(text, language, file)
    return text


def _kept_synonyms(file: Path, language: str) -> str | None:
    """Return the text of the synonyms that an older index has, for the one that takes its place; None if it has none.

    Raises:
        BadInput: they cannot be read, or are none in the new language.
    """
    try:
        return _checked_synonyms(file, language) if file.exists() else None
    except BadInput as error:
        raise BadInput(f"{error}; these are the older index's, pass --synonyms FILE to give others") from error
