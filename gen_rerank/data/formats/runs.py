"""What a system scored, by query and product: of a scores file the ids and the score, for formats that hold runs.

The distributions in such a file are the evaluation's.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.formats.sources import text_lines
from gen_rerank.data.records import Identifier, row_fault
from gen_rerank.errors import BadInput

Run = dict[str, dict[str, float]]


class RunScore(BaseModel):
    """The columns of a scores file that a run has."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    query_id: Identifier
    product_id: Identifier
    score: FiniteFloat


def read_run(path: Path, dataset: Dataset) -> Run:
    """Return the scores of a scores file, as `gen-rerank score` writes it, for the queries of a data set.

    Args:
        path: JSON Lines with at least query_id, product_id and score.
        dataset: scores of other queries are left out.

    Raises:
        BadInput: there is no such file, a line is not a row of it, a pair is scored twice, or no query is the data's.

    Example:
        >>> read_run(Path("scores.jsonl"), dataset)["q1"]  # doctest: +SKIP
        {'p7': 0.91, 'p3': 0.12}
    """
    run: Run = {}
    for number, line in text_lines(path):
        try:
            row = RunScore.model_validate_json(line)
        except ValidationError as error:
            fault = row_fault(error)
            raise BadInput(f"{path}:{number}: {fault.field or 'not a row of a scores file'}{fault.clause}") from error
        scores = run.setdefault(row.query_id, {})
        if row.product_id in scores:
            raise BadInput(f"{path}:{number}: the pair {row.query_id} × {row.product_id} was already given")
        scores[row.product_id] = row.score
    run = {query_id: scores for query_id, scores in run.items() if query_id in dataset.queries}
    if not run:
        raise BadInput(f"{path}: scores no query of the data that is exported")
    return run
