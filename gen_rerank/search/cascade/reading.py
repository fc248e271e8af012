"""Which products the second model reads: those whose place among the best k the distributions leave undecided.

What reads, and how a product is known to it, is the caller's; a search, a calibration on judged queries and a benchmark
go the same way, so that what is promised is what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import BIN_VALUES, Distribution, best_first
from gen_rerank.calibration.top_k import Doubles, in_top_k
from gen_rerank.errors import BadInput

Places = npt.NDArray[np.intp]
# Why nothing more was read: nothing unread is undecided, the budget is spent, or the model gave no answer.
Ended = Literal["settled", "pairs", "milliseconds", "late", "down"]
# Places in the list of candidates become their distributions, or it is said why there are none.
Reader = Callable[[Sequence[int]], Distribution | Literal["late", "down"]]

# Read together: fewer cost a model more each, more are read before it is known whether all were needed.
BATCH = 8


@dataclass(frozen=True)
class Bounds:
    """Which chances of being among the best k leave a product undecided.

    Attributes:
        low: a product that would not be among the first k now is left out without being read at this chance or below.
        high: one that would be is left in without being read above this chance. At 1 whatever is shown has been read,
            however little the first model knows, and the order of the first k is the second model's.

    Raises:
        BadInput: they are no chances.

    Example:
        >>> Bounds(0.1, 0.8).undecided([0.9, 0.5, 0.5, 0.1], [True, True, False, False]).tolist()
        [False, True, True, False]
    """

    low: float
    high: float = 1.0

    def __post_init__(self) -> None:
        """Check both."""
        if not (0 <= self.low <= 1 and 0 <= self.high <= 1):
            raise BadInput(f"the bounds {self.low:g} and {self.high:g} are no chances from 0 to 1")

    def undecided(self, chances: npt.ArrayLike, inside: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which products are undecided, `[n]`.

        Args:
            chances: `[n]`, to be among the best k.
            inside: `[n]`, whether a product would be among the first k now.
        """
        given = np.asarray(chances)
        return np.where(np.asarray(inside), given <= self.high, given > self.low)


@dataclass(frozen=True)
class ReadingBudget:
    """Where the second model stops, whatever is still undecided; None is no limit.

    Attributes:
        pairs: how many it reads at most.
        milliseconds: after how long no further batch begins, and none is waited for.
    """

    pairs: int | None = None
    milliseconds: float | None = None

    def __post_init__(self) -> None:
        """Check both.

        Raises:
            BadInput: one is negative, or no number.
        """
        for name, value in (("pairs", self.pairs), ("milliseconds", self.milliseconds)):
            if value is not None and not value >= 0:
                raise BadInput(f"a budget of {value:g} {name} is none; give a number from 0 on")


NO_LIMIT = ReadingBudget()


@dataclass(frozen=True, eq=False)
class Reading:
    """What is known of the candidates in the end.

    Attributes:
        distribution: `n` rows, of whoever read a product last.
        by_decoder: `[n]`, whether that was the second model.
        chances: `[n]`, to be among the best k.
        places: k.
        ended: why nothing more was read.
    """

    distribution: Distribution
    by_decoder: npt.NDArray[np.bool_]
    chances: Doubles
    places: int
    ended: Ended

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Which candidates are the first k by their scores, `[n]`."""
        return _first(self.distribution.mean, self.places)


def read_undecided(
    first: Distribution,
    read: Reader,
    k: int,
    bounds: Bounds,
    *,
    budget: ReadingBudget = NO_LIMIT,
    batch: int = BATCH,
) -> Reading:
    """Let the second model read what is undecided, the most undecided first, until nothing unread is.

    Args:
        first: what the first model says of each candidate, `n` rows.
        read: gives the second model's distributions of candidates, by their places.
        k: how many places count.
        bounds: what is undecided.
        budget: where it ends at the latest.
        batch: how many are read before chances are computed anew.

    Example:
        >>> says = Distribution(np.eye(11)[[9, 3]])
        >>> found = read_undecided(Distribution(np.full((2, 11), 1 / 11)), lambda at: says[list(at)], 1, Bounds(0.1))
        >>> found.by_decoder.tolist(), found.ended
        ([True, True], 'settled')
    """
    began = perf_counter()
    rows = first.probabilities.copy()
    by_decoder = np.zeros(len(rows), dtype=bool)
    while True:
        chances = in_top_k(rows, k)
        inside = _first(rows @ BIN_VALUES, k)
        open_ones = np.flatnonzero(bounds.undecided(chances, inside) & ~by_decoder)
        ended = _end(len(open_ones), int(by_decoder.sum()), 1000 * (perf_counter() - began), budget)
        if ended is None:
            room = batch if budget.pairs is None else min(batch, budget.pairs - int(by_decoder.sum()))
            chosen = open_ones[np.argsort(np.abs(chances[open_ones] - 0.5), kind="stable")][:room]
            found = read(chosen.tolist())
            if isinstance(found, Distribution):
                rows[chosen], by_decoder[chosen] = found.probabilities, True
            else:
                ended = found
        if ended is not None:
            return Reading(Distribution(rows), by_decoder, chances, k, ended)


def _first(scores: npt.ArrayLike, k: int) -> npt.NDArray[np.bool_]:
    """Return which of the scores `[n]` are the highest k; of equals, those that come first."""
    found = np.zeros(len(np.asarray(scores)), dtype=bool)
    found[best_first(scores)[:k]] = True
    return found


def _end(undecided: int, read: int, milliseconds: float, budget: ReadingBudget) -> Ended | None:
    """Return why nothing more is read; None where something is."""
    if not undecided:
        return "settled"
    if budget.pairs is not None and read >= budget.pairs:
        return "pairs"
    if budget.milliseconds is not None and milliseconds >= budget.milliseconds:
        return "milliseconds"
    return None
