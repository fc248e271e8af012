"""A feed becomes `products.jsonl` in a data folder: read once, row by row, in memory that does not grow with the file.

The rows come from `source` and the readers of its forms, what they mean from `columns` and `products`. The file appears
whole: it is written beside and renamed at the end; what else lies in the folder stays.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from threading import current_thread, main_thread

from gen_rerank.data.feeds.catalog import CatalogIndex
from gen_rerank.data.feeds.columns import FeedColumns, FeedField
from gen_rerank.data.feeds.opened import rows_of
from gen_rerank.data.feeds.prices import (
    SIGN_NAMES,
    PriceReader,
    decimal_sign_of_locale,
    decimal_sign_of_prices,
)
from gen_rerank.data.feeds.products import ProductReader, RefusedProduct
from gen_rerank.data.feeds.rows import FeedRow, FeedRows, UnreadRow
from gen_rerank.data.feeds.sheets import sheet_names
from gen_rerank.data.feeds.shopify import merged_products, shopify_columns, shopify_names
from gen_rerank.data.feeds.source import FeedForm, FeedSource
from gen_rerank.data.feeds.tables import DELIMITERS, delimiter_of
from gen_rerank.data.importing.report import ImportReport, names_listed, times_listed
from gen_rerank.data.reading import ENDINGS, write_rows
from gen_rerank.data.records import Product
from gen_rerank.errors import BadInput
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.system.processes import signals_unwind
from gen_rerank.system.publishing import require_makeable, require_writable

FORMAT = "feed"
_HEAD_ROWS = 1000
_ROWS_A_STEP = 1000
_FILE = f"products{ENDINGS[0]}"


@dataclass(frozen=True)
class FeedOptions:
    """What people may say about a feed.

    Attributes:
        columns: by our field, the name of its column; a field is one of `FeedField`.
        keep_rest: whether columns that are not known become attributes.
        locale: a language, with a country where it matters; it decides what "1.299" is.
        encoding: in which the file was saved, by a name of Python's.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    keep_rest: bool = False
    locale: str | None = None
    encoding: str | None = None


def import_feed(source: Path, out: Path, options: FeedOptions | None = None) -> ImportReport:
    """Make `products.jsonl` of a shop's export, and say what was done.

    Args:
        source: CSV, TSV, JSON (an array or lines), Parquet, XLSX, merchant XML or Shopify's export; gzipped or not.
        out: a data folder, which is made; queries and judgments in it stay, products of an earlier import are replaced
            and compared.
        options: what people say about the feed.

    Returns:
        The report. Each row that was read is a product that was kept, a row that was refused, or, in Shopify's export,
        a part of a product. Changes are counted for products that were kept, once a value and kind.

    Raises:
        BadInput: the file cannot be read, no column is known for the id or the title, no row gives a product, or `out`
            cannot be written.

    Example:
        >>> import_feed(Path("feed.csv"), Path("shop"), FeedOptions(locale="de")).kept  # doctest: +SKIP
        {'products': 9412}
    """
    options = options or FeedOptions()
    _refuse_unusable(out)
    found = FeedSource.recognise(source, options.encoding)
    report = ImportReport(str(source), FORMAT)
    report.found["form"] = f"{found.form}, gzipped" if found.compressed else str(found.form)
    if found.encoding_said:
        report.found["encoding"] = found.encoding_said
    with _stoppable(), WorkProgress(transient=True) as progress, _alone_in(out), CatalogIndex.opened() as index:
        rows, reader = _opened(found, _counted(_rows(found, report), report, progress), options, report)
        earlier, partial = out / _FILE, out / f".{_FILE}.partial"
        if earlier.is_file():
            unread = index.load_earlier(earlier)
            if unread:
                report.found["lines of the earlier products that are none"] = f"{unread:,}"
        write_rows(partial, _products(found, rows, reader, index, report))
        if not report.kept.get("products"):
            raise BadInput(_nothing_kept(source, report))
        index.report_gone(report)
        partial.replace(earlier)
    _say_columns(reader.columns, report)
    return report


def _opened(
    source: FeedSource, rows: FeedRows, options: FeedOptions, report: ImportReport
) -> tuple[FeedRows, ProductReader]:
    """Return the rows of a feed, and what makes products of them; the first rows show its columns and decimal sign."""
    locale_sign = decimal_sign_of_locale(options.locale) if options.locale else None
    head = list(islice(rows, _HEAD_ROWS))
    names = list(dict.fromkeys(name for row in head if isinstance(row, FeedRow) for name in row.cells))
    if not names:
        raise BadInput(
            f"{source.path}: {'none of its first rows can be read' if head else 'has no rows'}{_first(source, head)}"
        )
    whole: FeedRows = chain(head, rows)
    shopify, overrides = shopify_names(names), dict(options.columns)
    if shopify:
        overrides = {FeedField.PRODUCT_ID: shopify.handle, **overrides}
        report.found["form"] += ", Shopify's export of products"
        names = shopify_columns(shopify, names)
    columns = FeedColumns(source.path, names, overrides, keep_rest=options.keep_rest)
    report.found["columns"] = columns.said
    sign, said = _decimal_sign(columns, head)
    if locale_sign:
        said = f"{SIGN_NAMES[locale_sign]}, by --locale {options.locale}"
    report.found["decimal sign"] = said if locale_sign else f"{said} (of the first {_HEAD_ROWS:,} rows)"
    prices = PriceReader(locale_sign=locale_sign, file_sign=sign)
    if shopify:
        whole = merged_products(whole, shopify, prices)
    return whole, ProductReader(columns, prices)


def _rows(source: FeedSource, report: ImportReport) -> FeedRows:
    """Return the rows of a feed, and tell the report by which delimiter or from which sheet they come."""
    if source.form == FeedForm.TABLE:
        delimiter = delimiter_of(source)
        report.found["delimiter"] = DELIMITERS.get(delimiter, repr(delimiter))
    if source.form == FeedForm.XLSX:
        read, *others = sheet_names(source)
        report.found["sheet"] = f"{read}; not read: {names_listed(others)}" if others else read
    return rows_of(source)


def _decimal_sign(columns: FeedColumns, head: list[FeedRow | UnreadRow]) -> tuple[str | None, str]:
    names = [name for field in (FeedField.PRICE, FeedField.SALE_PRICE) if (name := columns.column(field))]
    return decimal_sign_of_prices(row.cells.get(name) for row in head if isinstance(row, FeedRow) for name in names)


def _counted(rows: FeedRows, report: ImportReport, progress: WorkProgress) -> FeedRows:
    """Yield rows, counted, with the progress shown."""
    task = progress.add_task("rows read", total=None)
    for number, row in enumerate(rows, start=1):
        report.count("rows")
        if number % _ROWS_A_STEP == 0:
            progress.advance(task, _ROWS_A_STEP)
        yield row


def _products(
    source: FeedSource, rows: FeedRows, reader: ProductReader, index: CatalogIndex, report: ImportReport
) -> Iterator[Product]:
    """Yield the products to keep, and tell the report of all rows."""
    file = source.name
    for row in rows:
        if isinstance(row, UnreadRow):
            report.refuse(row.kind, file, row.line, row.reason)
            continue
        try:
            product, notes = reader.product(row)
        except RefusedProduct as error:
            report.refuse(error.kind, file, row.line, str(error))
            continue
        before = index.meet(product, row.line)
        if before is not None:
            report.refuse(
                "repeated id",
                file,
                row.line,
                f"{product.product_id} was already given in {source.form.unit} {before}, which is kept",
            )
            continue
        for note in notes:
            report.change(note.kind, f"{file}:{row.line} {note.column}".rstrip(), note.before, note.after)
        report.keep("products")
        index.compare(product, report)
        yield product


def _say_columns(columns: FeedColumns, report: ImportReport) -> None:
    """Tell the report of columns that came late, and of those that are no field, once all rows were seen."""
    if columns.late_said:
        report.found[f"columns that first come after {_HEAD_ROWS:,} rows"] = columns.late_said
    if columns.attributes_said:
        report.found["columns kept as attributes"] = columns.attributes_said
    if columns.index:
        dropped = names_listed(name or "the first column, which has no name" for name in columns.index)
        report.found["pandas' index"] = f"dropped: {dropped}"
    if columns.rest:
        report.found["columns not kept"] = f"{times_listed(columns.rest)}; --keep-rest makes attributes of them"


def _nothing_kept(source: Path, report: ImportReport) -> str:
    first = f"; the first: {report.first_refused[0]}" if report.first_refused else ""
    return f"{source}: none of its {report.read.get('rows', 0):,} rows gives a product, so nothing was written{first}"


def _first(source: FeedSource, rows: list[FeedRow | UnreadRow]) -> str:
    first = next((row for row in rows if isinstance(row, UnreadRow)), None)
    return f"; {source.form.unit} {first.line}: {first.reason}" if first else ""


def _refuse_unusable(out: Path) -> None:
    """Refuse a folder in which the products cannot be written, before anything is read."""
    for ending in ENDINGS[1:]:
        if (out / f"products{ending}").exists():
            raise BadInput(f"{out}: holds products{ending}; choose another folder, or remove the file")
    if (out / _FILE).is_dir():
        raise BadInput(f"{out / _FILE}: is a folder; choose another folder, or remove it")
    require_makeable(out)


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Make the folder, where it is not there, and keep other imports out of it; what failed leaves nothing behind.

    Raises:
        BadInput: it cannot be written, or another import is writing to it.
    """
    new = [place for place in (out, *out.parents) if not place.exists()]
    lock = out / f".{_FILE}.lock"
    try:
        require_writable(out)
        with lock.open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadInput(f"{out}: another import is writing to it; wait for its end") from error
            try:
                yield
            finally:
                (out / f".{_FILE}.partial").unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # the folder holds something, or was never made
            for place in new:
                place.rmdir()


def _stoppable() -> AbstractContextManager[None]:
    """Let SIGTERM end the work as an exception does, where this is the main thread; others cannot heed signals."""
    return signals_unwind() if current_thread() is main_thread() else nullcontext()
