"""What the headroom says, in words: whether to invest in retrieval or in reranking, or that these queries do not say.

A verdict has to hold under both treatments of unjudged products: as not relevant, and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from gen_rerank.evaluation.intervals import Interval, paired
from gen_rerank.evaluation.verdicts import signed_interval, too_few_queries
from gen_rerank.search.absent import Absent
from gen_rerank.search.headroom import CONDENSED, DEEPEST, FIRST, ORACLE, RERANKED, RETRIEVED, Headroom
from gen_rerank.search.recall import DEPTHS

Investment = Literal["retrieval", "reranking", "neither", "undecided"]

# Nobody sees less than that.
_SMALL = 0.01
_MEASURE = f"nDCG@{FIRST}"
_JUDGED = (CONDENSED[RERANKED], CONDENSED[RETRIEVED])


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Attributes:
        invest: in what.
        sentences: what was measured, and last what follows from it.
    """

    invest: Investment
    sentences: tuple[str, ...]


def advice(found: Headroom, name: str, absent: Absent) -> Advice:
    """Return whether to invest in retrieval or in reranking.

    Args:
        found: what was measured.
        name: of the model.
        absent: what the index lacks; where that costs something, there is no verdict.

    Example:
        >>> advice(found, "nano", absent).invest  # doctest: +SKIP
        'retrieval'
    """
    few = too_few_queries(_MEASURE, len(found.query_ids))
    if few:
        return Advice("undecided", (f"Undecided: {few}.",))
    measured = tuple(_measured(found, name, absent))
    if absent.interval().high > _SMALL:
        why = f"Undecided: {absent.sentence()}. Neither retrieval nor reranking gains that: index them, then ask again."
        return Advice("undecided", (*measured, why))
    invest, why = _investment(found, name)
    return Advice(invest, (*measured, why))


def _measured(found: Headroom, name: str, absent: Absent) -> Iterator[str]:
    """Yield what each part would bring, in nDCG@10, under both treatments of unjudged products."""
    yield (
        f"{_MEASURE} of the first {DEEPEST} candidates; in brackets 95% intervals; behind the bar the same by judged "
        "products only:"
    )
    ours = [found.gain(row, order) for row, order in ((RERANKED, RETRIEVED), _JUDGED)]
    yield f"{name} over the order of retrieval: {_both(ours)}: {_said(ours, 'better', 'worse, so search without it')}."
    perfect = [found.gain(ORACLE, RERANKED), found.gain(ORACLE, CONDENSED[RERANKED])]
    yield f"A perfect reranker over {name}, the headroom of reranking: {_both(perfect)}."
    yield (
        "Retrieval that misses no judged product, over that perfect reranker, the headroom of retrieval: "
        f"{signed_interval(paired(found.missing(), absent.loss))}."
    )
    for few, many in pairwise(DEPTHS):
        ours = [found.gain(row, row, many, few) for row in (RERANKED, CONDENSED[RERANKED])]
        yield (
            f"{many} candidates instead of {few}: {signed_interval(found.gain(ORACLE, ORACLE, many, few))} for a "
            f"perfect reranker; for {name} {_both(ours)}: {_said(ours, 'they help', 'they harm')}."
        )


def _investment(found: Headroom, name: str) -> tuple[Investment, str]:
    """Return the verdict with its sentence."""
    strict, lenient = found.retrieval_over_reranking(), found.retrieval_over_reranking(CONDENSED[RERANKED])
    verdicts = _larger(strict), _larger(lenient)
    if max(found.gain(ORACLE, RERANKED).high, found.missed().high) <= _SMALL:
        return "neither", f"Invest in neither: both headrooms are at most {_SMALL}."
    if verdicts[0] == verdicts[1] == "undecided":
        return "undecided", (
            f"Undecided: the headroom of retrieval minus that of reranking is {signed_interval(strict)}, or "
            f"{signed_interval(lenient)} by judged products only, which may be the luck of these queries."
        )
    if verdicts[0] != verdicts[1]:
        share = found.unjudged[RERANKED][DEEPEST]
        return "undecided", (
            f"Undecided: {share:.0%} of {name}'s first {FIRST} are not judged. The headroom of retrieval minus that of "
            f"reranking is {signed_interval(strict)} where they count as not relevant, and {signed_interval(lenient)} "
            "where they are left out. Judge them, then ask again."
        )
    other = "reranking" if verdicts[0] == "retrieval" else "retrieval"
    by = strict if verdicts[0] == "retrieval" else _turned(strict)
    return verdicts[0], (
        f"Invest in {verdicts[0]}: its headroom is larger than that of {other} by {signed_interval(by)}, and by judged "
        "products only too."
    )


def _larger(difference: Interval) -> Investment:
    """Return which headroom is larger, of the difference retrieval − reranking."""
    return "retrieval" if difference.low > 0 else "reranking" if difference.high < 0 else "undecided"


def _turned(difference: Interval) -> Interval:
    return Interval(-difference.mean, -difference.high, -difference.low)


def _both(gains: Sequence[Interval]) -> str:
    return " | ".join(map(signed_interval, gains))


def _said(gains: Sequence[Interval], better: str, worse: str) -> str:
    """Return what both treatments of unjudged products say of a gain, or that they do not agree."""
    words = {better if one.low > 0 else worse if one.high < 0 else "no difference beyond chance" for one in gains}
    return words.pop() if len(words) == 1 else "undecided, since the unjudged products decide it"
