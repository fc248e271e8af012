"""What passes between the wire formats and the scorer: a `Question` in, an `Answer` out, or a `Refusal`.

Every dialect's body comes down to a `Question` and every dialect's reply is made from an `Answer`, so that neither side
knows the other. Nothing here knows HTTP or vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.card import ScoreHistogram
from gen_rerank.data.records import Pair
from gen_rerank.prompting.limits import NO_LIMITS, Limits


class Refusal(Exception):
    """A request that is not answered.

    Attributes:
        status: of the HTTP response.
        sentence: what is wrong, for the person who reads the client's log.
        retry_after: whole seconds after which it may go better, where waiting helps.
    """

    def __init__(self, status: int, sentence: str, *, retry_after: int | None = None) -> None:
        """Take the status and the sentence."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after = retry_after


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt that the client rendered with the checkpoint's template, control tokens included."""

    text: str


@dataclass(frozen=True)
class Blank:
    """What is not scored: a document without text, which ranks after what is scored, or a question that is refused.

    Its relevance is 0 by decree.
    """


Item = Pair | RenderedPrompt | Blank


@dataclass(frozen=True)
class Question:
    """What is to be scored.

    Attributes:
        items: pairs, rendered prompts or blanks, at least one; the answer has one distribution for each, in this order.
        model: the served name of a base or an adapter; None means the base.
        instruction: replaces the checkpoint's own; means nothing to rendered prompts.
        limits: on the tokens of each pair, below the checkpoint's own.
        refuse_cut: refuse a document that does not fit instead of cutting it.
        needs_tiers: refuse a model without tiers, because the answer is to leave some out.
    """

    items: Sequence[Item]
    model: str | None = None
    instruction: str | None = None
    limits: Limits = NO_LIMITS
    refuse_cut: bool = False
    needs_tiers: bool = False

    @property
    def pairs(self) -> int:
        """How many items are scored: all but the blanks."""
        return sum(not isinstance(item, Blank) for item in self.items)


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        model: the served name that answered.
        scored: one distribution for each item of the question; a blank's is sure of 0.
        tokens: of all prompts together, cached ones included.
        cached: how many items came from the score cache.
        cut: how many items had text that did not fit.
        thresholds: the scores at which the tiers `exact` and `close` begin; empty when the checkpoint has none.
        blanks: the places of the items that were not scored.
        cached_tokens: of all prompts together, those that nothing was computed for: they are in the prefix cache, or
            their prompt's score is known, or the same prompt stands in the question before.
        histogram: how the model's scores lay at its calibration; None where its card does not say.
    """

    model: str
    scored: Distribution
    tokens: int
    cached: int
    cut: int
    thresholds: Mapping[str, float]
    blanks: frozenset[int] = frozenset()
    cached_tokens: int = 0
    histogram: ScoreHistogram | None = None
