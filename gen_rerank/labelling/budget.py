"""What a labelling will take, said before it begins, and what it may take at most.

Tokens are counted by the servers; before a judge has answered anything they are guessed from characters, and said to
be guessed. Prices are those of `judges.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, cast

from gen_rerank.errors import BadInput
from gen_rerank.labelling.answers import request_body
from gen_rerank.labelling.journal import JournalRow, JudgeAnswer, JudgedPair
from gen_rerank.labelling.judges import Judge
from gen_rerank.reporting.numbers import ABSENT, counted, duration, figure
from gen_rerank.reporting.tables import TextTable

BudgetUnit = Literal["pairs", "tokens", "money"]
_UNITS: dict[str, BudgetUnit] = {
    "pair": "pairs", "pairs": "pairs", "token": "tokens", "tokens": "tokens", "money": "money",
}  # fmt: skip
_WRITTEN = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE][0-9]+)?)\s*([a-z]+)")
_CHARACTERS_PER_TOKEN = 4.0
_GUESSED_OUTPUT = {"json": 8.0, "logprobs": 1.0, "decisions": 0.0}
_LOOKED_AT = 200  # pairs whose texts are measured for the guess


@dataclass(frozen=True)
class Budget:
    """The most that a labelling may take, answers of earlier runs included; in pairs, in tokens, or in money.

    Example:
        >>> Budget.read("2,000 pairs"), Budget.read("12.50 money").most
        (Budget(most=2000.0, unit='pairs'), 12.5)
    """

    most: float
    unit: BudgetUnit

    @classmethod
    def read(cls, written: str) -> Budget:
        """Return the budget that people wrote.

        Raises:
            BadInput: no number with one of the units.
        """
        found = _WRITTEN.fullmatch(written.strip().lower())
        unit = _UNITS.get(found[2]) if found else None
        if found is None or unit is None:
            raise BadInput(f'--budget {written}: write "500 pairs", "2e6 tokens", or "5 money"')
        return cls(float(re.sub("[_,]", "", found[1])), unit)

    def check(self, judges: Sequence[Judge]) -> None:
        """Refuse a budget of money where a judge has no price.

        Raises:
            BadInput: that is so.
        """
        free = [judge.name for judge in judges if not (judge.price.input or judge.price.output)]
        if self.unit == "money" and free:
            raise BadInput(f"--budget: judge {free[0]!r} has no price in judges.yaml; give one, or a budget of tokens")


@dataclass(frozen=True)
class JudgeEstimate:
    """What is still to be asked of one judge.

    Attributes:
        judge: who.
        pairs: how many are still asked.
        input_tokens: of all of them.
        output_tokens: of all of them.
        seconds: that they take; None where the judge has answered nothing yet.
    """

    judge: Judge
    pairs: int
    input_tokens: float
    output_tokens: float
    seconds: float | None

    @property
    def cost(self) -> float:
        """In the unit of the prices."""
        return self.judge.price.of(self.input_tokens, self.output_tokens)


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked of all judges."""

    judges: tuple[JudgeEstimate, ...]

    @property
    def pairs(self) -> int:
        """The questions that are still asked."""
        return sum(one.pairs for one in self.judges)

    def table(self) -> TextTable:
        """Return a row a judge, and one for all where there are several."""
        guessed = any(one.seconds is None and one.pairs for one in self.judges)
        told = "tokens before the first answer are guessed at 4 characters each; --sample 20 measures them and the time"
        table = TextTable("Still to be asked", told if guessed else "by the answers so far")
        for name in ("Judge", "questions", "input tokens", "output tokens", "cost", "time"):
            table.add_column(name, justify="left" if name == "Judge" else "right")
        for one in self.judges:
            table.add_row(one.judge.name, *_cells(one.pairs, one.input_tokens, one.output_tokens, one.cost), _time(one))
        if len(self.judges) > 1:
            sums = [
                sum(getattr(one, name) for one in self.judges) for name in ("input_tokens", "output_tokens", "cost")
            ]
            # Judges are asked side by side.
            known = [one.seconds for one in self.judges if one.pairs]
            longest = duration(max(cast("list[float]", known))) if known and None not in known else ABSENT
            table.add_row("all", *_cells(self.pairs, *sums), longest)
        return table

    def to_json(self) -> list[dict[str, Any]]:
        """Return one entry a judge."""
        return [
            {
                "judge": one.judge.name,
                "questions": one.pairs,
                "input_tokens": round(one.input_tokens),
                "output_tokens": round(one.output_tokens),
                "cost": one.cost,
                "seconds": one.seconds,
            }
            for one in self.judges
        ]


def _cells(pairs: float, inputs: float, outputs: float, cost: float) -> list[str]:
    return [f"{pairs:,.0f}", f"{inputs:,.0f}", f"{outputs:,.0f}", figure(cost, ",.2f") if cost else ABSENT]


def _time(one: JudgeEstimate) -> str:
    return ABSENT if one.seconds is None else duration(one.seconds)


def estimate(waiting: Mapping[Judge, Sequence[JudgedPair]], before: Mapping[Judge, Sequence[JournalRow]]) -> Estimate:
    """Return what the pairs that wait for each judge will take.

    Args:
        waiting: the pairs that are still asked.
        before: what the judge has answered already.
    """
    return Estimate(tuple(_estimated(judge, pairs, before[judge]) for judge, pairs in waiting.items()))


def _estimated(judge: Judge, pairs: Sequence[JudgedPair], before: Sequence[JournalRow]) -> JudgeEstimate:
    answered = [row.answer for row in before if row.answer.input_tokens]
    seconds = None
    if answered:
        inputs, outputs = (fmean(getattr(one, name) for one in answered) for name in ("input_tokens", "output_tokens"))
        seconds = fmean(one.seconds for one in answered) * len(pairs) / judge.concurrency
    else:
        looked = pairs[:_LOOKED_AT]
        characters = [len(str(request_body(judge, one.pair, 0))) for one in looked]
        inputs = fmean(characters) / _CHARACTERS_PER_TOKEN if characters else 0.0
        outputs = _GUESSED_OUTPUT[judge.reading]
    return JudgeEstimate(judge, len(pairs), inputs * len(pairs), outputs * len(pairs), seconds)


class Spending:
    """What has been spent of a budget, in tokens or in money.

    Args:
        budget: the most; None for no limit.
    """

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        self._spent = 0.0

    def count(self, judge: Judge, answer: JudgeAnswer) -> None:
        """Count the tokens of one answer."""
        input_tokens, output_tokens = answer.input_tokens, answer.output_tokens
        if self._budget is not None and self._budget.unit != "pairs":
            of_tokens = self._budget.unit == "tokens"
            self._spent += input_tokens + output_tokens if of_tokens else judge.price.of(input_tokens, output_tokens)

    @property
    def is_over(self) -> bool:
        """Whether nothing more may be asked."""
        return self._budget is not None and self._budget.unit != "pairs" and self._spent >= self._budget.most


def asked_words(estimate: Estimate) -> str:
    """Return the question before money is spent."""
    cost = sum(one.cost for one in estimate.judges)
    return f"Ask {counted(estimate.pairs, 'question')}" + (f" for about {cost:,.2f}" if cost else "") + "?"
