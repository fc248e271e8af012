"""What `gen-rerank label` does, from judges.yaml to a data folder: plan, estimate, ask, gather, write.

The journal lies outside of the result, and stays: it is what a later run with more judges or more pairs goes on from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import BadRow
from gen_rerank.errors import BadInput
from gen_rerank.labelling.budget import Budget, Estimate, Spending, estimate
from gen_rerank.labelling.journal import Journal, JournalRow, JudgedPair, opened
from gen_rerank.labelling.judges import Judge, read_judges
from gen_rerank.labelling.pairs import PairPlan, pairs_to_judge, with_queries
from gen_rerank.labelling.running import Waiting, run_judges, waiting_pairs
from gen_rerank.labelling.votes import Votes, gather_votes
from gen_rerank.reporting.numbers import counted
from gen_rerank.system.interrupts import kept_when_interrupted


@dataclass(frozen=True)
class LabelPlan:
    """What is judged, and by whom.

    Attributes:
        data: a data folder; it needs no queries where `pairs.queries` is given, and no judgments where `per_query` is.
        judges: `judges.yaml`.
        journal: the file that keeps the answers.
        pairs: which pairs.
        sample: so many pairs alone are judged; None for all.
        budget: what may be spent; None for no limit.
        skip_bad_rows: leave bad rows of the data out.
    """

    data: Path
    judges: Path
    journal: Path
    pairs: PairPlan = field(default_factory=PairPlan)
    sample: int | None = None
    budget: Budget | None = None
    skip_bad_rows: bool = False


@dataclass(frozen=True)
class Labelled:
    """What was judged.

    Attributes:
        data: products and queries, and the judgments that came with them.
        votes: of all judges.
        planned: how many pairs were to be judged.
    """

    data: Dataset
    votes: Votes
    planned: int

    @property
    def bad_rows(self) -> Sequence[BadRow]:
        """The rows of the data that were left out."""
        return self.data.bad_rows


def judge_pairs(plan: LabelPlan, agree: Callable[[Estimate], object]) -> Labelled:
    """Ask the judges what the journal does not know yet, and return all votes.

    Args:
        plan: what is judged, and by whom.
        agree: is shown what it will take before anything is asked, and raises where people do not want it; not called
            where nothing is to be asked.

    Raises:
        BadInput: judges, data or journal cannot be used, a server fails for good, or nobody answered anything.
    """
    judges = read_judges(plan.judges)
    if plan.budget is not None:
        plan.budget.check(judges)
    data = with_queries(Dataset.load(plan.data, skip_bad_rows=plan.skip_bad_rows), plan.pairs)
    pairs = pairs_to_judge(data, plan.data, plan.pairs)[: _most_pairs(plan)]
    with opened(plan.journal) as journal:
        before = {judge: journal.rows(judge) for judge in judges}
        waiting = {judge: waiting_pairs(pairs, before[judge]) for judge in judges}
        if any(waiting.values()):
            still = {judge: [one.judged for one in ones] for judge, ones in waiting.items()}
            agree(estimate(still, before))
            _run(plan, waiting, journal, _spent(plan.budget, pairs, before))
        votes = gather_votes(pairs, {judge: journal.rows(judge) for judge in judges})
    if not votes.pairs:
        raise BadInput(f"no judge gave an answer that can be read; {_faults_said(votes)}")
    return Labelled(data, votes, len(pairs))


def _run(plan: LabelPlan, waiting: Mapping[Judge, Sequence[Waiting]], journal: Journal, spending: Spending) -> None:
    """Ask, and say what is kept when it is interrupted or a server fails.

    Raises:
        BadInput: a server fails for good, or the journal cannot be written.
    """
    kept = f"all answers so far are kept in {plan.journal}; the same command goes on from there"
    with kept_when_interrupted(kept):
        try:
            run_judges(waiting, journal, spending)
        except BaseExceptionGroup as errors:
            first = _first(errors)
            if isinstance(first, BadInput):
                raise BadInput(f"{first}; {kept}") from errors
            raise first from errors


def _first(error: BaseException) -> BaseException:
    """Return the first error of a group, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _most_pairs(plan: LabelPlan) -> int | None:
    limits = [] if plan.sample is None else [plan.sample]
    if plan.budget is not None and plan.budget.unit == "pairs":
        limits.append(int(plan.budget.most))
    return min(limits, default=None)


def _spent(
    budget: Budget | None, pairs: Sequence[JudgedPair], before: Mapping[Judge, Sequence[JournalRow]]
) -> Spending:
    """Return what earlier runs have spent on these pairs."""
    spending = Spending(budget)
    keys = {one.key for one in pairs}
    for judge, rows in before.items():
        for row in rows:
            if row.pair in keys:
                spending.count(judge, row.answer)
    return spending


def _faults_said(votes: Votes) -> str:
    told = [
        f"{account.judge.name}: {', '.join(f'{fault} ({times:,})' for fault, times in account.faults.most_common(3))}"
        for account in votes.accounts
        if account.faults
    ]
    return "; ".join(told) or f"{counted(0, 'pair')} asked; is the budget too small?"
