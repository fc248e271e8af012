from dataclasses import replace

import pytest

from train.charts import sigma_chart, training_charts


def test_charts_hold_the_logged_values(run):
    loss, ndcg, rps = training_charts(run)
    assert [line.points for line in loss.lines] == [((10, 1.25), (30, 0.5)), ((20, 0.875), (40, 0.625))]
    assert ndcg.lines[0].points == ((20, 0.75), (40, 0.8125))
    assert rps.lines[0].points == ((20, 0.125), (40, 0.0625))
    assert loss.x.ticks == (0, 10, 20, 30, 40)


def test_the_sigma_chart_holds_curves_and_marks(run):
    chart = sigma_chart(run)
    targets, labels = (dict(line.points) for line in chart.lines)
    assert targets[0.5] == pytest.approx(0.13)
    assert labels[0.5] == pytest.approx(run.fitted.label_std([0.5])[0])
    assert [(mark.x, mark.y, mark.error, mark.weight) for mark in chart.marks][1:] == [
        (0.5, 0.125, 0.02, 1.0),
        (1.0, 0.05, 0.0, 12 / 84),
    ]
    assert sigma_chart(replace(run, noise=None, fitted=None, disagreement=())) is None
