"""`gen-rerank label`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen_rerank.errors import BadInput
from gen_rerank.reporting.shell import (
    AsJson,
    Out,
    SkipBadRows,
    error_console,
    show_report,
    written,
)

if TYPE_CHECKING:
    from gen_rerank.labelling.budget import Estimate

app = typer.Typer()

_EXAMPLES = """Example: gen-rerank label shop --judges judges.yaml --out labelled

gen-rerank label shop --queries queries.txt --per-query 8 --judges judges.yaml --out labelled --sample 50

gen-rerank label shop --judges judges.yaml --out labelled --budget "5 money" --ask-people unsure.csv
"""


@app.command(epilog=_EXAMPLES)
def label(
    data: Annotated[Path, typer.Argument(help="A folder with products; with queries and pairs, or options say which.")],
    judges: Annotated[Path, typer.Option("--judges", help="A YAML file of judges.", show_default=False)],
    out: Out,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="Queries, one a line or .jsonl, in the place of DATA's own.")
    ] = None,
    per_query: Annotated[
        int | None,
        typer.Option("--per-query", min=1, help="Judge so many of an index's candidates, from all its ranks."),
    ] = None,
    index: Annotated[
        Path | None, typer.Option("--index", help="An index of gen-rerank index; one is made for the run by default.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn.")] = 0,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="Judge so many pairs, and show them.")] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help='The most it may take: "500 pairs", "2e6 tokens", "5 money".')
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the judges are asked.")] = False,
    aggregate: Annotated[
        str, typer.Option("--aggregate", help="How votes become a relevance: mean, dawid-skene or calibrated.")
    ] = "mean",
    trusted: Annotated[
        Path | None, typer.Option("--trusted", help="A data folder with people's judgments of these pairs.")
    ] = None,
    ask_people: Annotated[
        Path | None, written("--ask-people", "Write the pairs that most need a person, as CSV.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="That file with people's grades; they outrank the judges'.")
    ] = None,
    journal: Annotated[
        Path | None, written("--journal", "The file that keeps every answer; OUT.journal by default.")
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Let several LLM judges grade pairs of query and product; their votes are kept in `labels`.

    Judges are models on OpenAI-compatible servers. A run that is killed goes on where it was with the same command.
    """
    from gen_rerank.labelling.budget import Budget
    from gen_rerank.labelling.labelling import LabelPlan
    from gen_rerank.labelling.pairs import PairPlan
    from gen_rerank.labelling.whole import LabelOutcome, label_data

    plan = LabelPlan(
        data,
        judges,
        journal or out.with_name(f"{out.name}.journal"),
        PairPlan(per_query, index, queries, seed),
        sample,
        None if budget is None else Budget.read(budget),
        skip_bad_rows,
    )
    outcome = LabelOutcome(out, aggregate, trusted, answers, ask_people)
    report = label_data(plan, outcome, lambda estimate: _agree(estimate, yes=yes))
    show_report(report, as_json=as_json)


def _agree(estimate: Estimate, *, yes: bool) -> None:
    """Show what it will take, and ask.

    Raises:
        BadInput: nobody is there to be asked.
        Exit: people do not want it.
    """
    from gen_rerank.labelling.budget import asked_words

    error_console().print(estimate.table())
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("nothing was asked, because nobody is there to agree; pass --yes")
    if not typer.confirm(asked_words(estimate), err=True):
        raise typer.Exit
