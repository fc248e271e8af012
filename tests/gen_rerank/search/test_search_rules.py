"""A search under rules, whole: what goes is not scored, what is too little is looked for deeper, receipts add up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gen_rerank import BadInput, Distribution, Pair, Product
from gen_rerank.data.reading import write_rows
from gen_rerank.search.building import build_index, change_index
from gen_rerank.search.candidates import Given
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.rules.asked import Customer, Filters
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.search import Search
from gen_rerank.search.settings import IndexSettings


class ByPrice:
    """The dearer, the better, in tenths of its price in tens; it counts what it is asked."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        thresholds = {"exact": 0.8, "close": 0.4}
        self.checkpoint: Any = SimpleNamespace(card=SimpleNamespace(calibration=SimpleNamespace(thresholds=thresholds)))

    def score(self, pairs: Sequence[Pair]) -> Distribution:
        self.seen += [pair.product.product_id for pair in pairs]
        return Distribution(np.eye(11)[[int(pair.product.price or 0) // 10 for pair in pairs]])


def row(name: str, price: float, **more: Any) -> Product:
    return Product(product_id=name, title=f"Oak desk {name}", price=price, **more)


SHOP = [
    row("a", 90, brand="A"), row("b", 80, brand="A"), row("c", 70, brand="A"), row("d", 60, brand="B"),
    row("e", 50, brand="B", available=False), row("f", 10, brand="C"),
]  # fmt: skip
RULES: dict[str, Any] = {
    "available": True,
    "blocked": [{"ids": ["c"], "markets": ["de"]}],
    "min_tier": "close",
    "caps": {"most": {"brand": 1}, "first": 2},
}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_rows(tmp_path / "shop.jsonl", SHOP)
    build_index(tmp_path / "shop.jsonl", tmp_path / "index", IndexSettings())
    return tmp_path / "index"


def searching(index: Path, rules: dict[str, Any], scorer: Any = None, candidates: int = 256) -> Search:
    opened = ProductIndex.open(index)
    return Search(opened, scorer or ByPrice(), candidates, opened.gone, Rules(**rules), opened)


def ids(answer: Any) -> str:
    return " ".join(hit.product.product_id for hit in answer.results)


def test_hard_rules_before_the_rerank_and_soft_ones_after_it(index: Path) -> None:
    scorer = ByPrice()
    with_rules = searching(index, RULES, scorer)
    with_rules.scorer = scorer  # type: ignore[assignment]
    answer = with_rules.find("oak desk", customer=Customer(market="de"))
    assert ids(answer) == "a d b"
    assert sorted(scorer.seen) == ["a", "b", "d", "f"]  # nothing is spent on what goes anyway
    assert [(one.product_id, one.rule, one.after) for one in answer.receipts] == [
        ("e", "available", None), ("c", "blocked", None), ("f", "min_tier", None), ("b", "caps", 3),
    ]  # fmt: skip
    assert list(answer.seconds) == ["retrieve", "hard rules", "rerank", "soft rules", "check"]
    assert answer.candidates == 6
    again = with_rules.find("oak desk", customer=Customer(market="de"))
    assert (ids(again), again.receipts) == (ids(answer), answer.receipts)
    elsewhere = with_rules.find("oak desk", customer=Customer(market="fr"))
    assert ids(elsewhere) == "a d b c"


def test_without_rules_nothing_changes(index: Path) -> None:
    answer = searching(index, {}).find("oak desk")
    assert (ids(answer), answer.receipts, answer.remarks) == ("a b c d e f", (), ())
    assert list(answer.seconds) == ["retrieve", "rerank", "check"]


def test_filters_of_a_shopper(index: Path) -> None:
    answer = searching(index, {}).find("oak desk", filters=Filters(brands=("b",)))
    assert ids(answer) == "d e"
    assert {receipt.rule for receipt in answer.receipts} == {"filter"}


def test_where_the_first_candidates_all_go_it_looks_deeper(index: Path) -> None:
    found = [one.product.product_id for one in ProductIndex.open(index).candidates("oak desk", 2)]
    scorer = ByPrice()
    search = searching(index, {"blocked": [{"ids": found}]}, scorer, candidates=2)
    answer = search.find("oak desk", k=2)
    assert len(answer.results) == 2
    assert not {hit.product.product_id for hit in answer.results} & set(found)
    assert len(scorer.seen) == 2  # no more are scored than without


def test_a_pinned_product_is_fetched_but_not_when_a_hard_rule_forbids_it(index: Path) -> None:
    write = index.parent / "more.jsonl"
    write_rows(write, [Product(product_id="x", title="Sofa"), Product(product_id="y", title="Bed", available=False)])
    change_index(index, add=write)
    pins = [{"queries": ["oak desk"], "ids": ["y", "x", "nowhere"]}]
    answer = searching(index, {"available": True, "pins": pins, "min_tier": "close"}).find("oak desk")
    assert ids(answer).startswith("x a")
    assert answer.results[0].ranks == {"pinned": 2}
    assert ("y", "available") in [(one.product_id, one.rule) for one in answer.receipts]
    assert answer.remarks == ("pinned, but not shown: y, nowhere",)


def test_candidates_of_the_callers_come_under_the_rules_too() -> None:
    search = Search(Given([]), ByPrice(), rules=Rules(**RULES))  # type: ignore[arg-type]
    assert ids(search.find("desk", among=SHOP, customer=Customer(market="fr"))) == "a d b c"


def test_a_deleted_product_after_the_rules(index: Path) -> None:
    search = searching(index, RULES)
    gathered = search.gather(search_asked("oak desk"))
    change_index(index, delete=["a"])
    scored = search.scorer.score(gathered.pairs)  # type: ignore[union-attr]
    answer = search.answer(gathered, scored, {"exact": 0.8, "close": 0.4})
    assert ids(answer) == "d b"
    assert answer.receipts[-1].rule == "deleted"


def search_asked(query: str) -> Any:
    from gen_rerank.search.rules.asked import Asked

    return Asked(query, customer=Customer(market="de"))


def test_the_index_gives_products_and_vectors(index: Path, tiny_encoder: str, tmp_path: Path) -> None:
    opened = ProductIndex.open(index)
    assert [product.title for product in opened.products(["f", "nowhere", "a"])] == ["Oak desk f", "Oak desk a"]
    assert opened.products(["a"])[0] == SHOP[0]
    assert opened.vectors_of(["a"]) is None
    build_index(tmp_path / "shop.jsonl", tmp_path / "with", IndexSettings(vectors=tiny_encoder))
    with_vectors = ProductIndex.open(tmp_path / "with")
    found = with_vectors.vectors_of(["b", "a"])
    assert found is not None
    assert found.shape == (2, 3)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1])
    assert with_vectors.vectors_of(["b", "nowhere"]) is None
    assert with_vectors.vectors_of([]) is None


Run = Callable[..., tuple[int, str, str]]


def test_in_the_shell(run: Run, index: Path, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("available: true\nblocked: [{ids: [c], markets: [de], reason: recalled}]\n")
    words = ("search", index, "oak desk", "--rules", file)
    code, out, err = run(*words, "--explain", "--market", "de")
    assert (code, err) == (0, "")
    assert "Receipts: the rules removed 2 products and moved none" in out
    assert "sold out" in out
    assert "recalled" in out
    code, out, _ = run(*words, "--market", "fr")
    assert out.endswith("the rules removed 1 product and moved none\n")
    code, out, err = run(*words, "--json", "--out", tmp_path / "answer.json")
    said = json.loads(out)
    assert (code, err) == (0, "")
    assert said == json.loads((tmp_path / "answer.json").read_text())
    assert [(one["product_id"], one["rule"], one["after"]) for one in said["receipts"]] == [
        ("e", "available", None), ("c", "blocked", None),
    ]  # fmt: skip
    assert all(set(one) == {"product_id", "title", "rule", "why", "before", "after"} for one in said["receipts"])
    file.write_text("price: {max: 1}\n")
    assert "the rules removed all 6 products that were found; --explain says why" in run(*words)[1]


def test_what_the_shell_refuses(run: Run, index: Path, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("cap: {}\n")
    code, _, err = run("search", index, "oak", "--rules", file)
    assert (code, err) == (2, f"error: {file}: unknown key 'cap'; did you mean 'caps'?\n")
    code, _, err = run("search", index, "oak", "--rules", tmp_path / "none.yaml")
    assert (code, "cannot be read" in err) == (2, True)
    assert "--explain says what rules did" in run("search", index, "oak", "--explain")[2]
    assert "rules" in run("search", index, "oak", "--rules", file, "--out", file)[2]
    with pytest.raises(BadInput, match="unknown key 'cap'"):
        Search.open(index, rules=file)
