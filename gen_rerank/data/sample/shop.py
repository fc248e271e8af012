"""What the sample shop knows: product types, attributes, brands, needs and phrasings, read from the YAML files here.

Everything that could be argued about (which type replaces which, how much a wrong size costs, how people say it) is
data; this module only gives it types. It knows nothing of single products or queries.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import pairwise
from typing import Any

import yaml

UNBRANDED = "Unbranded"


@dataclass(frozen=True)
class Wording:
    """Ways to say one thing: `seen` ones in every split, `unseen` ones in the test split only."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Wording:
        """Read `{"seen": [...], "unseen": [...]}`."""
        return cls(tuple(row["seen"]), tuple(row.get("unseen", ())))

    def pick(self, rng: random.Random, novel: bool) -> str:
        """Return one of the ways; an unseen one where `novel` asks for it."""
        return rng.choice(self.unseen if novel and self.unseen else self.seen)


@dataclass(frozen=True)
class Attribute:
    """Something that a product states and a shopper asks for, and what a mismatch costs (see attributes.yaml)."""

    name: str
    values: tuple[str, ...]
    near: frozenset[tuple[str, str]]
    near_credit: float
    far_credit: float
    wording: Wording
    fit: bool
    at_least: bool
    before: bool
    title: str
    words: Mapping[str, tuple[str, ...]]
    spoken: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Kind:
    """A product type: its names, its shelf, its attributes and its relatives (see kinds.yaml)."""

    name: str
    department: str
    category: str
    synonyms: tuple[str, ...]
    price: tuple[float, float]
    has: Mapping[str, tuple[str, ...]]
    purposes: tuple[str, ...]
    accessory_of: str | None
    fits: str | None
    sold_with: str | None
    substitutes: tuple[str, ...]
    accessories: tuple[str, ...]

    @property
    def relatives(self) -> tuple[str, ...]:
        """The types a shopper could confuse it with: substitutes, accessories and what it is an accessory of."""
        return (*self.substitutes, *self.accessories, *((self.accessory_of,) if self.accessory_of else ()))


@dataclass(frozen=True)
class Need:
    """A job to be done or a person to please, and how well each product type answers it (see needs.yaml)."""

    name: str
    gift: bool
    kinds: Mapping[str, float]
    wants: tuple[tuple[str, str], ...]
    ask: tuple[str, ...]
    wording: Wording


@dataclass(frozen=True)
class Shop:
    """The whole of the sample shop's knowledge."""

    attributes: Mapping[str, Attribute]
    kinds: Mapping[str, Kind]
    needs: Mapping[str, Need]
    brands: Mapping[str, Wording]
    makers: Mapping[str, Mapping[str, tuple[str, ...]]]
    unseen_brands: tuple[str, ...]
    phrases: Mapping[str, Any]

    @cached_property
    def maker_of(self) -> dict[str, str]:
        """The maker of every device model: `{"Pixora 8": "Pixora"}`."""
        return {model: maker for makers in self.makers.values() for maker, models in makers.items() for model in models}

    def wording(self, *keys: str) -> Wording:
        """Return the wording at a path of phrases.yaml."""
        row: Any = self.phrases
        for key in keys:
            row = row[key]
        return Wording.of(row)


@cache
def load_shop() -> Shop:
    """Read the shop once; the same object is returned ever after."""
    brands, kinds, needs = _read("brands"), _read("kinds"), _read("needs")
    makers = {
        device: {
            maker: tuple(f"{maker} {number}" for number in numbers)
            for group in ("seen", "unseen")
            for maker, numbers in row[group].items()
        }
        for device, row in brands["makers"].items()
    }
    groups = (*brands["departments"].values(), *brands["makers"].values())
    return Shop(
        attributes={name: _attribute(name, row, makers) for name, row in _read("attributes").items()},
        kinds={name: _kind(name, row, kinds, makers) for name, row in kinds["kinds"].items()},
        needs={name: _need(name, row, group == "gift") for group in needs for name, row in needs[group].items()},
        brands={name: Wording.of(row) for name, row in brands["departments"].items()},
        makers=makers,
        unseen_brands=tuple(brand for row in groups for brand in row["unseen"]),
        phrases=_read("phrases"),
    )


@cache
def _read(name: str) -> dict[str, Any]:
    rows: dict[str, Any] = yaml.safe_load(files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    return rows


def _attribute(name: str, row: Mapping[str, Any], makers: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Attribute:
    values = tuple(row["values"])
    groups = (
        [list(models) for device in makers.values() for models in device.values()]
        if not values
        else row.get("near", [])
    )
    if groups == "neighbours":
        groups = [list(pair) for pair in pairwise(values)]
    return Attribute(
        name=name,
        values=values,
        near=frozenset((one, two) for group in groups for one in group for two in group if one != two),
        near_credit=row["credit"][0],
        far_credit=row["credit"][1],
        wording=Wording.of(row),
        fit=row.get("fit", False),
        at_least=row.get("at_least", False),
        before=row.get("before", False),
        title=row.get("title", "{value}"),
        words={value: tuple(words) for value, words in row.get("words", {}).items()},
        spoken={value: tuple(words) for value, words in row.get("spoken", {}).items()},
    )


def _kind(
    name: str, row: Mapping[str, Any], rows: Mapping[str, Any], makers: Mapping[str, Mapping[str, tuple[str, ...]]]
) -> Kind:
    attributes = _read("attributes")
    models: dict[str, str] = {"fits": row.get("fits", ""), "model": name}
    has = {
        key: tuple(
            values or attributes[key]["values"] or (model for line in makers[models[key]].values() for model in line)
        )
        for key, values in row["has"].items()
    }
    unknown = [
        value
        for key, values in has.items()
        for value in values
        if key not in models and value not in attributes[key]["values"]
    ]
    if unknown:
        raise ValueError(f"kinds.yaml: {name} has values that attributes.yaml lacks: {unknown}")
    return Kind(
        name=name,
        department=row["in"],
        category=row["category"],
        synonyms=tuple(row["synonyms"]),
        price=(row["price"][0], row["price"][1]),
        has=has,
        purposes=tuple(row["for"]),
        accessory_of=row.get("of"),
        fits=row.get("fits"),
        sold_with=row.get("with"),
        substitutes=tuple(other for family in rows["families"] if name in family for other in family if other != name),
        accessories=tuple(other for other, spec in rows["kinds"].items() if spec.get("of") == name),
    )


def _need(name: str, row: Mapping[str, Any], gift: bool) -> Need:
    return Need(
        name, gift, row["kinds"], tuple(row.get("wants", {}).items()), tuple(row.get("ask", ())), Wording.of(row)
    )
