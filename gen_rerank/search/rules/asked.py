"""What one search asks, beside the rule file: the query, who asks, and the filters that the shopper has set."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import Field

from gen_rerank.data.records import Text
from gen_rerank.search.rules.matching import RuleSection


class Customer(RuleSection):
    """What is known of who asks. What is not known counts against showing: it fulfils no condition.

    Attributes:
        market: in which shop or country.
        age: in years.
        region: where they live, as the rules call it.
    """

    market: Text | None = None
    age: int | None = None
    region: Text | None = None


class Filters(RuleSection):
    """What a shopper has ticked; each that is given must hold.

    Attributes:
        brands: one of them.
        categories: one of them, or below.
        min_price: in the shop's currency.
        max_price: in the shop's currency.
        attributes: by name, one of the values.
        available: whether it must be known to be for sale.
    """

    brands: tuple[Text, ...] = ()
    categories: tuple[Text, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    attributes: dict[Text, tuple[Text, ...]] = Field(default_factory=dict)
    available: bool = False


@dataclass(frozen=True)
class Asked:
    """One search.

    Attributes:
        query: what the shopper typed, as text.
        k: how many products are wanted.
        customer: who asks.
        filters: what they have ticked.
    """

    query: str
    k: int = 10
    customer: Customer = field(default_factory=Customer)
    filters: Filters = field(default_factory=Filters)
