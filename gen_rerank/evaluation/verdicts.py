"""What a gate says of a system, and how many queries it takes to say it.

Which gates there are, and what they measure, their own modules know: `gen_rerank.evaluation.gates` and `quant.gates`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from gen_rerank.evaluation.metrics import LEAST_QUERIES, Interval
from gen_rerank.reporting.numbers import counted


class Verdict(BaseModel):
    """What a gate says of a system.

    Attributes:
        gate: its name, or the condition as it was written.
        passed: None where the figure could not be measured; such a gate does not pass.
        measured: the figure, as people read it.
        limit: what was asked, as people read it.
        meaning: one sentence: what the gate guards against, or, where it failed, what is wrong and where.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: str
    passed: bool | None
    measured: str
    limit: str
    meaning: str


def too_few_queries(measure: str, queries: int) -> str:
    """Return why a measure decides nothing on so many queries; empty where it does.

    Example:
        >>> too_few_queries("nDCG@5", 1)
        'too few queries to judge by: nDCG@5 is defined for 1 query, and at least 5 are needed'
    """
    if queries >= LEAST_QUERIES:
        return ""
    defined = counted(queries, "query", "queries")
    return f"too few queries to judge by: {measure} is defined for {defined}, and at least {LEAST_QUERIES} are needed"


def signed_interval(interval: Interval) -> str:
    """Return a difference as gates show it.

    Example:
        >>> signed_interval(Interval(0.0012, -0.0021, 0.0049))
        '+0.0012 [-0.0021, +0.0049]'
    """
    return interval.shown("+.4f")
