"""Prices: what is read, what is left out, and what a locale decides."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.data.feeds import prices
from gen_rerank.data.feeds.prices import PriceRead, PriceReader, decimal_sign_of_locale, decimal_sign_of_prices
from gen_rerank.errors import BadInput


@pytest.mark.parametrize(
    ("written", "amount", "currency"),
    [
        ("19.99", 19.99, None),
        (" 19.99 ", 19.99, None),
        ("1299", 1299.0, None),
        (19.99, 19.99, None),
        (5, 5.0, None),
        ("19.99 USD", 19.99, "USD"),
        ("$19.99", 19.99, "$"),
        ("19,99 €", 19.99, "EUR"),
        ("1.299,00 €", 1299.0, "EUR"),
        ("1,299.00", 1299.0, None),
        ("1 299,00 kr", 1299.0, "kr"),
        ("1\u00a0299,00", 1299.0, None),
        ("CHF 1'299.00", 1299.0, "CHF"),
        ("1’299.50", 1299.5, None),
        ("CHF 1’299’000.50", 1299000.5, "CHF"),
        (",50", 0.5, None),
        ("€ ,99", 0.99, "EUR"),
        (",5", 0.5, None),
        (",500", 0.5, None),
        ("5,-", 5.0, None),
        ("19,– €", 19.0, "EUR"),
        ("5.–", 5.0, None),
        ("99 Kč", 99.0, "Kč"),
        ("5 C$", 5.0, "C$"),
        ("C$5", 5.0, "C$"),
        ("5 CAD", 5.0, "CAD"),
        ("5 MXN", 5.0, "MXN"),
        ("5 kr", 5.0, "kr"),
        ("5 KM", 5.0, "KM"),
        ("5 B/.", 5.0, "B/."),
        ("5 per pack", 5.0, None),
        ("5/kg", 5.0, None),
        ("5 EUR / Stück", 5.0, "EUR"),
        ("from 5", 5.0, None),
        ("Ab 5 €", 5.0, "EUR"),
        ("à partir de 5", 5.0, None),
        ("A partir da 5", 5.0, None),
        ("Price: 5", 5.0, None),
        ("only 5 each", 5.0, None),
        ("5 inkl. MwSt.", 5.0, None),
        ("5,99*", 5.99, None),
        ("S/ 5", 5.0, None),
        ("$5", 5.0, "$"),
        ("5 EUR", 5.0, "EUR"),
        ("EUR5", 5.0, "EUR"),
        ("US$5", 5.0, "USD"),
        ("Rs. 50", 50.0, "Rs"),
        ("CHF 5", 5.0, "CHF"),
        ("kr. 5", 5.0, "kr"),
        (1e12, 1e12, None),
        ("1.299.000", 1299000.0, None),
        ("Rs. 1,29,999", 129999.0, "Rs"),
        ("0.999", 0.999, None),
        ("1299.999", 1299.999, None),
        (".99", 0.99, None),
        ("19,-", 19.0, None),
        ("35€99", 35.99, "EUR"),
        ("from 19.99", 19.99, None),
        ("<b>19.99</b>", 19.99, None),
        (["19.99", "USD"], 19.99, "USD"),
        ("Free", 0.0, None),
        ("$5 USD", 5.0, "USD"),
        ("US $5", 5.0, "USD"),
        ("EUR 5 €", 5.0, "EUR"),
        ("5 Euro", 5.0, "EUR"),
        ("5 euros", 5.0, "EUR"),
        ("eur 5", 5.0, "EUR"),
        ("£5", 5.0, "GBP"),
        ("5 SFr.", 5.0, "CHF"),
        ("Rs.499", 499.0, "Rs"),
        ("Rs.5/-", 5.0, "Rs"),
        ("500円税込", 500.0, "円"),
        ("from $5", 5.0, "$"),
        ("ca. 5 €", 5.0, "EUR"),
        ("£5 incl. VAT", 5.0, "GBP"),
        ("5 € inkl. MwSt., zzgl. Versand", 5.0, "EUR"),
        ("$5 plus shipping", 5.0, "$"),
        ("VAT incl. £5", 5.0, "GBP"),
        ("nur 5 €", 5.0, "EUR"),
        ("Our price: $5 each", 5.0, "$"),
        ("On sale now $5", 5.0, "$"),
        ("5,00 €/Stück", 5.0, "EUR"),
        ("12,99 €/m²", 12.99, "EUR"),
        ("12,99 € pro m²", 12.99, "EUR"),
        ("12,99 €/m2", 12.99, "EUR"),
        ({"amount": "5.00", "currency": "EUR"}, 5.0, "EUR"),
        ({"g:value": 1.299, "g:currency": "€"}, 1.299, "EUR"),
        ({"amount": "5.00 USD"}, 5.0, "USD"),
        ({"price": "5", "currencyCode": None}, 5.0, None),
        ('{"amount": "5.00", "currency": "EUR"}', 5.0, "EUR"),
        (None, None, None),
        (" ", None, None),
        (float("nan"), None, None),
    ],
)
def test_prices_that_have_one_meaning(written: Any, amount: float | None, currency: str | None) -> None:
    found = PriceReader().read(written)
    assert (found.amount, found.currency) == (amount, currency)
    assert not any("left out" in kind for kind in found.kinds)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("-5", prices.NEGATIVE),
        ("-$5.00", prices.NEGATIVE),
        ("€ -5", prices.NEGATIVE),
        ("($5.00)", prices.NEGATIVE),
        (-5, prices.NEGATIVE),
        ("1.299", prices.AMBIGUOUS),
        ("1,299 USD", prices.AMBIGUOUS),
        ("$12.99 - $15.99", prices.SEVERAL),
        ("5-10", prices.SEVERAL),
        ("12 15", prices.SEVERAL),
        ("2 for 19.99", prices.SEVERAL),
        ("1.2.3", prices.SEVERAL),
        ("1.234,567.8", prices.SEVERAL),
        ("1e3", prices.SEVERAL),
        ("SKU5", prices.NOT_PRICE),
        ("A5", prices.NOT_PRICE),
        ("a 5", prices.NOT_PRICE),
        ("VK5", prices.NOT_PRICE),
        ("No. 5", prices.NOT_PRICE),
        ("#5", prices.NOT_PRICE),
        ("size 5", prices.NOT_PRICE),
        ("5 dz", prices.NOT_PRICE),
        ("5kg", prices.NOT_PRICE),
        ("5 stars", prices.NOT_PRICE),
        ("5 off", prices.NOT_PRICE),
        ("$5 OFF", prices.NOT_PRICE),
        ("save 5", prices.NOT_PRICE),
        ("Save $5", prices.NOT_PRICE),
        ("5 € Rabatt", prices.NOT_PRICE),
        ("+ $5", prices.NOT_PRICE),
        ("> 5", prices.NOT_PRICE),
        (". 50", prices.NOT_PRICE),
        ("$ . 50", prices.NOT_PRICE),
        (", 50", prices.NOT_PRICE),
        ("call us", prices.NO_NUMBER),
        ("toll-free", prices.NO_NUMBER),
        ("50%", prices.NO_NUMBER),
        (True, prices.NO_NUMBER),
        ("9" * 400, prices.TOO_LARGE),
        ("9" * 30, prices.TOO_LARGE),
        ("9" * 13, prices.TOO_LARGE),
        (1e308, prices.TOO_LARGE),
        (10**13, prices.TOO_LARGE),
        ("5-", prices.NEGATIVE),
        ("5.00-", prices.NEGATIVE),
        ("5,00- €", prices.NEGATIVE),
        ("5 −", prices.NEGATIVE),
        ("€ 5-", prices.NEGATIVE),
        ("99¢", prices.SCALED),
        ("¢99", prices.SCALED),
        ("50 cents", prices.SCALED),
        ("50 Cent", prices.SCALED),
        ("50ct", prices.SCALED),
        ("99p", prices.SCALED),
        ("$5M", prices.SCALED),
        ("5 Mio. €", prices.SCALED),
        ("5 € Mio", prices.SCALED),
        ("1,5k", prices.SCALED),
        ("1.5 K", prices.SCALED),
        ("2 million", prices.SCALED),
        ("3 lakh", prices.SCALED),
        ("5 Tsd.", prices.SCALED),
        ("5万", prices.SCALED),
        ("5½", prices.SCALED),
        ("5 %", prices.SCALED),
        ("5 USD million", prices.SCALED),
        ("USD 5k", prices.SCALED),
        ("Rs 5 cr", prices.SCALED),
        ("5 K$", prices.SCALED),
        ("k€ 5", prices.SCALED),
        ("T€ 5", prices.SCALED),
        ("0,5 ct/l", prices.SCALED),
        ("5k/month", prices.SCALED),
        ("—5", prices.NEGATIVE),
        ("－5", prices.NEGATIVE),
        ("minus 5", prices.NEGATIVE),
        ("1'29", prices.SEVERAL),
        ("1’29", prices.SEVERAL),
        ("1'2999", prices.SEVERAL),
        ("SOLD", prices.NO_NUMBER),
        ("TBD", prices.NO_NUMBER),
        ("EUR", prices.NO_NUMBER),
        ("ABD 5", prices.NOT_PRICE),
        ("ABD 5 USD", prices.NOT_PRICE),
        ("SKU5 EUR", prices.NOT_PRICE),
        ("Shipping $5", prices.NOT_PRICE),
        ("$5 shipping", prices.NOT_PRICE),
        ("zzgl. 4,95 € Versand", prices.NOT_PRICE),
        ("zzgl. 4,95 €", prices.NOT_PRICE),
        ("was $29.99", prices.NOT_PRICE),
        ("statt 29,99 €", prices.NOT_PRICE),
        ("instead of $29.99", prices.NOT_PRICE),
        ("RRP £5", prices.NOT_PRICE),
        ("UVP 5 €", prices.NOT_PRICE),
        ("deposit $10", prices.NOT_PRICE),
        ("Pfand 0,25 €", prices.NOT_PRICE),
        ("$10 gift card", prices.NOT_PRICE),
        ("under $20", prices.NOT_PRICE),
        ("over $100", prices.NOT_PRICE),
        ("up to $500", prices.NOT_PRICE),
        ("VAT £5", prices.NOT_PRICE),
        ("5² €", prices.SCALED),
        ({"amount": "5", "value": "6", "currency": "EUR"}, prices.NOT_PRICE),
        ({"amount": "5", "shop": "Lux"}, prices.NOT_PRICE),
        ({"amount": {"value": "5"}, "currency": "EUR"}, prices.NOT_PRICE),
        ({"currency": "EUR"}, prices.NOT_PRICE),
        ('{"amount": }', prices.NO_NUMBER),
    ],
)
def test_what_is_not_sure_is_left_out(written: Any, kind: str) -> None:
    found = PriceReader().read(written)
    assert found == PriceRead(None, None, (kind,)), "what is left out has no currency either"


@pytest.mark.parametrize(
    ("locale", "written", "amount"),
    [("en", "1.299", 1.299), ("en", "1,299", 1299.0), ("de", "1.299", 1299.0), ("de", "1,299", 1.299),
     ("de", "19.99", 19.99), ("en", "19,99", 19.99)],
)  # fmt: skip
def test_a_locale_decides_only_what_has_two_meanings(locale: str, written: str, amount: float) -> None:
    assert PriceReader(locale_sign=decimal_sign_of_locale(locale)).read(written).amount == amount


def test_a_file_decides_what_its_other_prices_make_sure() -> None:
    comma, point = PriceReader(file_sign=","), PriceReader(file_sign=".")
    assert comma.read("1.299") == PriceRead(1299.0, None, (prices.GROUPS,))
    assert point.read("1,299") == PriceRead(1299.0, None, (prices.GROUPS,))
    # Three digits behind the sign that the file has for decimals: nobody writes tenths of a cent.
    assert comma.read("1,299").kinds == point.read("1.299").kinds == (prices.AMBIGUOUS,)


def test_the_sign_of_a_file() -> None:
    assert decimal_sign_of_prices(["19,99", "1.299", "5", None, 19.99]) == (
        ",",
        "a decimal comma, in 1 of 1 prices that show one",
    )
    assert decimal_sign_of_prices(["1.299", "5"]) == (None, "no price shows one")
    assert decimal_sign_of_prices(["19,99", "19.99"])[0] is None
    assert decimal_sign_of_prices(["19,99"] + ["19.99"] * 19) == (
        ".",
        "a decimal point, in 19 of 20 prices that show one",
    )


@pytest.mark.parametrize(
    ("locale", "sign"), [("de", ","), ("de-CH", "."), ("de_AT.UTF-8", ","), ("en_ZA", ","), ("EN", "."), ("es_MX", ".")]
)
def test_locales(locale: str, sign: str) -> None:
    assert decimal_sign_of_locale(locale) == sign


@pytest.mark.parametrize("locale", ["", "klingon", "xx", "de_"])
def test_what_is_no_locale_is_said(locale: str) -> None:
    with pytest.raises(BadInput, match="name a language"):
        decimal_sign_of_locale(locale)


@given(
    st.integers(0, 9_999_999),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", "."), ("", "."), ("", ",")]),
    st.sampled_from(["", " USD", " €", "$", "kr "]),
)
def test_every_price_with_two_decimals_is_read_as_it_was_meant(
    cents: int, signs: tuple[str, str], currency: str
) -> None:
    group, decimal = signs
    number = f"{cents // 100:,}".replace(",", group) + decimal + f"{cents % 100:02d}"
    written = f"{currency}{number}" if currency in ("$", "kr ") else f"{number}{currency}"
    assert PriceReader().read(written).amount == float(Decimal(cents) / 100)


@given(st.text(max_size=12) | st.from_regex(r"[-0-9., €$'()%]{1,14}", fullmatch=True))
def test_whatever_is_written_gives_a_price_or_none(written: str) -> None:
    found = PriceReader(file_sign=".").read(written)
    assert found.amount is None or 0 <= found.amount < float("inf")
