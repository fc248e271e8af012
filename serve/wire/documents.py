"""Queries and documents of a body, checked; `gen_rerank.data.documents` makes a `Product` of a document.

Here is what a body may look like. How results look is elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from gen_rerank.data.cleaning import clean
from gen_rerank.data.documents import NoText, product_of
from gen_rerank.data.records import Pair, Product
from gen_rerank.errors import BadInput
from serve.question import Blank, Refusal

Document = Annotated[str, Field(json_schema_extra={"pattern": r"\S"})] | dict[str, Any]

# The bounds are checked with sentences of our own; here they are for the readers of the OpenAPI document. Lists fail at
# the first bad entry: a report on each of a million would be worth an attack.
QueryText = Annotated[
    str,
    Field(
        description="What the shopper typed.",
        examples=["oak desk"],
        json_schema_extra={"pattern": r"\S"},
    ),
]
DocumentList = Annotated[
    list[Document],
    Field(
        fail_fast=True,
        description="What is ranked: titles, objects with a `text` (or `page_content`, or `content`), of which the "
        "text alone is read, or product objects with a `title` and any of `description`, `brand`, `category`, "
        "`attributes`, `price`; with `rank_fields`, objects of any keys.",
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
    query: str,
    documents: Sequence[Document],
    *,
    place: str = "documents",
    rank_fields: Sequence[str] | None = None,
    empty_last: bool = False,
) -> list[Pair | Blank]:
    """Return one pair a document, in order.

    Raises:
        Refusal: no documents, or one that is not a product.
    """
    found = products(documents, place=place, rank_fields=rank_fields, empty_last=empty_last)
    return [Pair(query, each) if isinstance(each, Product) else each for each in found]


def products(
    documents: Sequence[Document],
    *,
    place: str = "documents",
    rank_fields: Sequence[str] | None = None,
    empty_last: bool = False,
) -> list[Product | Blank]:
    """Return one product a document, in order; with `empty_last` a `Blank` for each that has no text.

    Raises:
        Refusal: no documents, or one that is not a product.
    """
    if not documents:
        raise Refusal(422, f"{place} is empty; give at least one")
    found: list[Product | Blank] = []
    for i, given in enumerate(documents):
        try:
            found.append(product_of(given, f"{place}.{i}", i, rank_fields))
        except BadInput as error:
            if not (empty_last and isinstance(error, NoText)):
                raise Refusal(422, str(error)) from error
            found.append(Blank())
    return found


def product(document: Document, place: str, number: int = 0, rank_fields: Sequence[str] | None = None) -> Product:
    """Return the product that a document describes.

    Args:
        document: as the client gave it.
        place: where it stands in the body, for the sentence.
        number: its place in the list, which is its id unless it has one.
        rank_fields: the keys that are read; None or empty means the product's own.

    Raises:
        Refusal: it has no text, an unknown or wrong field, or none of the keys in `rank_fields`.

    Example:
        >>> product({"name": "Oak desk", "colour": "brown"}, "documents.0", rank_fields=["name", "colour"]).attributes
        {'colour': 'brown'}
    """
    try:
        return product_of(document, place, number, rank_fields)
    except BadInput as error:
        raise Refusal(422, str(error)) from error


def check_query(query: str, place: str = "query") -> None:
    """Check that a query has text, and not only what is invisible.

    Raises:
        Refusal: 422, it has none.
    """
    if not clean(query).strip():
        raise Refusal(422, f"{place} has no text")
