"""What tiers do for queries: how many are shown wrong things, miss something or see nothing.

The thresholds are given; how they were found is not asked. A calibration measures the queries that it was fitted on,
`evaluate` a split that chose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gen_rerank.calibration.promises import Loss, Promise, TierLosses
from gen_rerank.calibration.tiers import THRESHOLDS, Tier, has_tiers
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.folds import Places, numbered
from gen_rerank.evaluation.intervals import Interval, bootstrap
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.reporting.numbers import ABSENT
from gen_rerank.reporting.tables import WideTable


@dataclass(frozen=True, eq=False)
class TierFigures:
    """What one tier does for each query.

    Attributes:
        wrong: `[queries]`, the share of shown products that are not what the tier says; 0 where nothing is shown.
        missed: `[queries]`, the share of fitting products that fall below; NaN for a query without any.
        shown: `[queries]`, how many products reach the threshold.
    """

    wrong: Doubles
    missed: Doubles
    shown: Doubles

    def loss(self, loss: Loss) -> Doubles:
        """Return one of the two, `[queries]`."""
        return self.wrong if loss == "wrong" else self.missed

    @property
    def silent(self) -> Doubles:
        """1 for each query that shows nothing in this tier or above, else 0, `[queries]`."""
        return (self.shown == 0).astype(np.float64)

    @property
    def means(self) -> dict[str, Interval | None]:
        """`wrong`, `missed` and `shows_nothing` over queries; None where no query has a say."""
        return {name: mean_of(row) for name, row in zip(_MEANS, (self.wrong, self.missed, self.silent), strict=True)}

    def to_json(self) -> dict[str, Any]:
        """Return means over queries with their intervals."""
        return {name: None if found is None else found.to_json() for name, found in self.means.items()}


_MEANS = ("wrong", "missed", "shows_nothing")


@dataclass(frozen=True, eq=False)
class ModelTiers:
    """What the tiers of a checkpoint do for the queries of a split.

    Attributes:
        calibration: where they begin, and what was promised of them.
        figures: by tier.
    """

    calibration: Calibration
    figures: dict[Tier, TierFigures]

    @classmethod
    def of(cls, judged: Dataset, scores: npt.ArrayLike, calibration: Calibration) -> ModelTiers | None:
        """Return the figures of a model's scores, one a judgment; None where its card has no tiers."""
        if not has_tiers(calibration.thresholds):
            return None
        relevance = [row.relevance for row in judged.judgments]
        queries = numbered([row.query_id for row in judged.judgments])
        return cls(calibration, tier_figures(scores, relevance, queries, calibration.thresholds))

    def promised(self, tier: Tier) -> str:
        """Return what the card says of a tier, in words; nothing where it says nothing."""
        record = self.calibration.promises.get(tier)
        if record is None:
            return ABSENT
        if not record.kept:
            return f"{record.promise} (not promised)"
        return f"{record.promise}{', broken here' if self.broken(tier) else ''}"

    def broken(self, tier: Tier) -> bool:
        """Return whether these queries lose more than was promised, beyond chance.

        They are then not like the queries that the promise was made for, or the model is another one.
        """
        record = self.calibration.promises.get(tier)
        if record is None or not record.kept:
            return False
        promise = Promise.parse(record.promise)
        found = mean_of(self.figures[tier].loss(promise.loss))
        return found is not None and found.low > promise.limit

    def to_json(self) -> dict[str, Any]:
        """Return all figures by tier."""
        return {
            tier: {
                "threshold": self.calibration.thresholds[tier],
                "promise": record.model_dump(mode="json") if (record := self.calibration.promises.get(tier)) else None,
                "broken": self.broken(tier),
                **one.to_json(),
            }
            for tier, one in self.figures.items()
        }


def tier_figures(
    scores: npt.ArrayLike, relevance: npt.ArrayLike, queries: Places, thresholds: Mapping[str, float]
) -> dict[Tier, TierFigures]:
    """Return what each tier does for each query.

    Args:
        scores: `[n]`.
        relevance: `[n]` in [0, 1].
        queries: `[n]`, the number of each product's query, from 0 on without a gap.
        thresholds: by tier, both.

    Example:
        >>> found = tier_figures([0.9, 0.6], [1.0, 0.2], np.array([0, 0]), {"exact": 0.8, "close": 0.5})
        >>> found["exact"].wrong.tolist(), found["close"].wrong.tolist()
        ([0.0], [0.5])
    """
    found: dict[Tier, TierFigures] = {}
    for tier in THRESHOLDS:
        at = TierLosses.of(tier, scores, relevance, queries, [thresholds[tier]])
        found[tier] = TierFigures(at.wrong[0], at.missed[0], at.shown[0].astype(np.float64))
    return found


def mean_of(values: Doubles) -> Interval | None:
    """Return the mean of `[queries]` values with its interval; None where none is defined."""
    return None if np.isnan(values).all() else bootstrap(values)


def model_tiers_table(found: Mapping[str, ModelTiers]) -> WideTable:
    """Return one row a model and tier: where it begins, what was promised of it, and what it does for these queries."""
    table = WideTable(
        "Tiers",
        "mean [95% bootstrap interval over queries]; wrong: of what is shown as such, the share that is not; missed: "
        "of what is as relevant, the share that falls below; broken here: beyond chance "
        "more than was promised, so these queries are not like those that it was promised for",
        ("System", "Tier"),
        ("from", "Wrong", "Missed", "Queries that show nothing", "Promise"),
        {"Promise": "left"},
    )
    for name, one in found.items():
        for tier, figures in one.figures.items():
            cells = [ABSENT if mean is None else mean.shown(".1%") for mean in figures.means.values()]
            begins = f"{one.calibration.thresholds[tier]:.3f}"
            table.add_row((name, tier), (begins, *cells, one.promised(tier)))
    return table
