"""Drawings that pages share: every curve, mark and bin is in the SVG, at its place."""

from __future__ import annotations

import re
from types import SimpleNamespace

from gen_rerank.evaluation.metrics import ReliabilityBin
from gen_rerank.reporting.axis import Axis
from gen_rerank.reporting.numbers import figure
from gen_rerank.reporting.pages import environment
from gen_rerank.reporting.plots import Chart, Line, Mark


def drawn(macro: str, *arguments: object) -> str:
    template = environment("gen_rerank.demo", "reporting/plots.html", figure).get_template("reporting/plots.html")
    return str(getattr(template.module, macro)(*arguments))


def test_a_chart_shows_its_lines_and_marks() -> None:
    chart = Chart(
        title="Loss <b>",
        x=Axis.over((0, 10)),
        y=Axis.over((0, 1)),
        x_name="step",
        lines=(Line("training", ((0.0, 1.0), (10.0, 0.0))),),
        marks=(Mark(5.0, 0.5, 0.1, 1.0, "a mark"),),
    )
    svg = drawn("chart", chart, "c")
    assert "Loss &lt;b&gt;" in svg
    assert "44.0,12.0 328.0,176.0" in svg  # from the upper left corner of the plot to the lower right one
    assert 'cx="186.0" cy="94.0"' in svg
    assert "a mark" in svg


def test_a_reliability_diagram_shows_every_bin() -> None:
    bins = [ReliabilityBin(0.0, 0.1, 30, 0.05, 0.2), ReliabilityBin(0.9, 1.0, 10, 0.95, 0.9)]
    svg = drawn("reliability", SimpleNamespace(name="ours", reliability=bins, calibration=None), "r")
    assert "score 0.050, relevance 0.200, 30 pairs" in svg
    assert re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg) == [("45.0", "186.0"), ("243.0", "32.0")]
