"""The rows of a source in the form in which it lies there; one place for feeds, judgments and public sets.

Which form it is `source` recognised; how each is read its own module knows.
"""

from __future__ import annotations

from gen_rerank.data.feeds.json_rows import json_rows
from gen_rerank.data.feeds.merchant_xml import merchant_rows
from gen_rerank.data.feeds.rows import FeedRows
from gen_rerank.data.feeds.sheets import parquet_rows, sheet_rows
from gen_rerank.data.feeds.source import FeedForm, FeedSource
from gen_rerank.data.feeds.tables import delimiter_of, table_rows


def rows_of(source: FeedSource) -> FeedRows:
    """Return the rows of a source, which are read as they are asked for.

    Raises:
        BadInput: the file is not what its form promises; some of it shows only while rows are read.

    Example:
        >>> next(rows_of(FeedSource.recognise(Path("feed.csv")))).cells["title"]  # doctest: +SKIP
        'Oak desk'
    """
    match source.form:
        case FeedForm.TABLE:
            return table_rows(source, delimiter_of(source))
        case FeedForm.PARQUET:
            return parquet_rows(source)
        case FeedForm.XLSX:
            return sheet_rows(source)
        case FeedForm.XML:
            return merchant_rows(source)
    return json_rows(source)
