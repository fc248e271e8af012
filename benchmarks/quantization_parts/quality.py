"""The table of quality: each candidate's figures as means over the trainings, and which gates it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from gen_rerank.evaluation.evaluation import ECE, HEADLINE, RPS
from gen_rerank.reporting.markdown import table
from harness.this_run import ThisRun
from quant.comparison import Candidate, Comparison

HEADER = (
    "Candidate",
    "Disk",
    HEADLINE,
    f"Δ{HEADLINE}",
    "RPS",
    "ECE",
    "mean abs. Δscore",
    "tier flips",
    "Kendall τ",
    "passes",
)


@dataclass(frozen=True)
class OverSeeds:
    """A figure of several trainings, of which there may be few: the mean with Student's 95% interval over the seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return float(np.mean(self.values))

    @property
    def half_width(self) -> float:
        """Half of the interval; not a number for a single seed."""
        n = len(self.values)
        return float(student.ppf(0.975, n - 1) * np.std(self.values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")

    def shown(self, form: str = ".4f") -> str:
        """Return `mean ± half width`."""
        return f"{self.mean:{form}} ± {self.half_width:{form.lstrip('+')}}"


def over_seeds(
    comparisons: Sequence[Comparison], name: str, figure: Callable[[Comparison, Candidate], float]
) -> OverSeeds:
    """Return a figure of the candidate of this name in each comparison."""
    found = []
    for comparison in comparisons:
        found += [figure(comparison, one) for one in comparison.candidates if one.name == name]
    return OverSeeds(tuple(found))


def measure_of(candidate: Candidate, measure: str) -> float:
    """Return a measure of a candidate that was scored."""
    assert candidate.quality is not None, candidate.refused
    return candidate.quality.measures[measure].mean


def drift_of(candidate: Candidate, figure: str) -> float:
    """Return a figure of the drift of a candidate that was scored."""
    assert candidate.drift is not None, candidate.refused
    return float(getattr(candidate.drift, figure))


def quality_rows(comparisons: Sequence[Comparison]) -> Iterable[list[str]]:
    """Yield one row a candidate, under one of the reference."""
    references = [comparison.reference for comparison in comparisons]

    def of_reference(measure: str) -> OverSeeds:
        return OverSeeds(tuple(one.quality.measures[measure].mean for one in references if one.quality is not None))

    disk = OverSeeds(tuple(float(one.disk_bytes) for one in references))
    ndcg, rps, ece = (f"{of_reference(measure).mean:.4f}" for measure in (HEADLINE, RPS, ECE))
    yield ["reference", "1.00", ndcg, "", rps, ece, "", "", "", ""]
    for candidate in comparisons[0].candidates:
        name = candidate.name

        def of(
            figure: Callable[[Comparison, Candidate], float],
            name: str = name,
        ) -> OverSeeds:
            return over_seeds(comparisons, name, figure)

        passed = sum(one.passed for comparison in comparisons for one in comparison.candidates if one.name == name)
        yield [
            name,
            f"{of(lambda _, c: c.disk_bytes).mean / disk.mean:.2f}",
            f"{of(lambda _, c: measure_of(c, HEADLINE)).mean:.4f}",
            of(lambda _, c: c.delta[HEADLINE].mean).shown("+.4f"),
            f"{of(lambda _, c: measure_of(c, RPS)).mean:.4f}",
            f"{of(lambda _, c: measure_of(c, ECE)).mean:.4f}",
            f"{of(lambda _, c: drift_of(c, 'mean_change')).mean:.4f}",
            f"{100 * of(lambda _, c: drift_of(c, 'tier_flips')).mean:.2f}%",
            f"{of(lambda _, c: drift_of(c, 'kendall_tau')).mean:.3f}",
            f"{passed} of {len(comparisons)}",
        ]


def gates_rows(comparisons: Sequence[Comparison]) -> Iterable[list[str]]:
    """Yield which gates each candidate failed, and by how many of the seeds."""
    for candidate in comparisons[0].candidates:
        failed: dict[str, int] = {}
        for comparison in comparisons:
            for one in comparison.candidates:
                if one.name == candidate.name:
                    for verdict in one.failures:
                        failed[verdict.gate] = failed.get(verdict.gate, 0) + 1
        yield [candidate.name, ", ".join(f"{gate} ({count})" for gate, count in failed.items()) or "none"]


def quality_document(comparisons: Sequence[Comparison]) -> str:
    """Return the tables as Markdown."""
    about, first = ThisRun.now(), comparisons[0]
    queries = f"{first.queries} test queries, {first.pairs:,} pairs, {len(comparisons)} trainings"
    return (
        "\n\n".join(
            [
                f"{about.line()}; {queries}; ± is Student's 95% interval over the trainings.",
                table(HEADER, quality_rows(comparisons)),
                table(["Candidate", "gates failed (by how many trainings)"], gates_rows(comparisons)),
            ]
        )
        + "\n"
    )
