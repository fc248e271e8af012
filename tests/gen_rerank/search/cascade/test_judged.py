"""Judged queries read twice: their order, their nDCG, and what is lost between bounds; all checkable by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank import BadInput, Dataset, Distribution
from gen_rerank.calibration.promises import Promise
from gen_rerank.evaluation import metrics
from gen_rerank.search.cascade.judged import CascadeLosses, TwoReadings
from gen_rerank.search.cascade.reading import Bounds, ReadingBudget

SURE = np.eye(11)


def drawn(n: int, seed: int) -> Distribution:
    return Distribution(np.random.default_rng(seed).dirichlet(np.full(11, 0.3), n))


@pytest.fixture(scope="module")
def readings(tiny_shop: Dataset) -> TwoReadings:
    n = len(tiny_shop.judgments)
    return TwoReadings.of(tiny_shop, drawn(n, 0), drawn(n, 1))


def test_queries_lie_together_and_each_judgment_keeps_its_distributions(tiny_shop: Dataset) -> None:
    rows = tiny_shop.judgments
    names = Distribution(SURE[[round(10 * row.relevance) for row in rows]])
    found = TwoReadings.of(tiny_shop, names, names)
    assert (np.diff(found.queries) >= 0).all()
    assert found.decoder.mean == pytest.approx(found.relevance, abs=0.051)
    assert found.products.sum() == len(rows)
    assert [at.stop - at.start for at in found.slices] == found.products.tolist()


def test_the_order_within_a_query_is_no_order_of_the_file(tiny_shop: Dataset, readings: TwoReadings) -> None:
    backwards = Dataset(tiny_shop.products, tiny_shop.queries, tiny_shop.judgments[::-1])
    n = len(tiny_shop.judgments)
    other = TwoReadings.of(backwards, drawn(n, 0)[np.arange(n)[::-1]], drawn(n, 1)[np.arange(n)[::-1]])
    first, last = readings.slices[0], other.slices[-1]
    assert np.array_equal(readings.relevance[first], other.relevance[last])
    assert np.array_equal(readings.encoder.mean[first], other.encoder.mean[last])


def test_ndcg_is_that_of_the_house(tiny_shop: Dataset) -> None:
    rows, n = tiny_shop.judgments, len(tiny_shop.judgments)
    scored = drawn(n, 3)
    expected = metrics.ranking(
        [row.query_id for row in rows],
        [row.product_id for row in rows],
        [row.relevance for row in rows],
        scored.mean,
    )
    found = TwoReadings.of(tiny_shop, scored, scored)
    assert found.ndcg(found.encoder.mean, 5) == pytest.approx(expected["nDCG@5"], abs=1e-6)


def test_at_the_safest_bounds_nothing_is_lost_and_at_the_loosest_the_encoder_answers(readings: TwoReadings) -> None:
    steps: list[int] = []
    found = CascadeLosses.of(readings, 5, [Bounds(0.0), Bounds(0.3), Bounds(1.0, 0.0)], advance=lambda: steps.append(1))
    assert found.lost[0] == pytest.approx(0.0, abs=1e-12)
    assert found.share[0] == pytest.approx(1.0)
    alone = readings.ndcg(readings.decoder.mean, 5) - readings.ndcg(readings.encoder.mean, 5)
    assert found.lost[2] == pytest.approx(alone, abs=1e-12)
    assert found.share[2].max() == 0
    assert 0 < found.share[1].mean() < 1
    assert found.share[1] * readings.products == pytest.approx(np.bincount(readings.queries, found.by_decoder[1]))
    assert len(steps) == 3


def test_a_budget_holds_in_each_query(readings: TwoReadings) -> None:
    found = CascadeLosses.of(readings, 5, [Bounds(0.0)], budget=ReadingBudget(pairs=3))
    assert (found.share[0] * readings.products).tolist() == pytest.approx([3.0] * len(readings.products))


def test_what_a_tier_loses_follows_from_who_has_read() -> None:
    good, bad = Distribution(SURE[[9, 9]]), Distribution(SURE[[9, 1]])
    found = TwoReadings(np.array([1.0, 0.0]), np.array([0, 0]), good, bad)
    wrong = Promise("exact", "wrong", 0.05)
    assert found.tier_loss(np.array([False, False]), wrong, 0.8).tolist() == [0.5]
    assert found.tier_loss(np.array([False, True]), wrong, 0.8).tolist() == [0.0]
    assert found.mixed(np.array([False, True])) == pytest.approx([0.9, 0.1])


def test_a_query_that_is_drawn_twice_is_two(readings: TwoReadings) -> None:
    found = readings.drawn(np.array([3, 0, 3]))
    assert found.products.tolist() == readings.products[[3, 0, 3]].tolist()
    assert np.array_equal(found.relevance[found.slices[0]], found.relevance[found.slices[2]])
    assert np.array_equal(found.encoder.mean[found.slices[1]], readings.encoder.mean[readings.slices[0]])


def test_what_does_not_fit_is_refused(tiny_shop: Dataset) -> None:
    with pytest.raises(BadInput, match=r"\d+ judgments need as many distributions, not 1"):
        TwoReadings.of(tiny_shop, drawn(1, 0), drawn(1, 0))
    nothing = Dataset(tiny_shop.products, tiny_shop.queries, ())
    with pytest.raises(BadInput, match="there are no judgments to calibrate a cascade on"):
        TwoReadings.of(nothing, drawn(0, 0), drawn(0, 0))
