"""What a labelling has found, as tables and as JSON: the judges' accounts, their agreement, what needs a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen_rerank.data.records import BadRow
from gen_rerank.labelling.aggregation import Aggregated
from gen_rerank.labelling.agreement import (
    JudgeAgreement,
    JudgeDrift,
    WithoutOne,
    by_slice,
    drifts,
    of_all,
    of_two,
    with_people,
    without_one,
)
from gen_rerank.labelling.labelling import Labelled
from gen_rerank.labelling.votes import Votes
from gen_rerank.reporting.numbers import ABSENT, counted, figure
from gen_rerank.reporting.tables import TextTable

_SHOWN_FAULTS = 2


@dataclass(frozen=True)
class LabelReport:
    """What a labelling has found.

    Attributes:
        votes: of all judges.
        planned: how many pairs were to be judged.
        aggregate: how votes became a relevance.
        found: what they came to.
        together: how far all judges agree.
        two: how far each two do.
        people: how far they agree with people; empty where nobody is trusted.
        slices: how far they agree in each slice.
        drift: how far each judge moved.
        without: what the panel would be without one.
        out: where the data folder is; None where none was written.
        asked: how many pairs people are asked about.
        bad_rows: rows of the data that were left out.
    """

    votes: Votes
    planned: int
    aggregate: str
    found: Aggregated
    together: JudgeAgreement
    two: Sequence[JudgeAgreement]
    people: Sequence[JudgeAgreement]
    slices: Sequence[JudgeAgreement]
    drift: Sequence[JudgeDrift]
    without: Sequence[WithoutOne]
    out: Path | None = None
    asked: int = 0
    bad_rows: Sequence[BadRow] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "pairs": len(self.votes.pairs),
            "planned": self.planned,
            "aggregate": self.aggregate,
            "judges": [
                {
                    "name": one.judge.name,
                    "model": one.judge.model,
                    "rubric": one.judge.rubric.name,
                    "rubric_sha256": one.judge.rubric.fingerprint,
                    "reading": one.judge.reading,
                    "votes": one.votes,
                    "left_out": one.left_out,
                    "faults": dict(one.faults),
                    "input_tokens": one.input_tokens,
                    "output_tokens": one.output_tokens,
                    "cost": one.cost,
                }
                for one in self.votes.accounts
            ],
            "agreement": self.together.to_json(),
            "judges_by_two": [one.to_json() for one in self.two],
            "with_people": [one.to_json() for one in self.people],
            "slices": [one.to_json() for one in self.slices],
            "drift": [one.to_json() for one in self.drift],
            "without_one": [one.to_json() for one in self.without],
            "calibration": [vars(one) for one in self.found.gains],
            "out": None if self.out is None else str(self.out),
            "asked_of_people": self.asked,
        }

    def shown(self) -> Iterator[Any]:
        """Yield lines and tables for people."""
        yield _accounts(self.votes)
        if len(self.votes.judges) > 1:
            yield _agreements("Agreement: Krippendorff's α, ordinal", [self.together, *self.two, *self.slices])
            yield _moves(self.drift)
        if self.without:
            yield _left(self.without, sum(1000 * one.cost / max(one.votes, 1) for one in self.votes.accounts))
        if self.people:
            yield _agreements("Agreement with people", self.people)
        if self.found.gains:
            yield _gains(self.found)
        rest = self.planned - len(self.votes.pairs)
        more = f"; {counted(rest, 'pair')} of {self.planned:,} have no vote" if rest else ""
        if self.out is not None:
            yield f"{self.out}: {counted(len(self.votes.pairs), 'pair')}, relevance by {self.aggregate}{more}"


def label_report(
    labelled: Labelled, how: str, found: Aggregated, people: Mapping[int, float], out: Path | None, asked: int
) -> LabelReport:
    """Return what a labelling has found.

    Args:
        labelled: what was judged.
        how: votes became a relevance.
        found: what they came to.
        people: the relevance that people gave, by place of the pair.
        out: where the data folder is.
        asked: how many pairs people are asked about.
    """
    votes = labelled.votes
    tags = {key: query.tags for key, query in labelled.data.queries.items()}
    return LabelReport(
        votes, labelled.planned, how, found, of_all(votes), of_two(votes), with_people(votes, people, found.relevance),
        by_slice(votes, tags), drifts(votes), without_one(votes), out, asked, labelled.bad_rows,
    )  # fmt: skip


def sample_table(votes: Votes) -> TextTable:
    """Return the pairs with each judge's vote."""
    table = TextTable("Judged so far", "relevance, 0 to 1; – for no answer that can be read")
    for name in ("Query", "Product", *votes.names):
        table.add_column(name, justify="left" if name in ("Query", "Product") else "right")
    for one, row in zip(votes.pairs, votes.table.tolist(), strict=True):
        table.add_row(one.pair.query, one.pair.product.title, *(figure(vote, ".2f") for vote in row))
    return table


def _accounts(votes: Votes) -> TextTable:
    table = TextTable("Judges")
    for name in ("Judge", "votes", "left out", "unread answers", "input tokens", "output tokens", "cost"):
        table.add_column(name, justify="left" if name in ("Judge", "unread answers") else "right")
    for one in votes.accounts:
        faults = ", ".join(f"{fault} ({times:,})" for fault, times in one.faults.most_common(_SHOWN_FAULTS))
        cost = figure(one.cost, ",.2f") if one.cost else ABSENT
        counts = (f"{one.input_tokens:,}", f"{one.output_tokens:,}", cost)
        table.add_row(one.judge.name, f"{one.votes:,}", f"{one.left_out:,}", faults or ABSENT, *counts)
    return table


def _agreements(title: str, rows: Sequence[JudgeAgreement]) -> TextTable:
    table = TextTable(title, "1 is agreement, 0 chance; 95% interval over queries; difference of mean votes")
    for name in ("Who", "pairs", "α", "difference"):
        table.add_column(name, justify="left" if name == "Who" else "right")
    for one in rows:
        alpha = ABSENT if one.alpha is None else one.alpha.shown()
        table.add_row(one.name, f"{one.pairs:,}", alpha, figure(one.difference, "+.3f"))
    return table


def _moves(rows: Sequence[JudgeDrift]) -> TextTable:
    table = TextTable("Drift", "second half of a judge's answers against the first, beside the other judges")
    table.add_column("Judge")
    table.add_column("change", justify="right")
    for one in rows:
        table.add_row(one.judge, ABSENT if one.change is None else one.change.shown("+.3f"))
    return table


def _left(rows: Sequence[WithoutOne], whole: float) -> TextTable:
    table = TextTable("The panel without one judge", f"with all, 1,000 pairs cost {figure(whole, ',.2f')}")
    for name in ("Without", "α of the others", "cost of 1,000 pairs"):
        table.add_column(name, justify="left" if name == "Without" else "right")
    for one in rows:
        table.add_row(one.judge, ABSENT if one.alpha is None else one.alpha.shown(), figure(one.cost, ",.2f"))
    return table


def _gains(found: Aggregated) -> TextTable:
    table = TextTable("Calibration", "mean squared error against people, on queries that did not fit the map")
    for name in ("Judge", "pairs", "as voted", "calibrated", "used"):
        table.add_column(name, justify="left" if name == "Judge" else "right")
    for one in found.gains:
        used = "yes" if one.after < one.before else "no"
        table.add_row(one.judge, f"{one.pairs:,}", figure(one.before, ".4f"), figure(one.after, ".4f"), used)
    return table
