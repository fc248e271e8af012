"""The rows that people bring: products, queries, judgments, and the pair that a scorer reads.

Each row is validated when it is made, and each field asks `values` what a foreign value becomes, so that a row is the
same wherever it comes from. Which files hold rows, and what a whole data set is, `reading` and `dataset` know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gen_rerank.data import values

Split = Literal["train", "validation", "test"]
Identifier = Annotated[str, BeforeValidator(values.identifier)]
Text = Annotated[str, BeforeValidator(values.required_text)]
Words = Annotated[str | None, BeforeValidator(values.joined_text)]
Paragraphs = Annotated[str | None, BeforeValidator(values.paragraphs)]
Attributes = Annotated[dict[str, str], BeforeValidator(values.attributes)]
Price = Annotated[Annotated[float, Field(ge=0.0)] | None, BeforeValidator(values.number)]
Availability = Annotated[bool | None, BeforeValidator(values.boolean)]
Tags = Annotated[tuple[str, ...], BeforeValidator(values.texts)]
Bounded = Annotated[float, Field(ge=0.0, le=1.0)]
Grade = Annotated[Bounded, BeforeValidator(values.grade)]
Grades = Annotated[tuple[Bounded, ...], BeforeValidator(values.grades)]


class Record(BaseModel):
    """One immutable row. Unknown columns are an error, so that a misspelt optional column is not lost silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Product(Record):
    """A thing for sale. Only the identifier and the title are required.

    Example:
        >>> Product(product_id="p1", title="Oak desk", attributes={"material": "oak"}).title
        'Oak desk'
    """

    product_id: Identifier
    title: Text
    description: Paragraphs = None
    brand: Words = None
    category: Words = None
    attributes: Attributes = {}
    price: Price = None
    available: Availability = None


class Query(Record):
    """What a shopper typed; `tags` name the slices that the query belongs to."""

    query_id: Identifier
    text: Text
    split: Annotated[Split, BeforeValidator(values.identifier)]
    tags: Tags = ()


class Judgment(Record):
    """How relevant a product is for a query, in [0, 1]; `labels` are the single annotators' grades."""

    query_id: Identifier
    product_id: Identifier
    relevance: Grade
    labels: Grades = ()


@dataclass(frozen=True)
class RowFault:
    """The first thing that is wrong with a row.

    Attributes:
        field: where it is; empty when the row is no object at all.
        clause: what is wrong, to be written behind the field as it is.
        missing: whether it is a required field that is absent.
        unknown: whether no such field is known; then the clause says nothing.
    """

    field: str
    clause: str
    missing: bool = False
    unknown: bool = False


def row_fault(error: ValidationError) -> RowFault:
    """Return what is wrong with a row, in words that are the same at every door.

    Example:
        >>> try:
        ...     Product(product_id="p1", title=None)
        ... except ValidationError as error:
        ...     print(row_fault(error).clause)
         has no text
    """
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return RowFault("", " is not an object")
    field = str(first["loc"][0])
    raised = first.get("ctx", {}).get("error")
    if isinstance(raised, values.NoValue):
        return RowFault(field, f" {raised}", missing=True)
    if isinstance(raised, values.BadValue):
        return RowFault(field, f": {raised}")
    if first["type"] == "missing":
        return RowFault(field, " is missing", missing=True)
    if first["type"] == "extra_forbidden":
        return RowFault(field, "", unknown=True)
    return RowFault(field, f": {_wanted(first['msg'])} is needed, not {values.shown(first['input'])}")


def _wanted(message: str) -> str:
    """Return what pydantic says that a value should be."""
    wanted = message.removeprefix("Input should be ")
    return wanted.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")


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
