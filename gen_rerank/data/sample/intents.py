"""What shoppers want: a structured intent for every slice, drawn around a product that the shop has.

`draw` returns an intent; `put` turns it into what a shopper types. The intent alone decides relevance
(relevance.py); the words are only words. This module chooses no candidates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gen_rerank.data.sample.catalog import Item
from gen_rerank.data.sample.relevance import Intent
from gen_rerank.data.sample.shop import UNBRANDED, Kind, Shop

_UNBRANDED_ASKED = 0.25  # of the queries that exclude a brand, those that want no brand at all
_OTHER_NOUN = 0.25  # of the other queries that name a type, those that call it something else
_OTHER_WORD = 0.5  # then, for a value that has other words


@dataclass(frozen=True)
class Draw:
    """An intent with the slices that it belongs to; the first of `tags` chose its phrasing."""

    intent: Intent
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Aim:
    """What an intent is drawn around: a product that answers it, and whether the brand named is to be an unseen one."""

    shop: Shop
    item: Item
    unseen_brand: bool
    rng: random.Random

    @property
    def kind(self) -> Kind:
        """The product's type."""
        return self.shop.kinds[self.item.kind]

    def wants(self, least: int, most: int, *, fit: bool = False) -> tuple[tuple[str, str], ...]:
        """Return between `least` and `most` of the product's values, those of fit or the other ones; () if too few."""
        facts, known = self.item.product.attributes, self.shop.attributes
        values = [(name, value) for name, value in facts.items() if name in known and known[name].fit == fit]
        count = min(self.rng.randint(least, most), len(values))
        return tuple(self.rng.sample(values, count)) if count >= least else ()


def _attribute(aim: Aim) -> Draw | None:
    wants = aim.wants(1, 2)
    return Draw(Intent(aim.kind.name, wants=wants), ("attribute",)) if wants else None


def _compatibility(aim: Aim) -> Draw | None:
    fit = aim.wants(1, 1, fit=True)
    return Draw(Intent(aim.kind.name, wants=fit + aim.wants(0, 1)), ("compatibility",)) if fit else None


def _category_intent(aim: Aim) -> Draw | None:
    confusable = aim.kind.accessories or aim.kind.accessory_of
    return Draw(Intent(aim.kind.name, wants=aim.wants(0, 1)), ("category_intent",)) if confusable else None


def _brand_explicit(aim: Aim) -> Draw | None:
    brand = aim.item.product.brand or UNBRANDED
    if brand == UNBRANDED or (brand in aim.shop.unseen_brands) != aim.unseen_brand:
        return None
    if aim.kind.fits and brand in aim.shop.maker_of.values():  # a maker's name on an accessory says what it has to fit
        return None
    wants = tuple(want for want in aim.wants(0, 1) if want[0] != "model")  # a model says its maker already
    return Draw(Intent(aim.kind.name, wants=wants, brand=brand, brand_rule="only"), ("brand_explicit",))


def _brand_implicit(aim: Aim) -> Draw | None:
    maker = aim.shop.maker_of.get(aim.item.product.attributes.get("fits", ""))
    if maker is None or (maker in aim.shop.unseen_brands) != aim.unseen_brand:
        return None
    return Draw(Intent(aim.kind.name, wants=aim.wants(0, 1), brand=maker, brand_rule="made_for"), ("brand_implicit",))


def _brand_excluded(aim: Aim) -> Draw | None:
    if "model" in aim.kind.has:  # a device and its maker are one
        return None
    intent = Intent(aim.kind.name, wants=aim.wants(0, 1))
    if not aim.unseen_brand and aim.rng.random() < _UNBRANDED_ASKED:
        return Draw(replace(intent, brand=UNBRANDED, brand_rule="none"), ("brand_excluded",))
    brands = aim.shop.brands[aim.kind.department]
    brand = aim.rng.choice(brands.unseen if aim.unseen_brand else brands.seen)
    return Draw(replace(intent, brand=brand, brand_rule="not"), ("brand_excluded",))


def _multi_intent(aim: Aim) -> Draw | None:
    if aim.item.includes is None:
        return None
    return Draw(Intent(aim.kind.name, aim.item.includes, wants=aim.wants(0, 1)), ("multi_intent",))


def _typo(aim: Aim) -> Draw | None:
    drawn = aim.rng.choice((_attribute, _compatibility, _category_intent, _brand_explicit))(aim)
    return replace(drawn, tags=("typo", *drawn.tags)) if drawn else None


def _synonym(aim: Aim) -> Draw | None:
    drawn = aim.rng.choice((_attribute, _attribute, _category_intent, _brand_explicit))(aim)
    return replace(drawn, tags=("synonym", *drawn.tags)) if drawn else None


def _indirect(aim: Aim) -> Draw | None:
    needs = [need for need in aim.shop.needs.values() if not need.gift and need.kinds.get(aim.kind.name, 0.0) >= 0.8]
    colour = tuple(want for want in aim.wants(1, 9) if want[0] == "colour")
    if not needs:
        return None
    return Draw(Intent(need=aim.rng.choice(needs).name, wants=colour if aim.rng.random() < 0.5 else ()), ("indirect",))


def _gift(aim: Aim) -> Draw | None:
    needs = [need for need in aim.shop.needs.values() if need.gift and need.kinds.get(aim.kind.name, 0.0) >= 0.8]
    if not needs:
        return None
    need = aim.rng.choice(needs)
    values = aim.item.product.attributes
    return Draw(Intent(need=need.name, wants=tuple((name, values[name]) for name in need.ask)), ("gift",))


SLICES: dict[str, Callable[[Aim], Draw | None]] = {
    "attribute": _attribute,
    "compatibility": _compatibility,
    "category_intent": _category_intent,
    "brand_explicit": _brand_explicit,
    "brand_implicit": _brand_implicit,
    "brand_excluded": _brand_excluded,
    "typo": _typo,
    "synonym": _synonym,
    "multi_intent": _multi_intent,
    "indirect": _indirect,
    "gift": _gift,
}


def draw(aim: Aim, tag: str) -> Draw | None:
    """Return an intent of a slice around a product; None where the product does not lend itself to that slice."""
    drawn = SLICES[tag](aim)
    if drawn is None or not drawn.intent.kind or "synonym" in drawn.tags or aim.rng.random() > _OTHER_NOUN:
        return drawn
    return replace(drawn, tags=(*drawn.tags, "synonym"))


def put(shop: Shop, drawn: Draw, rng: random.Random, *, novel: bool) -> str:
    """Return the words of an intent; `novel` ones use sentences that only the test split may use."""
    intent, main = drawn.intent, drawn.tags[0]
    frame = shop.wording("frames", main).pick(rng, novel)
    if intent.need:
        return _put_need(shop, intent, frame, rng, novel)
    thing = _thing(shop, drawn, rng, novel)
    return frame.format(thing=_mistype(shop, thing, rng) if main == "typo" else thing)


def _thing(shop: Shop, drawn: Draw, rng: random.Random, novel: bool) -> str:
    intent, synonyms = drawn.intent, "synonym" in drawn.tags
    thing = rng.choice(shop.kinds[intent.kind].synonyms) if synonyms else intent.kind
    for name, value in intent.wants:
        attribute = shop.attributes[name]
        if synonyms and value in attribute.words and rng.random() < _OTHER_WORD:
            value = rng.choice(attribute.words[value])
        thing = attribute.wording.pick(rng, novel and rng.random() < 0.5).format(thing=thing, value=value)
    if intent.brand_rule:
        wording = shop.wording("brand", intent.brand_rule)
        thing = wording.pick(rng, novel and rng.random() < 0.5).format(thing=thing, brand=intent.brand)
    if intent.other:
        thing = shop.wording("both").pick(rng, novel and rng.random() < 0.5).format(thing=thing, other=intent.other)
    return thing


def _put_need(shop: Shop, intent: Intent, frame: str, rng: random.Random, novel: bool) -> str:
    need = shop.needs[intent.need]
    asked = dict(intent.wants)
    if intent.wants and not need.gift and "{extra}" not in frame:
        frame = "a{extra} thing to {need}"
    words = need.wording.pick(rng, novel and rng.random() < 0.5).format(**asked)
    whom = shop.wording("whom", "child" if need.ask else "adult").pick(rng, novel and rng.random() < 0.5)
    if need.ask:
        whom = whom.format(age=rng.choice(shop.attributes["age"].spoken[asked["age"]]))
    extra = "" if need.gift else "".join(f" {value}" for value in asked.values())
    return frame.format(need=words, whom=whom, extra=extra).strip()


def _mistype(shop: Shop, text: str, rng: random.Random) -> str:
    """Shorten or misspell one or two words; names (and numbers), which are not in lower case, stay."""
    words, short = text.split(), shop.phrases["shorthand"]
    places = [place for place, word in enumerate(words) if len(word) > 2 and word.islower()]
    for place in rng.sample(places, min(rng.randint(1, 2), len(places))):
        word = words[place]
        words[place] = short[word] if word in short and rng.random() < 0.7 else misspell(word, rng)
    return " ".join(words)


def misspell(word: str, rng: random.Random) -> str:
    """Return one of the two ways in which this shop's customers misspell a word: letters swapped, or one left out.

    A short word gets a letter too many.

    Example:
        >>> sorted({misspell("leather", random.Random(seed)) for seed in range(9)})
        ['laether', 'leathr']
    """
    if len(word) < 4:
        return word + word[-1]
    swapped = word[0] + word[2] + word[1] + word[3:]
    return rng.choice((swapped if swapped != word else word[:1] + word[2:], word[:-2] + word[-1]))


def held_out(shop: Shop) -> dict[str, Sequence[str]]:
    """Return the phrasings that only the test split may use, with their placeholders, by where they stand."""
    wordings = {"both": shop.wording("both")}
    for part in ("frames", "brand", "whom"):
        wordings |= {f"{part}.{name}": shop.wording(part, name) for name in shop.phrases[part]}
    wordings |= {f"attributes.{name}": attribute.wording for name, attribute in shop.attributes.items()}
    wordings |= {f"needs.{name}": need.wording for name, need in shop.needs.items()}
    return {name: wording.unseen for name, wording in wordings.items()}
