"""`Scorer`: all that backends have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gen_rerank.bins import Distribution
from gen_rerank.data.records import Pair

Advance = Callable[[int], None]


def unwatched(pairs: int) -> None:
    """Do nothing with the number of pairs that have just been scored: nobody watches."""


class Scorer(Protocol):
    """Anything that scores pairs."""

    def score(
        self, pairs: Sequence[Pair], *, instruction: str | None = None, advance: Advance = unwatched
    ) -> Distribution:
        """Return one distribution a pair, in order.

        Args:
            pairs: what is scored.
            instruction: replaces the checkpoint's own.
            advance: is told after each batch how many pairs it had.
        """
