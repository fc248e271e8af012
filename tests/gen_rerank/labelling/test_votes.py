"""Aggregates, agreement and drift on votes that one can count by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gen_rerank import BadInput, Dataset, Pair, Product
from gen_rerank.labelling.aggregation import aggregated, calibrated, dawid_skene
from gen_rerank.labelling.agreement import by_slice, drifts, of_all, of_two, ordinal_alpha, with_people, without_one
from gen_rerank.labelling.journal import JudgedPair
from gen_rerank.labelling.judges import Judge
from gen_rerank.labelling.people import trusted_of, uncertainty
from gen_rerank.labelling.rubrics import read_rubric
from gen_rerank.labelling.votes import JudgeAccount, Votes, VoteTable

NAN = float("nan")


def votes_of(table: Sequence[Sequence[float]] | VoteTable, probabilities=None) -> Votes:
    """Votes on pairs of which each has a query of its own, in the order in which they came."""
    rows = np.array(table, dtype=np.float64)
    rubric = read_rubric("shopper")
    judges = tuple(Judge(f"judge{i}", "http://x/v1", "m", rubric) for i in range(rows.shape[1]))
    pairs = tuple(
        JudgedPair(f"q{i}", "p", Pair(f"query {i}", Product(product_id="p", title="desk"))) for i in range(len(rows))
    )
    order = np.arange(rows.size).reshape(rows.shape)
    accounts = tuple(JudgeAccount(judge, len(rows), 0, {}, 0, 0) for judge in judges)
    return Votes(pairs, judges, rows, order, probabilities or {}, accounts)


def test_the_mean_leaves_gaps_out():
    found = aggregated(votes_of([[0.5, 1.0], [NAN, 0.25]]), "mean", {})
    assert found.relevance.tolist() == [0.75, 0.25]
    with pytest.raises(BadInput, match="choose mean, dawid-skene, calibrated"):
        aggregated(votes_of([[0.5]]), "vote", {})


def test_dawid_and_skene_hear_the_judges_who_agree_more():
    """Two judges know the truth, one always says the opposite: the mean is far off, the estimate is not."""
    truth = np.array([0.0, 1.0] * 20)
    table = np.stack([truth, truth, truth, 1 - truth], axis=1)
    assert dawid_skene(table) == pytest.approx(truth, abs=0.05)
    table[0, 1] = NAN
    assert dawid_skene(table)[0] == pytest.approx(0.0, abs=0.05)


def test_a_calibrated_judge_gets_peoples_scale_and_a_right_one_keeps_its_own():
    truth = np.linspace(0.0, 1.0, 40)
    votes = votes_of(np.stack([truth, truth / 2], axis=1))
    found = calibrated(votes, dict(enumerate(truth.tolist())))
    assert found.labels[:, 1] == pytest.approx(truth, abs=0.06)
    mild = found.gains[1]
    assert mild.after < 0.01 < mild.before == pytest.approx(np.mean((truth / 2) ** 2))
    assert found.gains[0].before == 0.0
    assert found.labels[:, 0].tolist() == truth.tolist()
    with pytest.raises(BadInput, match="20 are needed"):
        calibrated(votes, {0: 0.5})


def test_alpha_is_krippendorffs():
    """His own example of ordinal data (four observers, twelve units) has 0.815; its grades 1 to 5 are 0.1 to 0.5."""
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
    assert ordinal_alpha(np.array(observers).T / 10) == pytest.approx(0.815, abs=0.0005)
    assert ordinal_alpha(np.array([[0.5, 0.5], [0.5, 0.5]])) is None
    assert ordinal_alpha(np.array([[0.5, NAN]])) is None


def test_agreement_of_all_by_two_by_slice_and_with_people():
    truth = np.array([0.0, 0.5, 1.0] * 8)
    votes = votes_of(np.stack([truth, truth, 1 - truth], axis=1))
    assert of_all(votes).alpha.mean < 0.3
    alike, *others = of_two(votes)
    assert (alike.name, alike.alpha.mean, alike.difference) == ("judge0 – judge1", 1.0, 0.0)
    assert all(one.alpha.mean < 0 for one in others)
    assert without_one(votes)[2].alpha.mean == 1.0
    tags = {f"q{i}": ("odd",) for i in range(1, 24, 2)}
    (odd,) = by_slice(votes, tags)
    assert (odd.name, odd.pairs) == ("odd", 12)
    people = with_people(votes, {0: 0.1, 1: 0.5, 2: 0.9}, truth)
    assert [one.pairs for one in people] == [3, 3, 3, 3]
    assert people[3].name == "all together – people"
    assert with_people(votes, {}, truth) == []


def test_drift_is_found_where_a_judge_grows_kinder():
    steady = np.full(40, 0.5)
    kinder = np.where(np.arange(40) < 20, 0.4, 0.7)
    moved = drifts(votes_of(np.stack([steady, kinder], axis=1)))[1].change
    assert moved.mean == pytest.approx(0.3)
    assert moved.low > 0
    assert drifts(votes_of([[0.5], [0.5]]))[0].change is None


def test_uncertainty_is_between_votes_and_within_distributions():
    votes = votes_of([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]], {(2, 0): (0.5, 0.0, 0.5)})
    assert uncertainty(votes).tolist() == pytest.approx([0.25, 0.0, 0.125])


def test_people_who_answered_count_before_judgments_that_are_trusted(tiny_shop: Dataset):
    votes = votes_of([[0.5], [0.5]])
    assert trusted_of(votes, tiny_shop, {("q1", "p"): [1.0, 0.5], ("elsewhere", "p"): [0.0]}) == {1: 0.75}
