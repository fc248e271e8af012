"""What the page of a run draws: curves over steps, and the width of the targets over the annotators' disagreement."""

from __future__ import annotations

import numpy as np

from gen_rerank.evaluation.evaluation import HEADLINE, RPS
from gen_rerank.reporting.axis import Axis
from gen_rerank.reporting.plots import Chart, Line, Mark
from train.training_run import TrainingRun

# Whose figures a trainer logs on the way, by the prefix of their names.
_MEASURED_ON = {"validation": "", "held-out training queries": "held_out_"}


def training_charts(run: TrainingRun) -> list[Chart]:
    """Return charts over steps of what the trainer logged: loss, headline measure, RPS; none for what it did not.

    A single point is no curve: what was measured at the end alone stands in the table.
    """
    kinds = {"Loss": (("training", "loss"), *((where, f"eval_{key}loss") for where, key in _MEASURED_ON.items()))}
    for where, key in _MEASURED_ON.items():
        kinds |= {f"{name}, {where}": ((where, f"eval_{key}{name.lower()}"),) for name in (HEADLINE, RPS)}
    charts = []
    for title, curves in kinds.items():
        lines = tuple(
            Line(f"{name}, last {points[-1][1]:.4g}", points)
            for name, key in curves
            if len(points := run.curve(key)) > 1
        )
        if lines:
            steps, values = zip(*(point for line in lines for point in line.points), strict=True)
            charts.append(Chart(title, Axis.over((0, *steps)), Axis.over(values), "step", lines))
    return charts


def sigma_chart(run: TrainingRun) -> Chart | None:
    """Return σ(y), where the run used one, over the annotators' disagreement, where it is known; None without either.

    With a fitted σ there is a second curve, the spread of labels that it implies: hold the marks against that one.
    """
    y = np.linspace(0.0, 1.0, 201)
    curves = [] if run.noise is None else [("σ(y), width of the targets", run.noise.sigma(y))]
    if run.fitted is not None:
        curves.append(("labels, as fitted", run.fitted.label_std(y)))
    lines = tuple(Line(name, tuple(zip(y.tolist(), values.tolist(), strict=True))) for name, values in curves)
    most = max((level.pairs for level in run.disagreement), default=1)
    marks = tuple(
        Mark(
            level.level,
            level.std,
            level.standard_error,
            level.pairs / most,
            f"label {level.level:.2f}: {level.std:.3f} ± {level.standard_error:.3f}, {level.pairs:,} pairs",
        )
        for level in run.disagreement
    )
    heights = [height for line in lines for _, height in line.points] + [mark.y + mark.error for mark in marks]
    if not heights:
        return None
    return Chart("Width of the targets", Axis.over((0.0, 1.0)), Axis.over((0.0, *heights)), "label y", lines, marks)
