"""A calibration as tables and sentences for a console."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from gen_rerank.calibration.promises import CONFIDENCE
from gen_rerank.calibration.tiers import THRESHOLDS
from gen_rerank.evaluation.evaluation import ECE, HEADLINE, RPS
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.tier_figures import TierFigures, mean_of
from gen_rerank.fitting.fit import CalibrationFit
from gen_rerank.reporting.numbers import ABSENT
from gen_rerank.reporting.tables import TextTable, WideTable

_MEASURES = (RPS, ECE, HEADLINE)


def shown_fit(fit: CalibrationFit, *, slices: bool = False) -> Iterator[RenderableType]:
    """Yield what people see of a calibration; with `slices` also the figures of each tag."""
    yield scores_table(fit)
    yield step_sentence(fit)
    yield from shown_tiers(fit)
    for one in fit.separations:
        yield f"{one.sentence}."
    if slices:
        yield slices_table(fit)


def shown_tiers(fit: CalibrationFit) -> Iterator[RenderableType]:
    """Yield where tiers begin, and why what is not promised is not."""
    yield tiers_table(fit)
    for tier, choice in fit.tiers.items():
        if not choice.kept:
            yield f"{tier}: not promised: {choice.reason}."


def scores_table(fit: CalibrationFit) -> WideTable:
    """Return one row before and one after, with what the calibration does for queries that had no part in it."""
    table = WideTable(
        "Scores",
        "mean [95% bootstrap interval over queries]; RPS and ECE: lower is better",
        "",
        [*_MEASURES, "in 80% intervals"],
    )
    covered = dict(zip((one.name for one in fit.evaluations), fit.covered, strict=False))
    for one in fit.evaluations:
        found = {**one.ranking, **one.calibrated}
        cells = [str(found[name]) if name in found else ABSENT for name in _MEASURES]
        table.add_row(one.name, [*cells, _percent(covered.get(one.name))])
    return table


def step_sentence(fit: CalibrationFit) -> str:
    """Return what was done to the scores, and why."""
    calibration, choice = fit.calibration, fit.choice
    points = 0 if calibration.score_map is None else len(calibration.score_map.scores)
    done = {
        "as they were": "The scores stay as they were",
        "with a temperature": f"Temperature {calibration.temperature:.3g}",
        "with a temperature and a map": f"Temperature {calibration.temperature:.3g} and a map with {points} points",
    }[choice.step]
    change = fit.ranking_change
    if change is not None and choice.step != "as they were":
        done += f"; {HEADLINE} changes by {change.shown('+.4f')}"
    if not choice.trials:
        return f"{done}: one query cannot be held out."
    tried = "; ".join(one.sentence for one in choice.trials)
    return f"{done}. On held-out queries, where less is better: {tried}."


def tiers_table(fit: CalibrationFit) -> TextTable:
    """Return one row a tier: where it begins, what is promised, what was seen."""
    hand = not fit.tiers
    table = TextTable(
        title="Tiers",
        caption="thresholds set by hand: nothing is promised"
        if hand
        else f"each promise holds with {CONFIDENCE:.0%} confidence of its own, over draws of queries",
    )
    for name in ("Tier", "from", "Promise", "Promised", "seen", "on held-out queries", "queries that show nothing"):
        table.add_column(name)
    for tier in THRESHOLDS:
        at, choice = f"{fit.calibration.thresholds[tier]:.3f}", fit.tiers.get(tier)
        figures, held = fit.figures[tier], None if fit.held_out is None else fit.held_out[tier]
        silent = _percent(mean_of(figures.silent))
        if choice is None:
            seen = [", ".join(_losses(one)) if one is not None else ABSENT for one in (figures, held)]
            table.add_row(tier, at, ABSENT, ABSENT, *seen, silent)
            continue
        loss = choice.promise.loss
        kept = f"yes: at most {choice.at_most} ({choice.queries:,} queries)" if choice.kept else "no"
        later = ABSENT if held is None else _percent(mean_of(held.loss(loss)))
        table.add_row(tier, at, str(choice.promise), kept, _percent(mean_of(figures.loss(loss))), later, silent)
    return table


def slices_table(fit: CalibrationFit) -> WideTable:
    """Return one row a tag, with what tiers do for its queries."""
    names = list(dict.fromkeys(name for row in fit.slices.values() for name in row.figures))
    table = WideTable(
        "By slice",
        "mean [95% bootstrap interval over queries], at the thresholds above; coverage is of 80% intervals",
        "Slice",
        ["Queries", *names],
    )
    for tag, row in fit.slices.items():
        cells = [_cell(name, row.figures.get(name)) for name in names]
        table.add_row(tag, [f"{row.queries:,}", *cells])
    return table


def _losses(figures: TierFigures) -> list[str]:
    return [f"{_percent(mean_of(figures.loss(loss)))} {loss}" for loss in ("wrong", "missed")]


def _cell(name: str, interval: Interval | None) -> str:
    if interval is None:
        return ABSENT
    return str(interval) if name == RPS else _percent(interval)


def _percent(interval: Interval | None) -> str:
    return ABSENT if interval is None else interval.shown(".1%")
