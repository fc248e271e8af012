"""One line of a list of judgments, whatever its format: who or what was graded, and how.

Readers of formats make these; `gathering` makes records of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Vote:
    """A grade of a query and a product, as it stands in a source: nothing is checked yet.

    Attributes:
        file: where it stands.
        line: from 1.
        product_id: of the source.
        query: its text; None where only its id stands there.
        query_id: of the source; None where queries have none.
        grade: on the source's scale; None where the pair was shown to raters and nobody graded it.
        blanks: how many grades were left blank, where this stands for them and has none.
        rater: who gave it; None where the grade is the pair's own, an empty text for somebody without a name.
        split: of the query, where the source names it.
        tags: of the query.
        need: what somebody with this query wants, in a sentence.
        product: fields of the product by their names in the catalog; empty where the source has no texts.
    """

    file: str
    line: int
    product_id: Any
    query: Any = None
    query_id: Any = None
    grade: Any = None
    blanks: int = 1
    rater: str | None = None
    split: Any = None
    tags: tuple[str, ...] = ()
    need: Any = None
    product: Mapping[str, Any] = field(default_factory=dict)
