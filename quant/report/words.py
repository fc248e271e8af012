"""How a comparison speaks: verdicts in a sentence, intervals, ratios, names that fit. Numbers are `reporting`'s."""

from __future__ import annotations

from gen_rerank.evaluation.metrics import LEAST_QUERIES, Interval
from gen_rerank.reporting.numbers import ABSENT, figure
from quant.comparison import Candidate, System


def interval_ends(interval: Interval, form: str = ".3f") -> str:
    """Return `0.890 – 0.931`, or `-0.003 to +0.001` where the form has signs; of few queries that they are few."""
    if interval.few:
        return f"fewer than {LEAST_QUERIES} queries"
    between = " to " if form.startswith("+") else " – "
    return f"{figure(interval.low, form)}{between}{figure(interval.high, form)}"


def bracketed(interval: Interval | None, form: str = ".3f") -> str:
    """Return `0.912 [0.890, 0.931]`, a dash without an interval."""
    return ABSENT if interval is None else interval.shown(form)


def times(value: float, reference: float) -> str:
    """Return the ratio of a figure to the reference's, as `0.52×`."""
    return f"{figure(value / reference, '.2f')}×" if reference else ABSENT


def brief(name: str, most: int = 20) -> str:
    """Return a name that fits beside a point: the middle of a long one goes, since names often differ at their ends.

    Example:
        >>> brief("shop-model-fp8-block-realigned", 13)
        'shop-m…ligned'
    """
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def one_line(text: str) -> str:
    """Return a paragraph on one line, however the template breaks it."""
    return " ".join(text.split())


def px(value: float, digits: int = 1) -> str:
    """Return a coordinate of a drawing.

    Example:
        >>> px(44 + 300 / 7), px(1.5, 2)
        ('86.9', '1.50')
    """
    return f"{value:.{digits}f}"


def mark(passed: bool | None) -> str:
    """Return the sign beside a verdict, which its word always accompanies: ✓, ✗, or – where nothing was measured."""
    return ABSENT if passed is None else "✓" if passed else "✗"


def sentence(candidate: Candidate) -> str:
    """Return the verdict in words: what the first gate that did not pass says, the names of the others.

    Where vLLM did not serve it, so that no gate says anything of the scores that shoppers would get, that follows.
    """
    if candidate.passed:
        return f"{candidate.name}: ship it. All {len(candidate.verdicts)} gates pass.{_not_served(candidate)}"
    if not candidate.failures:
        why = candidate.refused or "No gate was judged."
        return f"{candidate.name}: do not ship. {why.rstrip('.')}.{_not_served(candidate)}"
    first, *others = candidate.failures
    also = f" Nor do these pass: {', '.join(verdict.gate for verdict in others)}." if others else ""
    return f"{candidate.name}: do not ship. {first.gate}: {first.meaning.rstrip('.')}.{also}{_not_served(candidate)}"


def _not_served(system: System) -> str:
    """Return why no gate says anything of what vLLM would serve; empty where it served."""
    cost = system.cost_of("vllm")
    if cost is None:
        return " What vLLM serves was not measured."
    return "" if cost.visits else f" vLLM did not serve it here: {cost.unmeasured.rstrip('.')}."
