"""Prices as shops write them become numbers and currencies; what is not sure is left out, and said.

price-parser finds the currency and the digits in a text. What it would guess is decided here: which sign is the
decimal one ("1.299" is two prices), what a minus is ("-5" is 5 to it), and which words are no price ("toll-free" is 0).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.feeds.currencies import currency_in, currency_name, with_usual_currency, without_currency
from gen_rerank.data.json_text import NotJson, read_json
from gen_rerank.errors import BadInput

POINT, COMMA = ".", ","
SIGN_NAMES = {POINT: "a decimal point", COMMA: "a decimal comma"}
# The share of the prices that say it from which a file has one decimal sign.
_AGREED = 0.95

CURRENCY = "currency taken out of the price"
COMMA_READ = "decimal comma in the price"
GROUPS = "groups of digits in the price"
WORDS = "words around the price"
BY_LOCALE = "price of two meanings, read by --locale"
FREE = "price is the word for free"
NEGATIVE = "price left out: negative"
AMBIGUOUS = "price left out: two meanings, --locale decides"
SEVERAL = "price left out: several numbers"
NO_NUMBER = "price left out: no number"
TOO_LARGE = "price left out: too large"
NOT_PRICE = "price left out: words or signs that no price has"
SCALED = "price left out: cents, thousands, percent or a fraction"

# Beyond it stand digits that were run together, ids and the like; a flat costs less in the smallest currency.
_MOST = 1e12

_COMMA_LANGUAGES = """
af az be bg bs ca cs da de el es et eu fi fo fr gl hr hu hy id is it ka kk ky lb lt lv mk mn nb nl nn no pl pt ro ru sk
sl sq sr sv tr uk uz vi
"""
_POINT_LANGUAGES = """
ar bn cy en fil ga gu he hi ja kn ko ml mr ms mt pa sw ta te th ur zh
"""
# Where a country writes otherwise than its language.
_POINT_COUNTRIES = """
de_CH de_LI it_CH es_MX es_US es_PR es_GT es_HN es_NI es_PA es_PE es_SV es_DO
"""
_COMMA_COUNTRIES = ("en_ZA",)
_SIGNS = dict.fromkeys((*_COMMA_LANGUAGES.split(), *_COMMA_COUNTRIES), COMMA) | dict.fromkeys(
    (*_POINT_LANGUAGES.split(), *_POINT_COUNTRIES.split()), POINT
)
_LOCALE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{2}))?(?:[.@].*)?")

_PLAIN = re.compile(r"(?:0|[1-9]\d*)(?:\.\d\d?)?", re.ASCII)
# A minus before the number or right behind it, as accounts have it (with a sign between it is "19,-"); or brackets.
_DASH = "[-−–—‐‑‒﹣－]"
_NEGATIVE = re.compile(
    rf"^[^\d.,]*{_DASH}\s*[^\d\s]{{0,4}}\s*[.,]?\d|\d\s*{_DASH}+\s*[^\d.,]{{0,4}}$|^\s*\(.*\d.*\)\s*$|\bminus\b",
    re.IGNORECASE,
)
_CENTS = (
    "cents?|cts?|c|p|pence|penny|pfennig|rappen|centimes?|c[ée]ntimos?|centavos?|centesimi|öre|øre|grosz[ye]?|paise|коп"
)
_MANY = (
    "k|m|mm|mn|mio|mill|millions?|millionen|millones|b(?!/)|bn|mrd|billions?|thousands?|tsd|tausend|mille|mil|"
    "hundreds?|lakhs?|lacs?|crores?|cr|dozen|тыс|млн"
)
# Behind the number, perhaps with the currency between them, or before the euro: "99 c", "5 USD k", "T€ 5"; not "5 C$".
_SCALED = re.compile(
    rf"[¢‰٪]|\d\s*%|\d[\s/-]*(?:[$€£¥₹]\s*|(?-i:[A-Z]{{3}})\s+)?(?:(?:{_CENTS})(?![\w$])|(?:{_MANY})(?!\w))|"
    r"(?<!\w)[kmt]\s?[€£]",
    re.IGNORECASE,
)
_BARE_FRACTION = re.compile(r"(?<![\w.,])(?<!\d ),\d")  # ",50", of which price-parser takes the digits alone
_APOSTROPHES = re.compile(r"(?<=\d)\s?[’‘ʼ‛′´`＇]\s?(?=\d)")
_TWO_MEANINGS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
# One sign or none; groups of three with another sign behind them; India's groups of two; the euro as the decimal sign.
_ONE_NUMBER = re.compile(
    r"\d*[.,]?\d+|\d{1,3}([., ])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?|[\d.,]*\d€\d+"
)
_WORD = re.compile(r"[^\W\d_]+")
_NO_GROUPS = re.compile(r"\d'\d(?!\d\d(?!\d))")
# Words that stand beside a price, with a currency or without. With others it is what sending costs, what a product
# saved or was, what others recommend to take, an article's number or a size.
_PRICE_WORD_LIST = """
from starting starts at ab von vanaf dès desde od от fra ca circa approx
price preis prix precio prezzo prijs preço pris cena hinta цена list regular retail sale unit current aktuell vk
our your unser notre special offer angebot sonderangebot sonderpreis angebotspreis verkaufspreis oferta promo promotion
now only just nur jetzt seulement solo sólo solamente nu each ea apiece stk stück
ttc ht net netto gross brutto moms vb vhb 税込 税抜 価格 税込価格
"""
_PRICE_WORDS = frozenset(_PRICE_WORD_LIST.split())
_TAXES = "vat|tax(?:es)?|gst|mwst|ust|tva|iva|btw|moms|dph"
_WITH = "inc(?:l\\w*)?|inkl\\w*|ex(?:cl\\w*|kl\\w*)?|with(?:out)?|ohne|mit|zzgl|plus"
# What is price enough as a phrase; a tax alone is an amount of its own. "S/" is Peru's currency.
_PRICE_PHRASES = re.compile(
    rf"\b[àa] partir d[ea]\b|\bas low as\b|\bon sale\b|^s/(?=\s?\d)|\b(?:{_WITH})\W+(?:{_TAXES})\b|"
    rf"\b(?:{_TAXES})\W+(?:{_WITH})\b",
    re.IGNORECASE,
)
# Behind the number everything is what the price is for, or comes with it: "5 per pack", "5/kg", "5 zzgl. Versand".
_PER = re.compile(rf"(?<=\d)[^\w/]*(?:/|\b(?:per|pro|je|por|par)\b|\b(?:{_WITH})\b)\W*[^\W\d_][^\d]*$", re.IGNORECASE)
_AREA = re.compile(r"((?:/|\b(?:per|pro|je|por|par)\b)\s*[cdk]?m)[²³23](?!\w)", re.IGNORECASE)
_GLUED = re.compile(r"[^\W\d_]\d")
# What is no price behind "per" either; and what counts, compares or parts a sign from its digits.
_SAVED = re.compile(
    r"\b(?:off|saves?|savings?|discount|rebate|cashback|coupon|voucher|rabatt?|sparen?|nachlass|gutschein|remise|"
    r"r[ée]duction|[ée]conomi\w*|descuento|dto|ahorr\w*|sconto|risparmi\w*|korting|bespaar|скидка)\b",
    re.IGNORECASE,
)
_NO_PRICE_SIGNS = re.compile(r"[#№+<>=≥≤@]|(?<![\w.,])[.,]\s+\d")
_AMOUNT_NAMES = ("amount", "value", "price")
_CURRENCY_NAMES = ("currency", "currencycode", "pricecurrency")
_FREE_WORDS = ("free", "gratis", "kostenlos", "umsonst", "gratuit", "gratuito")


@dataclass(frozen=True)
class PriceRead:
    """What a price says.

    Attributes:
        amount: the number; None where it is absent or was left out.
        currency: what stands beside the number, as `currency_name` has it; None where there is no amount.
        kinds: what was done to read it, or why it was left out; empty for plain numbers and absent values.
    """

    amount: float | None
    currency: str | None = None
    kinds: tuple[str, ...] = ()


def decimal_sign_of_locale(locale: str) -> str:
    """Return the decimal sign of a language, or of a language in a country.

    Raises:
        BadInput: it is not known.

    Example:
        >>> decimal_sign_of_locale("de"), decimal_sign_of_locale("de_CH"), decimal_sign_of_locale("en-US")
        (',', '.', '.')
    """
    match = _LOCALE.fullmatch(locale.strip())
    if match:
        language, country = match[1].lower(), (match[2] or "").upper()
        sign = _SIGNS.get(f"{language}_{country}", _SIGNS.get(language))
        if sign:
            return sign
    raise BadInput(f"--locale {locale}: not known; name a language, with a country where it matters: en, de, de_CH")


def decimal_sign_of_prices(prices: Iterable[Any]) -> tuple[str | None, str]:
    """Return the decimal sign that prices show, None where they do not agree; and how it is said.

    Example:
        >>> decimal_sign_of_prices(["19,99 €", "5", "1.299,00", None])
        (',', 'a decimal comma, in 2 of 2 prices that show one')
    """
    shown: Counter[str] = Counter()
    for price in prices:
        sign = _sign_shown(price)
        if sign is not None:
            shown[sign] += 1
    total = shown.total()
    if not total:
        return None, "no price shows one"
    (sign, times), *_ = shown.most_common()
    said = f"{SIGN_NAMES[sign]}, in {times:,} of {total:,} prices that show one"
    return (sign, said) if times >= _AGREED * total else (None, f"both signs: {said}")


class PriceReader:
    """Reads the prices of one feed.

    Args:
        locale_sign: the decimal sign of a locale that people named; it decides.
        file_sign: the one that the feed's prices show. A point in a file of decimal points, with three digits behind
            it, is still left out: nobody writes tenths of a cent.

    Example:
        >>> PriceReader(file_sign=".").read("1,299 USD").amount, PriceReader(locale_sign=",").read("1.299").amount
        (1299.0, 1299.0)
        >>> PriceReader().read("1.299").kinds
        ('price left out: two meanings, --locale decides',)
    """

    def __init__(self, *, locale_sign: str | None = None, file_sign: str | None = None) -> None:
        self.locale_sign = locale_sign
        self.file_sign = file_sign
        self._text = lru_cache(maxsize=4096)(self._read_text)

    def read(self, value: Any) -> PriceRead:
        """Return what a value says; nothing is refused, as a product without a price is one."""
        if isinstance(value, str):
            return _plain(value) or self._text(value)
        if isinstance(value, Mapping):
            return self._object(value)
        try:
            return _checked(values.number(value))
        except values.BadValue:
            written = _written(value)
        return PriceRead(None, None, (NO_NUMBER,)) if written is None else self._text(written)

    def _object(self, value: Mapping[Any, Any]) -> PriceRead:
        """Return what an amount with its currency says, each under its name; other objects are no price."""
        parts = {_local(name): part for name, part in value.items()}
        amounts = [name for name in _AMOUNT_NAMES if name in parts]
        currencies = [name for name in _CURRENCY_NAMES if name in parts]
        amount = parts[amounts[0]] if amounts else None
        if len(amounts) != 1 or len(currencies) > 1 or len(parts) != 1 + len(currencies) or isinstance(amount, Mapping):
            return PriceRead(None, None, (NOT_PRICE,))
        read = self.read(amount)
        given = _written(parts[currencies[0]]) if currencies else None
        if read.amount is None or read.currency or given is None:
            return read
        return PriceRead(read.amount, currency_name(given), (CURRENCY, *read.kinds))

    def _read_text(self, value: str) -> PriceRead:
        opened = _opened(value)
        if opened is not None:
            return self._object(opened)
        written = values.text(value)
        if written is None:
            return PriceRead(None)
        text = with_usual_currency(_AREA.sub(r"\1", _APOSTROPHES.sub("'", " ".join(written.split()))))
        if text.casefold() in _FREE_WORDS:
            return PriceRead(0.0, None, (FREE,))
        read = self._number_in(text)
        return PriceRead(read.amount, None if read.amount is None else currency_name(read.currency), read.kinds)

    def _number_in(self, text: str) -> PriceRead:
        """Return what a text says, with the currency as it is written there."""
        from price_parser import Price
        from price_parser.parser import parse_number

        found = Price.fromstring(text)
        digits, currency = found.amount_text, currency_in(text, found.currency)
        if digits is None or not any(letter.isdigit() for letter in text):
            return PriceRead(None, None, (NO_NUMBER,))
        if _NEGATIVE.search(text):
            return PriceRead(None, None, (NEGATIVE,))
        if _SCALED.search(text) or any(letter.isnumeric() and not letter.isdecimal() for letter in text):
            return PriceRead(None, None, (SCALED,))
        digits = f",{digits}" if _BARE_FRACTION.search(text) else digits
        whole = _count_digits(digits) == _count_digits(text) and not _NO_GROUPS.search(text)
        if not whole or not _ONE_NUMBER.fullmatch(digits):
            return PriceRead(None, None, (SEVERAL,))
        if _is_another_number(text, currency):
            return PriceRead(None, None, (NOT_PRICE,))
        kinds = [CURRENCY] if currency else []
        sign = _decimal_sign(digits)
        if _TWO_MEANINGS.fullmatch(digits):
            sign = self._decided(digits)
            if sign is None:
                return PriceRead(None, None, (AMBIGUOUS,))
            if self.locale_sign:
                kinds.append(BY_LOCALE)
        amount = parse_number(digits, sign)
        if amount is None:
            return PriceRead(None, None, (NO_NUMBER,))
        kinds += _forms(text, digits, sign, currency)
        return _checked(amount, currency, tuple(kinds))

    def _decided(self, digits: str) -> str | None:
        """Return the decimal sign for digits of two meanings."""
        if self.locale_sign:
            return self.locale_sign
        inside = POINT if POINT in digits else COMMA
        return self.file_sign if self.file_sign and self.file_sign != inside else None


def _plain(value: str) -> PriceRead | None:
    """Return a price that is nothing but digits with a decimal point; None for all others."""
    stripped = value.strip()
    if len(stripped) < 13 and _PLAIN.fullmatch(stripped):
        return PriceRead(float(stripped))
    return None


def _local(name: Any) -> str:
    """Return the name of a part without its prefix and signs: `g:currency_code` and `currencyCode` are one."""
    return "".join(letter for letter in str(name).rpartition(":")[2].casefold() if letter.isalnum())


def _opened(written: str) -> Mapping[Any, Any] | None:
    """Return the object that a text is in JSON; None where it is none."""
    if not written.lstrip().startswith("{"):
        return None
    try:
        found = read_json(written.strip().encode(errors="replace"))
    except NotJson:
        return None
    return found if isinstance(found, dict) else None


def _written(value: Any) -> str | None:
    """Return a price that is no number as one text; None where it has none, or is true or false."""
    if isinstance(value, bool):
        return None
    try:
        return values.joined_text(value, " ")
    except values.BadValue:
        return None


def _checked(amount: Any, currency: str | None = None, kinds: tuple[str, ...] = ()) -> PriceRead:
    try:
        number = values.number(amount)
    except values.BadValue:
        return PriceRead(None, currency, (TOO_LARGE,))
    if number is not None and number < 0:
        return PriceRead(None, currency, (NEGATIVE,))
    if number is not None and number > _MOST:
        return PriceRead(None, currency, (TOO_LARGE,))
    return PriceRead(number, currency, kinds)


def _count_digits(text: str) -> int:
    return sum(letter.isdigit() for letter in text)


def _sign_shown(price: Any) -> str | None:
    """Return the decimal sign that a price shows beyond doubt; None where it shows none."""
    if not isinstance(price, str):
        return None
    match = re.search(r"\d[\d.,]*", price)
    digits = match[0].rstrip(".,") if match else ""
    return None if _TWO_MEANINGS.fullmatch(digits) else _decimal_sign(digits)


def _decimal_sign(digits: str) -> str | None:
    """Return the decimal sign of digits that have one meaning; None where they have no sign, or the euro's.

    Example:
        >>> _decimal_sign("1.299,00"), _decimal_sign("1.299.000"), _decimal_sign("0.999"), _decimal_sign("1299")
        (',', ',', '.', None)
    """
    points, commas = digits.count(POINT), digits.count(COMMA)
    if points and commas:
        return POINT if digits.rfind(POINT) > digits.rfind(COMMA) else COMMA
    if points + commas == 0:
        return None
    if points + commas > 1:
        return COMMA if points else POINT  # what comes twice parts groups
    return POINT if points else COMMA


def _forms(text: str, digits: str, sign: str | None, currency: str | None) -> list[str]:
    """Say which forms a price was written in, beside its currency."""
    kinds = []
    if sign == COMMA and COMMA in digits:
        kinds.append(COMMA_READ)
    other = COMMA if sign == POINT else POINT
    if (sign and other in digits) or " " in digits or "'" in text:
        kinds.append(GROUPS)
    if _words(without_currency(text, currency)):
        kinds.append(WORDS)
    return kinds


def _is_another_number(text: str, currency: str | None) -> bool:
    """Say whether what stands beside the only number of a text makes something else of it than a price."""
    if _SAVED.search(text) or _NO_PRICE_SIGNS.search(text):
        return True
    rest = _PRICE_PHRASES.sub(" ", _PER.sub("", without_currency(text, currency)))
    return bool(_GLUED.search(rest)) or not _PRICE_WORDS.issuperset(_words(rest))


def _words(text: str) -> list[str]:
    """Return the words of a text in small letters."""
    return [word.casefold() for word in _WORD.findall(text)]
