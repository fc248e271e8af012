"""The page and the tables of a calibration say what was found, also where little was."""

from __future__ import annotations

import re
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from gen_rerank import Dataset
from gen_rerank.checkpoints.card import Readout
from gen_rerank.fitting.fit import CalibrationFit, fit_calibration
from gen_rerank.fitting.pages import calibration_page, risk_chart, scores_chart
from gen_rerank.fitting.tables import shown_fit

BINS = Readout.classifier()


def printed(fit: CalibrationFit, *, slices: bool = False) -> str:
    console = Console(file=StringIO(), width=200)
    for part in shown_fit(fit, slices=slices):
        console.print(part, soft_wrap=isinstance(part, str))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def promised(made) -> CalibrationFit:
    return fit_calibration(*made(200, sharpness=3.0), BINS, promises=["exact: wrong <= 20%"])


def test_a_page_shows_promises_charts_and_slices(promised: CalibrationFit) -> None:
    page = calibration_page("runs/<model>", promised, ["A remark & more."])
    assert "runs/&lt;model&gt;" in page
    assert "A remark &amp; more." in page
    assert "exact: wrong &lt;= 20%, promised at 90%" in page
    assert page.count("<svg") == 4 + len(promised.evaluations), "two of losses, two of scores, the reliability diagrams"
    assert "dashed line is the limit" in page
    assert all(f"<td>{tag}</td>" in page for tag in ("even", "odd"))
    assert not re.search(r"\bnan\b", page)


def test_the_risk_chart_has_the_promise_and_the_threshold(promised: CalibrationFit) -> None:
    chart = risk_chart(promised, "exact")
    seen, bound, promise = chart.lines
    assert promise.points == ((0.0, 0.2), (1.0, 0.2))
    assert all(low[1] <= high[1] for low, high in zip(seen.points, bound.points, strict=True))
    (mark,) = chart.marks
    assert (mark.x, mark.y) == (promised.calibration.thresholds["exact"], promised.figures["exact"].wrong.mean())
    good, bad = scores_chart(promised.separations[0]).lines
    assert sum(share for _, share in good.points) == pytest.approx(1)
    assert sum(share for _, share in bad.points) == pytest.approx(1)


def test_tables_say_what_was_done_and_why(promised: CalibrationFit) -> None:
    said = printed(promised, slices=True)
    assert "Temperature 2.88; nDCG@5 changes by" in said
    assert "with a temperature, against the scores as they were: RPS -0." in said
    assert "yes: at most" in said
    assert "By slice" in said
    assert "clean separation" in said


def test_what_cannot_be_promised_says_why_on_both(made) -> None:
    shop, logits = made(10)
    rows = tuple(row.model_copy(update={"relevance": min(row.relevance, 0.4)}) for row in shop.judgments)
    fit = fit_calibration(Dataset(shop.products, shop.queries, rows), logits, BINS)
    reason = "close: not promised: no query has a product with a relevance of 0.5 or more"
    for said in (calibration_page("model", fit), printed(fit)):
        assert reason in said
    assert calibration_page("model", fit).count("risk2-title") == 0, "nothing can be missed, so nothing is drawn"


def test_thresholds_by_hand_promise_nothing(made) -> None:
    fit = fit_calibration(*made(10), BINS, by_hand={"exact": 0.8, "close": 0.5})
    assert "set by hand; nothing is promised" in calibration_page("model", fit)
    assert "thresholds set by hand: nothing is promised" in printed(fit)
    assert "usual promise: 0.05" in calibration_page("model", fit)


def test_one_query_has_a_page(made) -> None:
    fit = fit_calibration(*made(1), BINS)
    assert "one query cannot be held out" in printed(fit)
    assert "not promised" in calibration_page("model", fit)
    assert np.isfinite([one.mean for one in fit.covered]).all()
