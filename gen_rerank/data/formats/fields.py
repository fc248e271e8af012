"""Which field of a list of judgments says what, by the names that such lists use; a product's names are the feeds'.

One table for columns of a CSV file and for keys of JSON objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from gen_rerank.data.feeds.columns import DESCRIBING, KNOWN, plain_name
from gen_rerank.data.importing.report import names_listed
from gen_rerank.data.records import Product
from gen_rerank.errors import BadInput

_SEPARATORS = re.compile(r"[\W_]+")

# Of several columns for one thing, the first name here is taken.
_VOTE_NAMES: Mapping[str, tuple[str, ...]] = {
    "query": (
        "query", "query_text", "query_string", "search_term", "search_query", "search_terms", "keyword", "q",
    ),
    "query_id": ("query_id", "qid", "topic", "topic_id"),
    "product": (
        "product_id", "product", "doc_id", "docid", "document_id", "sku", "item_id", "asin", "parent_asin",
        "product_uid",
    ),
    "grade": (
        "grade", "rating", "label", "relevance", "judgment", "judgement", "relevance_score", "vote", "score",
    ),
    "rater": (
        "rater", "rater_id", "annotator", "annotator_id", "judge", "assessor", "worker", "worker_id", "user",
        "user_email",
    ),
    "raters": ("raters", "labels", "votes"),
    "split": ("split",),
    "tags": ("tags",),
    "need": ("information_need", "need"),
}  # fmt: skip
_PRODUCT_NAMES: Mapping[str, tuple[str, ...]] = {
    field.value: names for field, names in KNOWN.items() if field in Product.model_fields and field != "product_id"
}


def vote_columns(columns: Iterable[str], named: Mapping[str, str], place: str) -> dict[str, str]:
    """Return which column holds what of a vote.

    Args:
        columns: that are there.
        named: what people said, by what a column holds.
        place: for the sentence.

    Raises:
        BadInput: people named a column that is not there, one for two things, or something that no vote has.

    Example:
        >>> vote_columns(["Search Term", "docid", "Rating"], {}, "votes.csv")
        {'query': 'Search Term', 'product': 'docid', 'grade': 'Rating'}
    """
    there = list(columns)
    chosen: dict[str, str] = {}
    for what, column in named.items():
        if what not in _VOTE_NAMES:
            raise BadInput(f"--map {what}={column}: no list of judgments has a {what!r}; it has {_listed(_VOTE_NAMES)}")
        found = [name for name in there if name == column] or [name for name in there if _key(name) == _key(column)]
        if not found:
            raise BadInput(f"{place}: --map {what}={column}: no such column; there are {_listed(there)}")
        if found[0] in chosen.values():
            raise BadInput(f"--map: the column {found[0]!r} is named for two things; name one for each")
        chosen[what] = found[0]
    usual = {what: names for what, names in _VOTE_NAMES.items() if what not in chosen}
    return _found([name for name in there if name not in chosen.values()], usual) | chosen


def product_fields(found: Mapping[str, Any], *, keep_rest: bool) -> dict[str, Any]:
    """Return the fields of a product by their names in the catalog.

    Args:
        found: whatever a source says of it.
        keep_rest: what nobody knows becomes an attribute under its own name.

    Example:
        >>> product_fields({"name": "A51", "title": "Galaxy A51", "Brand": "Samsung", "Colour": "red"}, keep_rest=True)
        {'title': 'Galaxy A51', 'brand': 'Samsung', 'attributes': [('color', 'red'), ('name', 'A51')]}
    """
    columns = _product_columns(tuple(found))
    fields = {name: found[column] for name, column in columns.items() if name in _PRODUCT_NAMES}
    described = [(name.strip(), found[column]) for name, column in columns.items() if name not in _PRODUCT_NAMES]
    rest = [(plain_name(key), value) for key, value in found.items() if key not in columns.values()]
    if more := described + rest * keep_rest:
        own = fields.get("attributes")
        fields["attributes"] = [*(own.items() if isinstance(own, Mapping) else own or []), *more]
    return fields


def unread_fields(found: Mapping[str, Any]) -> list[str]:
    """Return the names under which a source says something that is known neither as a field nor as an attribute.

    Example:
        >>> unread_fields({"title": "Lamp", "Colour": "red", "supplier": "Lux", "notes": ""})
        ['supplier']
    """
    known = _product_columns(tuple(found)).values()
    return [name for name, value in found.items() if name not in known and value is not None and value != ""]


@lru_cache(maxsize=256)  # rows have few different sets of fields
def _product_columns(there: tuple[str, ...]) -> dict[str, str]:
    """Return which field says what of a product; attributes have a space before their name."""
    return _found(there, {**_PRODUCT_NAMES, **{f" {name}": usual for name, usual in DESCRIBING.items()}})


def _found(columns: Iterable[str], names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    by_name = {_key(column): column for column in reversed(list(columns))}
    found: dict[str, str] = {}
    for what, usual in names.items():
        column = next((by_name[name] for name in usual if name in by_name), None)
        if column is not None and column not in found.values():
            found[what] = column
    return found


def _key(column: str) -> str:
    return _SEPARATORS.sub("_", column.strip().casefold()).strip("_")


def _listed(names: Iterable[str]) -> str:
    return names_listed(names)
