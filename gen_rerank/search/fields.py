"""What the index keeps of a product: its id, the words of its title, all its words, and the product itself."""

from __future__ import annotations

import json
from hashlib import blake2b

import tantivy

from gen_rerank.data.records import Product, product_text
from gen_rerank.search.words import spelled

# The two lists, by the names that people see.
TITLE, FULL = LISTS = ("title", "full")
ID, KEY, PRODUCT = "id", "key", "product"
ANALYZER = "words"


def schema() -> tantivy.Schema:
    """Return tantivy's schema; a change of it is a new `settings.FORMAT`."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(ID, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field(KEY, indexed=True, fast=True)
    for name in LISTS:
        builder.add_text_field(name, tokenizer_name=ANALYZER)
    builder.add_bytes_field(PRODUCT, stored=True)
    return builder.build()


def key_of(product_id: str) -> int:
    """Return a number of 63 bits for an id: two lists of one product meet by it, and equal scores are ordered by it.

    Among a million products two share one with a chance of one in ten million.

    Example:
        >>> key_of("p1") == key_of("p1") != key_of("p2")
        True
    """
    return int.from_bytes(blake2b(product_id.encode(), digest_size=8).digest()) >> 1


def document_of(product: Product) -> tantivy.Document:
    """Return what is written of a product."""
    made = tantivy.Document()
    made.add_text(ID, product.product_id)
    made.add_unsigned(KEY, key_of(product.product_id))
    made.add_text(TITLE, spelled(product.title))
    made.add_text(FULL, spelled(product_text(product)))
    made.add_bytes(PRODUCT, product.model_dump_json(exclude_none=True, exclude_defaults=True).encode())
    return made


def product_in(found: tantivy.Document) -> Product:
    """Return the product that was written; it was checked then, and is not again."""
    return Product.model_construct(**json.loads(bytes(found[PRODUCT][0])))
