"""What the index keeps of a product: its id, the words of its title, all its words, and the product itself."""

from __future__ import annotations

from hashlib import blake2b

import tantivy
from pydantic_core import from_json

from gen_rerank.data.records import Product, product_text
from gen_rerank.search.words import spelled

# The two lists, by the names that people see.
TITLE, FULL = LISTS = ("title", "full")
ID, KEY, ROW, PRODUCT = "id", "key", "row", "product"
# In the order of the schema.
FIELDS = (ID, KEY, ROW, *LISTS, PRODUCT)
ANALYZER = "words"


def schema() -> tantivy.Schema:
    """Return tantivy's schema; a change of it is a new `settings.FORMAT`."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(ID, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field(KEY, fast=True)
    builder.add_unsigned_field(ROW, indexed=True, fast=True)
    for name in LISTS:
        builder.add_text_field(name, tokenizer_name=ANALYZER)
    builder.add_bytes_field(PRODUCT, stored=True)
    return builder.build()


def key_of(product_id: str) -> int:
    """Return a number of 63 bits for an id: lists meet by it, and equal scores are ordered by it.

    Among a million products two share one with a chance of one in ten million.

    Example:
        >>> key_of("p1") == key_of("p1") != key_of("p2")
        True
    """
    return int.from_bytes(blake2b(product_id.encode(), digest_size=8).digest()) >> 1


def document_of(product: Product, row: int | None = None) -> tantivy.Document:
    """Return what is written of a product.

    Args:
        product: whose texts are clean, as a record's are.
        row: where its vector is; None in an index without.
    """
    title = spelled(product.title)
    made = tantivy.Document()
    made.add_text(ID, product.product_id)
    made.add_unsigned(KEY, key_of(product.product_id))
    if row is not None:
        made.add_unsigned(ROW, row)
    made.add_text(TITLE, title)
    made.add_text(FULL, title + spelled(product_text(product).removeprefix(product.title)))
    made.add_bytes(PRODUCT, product.model_dump_json().encode())
    return made


def product_in(found: tantivy.Document) -> Product:
    """Return the product that was written; it was checked then, and is not again."""
    return Product.model_construct(**from_json(bytes(found[PRODUCT][0])))
