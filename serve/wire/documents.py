"""Queries and documents of a body, checked; a document becomes a `Product`.

A document is a string (a title), an object with a `text`, or an object with the fields of a product. Beside a `text`
there may be anything, as Cohere's clients send it: what is no field of a product is not read. With `rank_fields` only
the named keys are read, of any object. How results look is elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError

from gen_rerank.data.records import Pair, Product
from serve.question import Refusal
from serve.wire.bodies import check_size, shown, wrong_value

# Bounds on the work that one request can cause. The prompt cuts a query to its budget of tokens long before this.
MAX_QUERY_CHARACTERS = 10_000
MAX_ATTRIBUTES = 1000

PRODUCT_FIELDS = tuple(Product.model_fields)
# A text field of a product that can stand in for a title that is missing.
_TEXT_FIELDS = ("description", "brand", "category")

Document = Annotated[str, Field(json_schema_extra={"pattern": r"\S"})] | dict[str, Any]

# The bounds are checked with sentences of our own; here they are for the readers of the OpenAPI document. Lists fail at
# the first bad entry: a report on each of a million would be worth an attack.
QueryText = Annotated[
    str,
    Field(
        description="What the shopper typed.",
        examples=["oak desk"],
        json_schema_extra={"pattern": r"\S", "maxLength": MAX_QUERY_CHARACTERS},
    ),
]
DocumentList = Annotated[
    list[Document],
    Field(
        fail_fast=True,
        description="What is ranked: titles, objects with a `text`, whose unknown keys are not read, or product "
        "objects with a `title` and any of `description`, `brand`, `category`, `attributes`, `price`; with "
        "`rank_fields`, objects of any keys.",
        examples=[["Oak writing desk", {"title": "Desk lamp", "brand": "Lumo", "attributes": {"colour": "black"}}]],
        json_schema_extra={"minItems": 1},
    ),
]
RankFields = Annotated[
    Annotated[list[str], Field(fail_fast=True, max_length=100)] | None,
    Field(
        description="The keys of each document object that are read, most important first; all others are ignored.",
        examples=[["title", "colour"]],
    ),
]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
# vLLM says 0 where the others say nothing.
CountOrAll = Annotated[int, Field(ge=0, le=2**31 - 1)]
DocumentTokens = Annotated[
    Count | None, Field(description="The most tokens of each document that are read, within the checkpoint's own.")
]
DocumentTokensOrAll = Annotated[
    CountOrAll | None,
    Field(description="The most tokens of each document that are read, within the checkpoint's own; 0 for no limit."),
]


def pairs(
    query: str, documents: Sequence[Document], *, place: str = "documents", rank_fields: Sequence[str] | None = None
) -> list[Pair]:
    """Return one pair a document, in order.

    Raises:
        Refusal: no documents, or one that is not a product.
    """
    return [Pair(query, found) for found in products(documents, place=place, rank_fields=rank_fields)]


def products(
    documents: Sequence[Document], *, place: str = "documents", rank_fields: Sequence[str] | None = None
) -> list[Product]:
    """Return one product a document, in order.

    Raises:
        Refusal: no documents, or one that is not a product.
    """
    if not documents:
        raise Refusal(422, f"{place} is empty; give at least one")
    return [product(given, f"{place}.{i}", i, rank_fields) for i, given in enumerate(documents)]


def check_query(query: str, place: str = "query") -> None:
    """Check that a query has text, and not too much.

    Raises:
        Refusal: 422, it has none, or more characters than the limit.
    """
    if not query.strip():
        raise Refusal(422, f"{place} has no text")
    check_size(place, len(query), MAX_QUERY_CHARACTERS, "characters")


def product(document: Document, place: str, number: int = 0, rank_fields: Sequence[str] | None = None) -> Product:
    """Return the product that a document describes.

    Args:
        document: as the client gave it.
        place: where it stands in the body, for the sentence.
        number: its place in the list, which is its id unless it has one.
        rank_fields: the keys that are read; None or empty means the product's own.

    Raises:
        Refusal: it has no title, an unknown or wrong field, or none of the keys in `rank_fields`.

    Example:
        >>> product({"name": "Oak desk", "colour": "brown"}, "documents.0", rank_fields=["name", "colour"]).attributes
        {'colour': 'brown'}
    """
    fields = {"title": document} if isinstance(document, str) else _fields(document, place, rank_fields)
    if isinstance(document, str) and not document.strip():
        raise Refusal(422, f"{place} has no text")
    if isinstance(fields.get("attributes"), dict):
        check_size(f"{place}.attributes", len(fields["attributes"]), MAX_ATTRIBUTES, "entries")
    try:
        return Product.model_validate({"product_id": str(number), **fields})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # Deeper in are the client's own keys, which can be anything.
        raise wrong_value(f"{place}.{first['loc'][0]}", first) from error


def _fields(document: dict[str, Any], place: str, rank_fields: Sequence[str] | None) -> dict[str, Any]:
    """Return the fields of the product, still unchecked."""
    if not _is_finite(document):
        raise Refusal(422, f"{place} has a number that is too large")
    known = {key: value for key, value in document.items() if not _is_absent(value)}
    if rank_fields:
        read = {key: known[key] for key in dict.fromkeys(rank_fields) if key in known}
        if not read:
            raise Refusal(422, f"{place} has none of the fields that rank_fields names")
    else:
        if "text" not in document:
            _refuse_unknown(document, place)
        read = {key: value for key, value in known.items() if key == "text" or key in PRODUCT_FIELDS}
    fields = {key: value for key, value in read.items() if key in PRODUCT_FIELDS}
    others = {key: _scalar(value, place, key) for key, value in read.items() if key not in PRODUCT_FIELDS}
    _place_text(fields, others)
    if rank_fields and "title" not in fields:
        _promote(list(read), fields, others, place)
    if "title" not in fields:
        raise Refusal(422, f"{place} has no title; a document is a string or an object with a title or a text")
    # What is no object is left to be refused with the other wrong fields.
    if others and isinstance(fields.setdefault("attributes", {}), dict):
        fields["attributes"] = fields["attributes"] | others
    return fields


def _refuse_unknown(document: dict[str, Any], place: str) -> None:
    for key in document:
        if key not in PRODUCT_FIELDS:
            raise Refusal(
                422,
                f"{place} has an unknown field {shown(key)}; it may have {', '.join(PRODUCT_FIELDS)}, "
                "or name the fields to read in rank_fields",
            )


def _place_text(fields: dict[str, Any], others: dict[str, str]) -> None:
    """Move `text` to the first of title, description and attributes that is free."""
    if "text" not in others:
        return
    slot = next((name for name in ("title", "description") if name not in fields), None)
    if slot:
        fields[slot] = others.pop("text")


def _promote(order: Sequence[str], fields: dict[str, Any], others: dict[str, str], place: str) -> None:
    """Make the first named key that has text the title: Cohere's clients name the most important one first."""
    for key in order:
        if key in others or key in _TEXT_FIELDS:
            fields["title"] = others.pop(key) if key in others else fields.pop(key)
            return
    raise Refusal(422, f"{place} has no text in the fields that rank_fields names")


def _scalar(value: Any, place: str, key: str) -> str:
    if isinstance(value, dict | list):
        raise Refusal(
            422, f"{place}: the field {shown(key)} is not a string; of a document, texts and numbers are read"
        )
    return value if isinstance(value, str) else json.dumps(value)


def _is_absent(value: Any) -> bool:
    """Say whether a field is left out: catalogs write `null` or an empty text for it."""
    return value is None or (isinstance(value, str) and not value.strip())


def _is_finite(value: Any) -> bool:
    """Say whether a JSON value has only numbers that JSON can write; the parser bounds its depth."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
