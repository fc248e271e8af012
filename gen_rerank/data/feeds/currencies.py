"""Which currency stands in a text, as a whole word, and what it is called: its code where there is only one for it.

price-parser knows the names and signs, and finds them in the middle of words too ("LD" in "SOLD"); here they are words.
"""

from __future__ import annotations

import re

# One currency each; "$" and "kr" are the sign of many, and stay as they are.
_CODE_OF_SIGN = {
    "€": "EUR", "£": "GBP", "₹": "INR", "₺": "TRY", "₽": "RUB", "₪": "ILS", "₴": "UAH", "₫": "VND", "US$": "USD",
}  # fmt: skip
# How people write what price-parser does not know so.
_SPELT = ((re.compile(r"\beuros?\b", re.IGNORECASE), "EUR"), (re.compile(r"\bSFr\b", re.IGNORECASE), "CHF"))
_APART = re.compile(r"\b(US|AU?|CA?|NZ|HK|NT|MX|R|S) (?=\$)")
_POINT_BEHIND = re.compile(r"(?<=[^\W\d_])\.(?=\d)")  # "Rs.499" is not a half
# Codes that are words of a shop: beside another currency they are no second name of it.
_ALSO_WORDS = frozenset(["ALL", "TOP", "TRY"])
_WORD = re.compile(r"[^\W\d_]+")


def with_usual_currency(text: str) -> str:
    """Return a text in which a currency is written as price-parser knows it.

    Example:
        >>> with_usual_currency("US $5"), with_usual_currency("5 Euros"), with_usual_currency("Rs.499")
        ('US$5', '5 EUR', 'Rs. 499')
    """
    for written, code in _SPELT:
        text = written.sub(code, text)
    return _POINT_BEHIND.sub(". ", _APART.sub(r"\1", text))


def currency_in(text: str, found: str | None) -> str | None:
    """Return the currency of a text as it is written there; None where it has none.

    Args:
        text: such as a price.
        found: what price-parser found in it, perhaps in the middle of a word.

    Example:
        >>> currency_in("SOLD", "LD"), currency_in("ABD 5 USD", "BD"), currency_in("EUR5", "EUR")
        (None, 'USD', 'EUR')
    """
    from price_parser import Price

    while found is not None and not _whole(found).search(text):
        inside = next((word for word in _WORD.findall(text) if found.strip(".") in word), None)
        if inside is None:
            return None
        text = text.replace(inside, " ")
        found = Price.fromstring(text).currency
    return found


def without_currency(text: str, currency: str | None) -> str:
    """Return a text without its currency, and without a second name of it ("$5 USD").

    Example:
        >>> without_currency("only $5 USD", "USD").split()
        ['only', '$5']
    """
    from price_parser.parser import CURRENCY_CODES  # type: ignore[attr-defined]  # it has no list of exports

    if currency is None:
        return text
    codes = set(CURRENCY_CODES) - _ALSO_WORDS
    rest = _whole(currency).sub(" ", text)
    return _WORD.sub(lambda word: " " if word[0] in codes else word[0], rest)


def currency_name(written: str | None) -> str | None:
    """Return a currency under one name: the code of a sign that only one has, codes in capitals, others as they are.

    Example:
        >>> currency_name("€"), currency_name("eur"), currency_name("$"), currency_name(None)
        ('EUR', 'EUR', '$', None)
    """
    from price_parser.parser import CURRENCY_CODES  # type: ignore[attr-defined]  # it has no list of exports

    if written is None:
        return None
    name = written.strip()
    return _CODE_OF_SIGN.get(name) or (name.upper() if name.upper() in CURRENCY_CODES else name)


def _whole(currency: str) -> re.Pattern[str]:
    """Return a pattern for a currency that is no part of a word; where letters have no case, words have no spaces."""
    before = r"(?<![^\W\d_])" if _cased(currency[0]) else ""
    behind = r"(?![^\W\d_])" if _cased(currency[-1]) else ""
    return re.compile(before + re.escape(currency) + behind)


def _cased(letter: str) -> bool:
    return letter.lower() != letter.upper()
