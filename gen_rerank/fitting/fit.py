"""Judged logits become a calibration, and all that is to be said of it: the one function that others call.

First temperature and map (`steps`), then thresholds of the scores that these give (`thresholds`). All of it is done
again without each fold and measured there, so that what is lost by choosing on the queries that one measures on is a
figure and not a guess. Opening models and writing files is `calibrating`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import Distribution
from gen_rerank.calibration.promises import Promise
from gen_rerank.calibration.stability import score_histogram
from gen_rerank.calibration.tiers import THRESHOLDS, Tier
from gen_rerank.checkpoints.card import Calibration, CalibrationSource, Readout
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import HEADLINE, MSE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.evaluation.tier_figures import TierFigures, mean_of, tier_figures
from gen_rerank.fitting.coverage import coverage
from gen_rerank.fitting.judged_pairs import JudgedPairs
from gen_rerank.fitting.separation import Separation, separation
from gen_rerank.fitting.steps import StepChoice, choose_step
from gen_rerank.fitting.thresholds import TierChoice, all_promises, choose_thresholds

LEARNED = "the model was trained on these queries, and knows them better than any to come"
BEFORE, AFTER, HELD_OUT = "before", "after", "after, on held-out queries"


@dataclass(frozen=True, eq=False)
class CalibrationSlice:
    """The queries that carry one tag.

    Attributes:
        queries: how many.
        figures: means with intervals, by name; those that are not defined are left out.
    """

    queries: int
    figures: dict[str, Interval]


@dataclass(frozen=True, eq=False)
class CalibrationFit:
    """A calibration, and what was seen of it.

    Attributes:
        calibration: for the card.
        choice: temperature and map, and why.
        tiers: what was promised of each tier; empty where thresholds were set by hand.
        figures: by tier, what it does for the queries that it was fitted on.
        held_out: by tier, what it does for queries that had no part in temperature, map and threshold; None where all
            queries lie in one fold.
        separations: by tier, how far apart good and bad products lie.
        evaluations: before, after, and after on held-out queries, in this order; the last only with several folds.
        covered: the share of labels within the 80% intervals, before and after.
        slices: by tag, in alphabetical order.
        pairs: what it was fitted on.
        after: what the calibration makes of each pair.
    """

    calibration: Calibration
    choice: StepChoice
    tiers: dict[Tier, TierChoice]
    figures: dict[Tier, TierFigures]
    held_out: dict[Tier, TierFigures] | None
    separations: tuple[Separation, ...]
    evaluations: tuple[Evaluation, ...]
    covered: tuple[Interval, Interval]
    slices: dict[str, CalibrationSlice]
    pairs: JudgedPairs
    after: Distribution

    @property
    def ranking_change(self) -> Interval | None:
        """The headline measure after − before: a temperature may change the order of close products, a map does not.

        None where no query can be ranked.
        """
        return difference(self.evaluations[1], self.evaluations[0]).get(HEADLINE)

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        change = self.ranking_change
        return {
            "calibration": self.calibration.model_dump(mode="json"),
            "step": self.choice.step,
            "steps_tried": [
                {"step": one.step, "against": one.against, RPS: one.rps.to_json(), MSE: one.mse.to_json()}
                for one in self.choice.trials
            ],
            f"{HEADLINE}_change": None if change is None else change.to_json(),
            "measures": {
                one.name: {name: row.to_json() for name, row in {**one.ranking, **one.calibrated}.items()}
                for one in self.evaluations
            },
            "reliability": {one.name: [row._asdict() for row in one.reliability] for one in self.evaluations},
            "coverage_of_80%_intervals": {
                name: row.to_json() for name, row in zip((BEFORE, AFTER), self.covered, strict=True)
            },
            "tiers": {tier: self._tier_json(tier) for tier in THRESHOLDS},
            "separation": {one.tier: one.to_json() for one in self.separations},
            "slices": {
                tag: {"queries": row.queries, **{name: found.to_json() for name, found in row.figures.items()}}
                for tag, row in self.slices.items()
            },
        }

    def _tier_json(self, tier: Tier) -> dict[str, Any]:
        choice = self.tiers.get(tier)
        promised = {} if choice is None else {**choice.record.model_dump(mode="json"), "reason": choice.reason}
        return {
            "threshold": self.calibration.thresholds[tier],
            **promised,
            "fitted": self.figures[tier].to_json(),
            "held_out": None if self.held_out is None else self.held_out[tier].to_json(),
        }


def fit_calibration(
    judged: Dataset,
    logits: npt.ArrayLike,
    readout: Readout,
    before: Calibration | None = None,
    *,
    promises: Sequence[str | Promise] = (),
    by_hand: Mapping[str, float] | None = None,
    model: str | None = None,
    split: str = "validation",
    learned: bool = False,
    doubt: str = "",
    seed: int = 0,
) -> CalibrationFit:
    """Return the calibration that judged queries speak for.

    Args:
        judged: the queries, which neither trained the model nor test it.
        logits: `[n, k]`, one row a judgment, on which no calibration has acted.
        readout: of the card: what each column is worth.
        before: the calibration as it was; none by default.
        promises: such as `exact: wrong <= 5%`; a tier of which nothing is promised gets the usual promise.
        by_hand: both thresholds, set instead of promised.
        model: the fingerprint of what gave the logits, for the card.
        split: the name of what `judged` is, for the card.
        learned: whether the model was trained on these queries; then nothing is promised.
        doubt: why nothing can be promised on these queries for another reason; empty where something can.
        seed: of folds and intervals.

    Raises:
        BadInput: no judgments, logits that do not fit or are not finite, a promise that is none, thresholds that are
            no tiers, or both promises and thresholds.

    Example:
        >>> scorer = Reranker.load("runs/model").scorer  # doctest: +SKIP
        >>> judged = Dataset.load("shop").of("validation")  # doctest: +SKIP
        >>> logits = scorer.pair_logits([judged.pair(row) for row in judged.judgments])  # doctest: +SKIP
        >>> fit_calibration(judged, logits, scorer.checkpoint.card.readout).calibration.thresholds  # doctest: +SKIP
        {'exact': 0.712, 'close': 0.455}
    """
    wanted = wanted_promises(promises, by_hand)
    pairs = JudgedPairs.of(judged, logits, readout.values, seed=seed)
    choice = choose_step(pairs, before or Calibration())
    after = pairs.read(choice.calibration)
    doubt = LEARNED if learned else doubt
    tiers = {} if by_hand is not None else _promised(pairs, after, wanted, doubt)
    thresholds = {str(tier): tiers[tier].threshold if by_hand is None else by_hand[tier] for tier in THRESHOLDS}
    source = CalibrationSource(
        data=judged.fingerprint, split=split, queries=pairs.count, pairs=len(pairs.relevance), model=model
    )
    promised = {tier: one.record for tier, one in tiers.items()}
    update = {"thresholds": thresholds, "promises": promised, "source": source, "histogram": score_histogram(after)}
    old = pairs.read(before or Calibration())
    figures = tier_figures(after.mean, pairs.relevance, pairs.queries, thresholds)
    read = {BEFORE: old, AFTER: after} | ({} if choice.held_out is None else {HELD_OUT: choice.held_out})
    evaluations = tuple(evaluate(name, judged, found, seed=seed) for name, found in read.items())
    return CalibrationFit(
        calibration=choice.calibration.model_copy(update=update),
        choice=choice,
        tiers=tiers,
        figures=figures,
        held_out=_held_out(pairs, choice, wanted, by_hand),
        separations=_separations(pairs, after, seed),
        evaluations=evaluations,
        covered=(_known(coverage(pairs, old)), _known(coverage(pairs, after))),
        slices=_slices(judged, evaluations[1], figures, coverage(pairs, after)),
        pairs=pairs,
        after=after,
    )


def wanted_promises(promises: Sequence[str | Promise], by_hand: Mapping[str, float] | None) -> dict[Tier, Promise]:
    """Return one promise a tier, of which nothing comes where thresholds are set by hand.

    Raises:
        BadInput: both are given, a promise is none, two are about one tier, or the thresholds are no tiers.
    """
    if promises and by_hand is not None:
        raise BadInput("thresholds are promised or set by hand, not both: leave --promise or --set out")
    if by_hand is not None:
        _check_thresholds(by_hand)
    return all_promises(promises)


def _check_thresholds(thresholds: Mapping[str, float]) -> None:
    """Refuse thresholds that make no tiers.

    Raises:
        BadInput: one is missing, is no tier's or no score, or exact begins below close.
    """
    for name, value in thresholds.items():
        if name not in THRESHOLDS:
            raise BadInput(f"{name}={value:g}: thresholds are of exact and close; write --set exact=0.85 close=0.5")
        if not 0 <= value <= 1:
            raise BadInput(f"{name}={value:g}: a threshold is a score between 0 and 1")
    missing = [name for name in THRESHOLDS if name not in thresholds]
    if missing:
        raise BadInput(f"tiers need both thresholds, {missing[0]} is missing; write --set exact=0.85 close=0.5")
    if thresholds["exact"] < thresholds["close"]:
        raise BadInput(f"exact={thresholds['exact']:g} would begin below close={thresholds['close']:g}")


def _promised(
    pairs: JudgedPairs, after: Distribution, promises: Mapping[Tier, Promise], doubt: str
) -> dict[Tier, TierChoice]:
    """Return where tiers begin; where there is a doubt, nothing is promised."""
    tiers = choose_thresholds(after.mean, pairs.relevance, pairs.queries, promises)
    if not doubt:
        return tiers
    return {tier: replace(one, kept=False, reason=one.reason or doubt) for tier, one in tiers.items()}


def _separations(pairs: JudgedPairs, after: Distribution, seed: int) -> tuple[Separation, ...]:
    return tuple(separation(tier, after.mean, pairs.relevance, pairs.queries, seed=seed) for tier in THRESHOLDS)


def _held_out(
    pairs: JudgedPairs, choice: StepChoice, promises: Mapping[Tier, Promise], by_hand: Mapping[str, float] | None
) -> dict[Tier, TierFigures] | None:
    """Return what tiers do for queries that had no part in them: all is fitted without their fold."""
    if not choice.by_fold:
        return None
    parts: list[dict[Tier, TierFigures]] = []
    places = []
    for fold, calibration in choice.by_fold.items():
        held, rest = pairs.chosen(pairs.folds == fold), pairs.chosen(pairs.folds != fold)
        if by_hand is None:
            found = choose_thresholds(rest.read(calibration).mean, rest.relevance, rest.queries, promises)
            thresholds = {str(tier): one.threshold for tier, one in found.items()}
        else:
            thresholds = dict(by_hand)
        parts.append(tier_figures(held.read(calibration).mean, held.relevance, held.queries, thresholds))
        places.append(np.unique(pairs.queries[pairs.folds == fold]))
    back = np.argsort(np.concatenate(places))

    def joined(tier: Tier, name: str) -> Doubles:
        """Return one figure of all queries, in their order."""
        found: Doubles = np.concatenate([getattr(part[tier], name) for part in parts])[back]
        return found

    return {
        tier: TierFigures(joined(tier, "wrong"), joined(tier, "missed"), joined(tier, "shown")) for tier in THRESHOLDS
    }


def _slices(
    judged: Dataset, after: Evaluation, figures: Mapping[Tier, TierFigures], covered: Doubles
) -> dict[str, CalibrationSlice]:
    """Return what tiers do for the queries of each tag."""
    members: dict[str, list[int]] = {}
    for place, query_id in enumerate(after.query_ids):
        for tag in dict.fromkeys(judged.queries[query_id].tags):
            members.setdefault(tag, []).append(place)
    found = {}
    for tag, rows in sorted(members.items()):
        columns = {RPS: after.per_query[RPS], "coverage": covered}
        for tier, one in figures.items():
            columns |= {
                f"{tier}: wrong": one.wrong,
                f"{tier}: missed": one.missed,
                f"{tier}: shows nothing": one.silent,
            }
        means = {name: mean_of(values[rows]) for name, values in columns.items()}
        found[tag] = CalibrationSlice(len(rows), {name: one for name, one in means.items() if one is not None})
    return found


def _known(values: Doubles) -> Interval:
    found = mean_of(values)
    assert found is not None, "every query has a pair, and every pair a label"
    return found
