"""Words and numbers for what is in stock."""

from __future__ import annotations

from typing import Any

import pytest

from gen_rerank.data.feeds.availability import availability
from gen_rerank.data.values import BadValue


@pytest.mark.parametrize(
    "value", ["in stock", "In_Stock", "InStock", "https://schema.org/InStock", "preorder", "yes", "12", 3, 1.0, "true",
              "lieferbar", "en stock", "Ja", "oui", "sí", "sofort verfügbar", "disponible", "backordered", "y",
              "12 in stock", "Only 3 left in stock", "In stock (7)", "Nur noch 2 Stück auf Lager", "10+ available"]
)  # fmt: skip
def test_there(value: Any) -> None:
    assert availability(value) is True


@pytest.mark.parametrize(
    "value", ["out of stock", "OUT-OF-STOCK", "sold out", "http://schema.org/OutOfStock", "no", "0", 0, -3, "-3",
              "nicht lieferbar", "rupture de stock", False, "Nein", "non", "no disponible", "non disponible",
              "derzeit nicht verfügbar", "temporarily out of stock", "0 in stock", "-3 in stock", "not in stock"]
)  # fmt: skip
def test_gone(value: Any) -> None:
    assert availability(value) is False


@pytest.mark.parametrize("value", [None, "", " ", float("nan"), []])
def test_absent(value: Any) -> None:
    assert availability(value) is None


@pytest.mark.parametrize(
    "value",
    ["on the moon", "maybe", "in stock soon", ["a", "b"], "in stock in 3 weeks", "3 of 5 left", "available in 2 shops"],
)
def test_not_known(value: Any) -> None:
    with pytest.raises(BadValue):
        availability(value)
