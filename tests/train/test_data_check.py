"""The data check: counts that can be done by hand, and one sentence for each problem that a data set can have."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from train.data_check import Annotators, DataSummary, check, summary_table


def shop(queries: list[Query], judgments: list[Judgment], **titles: str) -> Dataset:
    """Return a data set with the products a, b, c … of their own titles, or those given."""
    names = {row.product_id: row.product_id for row in judgments} | titles
    products = {key: Product(product_id=key, title=title) for key, title in names.items()}
    return Dataset(products, {row.query_id: row for row in queries}, tuple(judgments))


def query(name: str, split: str = "train", text: str = "") -> Query:
    return Query(query_id=name, text=text or f"text of {name}", split=split)


def judgment(query_id: str, product_id: str, relevance: float, labels: tuple[float, ...] = ()) -> Judgment:
    return Judgment(query_id=query_id, product_id=product_id, relevance=relevance, labels=labels)


GOOD = [
    judgment("t", "a", 1.0),
    judgment("t", "b", 0.0),
    judgment("v", "a", 0.0),
    judgment("v", "b", 1.0),
]
GOOD_QUERIES = [query("t"), query("v", "validation")]


def test_counts_of_the_tiny_shop(tiny_shop):
    summary = check(tiny_shop)
    assert summary.products == 64
    assert {name: split.queries for name, split in summary.splits.items()} == {"train": 12, "validation": 4, "test": 8}
    # 15 products share a word with each query: one both (1.0), seven its colour (0.2), seven its thing (0.5).
    train = summary.splits["train"]
    assert train.judgments == 12 * 15
    assert train.histogram == (0, 0, 84, 0, 0, 84, 0, 0, 0, 0, 12)
    assert train.products == len({row.product_id for row in tiny_shop.of("train").judgments})
    assert summary.annotators == Annotators(3, 3.0, 3)
    assert summary.problems == ()


def test_a_relevance_between_two_bins_counts_for_the_upper():
    values = [0.04, 0.05, 0.15, 0.25, 0.35, 0.94, 0.95]
    rows = [judgment("t", f"p{i}", value) for i, value in enumerate(values)]
    assert check(shop([query("t")], rows)).splits["train"].histogram == (1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1)


def test_annotators_are_fewest_median_most():
    labels = [(), (0.5,), (0.5, 0.5), (0.4, 0.5, 0.6)]
    rows = [judgment("t", f"p{i}", 0.5, given) for i, given in enumerate(labels)]
    assert check(shop([query("t")], rows)).annotators == Annotators(0, 1.5, 3)


def test_good_data_have_no_problem():
    assert check(shop(GOOD_QUERIES, GOOD)).problems == ()


@pytest.mark.parametrize(
    ("queries", "judgments", "titles", "sentence"),
    [
        (
            [query("w", "test", "Text  of T ")],
            [],
            {},
            "1 query text is in more than one split, so what is measured there was partly learned: "
            "“text of t” (t: train, w: test)",
        ),
        (
            [query("w")],
            [judgment("w", "a", 0.5), judgment("w", "b", 0.5)],
            {},
            "1 query has one relevance for all judged products, so nothing to rank: w (all 0.5)",
        ),
        ([query("w")], [judgment("w", "a", 0.5)], {}, "1 query has a single judgment, so nothing to rank: w"),
        (
            [query("w", text="TEXT of t")],
            [judgment("w", "a", 0.3), judgment("w", "b", 0.0)],
            {},
            "1 pair is judged again under another query or product id, with another relevance: "
            "“text of t” × a (0.3 to 1)",
        ),
        (
            [],
            [judgment("v", "c", 0.4)],
            {"c": "a"},
            "1 pair is judged again under another query or product id, with another relevance: "
            "“text of v” × a (0 to 0.4)",
        ),
        (
            [query("w", "test"), query("x", "test")],
            [judgment(q, p, 0.7) for q in "wx" for p in "ab"],
            {},
            "1 split has a single relevance for everything, so nothing to learn or measure: test (all 0.7)",
        ),
        (
            [],
            [judgment("t", "c", 0.9, (0.5, 0.6)), judgment("t", "d", 0.9, (0.5, 0.7))],
            {},
            "1 judgment has labels whose mean is more than 0.3 from the relevance: t × c (relevance 0.9, mean 0.55)",
        ),
    ],
)
def test_a_problem_is_one_sentence_with_its_example(queries, judgments, titles, sentence):
    problems = check(shop([*GOOD_QUERIES, *queries], [*GOOD, *judgments], **titles)).problems
    assert sentence in problems
    assert all("\n" not in problem for problem in problems)


def test_the_same_judgment_twice_is_no_contradiction():
    again = [judgment("w", "a", 1.0), judgment("w", "b", 0.0)]
    assert check(shop([*GOOD_QUERIES, query("w", text="text of t")], [*GOOD, *again])).problems == ()


def test_products_that_differ_in_anything_but_the_id_are_two():
    data = shop(GOOD_QUERIES, [*GOOD, judgment("t", "c", 0.4)], c="a")
    data.products["c"] = Product(product_id="c", title="a", price=3.0)
    assert check(data).problems == ()


def test_no_validation_queries():
    (problem,) = check(shop([query("t"), query("v", "test")], GOOD)).problems
    assert problem.startswith("no validation query has a judgment")


def test_many_examples_are_counted():
    queries = [query(f"w{i}") for i in range(7)]
    rows = [judgment(row.query_id, "a", i / 10) for i, row in enumerate(queries)]
    problems = check(shop([*GOOD_QUERIES, *queries], [*GOOD, *rows])).problems
    assert problems == ("7 queries have a single judgment, so nothing to rank: w0, w1, w2 and 4 more",)


def test_nothing_judged_is_refused():
    with pytest.raises(BadInput, match="nothing to train on"):
        check(shop([query("t")], []))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 10)), min_size=1, max_size=40))
def test_contradictions_are_those_of_a_plain_search(rows):
    pairs = {(q, p): grade for q, p, grade in rows}  # no pair is judged twice under the same ids
    queries = [query(f"q{i}", text=f"text {i % 3}") for i in range(6)]
    titles = {f"p{i}": f"title {i % 2}" for i in range(6)}
    judgments = [judgment(f"q{q}", f"p{p}", grade / 10) for (q, p), grade in pairs.items()]
    found = [text for text in check(shop(queries, judgments, **titles)).problems if "judged again" in text]
    grades: dict[tuple[int, int], set[int]] = {}
    for (q, p), grade in pairs.items():
        grades.setdefault((q % 3, p % 2), set()).add(grade)
    wanted = sum(len(values) > 1 for values in grades.values())
    assert [int(text.split()[0]) for text in found] == ([wanted] if wanted else [])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("tv"), st.floats(0, 1)), min_size=1, max_size=30))
def test_histograms_count_every_judgment_once(rows):
    judgments = [judgment(name, f"p{i}", value) for i, (name, value) in enumerate(rows)]
    splits = check(shop(GOOD_QUERIES, judgments)).splits
    for name, split in (("t", "train"), ("v", "validation")):
        count = sum(given == name for given, _ in rows)
        assert sum(splits[split].histogram) == splits[split].judgments == count
    assert splits["test"].judgments == 0


def test_json_and_back(tiny_shop):
    summary = check(tiny_shop.of("train"))
    assert summary.problems
    assert DataSummary.from_json(summary.to_json()) == summary
    with pytest.raises(BadInput, match="not a data summary: KeyError"):
        DataSummary.from_json({"products": 3})


def test_the_table_shows_counts_and_problems(tiny_shop):
    out = io.StringIO()
    odd = shop([*GOOD_QUERIES, query("[red]w")], [*GOOD, judgment("[red]w", "a", 0.5)])
    for summary in (check(tiny_shop), check(odd)):
        Console(file=out, width=200).print(summary_table(summary))
    text = out.getvalue()
    assert re.search(r"train +│ +12 │ +180 │ +\d+ │   █  █    ▁ *│", text)
    assert "labels a judgment: 3 to 3, median 3" in text
    assert "labels a judgment: none" in text
    assert "! 1 query has a single judgment, so nothing to rank: [red]w" in text
