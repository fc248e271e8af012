"""What people are asked, and what they answered: the pairs on which judges say least, as a sheet, and back again.

A pair needs a person as far as its relevance is uncertain: the variance between the judges' votes, and within the
distributions of those that give one.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.formats.sources import named_rows
from gen_rerank.data.formats.texts import no_formula
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.values import BadValue, identifier, number
from gen_rerank.errors import BadInput
from gen_rerank.labelling.votes import Votes
from gen_rerank.system.publishing import write_text_whole

# So many fit an afternoon.
MOST_ASKED = 50
BEST_GRADE = 4
_GRADE = f"grade (0-{BEST_GRADE})"

Grades = dict[tuple[str, str], list[float]]


def uncertainty(votes: Votes) -> npt.NDArray[np.float64]:
    """Return the variance of each pair's relevance, `[pairs]`: between votes, and within distributions."""
    between = np.nanvar(votes.table, axis=1)
    within = np.zeros(votes.table.shape)
    for (pair, judge), shares in votes.probabilities.items():
        worth = np.linspace(0.0, 1.0, len(shares))
        mean = float(np.dot(shares, worth))
        within[pair, judge] = float(np.dot(shares, (worth - mean) ** 2))
    total: npt.NDArray[np.float64] = between + within.sum(axis=1) / (~np.isnan(votes.table)).sum(axis=1)
    return total


def write_questions(votes: Votes, file: Path, most: int = MOST_ASKED) -> int:
    """Write the pairs that most need a person, with an empty column for a grade; return how many.

    Args:
        votes: of the judges.
        file: CSV, for a spreadsheet.
        most: how many pairs at most.
    """
    order = np.argsort(-uncertainty(votes), kind="stable")[:most].tolist()
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["query_id", "product_id", "query", "product", _GRADE, "votes"])
    for place in order:
        one = votes.pairs[place]
        said = " ".join("–" if np.isnan(vote) else f"{vote:.2f}" for vote in votes.table[place].tolist())
        texts = (one.query_id, one.product_id, one.pair.query, _described(votes, place))
        writer.writerow([*map(no_formula, texts), "", said])
    write_text_whole(file, written.getvalue())
    return len(order)


def read_answers(file: Path) -> Grades:
    """Return people's grades as relevances, by query and product id; rows without a grade are passed over.

    Raises:
        BadInput: the file cannot be read, has other columns, or a grade that there is not.
    """
    rows = named_rows(file, ImportReport(str(file), "answers"))
    missing = [name for name in ("query_id", "product_id", _GRADE) if name not in rows.names]
    if missing:
        raise BadInput(f"{file}: has no column {missing[0]!r}; it is to be the file that --ask-people wrote")
    found: Grades = defaultdict(list)
    for row in rows.rows:
        try:
            grade = number(row.cells.get(_GRADE))
            if grade is None:
                continue
            if not 0 <= grade <= BEST_GRADE:
                raise BadValue(f"{grade:g} is not from 0 to {BEST_GRADE}")
            found[identifier(row.cells["query_id"]), identifier(row.cells["product_id"])].append(grade / BEST_GRADE)
        except BadValue as error:
            raise BadInput(f"{file}:{row.line}: {_GRADE}: {error}") from error
    if not found:
        raise BadInput(f"{file}: no row has a grade; write numbers from 0 to {BEST_GRADE} into the column {_GRADE!r}")
    return dict(found)


def trusted_of(votes: Votes, data: Dataset | None, answered: Grades) -> dict[int, float]:
    """Return the relevance that people gave, by place of the pair: their answers, else judgments that are trusted.

    Args:
        votes: whose pairs.
        data: with trusted judgments of the same ids; None for none.
        answered: grades of people.
    """
    known = {} if data is None else {(row.query_id, row.product_id): row.relevance for row in data.judgments}
    known |= {key: float(np.mean(grades)) for key, grades in answered.items()}
    places = {(one.query_id, one.product_id): place for place, one in enumerate(votes.pairs)}
    return {places[key]: relevance for key, relevance in known.items() if key in places}


def _described(votes: Votes, place: int) -> str:
    product = votes.pairs[place].pair.product
    details = [f"{name}: {value}" for name, value in product.attributes.items()]
    return "; ".join(filter(None, [product.title, product.brand, product.category, *details]))
