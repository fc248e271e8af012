"""Words and numbers for what is in stock become true or false. A shop that takes an order has the product."""

from __future__ import annotations

import re
from typing import Any

from gen_rerank.data import values

STOCK = "availability read from words or numbers"
NOT_STOCK = "availability left out: not understood"

_THERE = """
in stock|instock|available|limited availability|low stock|online only|in store only|preorder|pre order|presale|
backorder|on backorder|available for order|auf lager|lieferbar|sofort lieferbar|verfügbar|vorbestellbar|en stock|
disponible|disponibile|op voorraad|på lager|i lager|w magazynie|dostępny|ja|oui|sí|si|sì|sim|tak|da|
back ordered|backordered|available to order|available now|sofort verfügbar|ab lager|vorrätig|ab sofort lieferbar|
disponible de suite|disponible immédiatement|disponibili|disponível|en existencia|leverbaar|direct leverbaar
"""
_GONE = """
out of stock|outofstock|sold out|soldout|unavailable|not available|discontinued|ausverkauft|nicht lieferbar|
nicht auf lager|nicht verfügbar|vergriffen|rupture de stock|épuisé|indisponible|agotado|sin stock|esaurito|
non disponibile|uitverkocht|niet op voorraad|udsolgt|slutsåld|niedostępny|nein|non|nee|nej|nie|não|
temporarily out of stock|temporarily unavailable|
currently unavailable|currently out of stock|not in stock|no longer available|derzeit nicht verfügbar|
derzeit nicht lieferbar|zurzeit nicht verfügbar|momentan nicht verfügbar|momentan nicht lieferbar|
nicht mehr verfügbar|nicht mehr lieferbar|nicht vorrätig|no disponible|non disponible|no disponibles|
en rupture de stock|en rupture|non disponibili|não disponível|indisponível|esgotado|niet leverbaar|niet beschikbaar
"""
# What stands around a number in stock: "Only 3 left in stock", "noch 2 Stück auf Lager".
_AROUND_COUNT = """
in stock|left in stock|only left in stock|only left|left|available|only available|pcs|pieces|units|items|
pieces in stock|units in stock|items in stock|pcs in stock|units available|pieces available|only in stock|
more than in stock|over in stock|stück|stück auf lager|auf lager|verfügbar|lieferbar|noch auf lager|
nur noch auf lager|noch stück auf lager|nur noch stück auf lager|noch verfügbar|nur noch verfügbar|stück verfügbar|
nur noch stück verfügbar|
stück vorrätig|vorrätig|mehr als auf lager|en stock|plus que en stock|disponibles|unidades|unidades en stock|
op voorraad|disponibili|pezzi disponibili|på lager|i lager
"""
_WORDS = {word.strip(): True for word in _THERE.split("|")} | {word.strip(): False for word in _GONE.split("|")}
_JOINED = {word.replace(" ", ""): found for word, found in _WORDS.items()}
_COUNTED = frozenset(word.strip().replace(" ", "") for word in _AROUND_COUNT.split("|"))
_COUNT = re.compile(r"(?:^\s*-)?[0-9]+")
_SCHEMA = "schema.org/"


def availability(value: Any) -> bool | None:
    """Return whether a product can be ordered; None where the value is absent.

    Numbers count what is there, also one among words; words may have any capitals, spaces and signs, and schema.org's
    address before them.

    Raises:
        BadValue: a word that is not known.

    Example:
        >>> availability("In Stock"), availability("https://schema.org/OutOfStock"), availability("12"), availability(0)
        (True, False, True, False)
    """
    try:
        count = values.number(value)
    except values.BadValue:
        count = None
    if count is not None:
        return count > 0
    written = values.joined_text(value)
    if written is None:
        return None
    word = "".join(letter for letter in written.casefold().rpartition(_SCHEMA)[2] if letter.isalnum())
    counts = _COUNT.findall(written)
    if len(counts) == 1 and _COUNT.sub("", word) in _COUNTED:
        return int(counts[0]) > 0
    return _JOINED[word] if word in _JOINED else values.boolean(written.strip())
