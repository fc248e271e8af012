"""The demo's report: one HTML file that needs nothing else, with its drawings as inline SVG.

All figures come from `Evaluation`s and the summary; this module only lays them out. The page is the template
`templates/report.html`; here are the few shapes that it cannot compute itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gen_rerank import __version__
from gen_rerank.bins import Distribution
from gen_rerank.calibration.tiers import Tier, tiers
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Product
from gen_rerank.evaluation.evaluation import Evaluation
from gen_rerank.evaluation.metrics import MEASURES
from gen_rerank.reporting.numbers import figure
from gen_rerank.reporting.pages import render

_SHOWN = 6


@dataclass(frozen=True)
class Shown:
    """One line of an example: a product, what the annotators' rule says, and what the model says."""

    product: Product
    relevance: float
    score: float
    std: float
    distribution: list[float]
    tier: Tier | None


def write_report(
    path: Path,
    systems: Sequence[Evaluation],
    summary: dict[str, Any],
    test: Dataset,
    scored: Distribution,
    examples: Sequence[str],
    thresholds: Mapping[str, float],
) -> None:
    """Write the report.

    Args:
        path: of the HTML file.
        systems: in the order of the table's rows.
        summary: what `summary.json` holds.
        test: the evaluated split.
        scored: the model's distributions, one a judgment of `test`.
        examples: the ids of the queries that are shown in full.
        thresholds: where the model's tiers begin; empty where it has none.
    """
    shapes = {
        "version": __version__,
        "systems": systems,
        "measures": MEASURES,
        "summary": summary,
        "reliable": [system for system in systems if system.reliability],
        "examples": [(test.queries[key], example_rows(test, scored, key, thresholds)) for key in examples],
    }
    page = render("gen_rerank.demo", "report.html", shapes, figure)
    path.write_text(page, encoding="utf-8")


def example_rows(test: Dataset, scored: Distribution, query_id: str, thresholds: Mapping[str, float]) -> list[Shown]:
    """Return the best-scored candidates of a query, best first."""
    of_pairs = tiers(scored.mean, thresholds)
    places = [i for i, row in enumerate(test.judgments) if row.query_id == query_id]
    best = sorted(places, key=lambda i: -float(scored.mean[i]))[:_SHOWN]
    return [
        Shown(
            product=test.products[test.judgments[i].product_id],
            relevance=test.judgments[i].relevance,
            score=float(scored.mean[i]),
            std=float(scored.std[i]),
            distribution=np.asarray(scored.probabilities[i], dtype=float).tolist(),
            tier=of_pairs[i],
        )
        for i in best
    ]
