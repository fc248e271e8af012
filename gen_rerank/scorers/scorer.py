"""`Scorer`: all that backends have in common; `TokenScorer`: what those share that read token ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from gen_rerank.bins import Distribution, Floats
from gen_rerank.calibration.logits import distribution_of
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
    """Renders pairs with its checkpoint's prompt; a backend reads the token ids, and the card says what comes of it.

    Attributes:
        checkpoint: what is scored with, an adapter's calibration applied.
    """

    checkpoint: Checkpoint

    def score(
        self, pairs: Sequence[Pair], *, instruction: str | None = None, advance: Advance = unwatched
    ) -> Distribution:
        """Return one distribution a pair, in order."""
        return self.score_tokens(self.checkpoint.prompt.encode(pairs, instruction=instruction), advance)

    def score_tokens(self, encoded: Sequence[list[int]], advance: Advance = unwatched) -> Distribution:
        """Return the distributions of prompts that are already token ids, in order."""
        return distribution_of(self.token_logits(encoded, advance), self.checkpoint.card)

    def pair_logits(self, pairs: Sequence[Pair], *, advance: Advance = unwatched) -> Floats:
        """Return the logits `[n, k]` of pairs, in order, on which no calibration has acted."""
        return self.token_logits(self.checkpoint.prompt.encode(pairs), advance)

    @abstractmethod
    def token_logits(self, encoded: Sequence[list[int]], advance: Advance = unwatched) -> Floats:
        """Return the logits `[n, k]` of prompts that are already token ids, one column for each output of the card."""

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
