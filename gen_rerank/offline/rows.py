"""The rows that are scored offline: a pair with its texts or with ids alone, a query without candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from gen_rerank.data.documents import product_of
from gen_rerank.data.missing import is_nothing
from gen_rerank.data.records import Identifier, Pair, Product, Record, Tags, Text, Words
from gen_rerank.errors import BadInput


def _given(value: Any) -> Any:
    return None if is_nothing(value) else value


class PairRow(Record):
    """A pair that is to be scored; texts that are not there are joined by the ids.

    Attributes:
        product: an object with a product's fields, or its title.

    Example:
        >>> PairRow(query_id="q1", product_id="p1", query="oak desk", product="Oak writing desk").query
        'oak desk'
    """

    query_id: Identifier
    product_id: Identifier
    query: Words = None
    product: Annotated[Any, BeforeValidator(_given)] = None


class AskedQuery(Record):
    """A query whose candidates an index finds; a row of `queries.jsonl` is one, its split and tags are not read."""

    query_id: Identifier
    text: Text
    split: Annotated[Any, BeforeValidator(_given)] = None
    tags: Tags = ()


@dataclass(frozen=True)
class NamedPair:
    """A pair with its ids.

    Attributes:
        line: of the row that it comes from.
        query_id: of the query.
        product_id: of the product.
        pair: what a scorer reads.
    """

    line: int
    query_id: str
    product_id: str
    pair: Pair


def product_in_row(row: PairRow) -> Product:
    """Return the product that a row describes, under the row's id.

    Raises:
        BadInput: it is no product, or has another id.

    Example:
        >>> product_in_row(PairRow(query_id="q1", product_id="p1", product="Oak desk"))
        Product(product_id='p1', title='Oak desk', description=None, brand=None, category=None, attributes={}, \
price=None, available=None)
    """
    product = product_of(row.product, "product")
    named = isinstance(row.product, dict) and row.product.get("product_id") is not None
    if named and product.product_id != row.product_id:
        raise BadInput(f"product.product_id is {product.product_id!r}, and product_id is {row.product_id!r}")
    return product.model_copy(update={"product_id": row.product_id})
