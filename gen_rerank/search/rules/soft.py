"""Soft rules: they take products off the ranked list, or move them on it.

In this order: min_tier, boosts, diversity, pins, caps. Pins stand above min_tier and caps, but not above a hard rule.
The places of a receipt are those before and behind its own rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gen_rerank.calibration.tiers import Tier
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.search.hits import Hit
from gen_rerank.search.rules.asked import Asked
from gen_rerank.search.rules.boosting import boosted
from gen_rerank.search.rules.diversity import diverse_order, field_vectors
from gen_rerank.search.rules.file import Boost, Caps, Diversity, Rules
from gen_rerank.search.rules.hard import given_up
from gen_rerank.search.rules.matching import folded_value, value_of
from gen_rerank.search.rules.outcome import Outcome, moved, removing
from gen_rerank.search.rules.pinned import pinned_ids

VectorsOf = Callable[[Sequence[str]], npt.NDArray[np.float32] | None]


def soft_rules(rules: Rules, asked: Asked, hits: Sequence[Hit], vectors_of: VectorsOf) -> Outcome[Hit]:
    """Return a ranked list behind the soft rules.

    Args:
        rules: of the shop.
        asked: the query.
        hits: best first.
        vectors_of: the index's vectors of some products; None where it has none.
    """
    scored = all(hit.score is not None for hit in hits)
    pinned = pinned_ids(rules, asked.query)
    done = _min_tier(rules, hits, pinned) if rules.min_tier is not None else Outcome(tuple(hits))
    receipts, remarks = list(done.receipts), list(done.remarks)
    left = done.kept
    keys = np.array([hit.score for hit in left]) if scored else np.linspace(1.0, 0.0, len(left), endpoint=False)
    if rules.boosts and scored:
        step, keys = _boosts(rules.boosts, left)
        left = step.kept
        receipts += step.receipts
    elif rules.boosts:
        remarks.append("boosts are bounded by a model's scores; without a model they are not applied")
    steps: list[Callable[[Sequence[Hit]], Outcome[Hit]]] = []
    if rules.diversity is not None:
        diversity = rules.diversity
        steps.append(lambda list_: _diverse(diversity, list_, keys, vectors_of))
    if pinned:
        steps.append(lambda list_: _pins(pinned, list_))
    if rules.caps is not None:
        caps = rules.caps
        steps.append(lambda list_: _caps(caps, list_, set(pinned)))
    for apply in steps:
        step = apply(left)
        left = step.kept
        receipts += step.receipts
        remarks += step.remarks
    return Outcome(left, tuple(receipts), tuple(remarks))


def _min_tier(rules: Rules, hits: Sequence[Hit], pinned: Sequence[str]) -> Outcome[Hit]:
    least = rules.min_tier
    assert least is not None
    if any(hit.tier is None for hit in hits):
        return Outcome(tuple(hits), (), ("min_tier needs a model with tiers; without one it is not applied",))
    done = removing(hits, "min_tier", lambda hit: _below(hit, least, pinned))
    few = len(done.kept) < rules.too_little.products
    if few and done.receipts and "min_tier" in rules.too_little.give_up:
        said = given_up("min_tier", len(done.kept), rules.too_little.products)
        return Outcome(tuple(hits), (), (said,))
    return done


def _below(hit: Hit, least: Tier, pinned: Sequence[str]) -> str | None:
    if hit.reaches(least) or hit.product.product_id in pinned:
        return None
    return f"is {hit.tier} with a score of {hit.score:.3f}; {least} or better is shown"


def _boosts(boosts: Sequence[Boost], hits: Sequence[Hit]) -> tuple[Outcome[Hit], Doubles]:
    """Return the new order, and for the rules behind it how good each is, which never rises."""
    done = boosted(hits, boosts)

    def why(hit: Hit, was: int, now: int) -> str | None:
        by, meant = done.by.get(hit.product.product_id, (0.0, ""))
        if not by or (now < was) != (by > 0):
            return None
        over = next((one for one in reversed(done.hits[: now - 1]) if _held_back(one, hit, done.by)), None)
        held = f"; not over {over.product.product_id}, which is better beyond doubt" if over and by > 0 else ""
        return f"{meant} counts {by:+g}{held}"

    return moved(hits, done.hits, "boosts", why), np.minimum.accumulate(done.keys)


def _held_back(other: Hit, hit: Hit, by: dict[str, tuple[float, str]]) -> bool:
    """Return whether a product stayed in front of one whose raised score is larger."""
    keys = [(one.score or 0.0) + by.get(one.product.product_id, (0.0, ""))[0] for one in (other, hit)]
    return keys[1] > keys[0]


def _diverse(rule: Diversity, hits: Sequence[Hit], keys: Doubles, vectors_of: VectorsOf) -> Outcome[Hit]:
    vectors = None if rule.on == "fields" else vectors_of([hit.product.product_id for hit in hits])
    remarks: tuple[str, ...] = ()
    if vectors is None:
        if rule.on == "vectors":
            remarks = ("the index has no vectors for diversity; fields were taken",)
        vectors = field_vectors([hit.product for hit in hits], rule.fields)
    order = diverse_order(rule, keys, vectors)
    up, down = f"more unlike those before it ({rule.method})", f"much like those before it ({rule.method})"
    done = moved(hits, [hits[i] for i in order], "diversity", lambda hit, was, now: up if now < was else down)
    return Outcome(done.kept, done.receipts, remarks)


def _pins(pinned: Sequence[str], hits: Sequence[Hit]) -> Outcome[Hit]:
    there = {hit.product.product_id: hit for hit in hits}
    first = [there[product_id] for product_id in pinned if product_id in there]
    rest = [hit for hit in hits if hit.product.product_id not in set(pinned)]
    said = "pinned for this query"
    done = moved(hits, [*first, *rest], "pins", lambda hit, _, now: said if now <= len(first) else None)
    missing = [product_id for product_id in pinned if product_id not in there]
    remark = (f"pinned, but not shown: {', '.join(missing)}",) if missing else ()
    return Outcome(done.kept, done.receipts, remark)


def _caps(rule: Caps, hits: Sequence[Hit], pinned: set[str]) -> Outcome[Hit]:
    """Return a list in whose first places no value stands too often; the others move behind them."""
    seen: Counter[tuple[str, str]] = Counter()
    first: list[Hit] = []
    reasons: dict[str, str] = {}
    for hit in hits:
        if len(first) == rule.first:
            break
        values = {field: folded_value(hit.product, field) for field in rule.most}
        full = [field for field, most in rule.most.items() if (value := values[field]) and seen[field, value] >= most]
        if full and hit.product.product_id not in pinned:
            named = f"{full[0]} {value_of(hit.product, full[0])}"
            said = f"{rule.most[full[0]]} of the {named} are among the first {rule.first} before it"
            reasons[hit.product.product_id] = said
            continue
        first.append(hit)
        seen.update((field, value) for field, value in values.items() if value)
    chosen = {hit.product.product_id for hit in first}
    after = [*first, *(hit for hit in hits if hit.product.product_id not in chosen)]
    return moved(hits, after, "caps", lambda hit, was, now: reasons.get(hit.product.product_id))
