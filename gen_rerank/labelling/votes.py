"""The votes: what each judge said of each pair, as a table with gaps, read from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gen_rerank.data.records import Bounded, Identifier, Record
from gen_rerank.labelling.journal import JournalRow, JudgedPair
from gen_rerank.labelling.judges import Judge

# [pairs, judges]; NaN where a judge gave nothing that could be read.
VoteTable = npt.NDArray[np.float64]


class JudgeVote(Record):
    """What one judge said of one pair: a row of `votes.jsonl`.

    `probabilities` are those of the grades of its rubric, from worst to best, where it gives a distribution.
    """

    query_id: Identifier
    product_id: Identifier
    judge: Identifier
    relevance: Bounded
    probabilities: tuple[Bounded, ...] = ()


@dataclass(frozen=True)
class JudgeAccount:
    """What became of one judge's questions.

    Attributes:
        judge: who.
        votes: answers that could be used.
        left_out: pairs that it gave nothing usable for, asked as often as it may be.
        faults: of all its answers that could not be used, how often which.
        input_tokens: of all its answers.
        output_tokens: of all its answers.
        cost: in the unit of the prices.
    """

    judge: Judge
    votes: int
    left_out: int
    faults: Counter[str]
    input_tokens: int
    output_tokens: int

    @property
    def cost(self) -> float:
        """In the unit of the prices."""
        return self.judge.price.of(self.input_tokens, self.output_tokens)


@dataclass(frozen=True)
class Votes:
    """All votes of a labelling.

    Attributes:
        pairs: that have a vote, in the order in which they were to be asked.
        judges: in the order of `judges.yaml`.
        table: their relevances, `[pairs, judges]`, NaN for none.
        order: the numbers of the journal's rows, `[pairs, judges]`, -1 for none: when a vote came.
        probabilities: by place of the pair and of the judge, where the judge gave a distribution.
        accounts: what became of each judge's questions.
    """

    pairs: tuple[JudgedPair, ...]
    judges: tuple[Judge, ...]
    table: VoteTable
    order: npt.NDArray[np.int64]
    probabilities: Mapping[tuple[int, int], tuple[float, ...]]
    accounts: tuple[JudgeAccount, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the judges."""
        return tuple(judge.name for judge in self.judges)

    def rows(self) -> list[JudgeVote]:
        """Return one record a vote, pair by pair."""
        return [
            JudgeVote(
                query_id=one.query_id,
                product_id=one.product_id,
                judge=self.names[judge],
                relevance=float(self.table[place, judge]),
                probabilities=tuple(round(share, 6) for share in self.probabilities.get((place, judge), ())),
            )
            for place, one in enumerate(self.pairs)
            for judge in np.flatnonzero(~np.isnan(self.table[place])).tolist()
        ]


def gather_votes(pairs: Sequence[JudgedPair], rows: Mapping[Judge, Sequence[JournalRow]]) -> Votes:
    """Return the votes on some pairs.

    Args:
        pairs: that were to be judged; those without any vote are left out.
        rows: what the journal has of each judge.
    """
    judges = tuple(rows)
    keys = {one.key for one in pairs}
    usable = [{row.pair: row for row in rows[judge] if row.answer.relevance is not None} for judge in judges]
    kept = tuple(one for one in pairs if any(one.key in votes for votes in usable))
    table = np.full((len(kept), len(judges)), np.nan)
    order = np.full((len(kept), len(judges)), -1, dtype=np.int64)
    probabilities = {}
    for place, one in enumerate(kept):
        for number, votes in enumerate(usable):
            row = votes.get(one.key)
            if row is not None:
                table[place, number] = row.answer.relevance
                order[place, number] = row.number
                if row.answer.probabilities is not None:
                    probabilities[place, number] = row.answer.probabilities
    of_pairs = {judge: [row for row in found if row.pair in keys] for judge, found in rows.items()}
    accounts = tuple(_account(judge, of_pairs[judge], votes) for judge, votes in zip(judges, usable, strict=True))
    return Votes(kept, judges, table, order, probabilities, accounts)


def _account(judge: Judge, rows: Sequence[JournalRow], votes: Mapping[str, JournalRow]) -> JudgeAccount:
    asked = {row.pair for row in rows}
    answers = [row.answer for row in rows]
    return JudgeAccount(
        judge,
        sum(pair in votes for pair in asked),
        sum(pair not in votes for pair in asked),
        Counter(answer.fault for answer in answers if answer.fault is not None),
        sum(answer.input_tokens for answer in answers),
        sum(answer.output_tokens for answer in answers),
    )
