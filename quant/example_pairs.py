"""Which pairs a scheme's scales are set with, and their prompts.

A scale must hold for what the shop will ask, so the sample covers every grade of relevance and every slice as evenly
as the data allows, rare ones as much as common ones, and each prompt is the one that the checkpoint renders while
serving. Test queries are never used: a figure measured on them must not have helped to make the model. How scales are
computed is llm-compressor's affair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TypeVar

import numpy as np

from gen_rerank.bins import BIN_COUNT
from gen_rerank.checkpoints.card import ExampleDraw
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Judgment, Pair, Split
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt

# Fewer say more about the products that happened to be drawn than about the shop; a checkpoint whose scales look right
# and are not would be worse than none, so this is an error and no warning.
LEAST_PAIRS = 32

# What is used, in this order; never "test".
_SPLITS: tuple[Split, ...] = ("train", "validation")

Item = TypeVar("Item")


@dataclass(frozen=True)
class ExamplePairs:
    """What runs through a model while its scales are set.

    Attributes:
        pairs: the sample.
        token_ids: the prompt of each, whole.
        fingerprint: of the data set that they were drawn from.
        seed: of the draw.
    """

    pairs: tuple[Pair, ...]
    token_ids: tuple[list[int], ...]
    fingerprint: str
    seed: int

    @property
    def tokens(self) -> int:
        """How many tokens there are in all."""
        return sum(map(len, self.token_ids))

    @property
    def record(self) -> ExampleDraw:
        """What the card of the quantized checkpoint says of it."""
        return ExampleDraw(fingerprint=self.fingerprint, pairs=len(self.pairs), tokens=self.tokens, seed=self.seed)

    @classmethod
    def draw(cls, dataset: Dataset, prompt: Prompt, limit: int, seed: int = 0) -> ExamplePairs:
        """Return at most `limit` pairs of a data set with their prompts.

        Raises:
            BadInput: fewer than 32 are asked for, or there are fewer.

        Example:
            >>> ExamplePairs.draw(dataset, checkpoint.prompt, 512).tokens  # doctest: +SKIP
            31204
        """
        if limit < LEAST_PAIRS:
            raise BadInput(f"{limit} example pairs are too few to set scales with; ask for {LEAST_PAIRS} or more")
        pairs = draw_pairs(dataset, limit, seed)
        if len(pairs) < LEAST_PAIRS:
            raise BadInput(
                f"the example data has {len(pairs)} judged pairs outside its test split, too few to set scales with; "
                f"it needs {LEAST_PAIRS} or more"
            )
        return cls(tuple(pairs), tuple(prompt.encode(pairs)), dataset.fingerprint, seed)


def draw_pairs(dataset: Dataset, limit: int, seed: int = 0) -> list[Pair]:
    """Return at most `limit` pairs, spread evenly over the eleven bins of relevance and, within a bin, over the tags.

    Bins take turns, and so do a bin's tags; whoever has no pairs left is passed over. A pair whose query has several
    tags stands for the rarest. Pairs of training queries come first, and those of validation queries fill up.

    Args:
        dataset: with whatever splits it has.
        limit: the most pairs.
        seed: the same seed draws the same pairs in the same order; a larger limit only appends.

    Raises:
        BadInput: no query outside the test split has judgments.

    Example:
        >>> len(draw_pairs(Dataset.load("shop"), 512))  # doctest: +SKIP
        512
    """
    draws = np.random.default_rng(seed)
    judgments = list(chain.from_iterable(_spread(dataset.of(split), draws) for split in _SPLITS))
    if not judgments:
        there = "judgments of test queries only, and those are never used" if dataset.judgments else "no judgments"
        raise BadInput(f"the example data has {there}; give it judged queries of the split train or validation")
    return [dataset.pair(judgment) for judgment in judgments[:limit]]


def _spread(dataset: Dataset, draws: np.random.Generator) -> list[Judgment]:
    """Return all judgments, in an order whose every beginning is spread evenly."""
    tags = {row.query_id: dataset.queries[row.query_id].tags for row in dataset.judgments}
    common = Counter(tag for row in dataset.judgments for tag in tags[row.query_id])
    piles: dict[int, dict[str, list[Judgment]]] = defaultdict(lambda: defaultdict(list))
    for i in draws.permutation(len(dataset.judgments)):
        row = dataset.judgments[i]
        rarest = min(tags[row.query_id], key=lambda tag: (common[tag], tag), default="")
        piles[round(row.relevance * (BIN_COUNT - 1))][rarest].append(row)
    return _in_turn([_in_turn(by_tag.values()) for by_tag in piles.values()])


def _in_turn(piles: Iterable[Sequence[Item]]) -> list[Item]:
    """Return the first of each pile, then the second of each that has one, and so on."""
    return [item for turn in zip_longest(*piles) for item in turn if item is not None]
