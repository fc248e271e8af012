"""Hard rules: what they remove is not scored, so that it costs nothing.

In this order: the shopper's filters, available, price, blocked, compliance, query, variants. Variants come last, so
that the one that stands for the others is one that may be shown. A place is that in which a product was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gen_rerank.data.records import Product
from gen_rerank.reporting.numbers import counted
from gen_rerank.search.candidates import ProductCandidate, Receipt
from gen_rerank.search.rules.asked import Asked, Customer, Filters
from gen_rerank.search.rules.file import Blocked, Compliance, PriceBand, Rules
from gen_rerank.search.rules.matching import Matching, folded_value
from gen_rerank.search.rules.outcome import Outcome
from gen_rerank.search.rules.stated import Stated

FILTER = "filter"
# The rules of a file that are hard.
HARD = ("available", "price", "blocked", "compliance", "query", "variants")

Why = Callable[[Product], str | None]


def hard_rules(rules: Rules, asked: Asked, found: Sequence[ProductCandidate]) -> Outcome[ProductCandidate]:
    """Return the candidates that may be scored.

    Args:
        rules: of the shop.
        asked: query, customer, filters.
        found: in the order in which they were found.

    Example:
        >>> sold_out = Product(product_id="p1", title="Oak desk", available=False)
        >>> done = hard_rules(Rules(available=True), Asked("desk"), [ProductCandidate(sold_out)])
        >>> done.kept, done.receipts[0].why
        ((), 'sold out')
    """
    places = {one.product.product_id: place for place, one in enumerate(found, start=1)}
    kept = list(found)
    receipts: list[Receipt] = []
    for name, why in _rules(rules, asked, [one.product for one in found]):
        left = []
        for one in kept:
            reason = why(one.product)
            if reason is None:
                left.append(one)
            else:
                receipts.append(Receipt.of(one.product, name, reason, places[one.product.product_id]))
        kept = left
    return Outcome(tuple(kept), tuple(receipts))


def hard_rules_or_fewer(rules: Rules, asked: Asked, found: Sequence[ProductCandidate]) -> Outcome[ProductCandidate]:
    """Return the candidates that may be scored; where too few are left, rules are given up as the shop says.

    Only a rule that removed something is given up. Rules that come after the rerank are left to others.
    """
    done = hard_rules(rules, asked, found)
    remarks = []
    for name in rules.too_little.give_up:
        if len(done.kept) >= rules.too_little.products:
            break
        if any(receipt.rule == name for receipt in done.receipts):
            rules = rules.without(name)
            remarks.append(given_up(name, len(done.kept), rules.too_little.products))
            done = hard_rules(rules, asked, found)
    return Outcome(done.kept, done.receipts, tuple(remarks))


def given_up(name: str, left: int, needed: int) -> str:
    """Return what is said where a rule is given up.

    Example:
        >>> given_up("price", 1, 3)
        'the rule price was given up: it left 1 product, and 3 are wanted'
    """
    return f"the rule {name} was given up: it left {counted(left, 'product')}, and {needed} are wanted"


def _rules(rules: Rules, asked: Asked, products: list[Product]) -> Iterator[tuple[str, Why]]:
    """Yield the rules that there are, in their order, each with what it says against a product."""
    if asked.filters != Filters():
        yield FILTER, lambda product: _filtered(asked.filters, product)
    if rules.available:
        yield "available", lambda product: _not_for_sale(product, strict=rules.available == "strict")
    if rules.price is not None:
        band = rules.price
        yield "price", lambda product: _out_of_band(band, product)
    if rules.blocked:
        yield "blocked", lambda product: _first(rules.blocked, product, lambda rule, by: _blocked(rule, by, asked))
    if rules.compliance:
        yield (
            "compliance",
            lambda product: _first(rules.compliance, product, lambda rule, by: _forbidden(rule, by, asked.customer)),
        )
    if rules.query is not None:
        yield "query", Stated(rules.query, asked.query, products).why
    if rules.variants is not None:
        yield "variants", _Collapsing(rules.variants.by).why


def _filtered(filters: Filters, product: Product) -> str | None:
    brands = {brand.casefold() for brand in filters.brands}
    if brands and (product.brand or "").casefold() not in brands:
        return f"the filter asks for the brand {' or '.join(filters.brands)}"
    if filters.categories and Matching(categories=filters.categories).why(product) is None:
        return f"the filter asks for the category {' or '.join(filters.categories)}"
    price = product.price
    if filters.min_price is not None and (price is None or price < filters.min_price):
        return f"the filter asks for a price of at least {filters.min_price:g}"
    if filters.max_price is not None and (price is None or price > filters.max_price):
        return f"the filter asks for a price of at most {filters.max_price:g}"
    for name, values in filters.attributes.items():
        if folded_value(product, name) not in {value.casefold() for value in values}:
            return f"the filter asks for {name} {' or '.join(values)}"
    if filters.available and product.available is not True:
        return "the filter asks for what is for sale"
    return None


def _not_for_sale(product: Product, *, strict: bool) -> str | None:
    if product.available is False:
        return "sold out"
    return "it is not known whether it is for sale" if strict and product.available is None else None


def _out_of_band(band: PriceBand, product: Product) -> str | None:
    if product.price is None:
        return "it has no price" if band.unknown == "remove" else None
    if product.price < band.min:
        return f"costs {product.price:g}, less than {band.min:g}"
    if band.max is not None and product.price > band.max:
        return f"costs {product.price:g}, more than {band.max:g}"
    return None


def _first(rules: Sequence[Any], product: Product, why: Callable[[Any, str], str | None]) -> str | None:
    """Return the first reason that one of several entries has against a product that it is about."""
    for rule in rules:
        by = rule.why(product)
        reason = None if by is None else why(rule, by)
        if reason is not None:
            return reason
    return None


def _blocked(rule: Blocked, by: str, asked: Asked) -> str | None:
    market = asked.customer.market
    if rule.markets and market is not None and market.casefold() not in rule.markets:
        return None
    where = f" in {', '.join(rule.markets)}" if rule.markets else ""
    unknown = ", and no market was named" if rule.markets and market is None else ""
    return f"{by} is blocked{where}{unknown}" + (f": {rule.reason}" if rule.reason else "")


def _forbidden(rule: Compliance, by: str, customer: Customer) -> str | None:
    said = f": {rule.reason}" if rule.reason else ""
    if rule.min_age is not None and (customer.age is None or customer.age < rule.min_age):
        age = "an unknown age" if customer.age is None else f"the age of {customer.age}"
        return f"{by} is for customers from {rule.min_age} on, not for {age}{said}"
    region = None if customer.region is None else customer.region.casefold()
    shown = "an unknown region" if region is None else customer.region
    if rule.only_in and region not in rule.only_in:
        return f"{by} may be sold in {', '.join(rule.only_in)} only, not in {shown}{said}"
    if rule.not_in and (region is None or region in rule.not_in):
        return f"{by} may not be sold in {', '.join(rule.not_in)}; the customer is in {shown}{said}"
    return None


class _Collapsing:
    """Keeps the first of those products that are alike in some fields."""

    def __init__(self, by: Sequence[str]) -> None:
        self._by = by
        self._first: dict[tuple[str | None, ...], Product] = {}

    def why(self, product: Product) -> str | None:
        key = tuple(folded_value(product, field) for field in self._by)
        if None in key:
            return None
        first = self._first.setdefault(key, product)
        if first.product_id == product.product_id:
            return None
        return f"a variant of {first.product_id}, which was found before it: the same {', '.join(self._by)}"
