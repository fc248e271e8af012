"""A document of somebody else's becomes a `Product`: what clients send, and what Python programs have in their hands.

A document is a text (a title), an object with the fields of a product, or an object with a text: under `text` as
Cohere, Jina and LlamaIndex have it, `page_content` as LangChain, `content` as Haystack and vLLM. Of an object with a
text the text alone is read, as Cohere's servers do: what stands beside it may be anything. With `rank_fields` only the
named keys are read, of any object. What a single value becomes is `values`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from gen_rerank.data.cleaning import clean
from gen_rerank.data.records import Product, row_fault
from gen_rerank.data.values import BadValue, NoValue, attributes, identifier, joined_text, shown
from gen_rerank.errors import BadInput

PRODUCT_FIELDS = tuple(Product.model_fields)
TEXT_KEYS = ("text", "page_content", "content")
# Text fields of a product that can stand in for a title that is missing.
_TITLES = ("description", "brand", "category")
# LlamaIndex wraps a document that was found in an object with its score, and the text of some in one of its own.
_WRAPPERS = ("node", "text_resource")


class NoText(BadInput):
    """A document without any text: there is nothing to be read, and nothing else wrong with it."""


def product_of(given: Any, place: str, number: int = 0, rank_fields: Sequence[str] | None = None) -> Product:
    """Return the product that a document describes.

    Args:
        given: a text, an object (a mapping, a dataclass or a pydantic model), or a `Product`.
        place: where it stands, for the sentence.
        number: its place in the list, which is its id unless it has one.
        rank_fields: the keys that are read, most important first; None or empty means the product's own.

    Raises:
        NoText: it has no text.
        BadInput: it is none of these, or has an unknown or wrong field, or none of the keys in `rank_fields`.

    Example:
        >>> product_of({"name": "Desk", "colour": "brown"}, "documents.0", rank_fields=["name", "colour"]).attributes
        {'colour': 'brown'}
        >>> product_of({"page_content": "Oak desk", "metadata": {"page": 7}}, "documents.0").title
        'Oak desk'
    """
    if isinstance(given, Product):
        return given
    if isinstance(given, str):
        read: dict[str, Any] = {"title": given}
    else:
        document = _as_mapping(given, place)
        read = _named(document, place, rank_fields) if rank_fields else _own(document, place)
    try:
        return Product.model_validate({"title": None, **read, "product_id": _id(read, number)})
    except ValidationError as error:
        found = row_fault(error)
        if found.field == "title" and found.missing:
            raise NoText(f"{place} has no text") from error
        raise BadInput(f"{place}.{found.field}{found.clause}") from error


def as_query(given: Any) -> str:
    """Return a query that has text.

    Raises:
        BadInput: it is no text, or has none that is visible.

    Example:
        >>> as_query("oak desk")
        'oak desk'
    """
    if not isinstance(given, str):
        raise BadInput(f"the query is {shown(given)}; give one text")
    if not clean(given).strip():
        raise BadInput("the query has no text")
    return given


def as_products(given: Any, rank_fields: Sequence[str] | None = None, name: str = "products") -> list[Product]:
    """Return the products of a list of titles, dictionaries, documents or `Product`s.

    Args:
        given: what the caller has.
        rank_fields: as `product_of` takes them.
        name: of the list, for the sentence.

    Raises:
        BadInput: one text or one dictionary stands where a list is meant, or an entry is not usable.

    Example:
        >>> [product.title for product in as_products(["Oak desk", {"title": "Lamp"}])]
        ['Oak desk', 'Lamp']
    """
    single = isinstance(given, str | bytes | Mapping | BaseModel) or is_dataclass(given)
    if single or not isinstance(given, Iterable):
        raise BadInput(f"{name} is {shown(given)}; give a list, also of a single product: [product]")
    if type(given).__name__ == "DataFrame":  # iterating over one gives the names of its columns
        raise BadInput(f'{name} is a DataFrame; give its rows: frame.to_dict("records")')
    if rank_fields is not None and (isinstance(rank_fields, str) or not isinstance(rank_fields, Sequence)):
        raise BadInput(f"rank_fields is {shown(rank_fields)}; give a list of names")
    return [product_of(each, f"{name}.{index}", index, rank_fields) for index, each in enumerate(given)]


def _as_mapping(given: Any, place: str) -> Mapping[str, Any]:
    if isinstance(given, BaseModel):
        given = given.model_dump()
    elif is_dataclass(given) and not isinstance(given, type):
        given = {field.name: getattr(given, field.name) for field in fields(given)}
    if not isinstance(given, Mapping):
        raise BadInput(f"{place} is {shown(given)}; a title or an object with a title or a text is needed")
    for wrapper in _WRAPPERS:
        if "title" not in given and isinstance(given.get(wrapper), Mapping):
            return _as_mapping(given[wrapper], f"{place}.{wrapper}")
    return given


def _own(document: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the fields that are read where nobody named any: the text, or all that a product has."""
    for key in TEXT_KEYS:
        found = _text_under(document, key, place)
        if found is not None:
            return {"title": found, "product_id": _id_beside_a_text(document.get("product_id"))}
    read = {key: value for key, value in document.items() if key in PRODUCT_FIELDS}
    if any(key in document for key in TEXT_KEYS):
        return read
    for key in document:
        if key not in PRODUCT_FIELDS:
            raise BadInput(
                f"{place} has an unknown field {shown(key)}; it may have {', '.join(PRODUCT_FIELDS)}, "
                "or name the fields to read in rank_fields"
            )
    if read and "title" not in read:
        raise BadInput(f"{place} has no title; a document is a text, or an object with a title or a text")
    return read


def _named(document: Mapping[str, Any], place: str, rank_fields: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a product for the keys that were named, in their order."""
    read: dict[str, Any] = {}
    others: dict[str, str] = {}
    for key in rank_fields:
        if not isinstance(key, str):
            raise BadInput(f"rank_fields has the entry {shown(key)}; give a list of names")
    for key in dict.fromkeys(rank_fields):
        if key in TEXT_KEYS:
            found = _text_under(document, key, place)
        elif key in PRODUCT_FIELDS:
            if key in document:
                read[key] = document[key]
            continue
        else:
            found = _text(document.get(key), f"{place}: the field {shown(key)}")
        if found is not None:
            others[key] = found
    title = _text(read.get("title"), f"{place}.title")
    # A text that was named is read for certain, which an attribute or a description may not be.
    texts = [part for part in (title, *(others.pop(key, None) for key in TEXT_KEYS)) if part is not None]
    read["title"] = " ".join(texts) if texts else _first_text(rank_fields, read, others, place)
    if read["title"] is None:
        raise NoText(f"{place} has no text in the fields that rank_fields names")
    if others:
        try:
            own = attributes(read.get("attributes"))
            read["attributes"] = attributes([*own.items(), *others.items()])
        except BadValue as error:
            raise BadInput(f"{place}.attributes: {error}") from error
    return read


def _first_text(order: Sequence[str], read: dict[str, Any], others: dict[str, str], place: str) -> str | None:
    """Take the first named key that has text out of the others: the most important one stands for the title."""
    for key in order:
        if key in others:
            return others.pop(key)
        if key in _TITLES and (found := _text(read.get(key), f"{place}.{key}")) is not None:
            del read[key]
            return found
    return None


def _text_under(document: Mapping[str, Any], key: str, place: str) -> str | None:
    """Return the text under one of the keys that may hold it, also as parts; None when there is none."""
    content = document.get(key)
    if isinstance(content, list | tuple):
        content = [
            _part(part, f"{place}.{key}.{i}") if isinstance(part, Mapping) else part for i, part in enumerate(content)
        ]
    return _text(content, f"{place}.{key}", "\n")


def _part(part: Mapping[str, Any], place: str) -> str | None:
    """Return the text of one part of a message, as OpenAI's and vLLM's clients send it."""
    if part.get("type", "text") != "text" or "text" not in part:
        raise BadInput(f"{place} is of the type {shown(part.get('type'))}; only parts of the type 'text' are read")
    return _text(part["text"], f"{place}.text")


def _text(value: Any, place: str, separator: str = ", ") -> str | None:
    try:
        return joined_text(value, separator)
    except BadValue as error:
        raise BadInput(f"{place}: {error}") from error


def _id(read: Mapping[str, Any], number: int) -> Any:
    given = read.get("product_id")
    try:
        return identifier(given)
    except NoValue:
        return str(number)
    except BadValue:
        return given


def _id_beside_a_text(given: Any) -> str | None:
    """Return an id; what is none is not read, as all that stands beside a text."""
    try:
        return identifier(given)
    except BadValue:
        return None
