"""A labelling as people command it: the judges are asked, their votes become a data folder, and a report is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen_rerank.data.dataset import Dataset, require_judged
from gen_rerank.data.records import BadRow
from gen_rerank.errors import BadInput
from gen_rerank.labelling.aggregation import aggregated, require_aggregate
from gen_rerank.labelling.budget import Estimate
from gen_rerank.labelling.labelling import Labelled, LabelPlan, judge_pairs
from gen_rerank.labelling.people import Grades, read_answers, trusted_of, write_questions
from gen_rerank.labelling.report import LabelReport, label_report, sample_table
from gen_rerank.labelling.writing import write_labelled
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.shell import ShownReport
from gen_rerank.system.publishing import refuse_taken, require_apart, require_room, require_writable_file


@dataclass(frozen=True)
class LabelOutcome:
    """What is made of the votes.

    Attributes:
        out: the data folder that is written.
        aggregate: how votes become a relevance.
        trusted: a data folder with people's judgments; None for none.
        answers: a sheet with people's grades; None for none.
        ask_people: where the pairs that most need a person go; None for nowhere.
    """

    out: Path
    aggregate: str = "mean"
    trusted: Path | None = None
    answers: Path | None = None
    ask_people: Path | None = None


@dataclass(frozen=True)
class SampleReport:
    """What the judges said of the first pairs."""

    report: LabelReport

    @property
    def bad_rows(self) -> tuple[BadRow, ...]:
        """The rows of the data that were left out."""
        return tuple(self.report.bad_rows)

    def to_json(self) -> dict[str, Any]:
        """Return the figures, and each vote."""
        votes = [row.model_dump(exclude_defaults=True) for row in self.report.votes.rows()]
        return {**self.report.to_json(), "votes": votes}

    def shown(self) -> Iterator[Any]:
        """Yield the pairs with their votes, and the tables."""
        yield sample_table(self.report.votes)
        yield from self.report.shown()
        yield (
            f"{counted(len(self.report.votes.pairs), 'pair')} judged; nothing is written yet. Without --sample the "
            "rest is judged too, and these are not asked again"
        )


def label_data(plan: LabelPlan, outcome: LabelOutcome, agree: Callable[[Estimate], object]) -> ShownReport:
    """Let judges grade pairs, write a data folder and return the report; of a sample, the report alone.

    Args:
        plan: what is judged, and by whom.
        outcome: what is made of it.
        agree: as `judge_pairs` takes it.

    Raises:
        BadInput: something cannot be read or written, a server fails for good, or nobody answered anything.
    """
    answered, trusted = _prepared(plan, outcome)
    labelled = judge_pairs(plan, agree)
    people = trusted_of(labelled.votes, trusted, answered)
    if plan.sample is not None:
        found = aggregated(labelled.votes, "mean", people)
        return SampleReport(label_report(labelled, "mean", found, people, None, 0))
    return _written(labelled, outcome, answered, people)


def _prepared(plan: LabelPlan, outcome: LabelOutcome) -> tuple[Grades, Dataset | None]:
    """Read what people said; and try what will be written, before anything is paid for.

    Raises:
        BadInput: something cannot be read or written.
    """
    require_aggregate(outcome.aggregate)
    if plan.sample is None:
        require_room(outcome.out)
        refuse_taken(outcome.out)
    read = [("the data", plan.data), ("the judges", plan.judges), ("the journal", plan.journal)]
    if outcome.answers is not None:
        read.append(("people's answers", outcome.answers))
    if outcome.ask_people is not None:
        require_apart(outcome.ask_people, read)
        require_writable_file(outcome.ask_people)
    if plan.journal.resolve().is_relative_to(outcome.out.resolve()):
        raise BadInput(f"--journal {plan.journal}: lies in the result, which is written at the end; name another place")
    answered = {} if outcome.answers is None else read_answers(outcome.answers)
    if outcome.trusted is None:
        return answered, None
    trusted = Dataset.load(outcome.trusted, judged_only=True)
    require_judged(trusted, outcome.trusted)
    return answered, trusted


def _written(labelled: Labelled, outcome: LabelOutcome, answered: Grades, people: dict[int, float]) -> LabelReport:
    found = aggregated(labelled.votes, outcome.aggregate, people)
    write_labelled(labelled, found, answered, outcome.out)
    asked = 0 if outcome.ask_people is None else write_questions(labelled.votes, outcome.ask_people)
    return label_report(labelled, outcome.aggregate, found, people, outcome.out, asked)
