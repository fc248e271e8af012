"""`Scorer`: all that backends have in common; `TokenScorer`: what those share that read token ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.checkpoint import Checkpoint
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


class TokenScorer(ABC):
    """Renders pairs with its checkpoint's prompt; a backend scores the token ids.

    Attributes:
        checkpoint: what is scored with, an adapter's calibration applied.
    """

    checkpoint: Checkpoint

    def score(
        self, pairs: Sequence[Pair], *, instruction: str | None = None, advance: Advance = unwatched
    ) -> Distribution:
        """Return one distribution a pair, in order."""
        return self.score_tokens(self.checkpoint.prompt.encode(pairs, instruction=instruction), advance)

    @abstractmethod
    def score_tokens(self, encoded: Sequence[list[int]], advance: Advance = unwatched) -> Distribution:
        """Return the distributions of prompts that are already token ids, in order."""

    @abstractmethod
    def close(self) -> None:
        """Stop what the backend started; scoring is over."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
