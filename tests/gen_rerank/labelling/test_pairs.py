"""Which pairs are judged, in which order, and what they and a budget come to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput, Dataset, Pair, Product
from gen_rerank.labelling.answers import read_answer, request_body
from gen_rerank.labelling.budget import Budget
from gen_rerank.labelling.journal import opened
from gen_rerank.labelling.judges import Judge
from gen_rerank.labelling.pairs import PairPlan, drawn_ranks, pairs_to_judge, with_queries
from gen_rerank.labelling.rubrics import packaged_rubrics, quoted_pair, read_rubric


@given(st.integers(0, 300), st.integers(1, 40), st.text(max_size=5))
def test_ranks_are_drawn_from_all_strata(found: int, wanted: int, seed: str) -> None:
    ranks = drawn_ranks(found, wanted, seed)
    assert len(ranks) == min(found, wanted)
    assert ranks == sorted(set(ranks))
    assert all(0 <= rank < found for rank in ranks)
    if found > wanted:
        # Strata grow by one factor from rank to rank: the last begins there, and has the last rank drawn.
        assert ranks[-1] >= round((found + 1) ** ((wanted - 1) / wanted)) - 1


def test_given_pairs_come_query_by_query(tiny_shop: Dataset) -> None:
    pairs = pairs_to_judge(tiny_shop, Path("shop"), PairPlan(seed=1))
    assert len(pairs) == len(tiny_shop.judgments)
    queries = [one.query_id for one in pairs]
    assert list(dict.fromkeys(queries)) != sorted(set(queries))
    assert sum(one != two for one, two in pairwise(queries)) == len(set(queries)) - 1
    assert pairs_to_judge(tiny_shop, Path("shop"), PairPlan(seed=1)) == pairs


def test_an_index_of_other_products_is_refused(tiny_shop: Dataset, few_queries: Path, tmp_path: Path) -> None:
    from gen_rerank.search.building import build_index
    from gen_rerank.search.settings import IndexSettings

    other = {"x": Product(product_id="x", title="red desk")}
    Dataset(other, {}, ()).save(tmp_path / "other")
    build_index(tmp_path / "other", tmp_path / "index", IndexSettings())
    plan = PairPlan(2, tmp_path / "index", few_queries)
    with pytest.raises(BadInput, match="which is no product of shop"):
        pairs_to_judge(with_queries(tiny_shop, plan), Path("shop"), plan)


def test_queries_one_a_line_get_ids_and_splits_that_stay(tiny_shop: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "queries.txt"
    file.write_text("\n".join(f"query {i}" for i in range(50)), encoding="utf-8")
    first = with_queries(tiny_shop, PairPlan(queries=file)).queries
    file.write_text("\n".join(f"query {i}" for i in reversed(range(50))), encoding="utf-8")
    assert with_queries(tiny_shop, PairPlan(queries=file)).queries == first
    assert {query.split for query in first.values()} == {"train", "validation", "test"}
    file.write_text(" \n", encoding="utf-8")
    with pytest.raises(BadInput, match="write one a line"):
        with_queries(tiny_shop, PairPlan(queries=file))


def test_a_budget_has_a_unit() -> None:
    assert (Budget.read("2e6 tokens"), Budget.read("1_000 pairs")) == (Budget(2e6, "tokens"), Budget(1000, "pairs"))
    for wrong in ("5", "5 euros", "pairs", "-5 pairs", "1e6tokens please"):
        with pytest.raises(BadInput, match="write"):
            Budget.read(wrong)


@given(st.text())
def test_product_text_cannot_leave_its_quotes(text: str) -> None:
    quoted = quoted_pair(Pair("desk", Product.model_construct(product_id="p", title=text, attributes={})))
    assert not set("<>[]`\n\r") & set(quoted)
    assert quoted.startswith('{"query": "desk", "product": {')
    assert quoted.endswith("}}")


@pytest.mark.parametrize("name", packaged_rubrics())
def test_packaged_rubrics_can_be_asked(name: str) -> None:
    rubric = read_rubric(name)
    judge = Judge("a", "http://x/v1", "m", rubric)
    body = request_body(judge, Pair("desk", Product(product_id="p", title="Oak desk")), 0)
    system, user = (one["content"] for one in body["messages"])
    assert all(level in system for level in rubric.levels)
    assert user.endswith(f"where N is one of {', '.join(rubric.grades)}.")
    assert len(rubric.cases) >= 5


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"grade": 9}', "a grade that there is not"), ('{"grade": true}', "a grade that there is not"),
        ('{"grade": 2.5}', "a grade that there is not"), ("", "empty answer"), (None, "empty answer"),
        ("four", "no JSON with a grade"), ('{"score": 1}', "no JSON with a grade"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_read(content: str | None, fault: str) -> None:
    judge = Judge("a", "http://x/v1", "m", read_rubric("shopper"))
    answer = read_answer(judge, {"choices": [{"message": {"content": content}}]}, 0.0)
    assert (answer.relevance, answer.fault) == (None, fault)
    for reading in ("json", "logprobs", "decisions"):
        strange = Judge("a", "http://x/v1", "m", read_rubric("shopper"), reading)
        for raw in (None, "<html>", {}, {"choices": []}, {"choices": None}, {"answers": [{"type": "score"}]}, []):
            assert read_answer(strange, raw, 0.0).relevance is None


def test_a_journal_is_one_runs_and_a_journal(tmp_path: Path) -> None:
    with opened(tmp_path / "a.journal"), pytest.raises(BadInput, match="another run has this journal"):
        opened(tmp_path / "a.journal").__enter__()
    (tmp_path / "b.journal").write_text("no database at all, " * 100)
    with pytest.raises(BadInput, match="is no journal"), opened(tmp_path / "b.journal"):
        pass
