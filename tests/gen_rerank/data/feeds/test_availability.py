"""Words and numbers for what is in stock."""

from __future__ import annotations

from typing import Any

import pytest

from gen_rerank.data.feeds.availability import availability
from gen_rerank.data.values import BadValue


@pytest.mark.parametrize(
    "value", ["in stock", "In_Stock", "InStock", "https://schema.org/InStock", "preorder", "yes", "12", 3, 1.0, "true",
              "lieferbar", "en stock"]
)  # fmt: skip
def test_there(value: Any) -> None:
    assert availability(value) is True


@pytest.mark.parametrize(
    "value", ["out of stock", "OUT-OF-STOCK", "sold out", "http://schema.org/OutOfStock", "no", "0", 0, -3, "-3",
              "nicht lieferbar", "rupture de stock", False]
)  # fmt: skip
def test_gone(value: Any) -> None:
    assert availability(value) is False


@pytest.mark.parametrize("value", [None, "", " ", float("nan"), []])
def test_absent(value: Any) -> None:
    assert availability(value) is None


@pytest.mark.parametrize("value", ["on the moon", "maybe", "in stock soon", ["a", "b"]])
def test_not_known(value: Any) -> None:
    with pytest.raises(BadValue):
        availability(value)
