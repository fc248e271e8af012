"""What a rule leaves of a list: those that stay, in their order, and receipts for the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gen_rerank.data.records import Product
from gen_rerank.search.candidates import Receipt


class Listed(Protocol):
    """What a rule judges: a candidate, or a hit."""

    @property
    def product(self) -> Product:
        """The product that it is about."""


Item = TypeVar("Item", bound=Listed)


@dataclass(frozen=True)
class Outcome(Generic[Item]):
    """What is left of a list.

    Attributes:
        kept: in their order.
        receipts: for those that were removed or moved, in the order of the rules.
        remarks: what is said of the search as a whole, in sentences.
    """

    kept: tuple[Item, ...]
    receipts: tuple[Receipt, ...] = ()
    remarks: tuple[str, ...] = ()


def removing(items: Sequence[Item], rule: str, why: Callable[[Item], str | None]) -> Outcome[Item]:
    """Return a list without what a rule speaks against.

    Args:
        items: in their order.
        rule: its name.
        why: gives a reason against an item; None for none.
    """
    kept, receipts = [], []
    for place, item in enumerate(items, start=1):
        reason = why(item)
        if reason is None:
            kept.append(item)
        else:
            receipts.append(Receipt.of(item.product, rule, reason, place))
    return Outcome(tuple(kept), tuple(receipts))


def moved(
    before: Sequence[Item], after: Sequence[Item], rule: str, why: Callable[[Item, int, int], str | None]
) -> Outcome[Item]:
    """Return a list in its new order, with receipts for those of its items that a rule meant to move.

    Args:
        before: the old order.
        after: the same items in the new one.
        rule: its name.
        why: gives the reason for an item with its old and its new place, from 1; None where it only made room.
    """
    places = {item.product.product_id: place for place, item in enumerate(before, start=1)}
    receipts = []
    for now, item in enumerate(after, start=1):
        was = places[item.product.product_id]
        reason = why(item, was, now) if was != now else None
        if reason is not None:
            receipts.append(Receipt.of(item.product, rule, reason, was, now))
    return Outcome(tuple(after), tuple(receipts))
