"""`rules.yaml`: which rules a shop has. What each does to a search is `hard` and `soft`; here is what it may say.

The rules come in the order of the fields here, whatever order the file has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gen_rerank.calibration.tiers import Tier
from gen_rerank.data.records import Identifier, Text
from gen_rerank.search.rules.matching import Matching, RuleSection
from gen_rerank.system.settings import read_settings, settings_of

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Some = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _lower(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.casefold() for name in names)


def _fields_named(given: object) -> object:
    if isinstance(given, str):
        raise ValueError("give a list, also of a single field: [brand]")
    return given


# Markets and regions are compared in lower case.
Places = Annotated[tuple[Text, ...], AfterValidator(_lower)]
# Title, brand, category, or attributes by their names.
Fields = Annotated[tuple[Text, ...], BeforeValidator(_fields_named), AfterValidator(_lower)]


class PriceBand(RuleSection):
    """What products may cost, both ends included.

    Attributes:
        min: in the shop's currency.
        max: in the shop's currency.
        unknown: what becomes of a product without a price.
    """

    min: Amount = 0.0
    max: Amount | None = None
    unknown: Literal["keep", "remove"] = "keep"

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"no price is at least {self.min:g} and at most {self.max:g}; exchange min and max")
        return self


class Blocked(Matching):
    """Products that are not shown.

    Attributes:
        markets: where; everywhere where none is named. A search that names no market is in all of them.
        reason: for the receipt.
    """

    markets: Places = ()
    reason: Text | None = None


class Compliance(Matching):
    """Products that not everybody may buy; who is not known, may not.

    Attributes:
        min_age: the customer's age in years.
        only_in: regions where they may be sold.
        not_in: regions where they may not.
        reason: for the receipt.
    """

    min_age: Annotated[int, Field(ge=1, le=150)] | None = None
    only_in: Places = ()
    not_in: Places = ()
    reason: Text | None = None

    @model_validator(mode="after")
    def _check_condition(self) -> Self:
        if self.min_age is None and not self.only_in and not self.not_in:
            raise ValueError("has no condition; give min_age, only_in or not_in")
        return self


class StatedQuery(RuleSection):
    """What a query says so plainly that other products are no answer.

    Attributes:
        attributes: that are filters where the query states their value: its name beside it ("size 9"), or a number with
            a unit ("512 gb").
        excluded_brands: whether "not Nike" is read so.
    """

    attributes: Fields = ()
    excluded_brands: bool = False


class Variants(RuleSection):
    """Products that are one: alike in all of these fields, of which the one that was found first stands for all.

    Attributes:
        by: the fields; a product that lacks one is no variant.
    """

    by: Annotated[Fields, Field(min_length=1)]


class Boost(Matching):
    """Products whose score counts for more, or for less.

    Attributes:
        by: is added to the score.
        beyond_doubt: whether they pass even products that are better beyond doubt.
    """

    by: Annotated[float, Field(ge=-1, le=1)]
    beyond_doubt: bool = False


class Diversity(RuleSection):
    """The first products are to be unlike one another.

    Attributes:
        method: maximal marginal relevance, or a determinantal point process.
        strength: 0 looks at scores alone, 1 at likeness alone.
        on: the index's vectors, or fields; None takes vectors where the index has them.
        fields: that make products alike; none means brand, category and all attributes.
        first: how many places are filled so.
        among: from how many of the best.
    """

    method: Literal["mmr", "dpp"] = "mmr"
    strength: Share = 0.3
    on: Literal["vectors", "fields"] | None = None
    fields: Fields = ()
    first: Some = 10
    among: Some = 50


class Pin(RuleSection):
    """Products that stand first for some queries.

    Attributes:
        queries: alike in all their words; case and signs do not count.
        ids: in their order, from the first place on.
    """

    queries: Annotated[tuple[Text, ...], Field(min_length=1)]
    ids: Annotated[tuple[Identifier, ...], Field(min_length=1)]


class Caps(RuleSection):
    """How many products with one value may stand among the first.

    Attributes:
        most: by field.
        first: among how many places.
    """

    most: Annotated[dict[Text, Some], Field(min_length=1)]
    first: Some = 10


class TooLittle(RuleSection):
    """What happens when too few products are left.

    Attributes:
        products: fewer than these are too few.
        give_up: the rules that are given up then, one after the other, until there are enough.
    """

    products: Some = 1
    give_up: tuple[Literal["price", "query", "variants", "min_tier"], ...] = ()


class Rules(RuleSection):
    """All rules of a shop, in the order in which they are applied.

    Attributes:
        available: whether sold-out products go; `strict` takes those away too of which it is not known.
        price: band.
        blocked: products that are not shown.
        compliance: products that not everybody may buy.
        query: what the query states.
        variants: products that are one.
        min_tier: products below this tier go.
        boosts: products whose score counts for more.
        diversity: of the first products.
        pins: products in the first places.
        caps: per brand, seller, category.
        too_little: what happens when too few products are left.

    Example:
        >>> Rules.read("rules.yaml").used  # doctest: +SKIP
        ('available', 'blocked', 'caps')
    """

    available: bool | Literal["strict"] = False
    price: PriceBand | None = None
    blocked: tuple[Blocked, ...] = ()
    compliance: tuple[Compliance, ...] = ()
    query: StatedQuery | None = None
    variants: Variants | None = None
    min_tier: Tier | None = None
    boosts: tuple[Boost, ...] = ()
    diversity: Diversity | None = None
    pins: tuple[Pin, ...] = ()
    caps: Caps | None = None
    too_little: TooLittle = TooLittle()

    @classmethod
    def read(cls, file: str | Path) -> Rules:
        """Return the rules of a YAML file.

        Raises:
            BadInput: it cannot be read, is not YAML, has an unknown key (the nearest is named), or a value that is
                refused.
        """
        given = read_settings(file, "rules are a mapping of keys such as blocked and caps")
        return settings_of(cls, given, str(file))

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the rules that there are, in their order."""
        return tuple(name for name in RULES if getattr(self, name) != Rules.model_fields[name].default)

    def without(self, *names: str) -> Rules:
        """Return the rules but for some.

        Example:
            >>> Rules(available=True, min_tier="close").without("available").used
            ('min_tier',)
        """
        return self.model_copy(update={name: Rules.model_fields[name].default for name in names})

    def only(self, name: str) -> Rules:
        """Return one rule alone, with nothing that is given up."""
        return Rules(**{name: getattr(self, name)})


# In the order in which they are applied: the first six before the rerank, the others after it.
RULES = tuple(name for name in Rules.model_fields if name != "too_little")
