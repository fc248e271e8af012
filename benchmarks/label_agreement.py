"""How far people agree about relevance: Krippendorff's ordinal α of the `labels` of data folders, with intervals.

What a panel of judges reaches (`gen-rerank label` prints it) stands beside this: people do not reach 1 either. α needs
no names of raters, only which grades a pair has.

Run: python benchmarks/label_agreement.py sample=shop quepid=quepid-shop chorus=chorus-shop
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from gen_rerank.data.dataset import Dataset, require_judged
from gen_rerank.errors import BadInput
from gen_rerank.labelling.agreement import agreement
from gen_rerank.labelling.votes import VoteTable
from gen_rerank.reporting.numbers import ABSENT
from gen_rerank.reporting.shell import say
from harness.command import run
from harness.tables import FigureTable

_HEADER = ("whose grades", "pairs", "with two grades", "grades a pair", "queries", "α")
_CAPTION = "Krippendorff's α, ordinal, on eleven bins; 95% bootstrap interval over queries."


def main(
    folders: Annotated[list[str], typer.Argument(metavar="NAME=DATA", help="Data folders whose pairs have labels.")],
) -> None:
    """Print the agreement of the people behind some data folders."""
    say(FigureTable("Agreement of people", _HEADER, [row_of(given) for given in folders], _CAPTION).document())


def row_of(given: str) -> list[str]:
    """Return the row of one folder, which is given as NAME=DATA.

    Raises:
        BadInput: it is not, or the folder cannot be read or has no judgments.
    """
    name, _, place = given.partition("=")
    if not (name and place):
        raise BadInput(f"{given}: write NAME=DATA")
    data = Dataset.load(Path(place), judged_only=True)
    require_judged(data, Path(place))
    found = agreement(name, label_table(data), [row.query_id for row in data.judgments])
    labels = [len(row.labels) for row in data.judgments if len(row.labels) > 1]
    alpha = ABSENT if found.alpha is None else found.alpha.shown()
    mean = f"{np.mean(labels):.1f}" if labels else ABSENT
    queries = {row.query_id for row in data.judgments if len(row.labels) > 1}
    return [name, f"{len(data.judgments):,}", f"{found.pairs:,}", mean, f"{len(queries):,}", alpha]


def label_table(data: Dataset) -> VoteTable:
    """Return the labels of each pair, `[pairs, most labels]`, NaN where a pair has fewer."""
    table = np.full((len(data.judgments), max(1, *(len(row.labels) for row in data.judgments))), np.nan)
    for place, row in enumerate(data.judgments):
        table[place, : len(row.labels)] = row.labels
    return table


if __name__ == "__main__":
    run(main)
