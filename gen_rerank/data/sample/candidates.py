"""Which products of the shop are judged for a query: answers, near misses, word-overlap traps and strays.

Two in three candidates are picked by their relevance, so that every query has something right, something almost
right and something wrong; the best BM25 hits are always among them, whatever they are worth.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gen_rerank.data.sample.catalog import Item
from gen_rerank.data.sample.relevance import Intent, kind_credits, relevance
from gen_rerank.data.sample.shop import Shop

FEWEST, MOST = 16, 20
BM25_HITS = 4
_HITS_SEEN = 100  # how far down the ranking traps are looked for
GOOD, BAD = 0.8, 0.3


class Shelf:
    """The products that one split's queries may be judged on, by product type."""

    def __init__(self, shop: Shop, items: Sequence[Item], *, unseen: bool) -> None:
        self.shop = shop
        self.items = items
        self.places = [place for place, item in enumerate(items) if unseen or not item.unseen]
        self._allowed = np.array([unseen or not item.unseen for item in items])
        self._by_kind: dict[str, list[int]] = defaultdict(list)
        for place in self.places:
            item = items[place]
            for kind in (item.kind, item.includes):
                if kind:
                    self._by_kind[kind].append(place)

    def grades(self, intent: Intent) -> dict[int, float]:
        """Return the relevance of every product whose type has to do with the intent, by its place in the catalog."""
        if intent.need:
            kinds: Iterable[str] = self.shop.needs[intent.need].kinds
        else:
            kinds = (kind for wanted in (intent.kind, intent.other) if wanted for kind in kind_credits(wanted))
        places = dict.fromkeys(place for kind in kinds for place in self._by_kind[kind])
        return {place: relevance(intent, self.items[place]) for place in places}

    def hits(self, scores: NDArray[np.float32], most: int) -> list[int]:
        """Return the places of the products that share most with the query's words, best first."""
        order = np.argsort(-scores, kind="stable")
        order = order[self._allowed[order] & (scores[order] > 0)]
        return [int(place) for place in order[:most]]


def choose(
    shelf: Shelf, intent: Intent, scores: Callable[[], NDArray[np.float32]], rng: random.Random
) -> list[tuple[int, float]] | None:
    """Return the candidates of a query with their relevance, in random order; None where the shop cannot offer a mix.

    Args:
        shelf: the products to choose from.
        intent: what the query asks for.
        scores: the BM25 score of every product in the catalog; called only where the rest of the mix is there.
        rng: decides what the rules leave open.
    """
    grades = shelf.grades(intent)
    good = [place for place, grade in grades.items() if grade >= GOOD]
    middle = [place for place, grade in grades.items() if BAD < grade < GOOD]
    low = [place for place, grade in grades.items() if 0.0 < grade <= BAD]
    if not good or len(middle) < 3:
        return None
    overlap = scores()
    hits = shelf.hits(overlap, _HITS_SEEN)
    if len(hits) < BM25_HITS:
        return None
    traps = [place for place in hits if grades.get(place, 0.0) <= BAD][:8]
    count = rng.randint(FEWEST, MOST)
    chosen = dict.fromkeys(hits[:BM25_HITS])
    mix = ((good, 2), (_tempting(middle, overlap), 4), (_tempting(low, overlap), 3), (traps, 4), (shelf.places, count))
    for source, most in mix:
        fresh = [place for place in source if place not in chosen]
        chosen.update(dict.fromkeys(rng.sample(fresh, min(most, count - len(chosen), len(fresh)))))
    candidates = [(place, grades.get(place, 0.0)) for place in chosen]
    rng.shuffle(candidates)
    return candidates if _is_mixed([grade for _, grade in candidates]) else None


def _tempting(places: Sequence[int], overlap: NDArray[np.float32]) -> list[int]:
    """Return the half that shares most with the query's words."""
    ranked = sorted(places, key=lambda place: (-overlap[place], place))
    return ranked[: max(len(ranked) // 2, 8)]


def _is_mixed(grades: Sequence[float]) -> bool:
    good, bad = sum(grade >= GOOD for grade in grades), sum(grade <= BAD for grade in grades)
    return good >= 1 and bad >= 3 and len(grades) - good - bad >= 2
