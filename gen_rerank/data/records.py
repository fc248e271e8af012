"""The rows that people bring: products, queries, judgments, and the pair that a scorer reads.

Each row is validated when it is made. Which files hold rows, and what a whole data set is, `reading` and `dataset`
know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Split = Literal["train", "validation", "test"]
Grade = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Identifier = Annotated[str, Field(min_length=1)]
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]


class Record(BaseModel):
    """One immutable row. Unknown columns are an error, so that a misspelt optional column is not lost silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Product(Record):
    """A thing for sale. Only the identifier and the title are required.

    Example:
        >>> Product(product_id="p1", title="Oak desk", attributes={"material": "oak"}).title
        'Oak desk'
    """

    product_id: Identifier
    title: Text
    description: str | None = None
    brand: str | None = None
    category: str | None = None
    attributes: dict[str, str] = {}
    price: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = None
    available: bool | None = None


class Query(Record):
    """What a shopper typed; `tags` name the slices that the query belongs to."""

    query_id: Identifier
    text: Text
    split: Split
    tags: tuple[str, ...] = ()


class Judgment(Record):
    """How relevant a product is for a query, in [0, 1]; `labels` are the single annotators' grades."""

    query_id: Identifier
    product_id: Identifier
    relevance: Grade
    labels: tuple[Grade, ...] = ()


@dataclass(frozen=True)
class BadRow:
    """A row that was refused: the file, the line (from 1) and the reason, in words."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """Return `file:line: reason`."""
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Pair:
    """One query text and one product: the input of every scorer."""

    query: str
    product: Product


def product_text(product: Product) -> str:
    """Return all that a product says: title, brand, category, attributes and description.

    Example:
        >>> product_text(Product(product_id="p", title="Oak desk", attributes={"width": "120 cm"}))
        'Oak desk width 120 cm'
    """
    attributes = (f"{name} {value}" for name, value in product.attributes.items())
    parts = (product.title, product.brand, product.category, *attributes, product.description)
    return " ".join(part for part in parts if part)
