"""`evaluate --index` as a shell meets it, on a tiny shop and a tiny checkpoint, and its parts by hand."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from gen_rerank import Dataset, Distribution
from gen_rerank.search.building import build_index, change_index
from gen_rerank.search.candidates import ProductCandidate
from gen_rerank.search.headroom import DEEPEST
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.judging import drawn_queries, ranked_queries
from gen_rerank.search.search import Search
from gen_rerank.search.settings import IndexSettings
from tests.conftest import complaint

from .conftest import products, write_shop

OUTPUTS = ("--out", "--plot")


@pytest.fixture(scope="module")
def index(tiny_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "tiny"
    build_index(tiny_data, folder, IndexSettings())
    return folder


def test_the_whole(run, tiny_checkpoint, tiny_data, index, tmp_path) -> None:
    out, plot = tmp_path / "new" / "found.json", tmp_path / "new" / "headroom.svg"
    paths = ("--out", out, "--plot", plot)
    code, printed, _ = run("evaluate", tiny_checkpoint, tiny_data, "--index", index, *paths)
    assert code == 0
    saved = json.loads(out.read_text())
    assert saved["recall"]["queries"] == len(saved["headroom"]["query_ids"]) == 8
    assert list(saved["recall"]["lists"]) == ["random", "bm25", "title", "full", "fused"]
    # Each query is a colour and a thing, and one product is both.
    assert saved["recall"]["lists"]["fused"]["64"][0] == 1.0
    assert saved["headroom"]["nDCG@10"]["oracle"]["256"][0] == 1.0
    model = saved["headroom"]["nDCG@10"]["reranked"]["256"]
    assert f"{model[0]:.3f} [{model[1]:.3f}, {model[2]:.3f}]" in printed
    assert f"reranked by {tiny_checkpoint.name}" in printed
    assert "8 judged queries (split 'test')" in printed
    assert saved["verdict"][-1] in printed
    assert saved["invest"] == "reranking"  # random weights
    ElementTree.fromstring(plot.read_text())
    code, printed, _ = run("evaluate", tiny_checkpoint, tiny_data, "--index", index, "--json")
    assert (code, json.loads(printed)) == (0, saved)


def test_rules_are_priced(run, tiny_checkpoint, tiny_data, index, tmp_path) -> None:
    rules, out = tmp_path / "rules.yaml", tmp_path / "found.json"
    rules.write_text("blocked: [{brands: [Brand0]}]\ncaps: {most: {brand: 2}}\n")
    words = ("evaluate", tiny_checkpoint, tiny_data, "--index", index, "--rules", rules)
    code, printed, _ = run(*words, "--out", out)
    assert code == 0
    saved = json.loads(out.read_text())
    assert list(saved["rules"]["rules"]) == ["blocked", "caps"]
    assert saved["rules"]["without"] == saved["headroom"]["nDCG@10"]["reranked"]["256"]
    blocked = saved["rules"]["rules"]["blocked"]
    assert (blocked["moved"], saved["rules"]["rules"]["caps"]["removed"]) == (0, 0)
    assert blocked["removed"] > 0
    assert blocked["alone"][0] < 0
    assert f"{blocked['alone'][0]:+.4f}" in printed
    rules.write_text("")
    assert "has no rules that could be priced" in complaint(run(*words))
    rules.write_text("blokced: []")
    assert "did you mean 'blocked'?" in complaint(run(*words))
    assert "the rules" in complaint(run(*words, "--out", rules))
    assert "--queries, --plot and --rules go with --index" in complaint(
        run("evaluate", tmp_path, tmp_path, "--rules", rules)
    )


def test_the_model_orders_as_in_search(tiny_checkpoint, tiny_shop, index) -> None:
    dataset = tiny_shop.of("test")
    key = next(iter(dataset.queries))
    relevance = {row.product_id: row.relevance for row in dataset.by_query()[key]}
    with Search.open(index, tiny_checkpoint, candidates=16) as search:
        (one,) = ranked_queries(ProductIndex.open(index), dataset, [key], search.scorer)
        # The first 16 of the 256, which are fused in another order than 16 alone.
        found = search.retriever.candidates(dataset.queries[key].text, 256)
        hits = search.find(dataset.queries[key].text, k=16, among=[candidate.product for candidate in found[:16]])
    expected = [relevance.get(hit.product.product_id, np.nan) for hit in hits.results]
    assert one.orders(16)["reranked"].tolist() == pytest.approx(expected, nan_ok=True)
    assert sorted(one.judged.tolist()) == sorted(relevance.values())


def test_queries_are_drawn_by_their_ids(tiny_shop) -> None:
    """Fewer are among more, and the order of the file is kept."""
    dataset = tiny_shop.of("test")
    turned = Dataset(dataset.products, dataset.queries, dataset.judgments[::-1])
    three, five = (set(drawn_queries(dataset, count).by_query()) for count in (3, 5))
    assert (len(three), len(five)) == (3, 5)
    assert three < five
    assert set(drawn_queries(turned, 3).by_query()) == three
    assert drawn_queries(dataset, 8) is drawn_queries(dataset, None) is dataset
    few = drawn_queries(dataset, 3)
    assert {row.query_id for row in few.judgments} == set(few.queries) == three


def test_fewer_queries_are_said(run, tiny_checkpoint, tiny_data, index) -> None:
    words = ("evaluate", tiny_checkpoint, tiny_data, "--index", index, "--queries", 3, "--split", "train")
    code, printed, _ = run(*words)
    assert code == 0
    assert "3 judged queries of 12, drawn by a seeded hash of their ids (split 'train')" in printed
    assert "Undecided: too few queries" in printed


class TenThings:
    """Finds the first products of a data set, and none for one query."""

    def __init__(self, dataset: Dataset, none_for: str) -> None:
        self.products, self.none_for = list(dataset.products.values()), none_for

    def candidates(self, query: str, limit: int) -> list[ProductCandidate]:
        assert limit == DEEPEST
        return [] if query == self.none_for else [ProductCandidate(one, {}) for one in self.products[:10]]


class CountingScorer:
    """Scores a product by the last digit of its id, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, str]]] = []

    def score(self, pairs, *, advance) -> Distribution:
        self.calls.append([(pair.query, pair.product.product_id) for pair in pairs])
        advance(len(pairs))
        return Distribution(np.eye(11)[[int(pair.product.product_id[-1]) for pair in pairs]])


def test_each_pair_is_scored_once_and_a_few_queries_at_a_time(tiny_shop) -> None:
    ids = list(tiny_shop.by_query())
    scorer = CountingScorer()
    empty = tiny_shop.queries[ids[3]].text
    found = ranked_queries(TenThings(tiny_shop, empty), tiny_shop, ids, scorer)
    next(found)
    assert len(scorer.calls) == 1  # the other queries are not yet retrieved
    rest = list(found)
    assert [one.query_id for one in rest] == ids[1:]
    asked = [pair for call in scorer.calls for pair in call]
    assert len(asked) == len(set(asked)) == 10 * 23
    assert max(map(len, scorer.calls)) == 80
    assert len(rest[2].found) == len(rest[2].scores) == 0
    last = rest[-1]
    assert last.scores.tolist() == pytest.approx([int(key[-1]) / 10 for key in list(tiny_shop.products)[:10]])


def test_what_does_not_go_together_is_said_before_any_work(run, index, tmp_path) -> None:
    """No data and no models are looked at."""
    none = tmp_path / "none"
    one = ("evaluate", none, none, "--index", index)
    assert "--index goes with one model" in complaint(run("evaluate", none, none, none, "--index", index))
    for option in ("--gate", "--baseline", "--measure", "--scores"):
        assert f"{option} does not go with --index" in complaint(run(*one, option, "x"))
    assert "--queries, --plot and --rules go with --index" in complaint(run("evaluate", none, none, "--queries", 3))
    assert "--queries, --plot and --rules go with --index" in complaint(run("evaluate", none, none, "--plot", none))
    assert "are one file" in complaint(run(*one, "--out", tmp_path / "a.svg", "--plot", tmp_path / "a.svg"))
    for option in OUTPUTS:
        assert "lies in the index" in complaint(run(*one, option, index / "new.svg"))
    assert "is a file of the data" in complaint(run(*one, "--out", none / "products.jsonl"))
    assert "is a folder" in complaint(run(*one, "--out", tmp_path))
    assert "h.png: the drawing is SVG; name a file that ends in .svg" in complaint(
        run(*one, "--plot", tmp_path / "h.png")
    )
    assert "no such folder" in complaint(run("evaluate", none, none, "--index", none))
    assert list(tmp_path.iterdir()) == []


def test_nothing_relevant_is_said(run, tiny_checkpoint, tiny_shop, index, tmp_path) -> None:
    rows = tuple(row.model_copy(update={"relevance": 0.0, "labels": ()}) for row in tiny_shop.judgments)
    Dataset(tiny_shop.products, tiny_shop.queries, rows).save(tmp_path / "bad")
    said = complaint(run("evaluate", tiny_checkpoint, tmp_path / "bad", "--index", index))
    assert "no judged query of the split 'test' has a product above relevance 0" in said


def test_queries_without_relevance_are_left_out_and_counted(run, tiny_checkpoint, tiny_shop, index, tmp_path) -> None:
    first = next(iter(tiny_shop.of("test").by_query()))
    rows = tuple(
        row.model_copy(update={"relevance": 0.0, "labels": ()}) if row.query_id == first else row
        for row in tiny_shop.judgments
    )
    Dataset(tiny_shop.products, tiny_shop.queries, rows).save(tmp_path / "some")
    code, printed, _ = run("evaluate", tiny_checkpoint, tmp_path / "some", "--index", index)
    assert code == 0
    assert "1 of 8 queries have no relevant product" in printed
    assert "1 of 8 queries have no judged product above relevance 0" in printed


def test_an_index_of_other_products_is_refused_before_anything_is_scored(run, tiny_data, tmp_path) -> None:
    other = write_shop(tmp_path / "other.jsonl", products(x="Oak desk"))
    build_index(other, tmp_path / "other", IndexSettings())
    said = complaint(run("evaluate", tmp_path / "no-model", tiny_data, "--index", tmp_path / "other"))
    assert "other: holds none of the" in said
    assert "it is an index of other products" in said


def test_what_the_index_lacks_is_said_first(run, tiny_checkpoint, tiny_data, tiny_shop, index, tmp_path) -> None:
    folder = tmp_path / "part"
    build_index(tiny_data, folder, IndexSettings())
    wanted = sorted({row.product_id for row in tiny_shop.of("test").judgments if row.relevance >= 1.0})
    change_index(folder, delete=wanted)
    out = tmp_path / "found.json"
    code, printed, _ = run("evaluate", tiny_checkpoint, tiny_data, "--index", folder, "--out", out)
    saved = json.loads(out.read_text())
    first = f"{len(wanted)} of {saved['not_in_index']['of_judged_above_0']} products above relevance 0 are not in the"
    assert (code, saved["invest"], saved["not_in_index"]["products"]) == (0, "undecided", len(wanted))
    assert printed.startswith(first)
    assert f"Undecided: {first}" in " ".join(printed.split())
