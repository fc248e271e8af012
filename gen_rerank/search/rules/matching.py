"""Which products a rule is about: by id, brand, category or words, whatever case they are written in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from gen_rerank.data.records import Identifier, Product, Text, product_text
from gen_rerank.search.words import NO_LANGUAGE, analyzer, words_of

_PATH = ">"
_PLAIN = analyzer(NO_LANGUAGE)


class RuleSection(BaseModel):
    """A part of a rule file: what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Matching(RuleSection):
    """Products that a rule is about: what matches one of the lists is meant.

    Attributes:
        ids: of products.
        brands: as products name them; case does not count.
        categories: with all that is below them: `Garden` means `Garden > Knives` too.
        words: anywhere in a product, one or several behind each other, in the form in which they are written there.
    """

    ids: tuple[Identifier, ...] = ()
    brands: tuple[Text, ...] = ()
    categories: tuple[Text, ...] = ()
    words: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if not (self.ids or self.brands or self.categories or self.words):
            raise ValueError("is about no products; give ids, brands, categories or words")
        return self

    def why(self, product: Product) -> str | None:
        """Return by what a product is meant; None where it is not.

        Example:
            >>> Matching(categories=["garden"]).why(Product(product_id="p", title="Hoe", category="Garden > Tools"))
            'category Garden > Tools'
        """
        if product.product_id in self.ids:
            return f"id {product.product_id}"
        if product.brand is not None and product.brand.casefold() in self._brands:
            return f"brand {product.brand}"
        if product.category is not None and any(_is_below(product.category, one) for one in self.categories):
            return f"category {product.category}"
        if self.words:
            said = plain_words(product_text(product))
            for words in self.words:
                if run_at(said, plain_words(words)) is not None:
                    return f"the words {words!r}"
        return None

    @cached_property
    def _brands(self) -> frozenset[str]:
        return frozenset(brand.casefold() for brand in self.brands)


@lru_cache(maxsize=4096)
def plain_words(text: str) -> tuple[str, ...]:
    """Return the words of a text as an index without a language has them: numbers and units in one way, no stems.

    Example:
        >>> plain_words("Phone, 512GB")
        ('phone', '512gb', '512', 'gb')
    """
    return tuple(words_of(text, _PLAIN))


def run_at(words: Sequence[str], run: Sequence[str]) -> int | None:
    """Return where a run of words stands first, from 0; None where it does not, or has no words.

    Example:
        >>> run_at(("shoes", "size", "9"), ("size", "9"))
        1
    """
    places = range(len(words) - len(run) + 1) if run else ()
    return next((place for place in places if tuple(words[place : place + len(run)]) == tuple(run)), None)


def value_of(product: Product, field: str) -> str | None:
    """Return what a product has in a field: title, brand, category, price or an attribute; None for nothing.

    Args:
        product: whose field it is.
        field: its name; case does not count.

    Example:
        >>> value_of(Product(product_id="p", title="Oak desk", attributes={"Colour": "Red"}), "colour")
        'Red'
    """
    field = field.casefold()
    if field in ("title", "brand", "category"):
        found: str | None = getattr(product, field)
        return found
    if field == "price":
        return None if product.price is None else f"{product.price:g}"
    return next((value for name, value in product.attributes.items() if name.casefold() == field), None)


def folded_value(product: Product, field: str) -> str | None:
    """Return `value_of` in lower case, by which values are compared."""
    value = value_of(product, field)
    return None if value is None else value.casefold()


def _is_below(category: str, above: str) -> bool:
    """Return whether a category is another one, or below it."""
    path, start = _parts(category), _parts(above)
    return path[: len(start)] == start


def _parts(category: str) -> list[str]:
    return [part.strip().casefold() for part in category.split(_PATH)]
