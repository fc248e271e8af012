"""Scores files: the distribution of each judged pair as one line of JSON, written and read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_rerank.bins import BIN_COUNT, Distribution
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import naming_the_file


class ScoredPair(BaseModel):
    """One row of a scores file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query_id: str
    product_id: str
    score: float
    std: float
    probabilities: Annotated[tuple[float, ...], Field(min_length=BIN_COUNT, max_length=BIN_COUNT)]


@dataclass(frozen=True, eq=False)
class Scores:
    """The distributions of named pairs, as read from a scores file.

    Attributes:
        pairs: `[n]` (query id, product id), in file order, no pair twice.
        distribution: n rows, in the same order.
    """

    pairs: tuple[tuple[str, str], ...]
    distribution: Distribution

    def of(self, dataset: Dataset) -> Distribution:
        """Return one distribution a judgment of `dataset`, in its order.

        Raises:
            BadInput: a judged pair has no score.
        """
        place = {pair: i for i, pair in enumerate(self.pairs)}
        wanted = [(row.query_id, row.product_id) for row in dataset.judgments]
        missing = [pair for pair in wanted if pair not in place]
        if missing:
            query_id, product_id = missing[0]
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise BadInput(f"no score for the judged pair {query_id} × {product_id}{more}")
        return self.distribution[[place[pair] for pair in wanted]]


def write_scores(path: str | Path, dataset: Dataset, distribution: Distribution) -> None:
    """Write one JSON line a judgment: query_id, product_id, score, std, probabilities, all with six decimals.

    Raises:
        BadInput: not one distribution a judgment.
    """
    if len(distribution) != len(dataset.judgments):
        raise BadInput(f"{len(dataset.judgments)} judgments need as many distributions, not {len(distribution)}")
    columns = [
        x.astype(np.float64).round(6).tolist()
        for x in (distribution.mean, distribution.std, distribution.probabilities)
    ]
    with naming_the_file(Path(path)), Path(path).open("w", encoding="utf-8") as file:
        for row, score, std, probabilities in zip(dataset.judgments, *columns, strict=True):
            ids = {"query_id": row.query_id, "product_id": row.product_id}
            file.write(
                json.dumps({**ids, "score": score, "std": std, "probabilities": probabilities}, ensure_ascii=False)
                + "\n"
            )


def read_scores(path: str | Path) -> Scores:
    """Read a scores file.

    Raises:
        BadInput: there is no such file, it is empty, or a line is not a row of it; the message names the line.
    """
    try:
        rows = dict(_scored_lines(Path(path)))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    if not rows:
        raise BadInput(f"{path}: no scores")
    try:
        return Scores(tuple(rows), Distribution(np.array(list(rows.values()))))
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _scored_lines(path: Path) -> Iterator[tuple[tuple[str, str], tuple[float, ...]]]:
    seen: set[tuple[str, str]] = set()
    with path.open("rb") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = ScoredPair.model_validate_json(text)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                raise BadInput(f"{path}:{line}: {where}{': ' if where else ''}{first['msg']}") from error
            pair = (row.query_id, row.product_id)
            if pair in seen:
                raise BadInput(f"{path}:{line}: the pair {pair[0]} × {pair[1]} was already given")
            seen.add(pair)
            yield pair, row.probabilities
