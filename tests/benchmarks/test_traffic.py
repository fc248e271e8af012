"""Made-up requests have exactly their tokens; a row has as many as it should, and few latencies have percentiles."""

from __future__ import annotations

from harness.timing import enough, percentiles
from harness.traffic import RequestMaker, Settings

SETTINGS = Settings("nano")


def test_texts_have_exactly_their_tokens(nano):
    pairs = RequestMaker(nano.tokenizer, SETTINGS, seed=0).fresh()
    assert len(pairs) == 64
    assert len({pair.query for pair in pairs}) == 1
    counts = [len(nano.tokenizer.encode(pair.product.title, add_special_tokens=False).ids) for pair in pairs]
    assert counts == [200] * 64
    assert len(nano.tokenizer.encode(pairs[0].query, add_special_tokens=False).ids) == 24
    assert not any(nano.prompt.prepare(pairs).cut)
    assert {len(ids) for ids in nano.prompt.encode(pairs)} == {200 + 24 + 30}


def test_a_row_ends_when_it_should():
    settings = Settings("nano", requests=5, seconds=10.0)
    measured = ((1, 99.0), (2, 9.0), (2, 10.0), (5, 0.0))
    assert [enough(*each, settings) for each in measured] == [False, False, True, True]


def test_percentiles_by_hand():
    assert percentiles([float(k) for k in range(1, 101)]) == [50.5, 95.0, 99.0]
    assert percentiles([3.0, 1.0]) == [2.0, 3.0, 3.0]
