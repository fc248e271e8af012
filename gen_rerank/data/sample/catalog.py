"""The sample shop's products: every fact that a relevance rule looks at is stated in the product's own text.

Titles state some attributes and leave others to the attribute list; descriptions name other values and other
products on purpose ("Also sold in navy."), as sellers do. This module knows nothing of queries.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from gen_rerank.data.records import Product
from gen_rerank.data.sample.shop import UNBRANDED, Kind, Shop

INCLUDES = "includes"
_UNBRANDED_SHARE, _SET_SHARE, _SYNONYM_SHARE, _TITLE_SHARE = 0.1, 0.25, 0.3, 0.6


@dataclass(frozen=True)
class Item:
    """A product with what the generator knows of it; `unseen` ones name a brand that only the test may show."""

    product: Product
    kind: str
    unseen: bool = False

    @property
    def includes(self) -> str | None:
        """The second product type in a set, if it is one."""
        return self.product.attributes.get(INCLUDES)


def make_catalog(shop: Shop, count: int, rng: random.Random) -> list[Item]:
    """Return `count` products, the product types taking turns."""
    kinds = list(shop.kinds.values())
    return [_make_item(shop, kinds[number % len(kinds)], f"p{number:05d}", rng) for number in range(count)]


def _make_item(shop: Shop, kind: Kind, product_id: str, rng: random.Random) -> Item:
    facts = {name: rng.choice(values) for name, values in kind.has.items()}
    brand = shop.maker_of[facts["model"]] if "model" in facts else _brand(shop, kind, facts, rng)
    if kind.sold_with and rng.random() < _SET_SHARE:
        facts[INCLUDES] = kind.sold_with
    noun = rng.choice(kind.synonyms) if rng.random() < _SYNONYM_SHARE else kind.name
    low, high = kind.price
    product = Product(
        product_id=product_id,
        title=_title(shop, brand, noun, facts, rng),
        description=_description(shop, kind, brand, noun, facts, rng),
        brand=brand,
        category=f"{kind.department} > {kind.category}",
        attributes=facts,
        price=round(low * (high / low) ** rng.random()) - 0.01,
        available=None if rng.random() < 0.5 else rng.random() < 0.9,
    )
    named = (brand, shop.maker_of.get(facts.get("fits", "")))
    return Item(product, kind.name, any(name in shop.unseen_brands for name in named))


def _brand(shop: Shop, kind: Kind, facts: dict[str, str], rng: random.Random) -> str:
    """An accessory may come from the device's maker; anything but a device may have no brand at all."""
    if rng.random() < _UNBRANDED_SHARE:
        return UNBRANDED
    if "fits" in facts and rng.random() < 0.25:
        return shop.maker_of[facts["fits"]]
    brands = shop.brands[kind.department]
    return rng.choice((*brands.seen, *brands.unseen))


def _title(shop: Shop, brand: str, noun: str, facts: dict[str, str], rng: random.Random) -> str:
    """Brand, line, some values, the noun, then what it fits: `Norvane Black Laptop Bag, fits 16 inch laptop`."""
    before: list[str] = []
    after: list[str] = []
    for name, value in facts.items():
        attribute = shop.attributes.get(name)
        if attribute is None or name == "model" or rng.random() > _TITLE_SHARE:
            continue
        (before if attribute.before else after).append(attribute.title.format(value=value))
    start = facts.get("model") or ("" if brand == UNBRANDED else brand)
    line = rng.choice(shop.phrases["lines"]) if rng.random() < 0.3 else ""
    head = " ".join(part for part in (start, line, *map(_capitals, (*before[:2], noun))) if part)
    if INCLUDES in facts and rng.random() < _TITLE_SHARE:
        head += f" with {_capitals(facts[INCLUDES])}"
    return ", ".join((head, *after[:2]))


def _description(shop: Shop, kind: Kind, brand: str, noun: str, facts: dict[str, str], rng: random.Random) -> str:
    opening: str = rng.choice(shop.phrases["openings"])
    opening = opening.format(mood=rng.choice(shop.phrases["moods"]), noun=noun, purpose=rng.choice(kind.purposes))
    names = rng.sample([name for name in kind.has if name not in ("fits", "model")], 2)
    value, second = (rng.choice([value for value in kind.has[name] if value != facts[name]]) for name in names)
    decoy: str = rng.choice(shop.phrases["decoys"]["value"])
    return f"{opening} {decoy.format(value=value, second=second)} {_lure(shop, kind, brand, facts, rng)}"


def _lure(shop: Shop, kind: Kind, brand: str, facts: dict[str, str], rng: random.Random) -> str:
    """A sentence that names what the product is not: a rival, a model that it does not fit, something not included."""
    lures = {"other": rng.choice(kind.relatives or tuple(shop.kinds))}
    if kind.sold_with and INCLUDES not in facts:
        lures["missing"] = kind.sold_with
    unseen = brand in shop.unseen_brands or shop.maker_of.get(facts.get("fits", "")) in shop.unseen_brands
    if kind.fits:
        models = [model for model in kind.has["fits"] if unseen or shop.maker_of[model] not in shop.unseen_brands]
        lures["misfit"] = rng.choice([model for model in models if model != facts["fits"]])
    rivals = shop.brands[kind.department].seen + (shop.brands[kind.department].unseen if unseen else ())
    lures["rival"] = rng.choice([rival for rival in rivals if rival != brand])
    lure = "missing" if "missing" in lures and rng.random() < 0.5 else rng.choice(list(lures))
    names = {"missing": "other", "misfit": "model", "rival": "brand"}
    sentence: str = rng.choice(shop.phrases["decoys"][lure])
    return sentence.format(**{names.get(lure, lure): lures[lure]})


def _capitals(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split())
