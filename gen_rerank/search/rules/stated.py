"""What a query states for certain: "size 9", "512 gb", and where that is wanted "not Nike".

A value is stated where a word of its attribute's name stands beside it, or where it is a number with a unit. A colour
or a material alone is not: "red wine glass" asks for no red glass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gen_rerank.data.records import Product
from gen_rerank.search.rules.file import StatedQuery
from gen_rerank.search.rules.matching import plain_words, run_at, value_of

# What stands before a brand that is not wanted.
_NOT = (
    ("not",), ("no",), ("non",), ("without",), ("except",), ("other", "than"), ("anyone", "but"), ("anything", "but"),
)  # fmt: skip
_MEASURE = re.compile(r"\d[\d.]*[^\W\d_]+")
_LIST = ", "

Words = tuple[str, ...]


class Stated:
    """What a query says about a set of products.

    Args:
        rule: which attributes count, and whether brands are excluded.
        query: as text.
        products: whose values the query may name.

    Example:
        >>> nine, ten = (Product(product_id=s, title="Boot", attributes={"size": s}) for s in ("9", "10"))
        >>> Stated(StatedQuery(attributes=["size"]), "boots size 9", [nine, ten]).why(ten)
        'the query states size 9, this has size 10'
    """

    def __init__(self, rule: StatedQuery, query: str, products: Iterable[Product]) -> None:
        self._query = plain_words(query)
        found = list(products)
        self._values = {name: self._stated(name, found) for name in rule.attributes}
        brands = {product.brand for product in found if product.brand} if rule.excluded_brands else set()
        self._excluded = {plain_words(brand) for brand in brands if self._says_not(plain_words(brand))}

    def why(self, product: Product) -> str | None:
        """Return by what a product is no answer; None where nothing speaks against it, as where it says nothing."""
        for name, wanted in self._values.items():
            value = value_of(product, name)
            if wanted and value is not None and not wanted & set(_alternatives(value)):
                asked = " or ".join(sorted(_read(words) for words in wanted))
                return f"the query states {name} {asked}, this has {name} {value}"
        if product.brand is not None and plain_words(product.brand) in self._excluded:
            return f"the query says not {product.brand}"
        return None

    def _stated(self, name: str, products: Sequence[Product]) -> set[Words]:
        """Return the values of an attribute that the query states; one that no product has is among them."""
        values = {value for product in products if (value := value_of(product, name)) is not None}
        runs = {words for value in values for words in _alternatives(value)}
        stated = {run for run in runs if self._is_stated(name, run)}
        if stated or not values:
            return stated
        beside = self._number_behind(plain_words(name)[-1:])
        return {beside} if beside else set()

    def _is_stated(self, name: str, run: Words) -> bool:
        place = run_at(self._query, run)
        if place is None:
            return False
        if any(_MEASURE.fullmatch(word) for word in run):
            return True
        end = place + len(run)
        beside = (*self._query[max(0, place - 1) : place], *self._query[end : end + 1])
        return bool(set(beside) & set(plain_words(name)))

    def _number_behind(self, word: Words) -> Words | None:
        """Return the number that the query has behind an attribute's name, such as the 9 of "size 9"."""
        place = run_at(self._query, word)
        behind = () if place is None else self._query[place + 1 : place + 2]
        return behind if behind and behind[0][0].isdigit() else None

    def _says_not(self, brand: Words) -> bool:
        return any(run_at(self._query, (*words, *brand)) is not None for words in _NOT)


def _alternatives(value: str) -> list[Words]:
    """Return the words of a value, and of each of its parts where it is a list."""
    return [words for part in {value, *value.split(_LIST)} if (words := plain_words(part))]


def _read(words: Words) -> str:
    """Return the words of a value as people write them: without the form in which number and unit are one."""
    return " ".join(words[1:] if len(words) > 1 and _MEASURE.fullmatch(words[0]) else words)
