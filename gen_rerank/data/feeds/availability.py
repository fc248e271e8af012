"""Words and numbers for what is in stock become true or false. A shop that takes an order has the product."""

from __future__ import annotations

from typing import Any

from gen_rerank.data import values

_THERE = """
in stock|instock|available|limited availability|low stock|online only|in store only|preorder|pre order|presale|
backorder|on backorder|available for order|auf lager|lieferbar|sofort lieferbar|verfügbar|vorbestellbar|en stock|
disponible|disponibile|op voorraad|på lager|i lager|w magazynie|dostępny
"""
_GONE = """
out of stock|outofstock|sold out|soldout|unavailable|not available|discontinued|ausverkauft|nicht lieferbar|
nicht auf lager|nicht verfügbar|vergriffen|rupture de stock|épuisé|indisponible|agotado|sin stock|esaurito|
non disponibile|uitverkocht|niet op voorraad|udsolgt|slutsåld|niedostępny
"""
_WORDS = {word.strip(): True for word in _THERE.split("|")} | {word.strip(): False for word in _GONE.split("|")}
_JOINED = {word.replace(" ", ""): found for word, found in _WORDS.items()}
_SCHEMA = "schema.org/"


def availability(value: Any) -> bool | None:
    """Return whether a product can be ordered; None where the value is absent.

    Numbers count what is there; words may have any capitals, spaces and signs, and schema.org's address before them.

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
    return _JOINED[word] if word in _JOINED else values.boolean(written.strip())
