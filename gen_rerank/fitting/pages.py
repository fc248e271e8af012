"""A calibration as a page: `calibration.html`, one file that loads nothing, and the shapes that its template draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gen_rerank.calibration.promises import CONFIDENCE, DEFAULT_PROMISES, GRID, Promise, TierLosses
from gen_rerank.calibration.risk_control import upper_bound
from gen_rerank.calibration.tiers import THRESHOLDS, Tier
from gen_rerank.evaluation.evaluation import ECE, HEADLINE, RPS
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.tier_figures import mean_of
from gen_rerank.fitting.fit import CalibrationFit
from gen_rerank.fitting.separation import BARS, Separation
from gen_rerank.fitting.tables import step_sentence
from gen_rerank.fitting.thresholds import shuffled
from gen_rerank.reporting.axis import Axis
from gen_rerank.reporting.numbers import figure
from gen_rerank.reporting.pages import render
from gen_rerank.reporting.plots import Chart, Line, Mark

PAGE = "calibration.html"
FIGURES = "calibration.json"

_MEASURES = (RPS, ECE, HEADLINE)
_UNIT = Axis.over((0.0, 1.0))
# Every tenth threshold is drawn.
_DRAWN = GRID[::10]


def calibration_page(about: str, fit: CalibrationFit, remarks: Sequence[str] = ()) -> str:
    """Return the page of a calibration.

    Args:
        about: what was calibrated on what.
        fit: what was found.
        remarks: what to keep in mind of the queries.

    Example:
        >>> Path("calibration.html").write_text(calibration_page("runs/model", fit))  # doctest: +SKIP
    """
    shapes = {
        "about": about,
        "fit": fit,
        "remarks": remarks,
        "measures": _MEASURES,
        "covered": fit.covered,
        "step": step_sentence(fit),
        "tiers": [tier_row(fit, tier) for tier in THRESHOLDS],
        "risks": [risk_chart(fit, tier) for tier in THRESHOLDS if has_a_say(fit, tier)],
        "scores": [scores_chart(one) for one in fit.separations],
        "slice_names": list(dict.fromkeys(name for row in fit.slices.values() for name in row.figures)),
        "confidence": CONFIDENCE,
    }
    return render("gen_rerank.fitting", "calibration.html", shapes, figure)


def tier_row(fit: CalibrationFit, tier: Tier) -> dict[str, object]:
    """Return what the table of tiers shows of one."""
    figures, choice = fit.figures[tier], fit.tiers.get(tier)
    held = None if fit.held_out is None else fit.held_out[tier]
    return {
        "tier": tier,
        "threshold": fit.calibration.thresholds[tier],
        "choice": choice,
        "wrong": mean_of(figures.wrong),
        "missed": mean_of(figures.missed),
        "wrong_held": None if held is None else mean_of(held.wrong),
        "missed_held": None if held is None else mean_of(held.missed),
        "silent": mean_of(figures.silent),
    }


def has_a_say(fit: CalibrationFit, tier: Tier) -> bool:
    """Return whether some query can lose what is promised of a tier."""
    return bool((~np.isnan(fit.figures[tier].loss(_promise(fit, tier).loss))).any())


def risk_chart(fit: CalibrationFit, tier: Tier) -> Chart:
    """Return the loss against the threshold, what it is at most, and the limit that was promised."""
    promise = _promise(fit, tier)
    pairs = fit.pairs
    losses = TierLosses.of(tier, fit.after.mean, pairs.relevance, pairs.queries, _DRAWN)
    by_query = shuffled(losses.by_query(promise.loss))
    means = by_query.mean(axis=1)
    bounds = [upper_bound(row, CONFIDENCE) for row in by_query]
    at = fit.calibration.thresholds[tier]
    seen: Interval | None = mean_of(fit.figures[tier].loss(promise.loss))
    assert seen is not None, "it has a say"
    lines = (
        Line(f"{promise.loss}, seen", tuple(zip(_DRAWN.tolist(), means.tolist(), strict=True))),
        Line(f"at most, {CONFIDENCE:.0%} sure", tuple(zip(_DRAWN.tolist(), bounds, strict=True))),
        Line(f"{'promise' if tier in fit.tiers else 'usual promise'}: {promise.limit:.3g}", _level(promise.limit)),
    )
    mark = Mark(at, seen.mean, 0.0, 1.0, f"threshold {at:.3f}: {figure(seen.mean, '.1%')} {promise.loss}")
    top = Axis.over((0.0, min(1.0, max(*bounds, promise.limit))))
    return Chart(f"{tier}: {promise.loss}", _UNIT, top, "threshold", lines, (mark,))


def scores_chart(found: Separation) -> Chart:
    """Return the scores of good and bad products."""
    centres = (np.arange(BARS) + 0.5) / BARS
    lines = (
        Line("good", tuple(zip(centres.tolist(), found.good, strict=True))),
        Line("bad", tuple(zip(centres.tolist(), found.bad, strict=True))),
    )
    top = Axis.over((0.0, max(*found.good, *found.bad, 0.1)))
    return Chart(f"{found.tier}: share of products by score", _UNIT, top, "score", lines)


def _promise(fit: CalibrationFit, tier: Tier) -> Promise:
    if tier in fit.tiers:
        return fit.tiers[tier].promise
    return next(one for one in DEFAULT_PROMISES if one.tier == tier)


def _level(limit: float) -> tuple[tuple[float, float], ...]:
    return ((0.0, limit), (1.0, limit))
