"""Training pairs that a shop will see tomorrow: new brands, typos, words around the point, products that lack fields.

A small model remembers the brands and phrasings that it was trained on instead of comparing them. Here each copy of the
training set gets other names for its brands (the same name in a product and in all its queries, so that what matches
still matches), typing errors, words that mean nothing, and products whose brand, category or attributes are missing, as
they are in real catalogs. Labels stay as they are. Texts only: tokens and targets are made elsewhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any

from pydantic import Field

from gen_rerank.data.records import Pair, Product
from train.ranges import Share

_ONSETS = (
    "b", "br", "c", "d", "dr", "f", "g", "gl", "h", "j", "k", "l", "m", "n", "p", "qu", "r", "s", "st", "t", "tr", "v",
    "w", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ea", "oo", "y")
_CODAS = ("", "", "l", "n", "r", "s", "x", "nd", "rk", "st", "th")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST_MISTYPED = 4
_EMPTY: dict[str, Any] = {"brand": None, "category": None, "attributes": {}}
# Each way to miss one, two or all of them.
_GAPS = [{name: _EMPTY[name] for name in missing} for count in (1, 2, 3) for missing in combinations(_EMPTY, count)]


@dataclass(frozen=True)
class Augment:
    """How training pairs are varied.

    Attributes:
        copies: how many versions of each pair are made; each epoch goes through all of them.
        rename_brands: the share of products whose brand names, and those in their queries, are replaced by invented
            ones.
        keep_brands: names that mean something and stay ("Unbranded").
        typos: the share of queries that get one typing error.
        fillers: the share of queries that get one to three invented words, in front or behind.
        drop_fields: the share of products that lose one, two or all of the fields brand, category and attributes; a
            seventh of them keep a bare title.
    """

    copies: Annotated[int, Field(ge=1, le=1000)] = 1
    rename_brands: Share = 0.0
    keep_brands: tuple[str, ...] = ()
    typos: Share = 0.0
    fillers: Share = 0.0
    drop_fields: Share = 0.0


def augmented(pairs: Sequence[Pair], settings: Augment, *, seed: int) -> list[Pair]:
    """Return the pairs of one copy, in order.

    Args:
        pairs: what is judged; pairs of one product get the same new names.
        settings: the shares.
        seed: of this copy.

    Example:
        >>> pair = Pair("norvane desk", Product(product_id="1", title="Norvane Desk", brand="Norvane"))
        >>> new = augmented([pair], Augment(rename_brands=1.0), seed=0)[0]
        >>> new.query.split()[0].lower() == new.product.title.split()[0].lower() == new.product.brand.lower()
        True
    """
    rng = random.Random(seed)
    names = {pair.product.brand for pair in pairs if pair.product.brand} - set(settings.keep_brands)
    pattern = _any_of(names)
    renamings: dict[str, _Renaming | None] = {}
    products: dict[str, Product] = {}
    done = []
    for pair in pairs:
        key = pair.product.product_id
        if key not in renamings:
            renamed = pattern is not None and rng.random() < settings.rename_brands
            renamings[key] = _Renaming(pattern, rng) if renamed and pattern is not None else None
            products[key] = _with_gaps(_renamed(pair.product, renamings[key]), settings.drop_fields, rng)
        renaming = renamings[key]
        query = renaming.apply(pair.query) if renaming else pair.query
        if rng.random() < settings.typos:
            query = mistyped(query, rng)
        if rng.random() < settings.fillers:
            query = _with_fillers(query, rng)
        done.append(Pair(query, products[key]))
    return done


def mistyped(text: str, rng: random.Random) -> str:
    """Return the text with one error in one of its longer words: a letter left out, doubled, swapped or replaced."""
    words = text.split()
    long = [i for i, word in enumerate(words) if len(word) >= _SHORTEST_MISTYPED and word.isalpha()]
    if not long:
        return text
    place = rng.choice(long)
    word, at = words[place], rng.randrange(1, len(words[place]) - 1)
    words[place] = rng.choice((
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + rng.choice(_LETTERS) + word[at + 1 :],
    ))  # fmt: skip
    return " ".join(words)


def invented_word(rng: random.Random) -> str:
    """Return a word of two syllables that means nothing."""
    syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(2))
    return "".join(syllables)


class _Renaming:
    """New names for brands, the same for every text of a product."""

    def __init__(self, pattern: re.Pattern[str], rng: random.Random) -> None:
        self._pattern = pattern
        self._rng = rng
        self._names: dict[str, str] = {}

    def apply(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._name(found.group().lower()), text)

    def _name(self, old: str) -> str:
        if old not in self._names:
            self._names[old] = invented_word(self._rng).capitalize()
        return self._names[old]


def _any_of(names: set[str]) -> re.Pattern[str] | None:
    if not names:
        return None
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)", re.IGNORECASE)


def _renamed(product: Product, renaming: _Renaming | None) -> Product:
    if renaming is None:
        return product
    texts = {name: getattr(product, name) for name in ("title", "brand", "description")}
    changed = {name: renaming.apply(text) for name, text in texts.items() if text}
    attributes = {name: renaming.apply(value) for name, value in product.attributes.items()}
    return product.model_copy(update={**changed, "attributes": attributes})


def _with_gaps(product: Product, share: float, rng: random.Random) -> Product:
    if not share or rng.random() >= share:
        return product
    return product.model_copy(update=rng.choice(_GAPS))


def _with_fillers(query: str, rng: random.Random) -> str:
    words = " ".join(invented_word(rng) for _ in range(rng.randint(1, 3)))
    return rng.choice((f"{words} {query}", f"{words} {query}", f"{query} {words}"))
