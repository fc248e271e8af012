from train import nano_base


def test_the_base_never_sees_the_demos_test_split(monkeypatch):
    small = nano_base.make_sample

    def shop(seed: int):
        return small(seed, products=1200, queries=300)

    monkeypatch.setattr(nano_base, "make_sample", shop)
    monkeypatch.setattr(nano_base, "ProcessPoolExecutor", _Serial)
    merged = nano_base.shops([1, 2])
    test = shop(nano_base.DEMO_SEED).of("test")
    products = {nano_base.visible_text(test.products[row.product_id]) for row in test.judgments}
    texts = {query.text for query in test.queries.values()}
    train = merged.of("train")
    assert len(train.judgments) > 4000
    assert not any(nano_base.visible_text(train.products[row.product_id]) in products for row in train.judgments)
    assert not any(train.queries[row.query_id].text in texts for row in train.judgments)
    assert all(key.startswith(("s1-", "s2-")) for key in train.queries)


class _Serial:
    """The pool without processes, which would not see the smaller shop."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def map(self, function, items):
        return map(function, items)
