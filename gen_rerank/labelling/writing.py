"""The result of a labelling: a data folder with the votes in `labels`, and beside it each vote under its judge's name.

People's grades, where `--answers` brings them, outrank the judges': they are the relevance, and labels beside theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.reading import write_rows
from gen_rerank.data.records import Judgment
from gen_rerank.labelling.aggregation import Aggregated, labels_of
from gen_rerank.labelling.labelling import Labelled
from gen_rerank.system.publishing import folder_appearing

VOTES = "votes.jsonl"


def write_labelled(
    labelled: Labelled, found: Aggregated, people: Mapping[tuple[str, str], Sequence[float]], out: Path
) -> Dataset:
    """Write the data folder, which appears whole, and return what is in it.

    Args:
        labelled: what was judged.
        found: the relevances, and the votes as labels.
        people: grades of people, in [0, 1], by query and product id.
        out: the folder; nothing may lie there.

    Raises:
        BadInput: something lies there, or it cannot be written.
    """
    rows = [
        _judgment(one.query_id, one.product_id, float(relevance), labels_of(labels), people)
        for one, relevance, labels in zip(
            labelled.votes.pairs, found.relevance.tolist(), found.labels.tolist(), strict=True
        )
    ]
    made = Dataset(labelled.data.products, labelled.data.queries, tuple(rows))
    with folder_appearing(out) as folder:
        made.save(folder)
        write_rows(folder / VOTES, labelled.votes.rows())
    return made


def _judgment(
    query_id: str,
    product_id: str,
    relevance: float,
    labels: tuple[float, ...],
    people: Mapping[tuple[str, str], Sequence[float]],
) -> Judgment:
    grades = people.get((query_id, product_id), ())
    if grades:
        relevance = sum(grades) / len(grades)
    return Judgment(
        query_id=query_id, product_id=product_id, relevance=round(relevance, 4), labels=(*labels, *labels_of(grades))
    )
