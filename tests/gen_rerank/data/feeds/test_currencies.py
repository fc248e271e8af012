"""Currencies: whole words, and one name for each."""

from __future__ import annotations

import pytest

from gen_rerank.data.feeds.currencies import currency_in, currency_name, without_currency


@pytest.mark.parametrize(
    ("text", "found", "currency"),
    [
        ("SOLD", "LD", None),
        ("TBD", "BD", None),
        ("ABD 5", "BD", None),
        ("ABD 5 USD", "BD", "USD"),
        ("5 USD", "USD", "USD"),
        ("5USD", "USD", "USD"),
        ("Rs. 5", "Rs", "Rs"),
        ("500円税込", "円", "円"),
        ("5", None, None),
    ],
)
def test_a_currency_is_a_whole_word(text: str, found: str | None, currency: str | None) -> None:
    assert currency_in(text, found) == currency


def test_a_second_name_of_a_currency_is_no_word_beside_the_price() -> None:
    assert without_currency("$5 USD each", "$").split() == ["5", "each"]
    assert without_currency("TOP 5 $", "$").split() == ["TOP", "5"]
    assert without_currency("5 USD", None) == "5 USD"


@pytest.mark.parametrize(
    ("written", "name"), [("€", "EUR"), (" £ ", "GBP"), ("usd", "USD"), ("$", "$"), ("kr", "kr"), ("Taler", "Taler")]
)
def test_a_currency_has_one_name(written: str, name: str) -> None:
    assert currency_name(written) == name
