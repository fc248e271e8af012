"""The sample's ground truth: how relevant a product is for a structured intent, by rules, never by text.

The score is a product of credits: the product type's (exact, substitute, set, accessory), one for every value
asked for (exact, near miss, clear miss, not stated), and the brand's. Scores are on steps of 0.05.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from gen_rerank.data.sample.catalog import Item
from gen_rerank.data.sample.shop import UNBRANDED, Attribute, Shop, load_shop

BrandRule = Literal["only", "not", "none", "made_for"]

SUBSTITUTE, IN_A_SET, ACCESSORY, HOST = 0.5, 0.5, 0.15, 0.1
HALF_OF_BOTH, SUBSTITUTE_OF_BOTH = 0.6, 0.25
NOT_STATED = 0.7
ONE_SIZE_LARGER, MUCH_LARGER = 0.85, 0.7
OTHER_BRAND, EXCLUDED_BRAND, OTHER_MAKER = 0.5, 0.1, 0.15


@dataclass(frozen=True)
class Intent:
    """What a shopper is after, before it is put into words; empty where nothing is asked.

    Attributes:
        kind: the product type wanted, where one is named.
        other: a second type wanted together with it.
        need: a need's name, instead of a type.
        wants: the attribute values asked for.
        brand: the brand that `brand_rule` is about: that one `only`, anything but (`not`), no brand at all (`none`),
            or accessories `made_for` that maker's devices.
    """

    kind: str = ""
    other: str = ""
    need: str = ""
    wants: tuple[tuple[str, str], ...] = ()
    brand: str = ""
    brand_rule: BrandRule | None = None


def relevance(intent: Intent, item: Item) -> float:
    """Return how relevant a product is, in [0, 1] on steps of 0.05.

    Example:
        >>> from gen_rerank.data.records import Product
        >>> cover = Item(Product(product_id="p", title="Sofa cover"), "sofa cover")
        >>> relevance(Intent(kind="sofa"), cover)
        0.15
    """
    shop = load_shop()
    credit = _kind_credit(shop, intent, item)
    if credit == 0.0:
        return 0.0
    implied = shop.needs[intent.need].wants if intent.need else ()
    for name, value in (*implied, *intent.wants):
        credit *= _value_credit(shop.attributes[name], value, item.product.attributes.get(name))
    return round(round(credit * _brand_credit(shop, intent, item) * 20) / 20, 2)


@cache
def kind_credits(kind: str) -> dict[str, float]:
    """Return what every type that has to do with `kind` is worth to somebody who asked for `kind`."""
    spec = load_shop().kinds[kind]
    worth = dict.fromkeys(spec.accessories, ACCESSORY)
    if spec.accessory_of:
        worth[spec.accessory_of] = HOST
    worth.update(dict.fromkeys(spec.substitutes, SUBSTITUTE))
    return {**worth, kind: 1.0}


def _kind_credit(shop: Shop, intent: Intent, item: Item) -> float:
    if intent.need:
        return shop.needs[intent.need].kinds.get(item.kind, 0.0)
    if intent.other:
        wanted, offered = (intent.kind, intent.other), (item.kind, item.includes)
        if all(kind in offered for kind in wanted):
            return 1.0
        if any(kind in offered for kind in wanted):
            return HALF_OF_BOTH
        best = max(kind_credits(kind).get(item.kind, 0.0) for kind in wanted)
        return SUBSTITUTE_OF_BOTH if best == SUBSTITUTE else best
    worth = kind_credits(intent.kind)
    return max(worth.get(item.kind, 0.0), IN_A_SET * (item.includes == intent.kind))


def _value_credit(attribute: Attribute, asked: str, offered: str | None) -> float:
    if offered is None:
        return NOT_STATED
    if offered == asked:
        return 1.0
    if attribute.at_least:
        steps = attribute.values.index(offered) - attribute.values.index(asked)
        return attribute.far_credit if steps < 0 else ONE_SIZE_LARGER if steps == 1 else MUCH_LARGER
    return attribute.near_credit if (asked, offered) in attribute.near else attribute.far_credit


def _brand_credit(shop: Shop, intent: Intent, item: Item) -> float:
    brand = item.product.brand
    if intent.brand_rule == "only":
        return 1.0 if brand == intent.brand else OTHER_BRAND
    if intent.brand_rule == "not":
        return EXCLUDED_BRAND if brand == intent.brand else 1.0
    if intent.brand_rule == "none":
        return 1.0 if brand == UNBRANDED else EXCLUDED_BRAND
    if intent.brand_rule == "made_for" and "fits" in item.product.attributes:
        return 1.0 if shop.maker_of[item.product.attributes["fits"]] == intent.brand else OTHER_MAKER
    return 1.0
