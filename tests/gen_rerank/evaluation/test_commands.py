"""`evaluate` with several models and `rank`, as a shell meets them."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic_core import from_json
from rich.console import Console

from gen_rerank import BadInput, Dataset, Distribution, Product
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.evaluation.evaluation import Evaluation, difference, evaluate
from gen_rerank.evaluation.one_query import QueryAnswer, RankedProduct, rank_products
from gen_rerank.reranker import Reranker
from tests.conftest import complaint

OUTPUTS = ("--out", "--scores")

QUERY = "red desk please"


@pytest.fixture(scope="module")
def second(tiny_checkpoint, tmp_path_factory) -> Path:
    """The tiny checkpoint with another temperature and with thresholds; its folder has the same name."""
    folder = tmp_path_factory.mktemp("twin") / tiny_checkpoint.name
    shutil.copytree(tiny_checkpoint, folder)
    card = Checkpoint.open(folder).card
    thresholds = Calibration(temperature=3.0, thresholds={"exact": 0.52, "close": 0.4})
    card.model_copy(update={"calibration": thresholds}).save(folder)
    return folder


@pytest.fixture(scope="module")
def products(tiny_shop, tmp_path_factory) -> Path:
    """A catalog alone."""
    folder = tmp_path_factory.mktemp("catalog")
    Dataset(tiny_shop.products, {}, ()).save(folder)
    return folder / "products.jsonl"


def test_several_models_with_gates(run, tiny_checkpoint, second, tiny_data, tmp_path) -> None:
    gates = ("--gate", "ndcg@5 of B - A >= -0.5", "--gate", "rps of B - A <= 0.5")
    out = tmp_path / "new" / "all.json"
    code, printed, _ = run("evaluate", tiny_checkpoint, second, tiny_data, *gates, "--out", out)
    assert code == 0
    assert f"A: {tiny_checkpoint}, scored with transformers in " in printed
    assert "B - A" in printed
    saved = json.loads(out.read_text())
    assert saved["models"] == ["A", "B"]  # both folders have one name
    assert "Tiers" in printed
    assert {name: set(tiers) for name, tiers in saved["tiers"].items()} == {"B": {"exact", "close"}}
    assert saved["tiers"]["B"]["exact"]["threshold"] == 0.52
    assert [row["passed"] for row in saved["gates"]] == [True, True]
    a, b = (Evaluation.from_json(row) for row in saved["evaluations"][2:])
    for row in saved["differences"]:
        assert (row["first"], row["second"]) == ("B", "A")
        assert row["interval"] == pytest.approx(difference(b, a)[row["measure"]].to_json(), abs=1e-6)
    assert "several evaluations" in complaint(run("evaluate", second, tiny_data, "--baseline", out))


def test_a_gate_that_fails_is_the_exit_code(run, tiny_checkpoint, tiny_data) -> None:
    code, printed, err = run(
        *("evaluate", tiny_checkpoint, tiny_data, "--measure", "eress", "--json"),
        *("--gate", "ndcg@5 of A >= 0", "--gate", "ndcg@5 of A >= 1.1"),
    )
    assert code == 1
    found = json.loads(printed)  # nothing else is there
    assert [row["passed"] for row in found["gates"]] == [True, False]
    assert found["name"] == tiny_checkpoint.name
    assert found["eress"]["systems"].keys() == {"bm25", tiny_checkpoint.name, "random"}
    assert "error" not in err


def test_a_baseline_is_a_system(run, tiny_checkpoint, second, tiny_data, tiny_shop, tmp_path) -> None:
    saved = tmp_path / "evaluation.json"
    assert run("evaluate", tiny_checkpoint, tiny_data, "--out", saved, "--dtype", "float32")[0] == 0
    assert Evaluation.load(saved).scored_with == "transformers in float32"
    gate = ("--gate", "ndcg@5 of A - baseline >= -0.5")
    code, printed, _ = run("evaluate", second, tiny_data, "--baseline", saved, *gate, "--dtype", "float32")
    assert code == 0
    assert f"baseline: {saved}, scored with transformers in float32" in printed
    assert f"{second.name} - baseline" in printed
    other = tmp_path / "shop"
    rows = tiny_shop.judgments
    Dataset(tiny_shop.products, tiny_shop.queries, rows[:-1]).save(other)
    assert "is of other data" in complaint(run("evaluate", second, other, "--baseline", saved))
    turned = tmp_path / "turned"
    Dataset(tiny_shop.products, tiny_shop.queries, rows[::-1]).save(turned)
    assert "or of the same rows in another order" in complaint(run("evaluate", second, turned, "--baseline", saved))
    assert "cannot be read" in complaint(run("evaluate", second, tiny_data, "--baseline", tmp_path / "none.json"))
    saved.write_text(saved.read_text()[:500])
    assert str(saved) in complaint(run("evaluate", second, tiny_data, "--baseline", saved))


def test_a_damaged_baseline_is_refused_before_anything_is_scored(
    run, monkeypatch, tiny_checkpoint, tiny_shop, tiny_data, tmp_path
) -> None:
    saved = tmp_path / "evaluation.json"
    test = tiny_shop.of("test")
    evaluate("x", test, Distribution(np.eye(11)[np.zeros(len(test.judgments), int)])).save(saved)
    monkeypatch.setattr("gen_rerank.evaluation.measuring.score_pairs", lambda *_: pytest.fail("scored"))
    row = json.loads(saved.read_text())
    faults: dict[str, dict[str, object]] = {
        "is of other data": {"data": "0" * 16},
        f"is damaged: pairs is {row['pairs'] + 1}, and the split 'test' of": {"pairs": row["pairs"] + 1},
        "is damaged: it is of the split 'test' of": {"query_ids": ["x", *row["query_ids"][1:]]},
        "and has query_ids in another order; evaluate": {"query_ids": row["query_ids"][::-1]},
        "per_query is missing": {"per_query": ...},
        "of nDCG@5 the query 'q17' must have a value": {
            "per_query": row["per_query"] | {"nDCG@5": [1.0, None, *row["per_query"]["nDCG@5"][2:]]}
        },
        "of MSE the query 'q16' must have a value": {
            "per_query": row["per_query"] | {"MSE": [None, *row["per_query"]["MSE"][1:]]}
        },
    }
    for said, changed in faults.items():
        damaged = {name: value for name, value in (row | changed).items() if value is not ...}
        saved.write_text(json.dumps(damaged))
        told = complaint(run("evaluate", tiny_checkpoint, tiny_data, "--baseline", saved))
        assert f"{saved}: " in told
        assert said in told


def test_what_does_not_go_together_is_said_before_any_work(run, tmp_path) -> None:
    """No data and no models are looked at."""
    none = tmp_path / "none"
    two = ("evaluate", none, none, none)
    assert "--scores goes with one model" in complaint(run(*two, "--scores", tmp_path / "s"))
    assert "--adapter goes with one model" in complaint(run(*two, "--adapter", none))
    assert "there is no system 'C'" in complaint(run(*two, "--gate", "ndcg@5 of C >= 0"))
    assert "cannot be read; write it as in" in complaint(run(*two, "--gate", "good"))
    assert "there is only eress" in complaint(run(*two, "--measure", "map"))
    assert f"MODEL and DATA are needed, in this order; there is only {none}" in complaint(run("evaluate", none))
    assert run("evaluate")[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_every_model_is_opened_before_one_is_scored(run, monkeypatch, tiny_checkpoint, tiny_data, tmp_path) -> None:
    monkeypatch.setattr("gen_rerank.evaluation.measuring.score_pairs", lambda *_: pytest.fail("scored"))
    assert "no such folder" in complaint(run("evaluate", tiny_checkpoint, tmp_path / "none", tiny_data))
    assert "no number type 'int8'" in complaint(run("evaluate", tiny_checkpoint, tiny_data, "--dtype", "int8"))


def test_scores_say_with_what_they_were_made(run, tiny_checkpoint, tiny_data, tmp_path) -> None:
    code, printed, _ = run("score", tiny_checkpoint, tiny_data, "--out", tmp_path / "s", "--dtype", "bfloat16")
    assert code == 0
    assert "a second (transformers in bfloat16)" in printed
    code, printed, _ = run("score", tiny_checkpoint, tiny_data, "--out", tmp_path / "s", "--json")
    found = json.loads(printed)
    assert (code, found["pairs"], found["bad_rows"]) == (0, len((tmp_path / "s").read_text().splitlines()), 0)
    assert found["pairs_per_second"] == pytest.approx(found["pairs"] / found["seconds"])


def test_one_query_is_ranked_as_in_python(run, tiny_checkpoint, products, tiny_shop) -> None:
    code, printed, _ = run("rank", tiny_checkpoint, QUERY, "--products", products, "--top", 3, "--json")
    assert code == 0
    answer = json.loads(printed)
    assert (answer["query"], answer["products"], answer["left_out"]) == (QUERY, 64, [])
    expected = Reranker.load(tiny_checkpoint).rank(QUERY, list(tiny_shop.products.values()), 3)
    for rank, (row, one) in enumerate(zip(answer["results"], expected, strict=True), 1):
        assert (row["rank"], row["product_id"], row["title"]) == (rank, one.product.product_id, one.product.title)
        assert (row["score"], row["std"]) == (pytest.approx(one.score, abs=1e-5), pytest.approx(one.std, abs=1e-5))
        assert row["probabilities"] == pytest.approx(one.distribution.tolist(), abs=1e-5)
        assert row["tier"] is None  # the checkpoint has no thresholds


def test_a_query_that_is_no_text_is_valid_json(run, tiny_checkpoint, products, tmp_path) -> None:
    """The shell hands its bytes on; names of files are bytes too."""
    odd = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    odd.write_text(products.read_text() + "{}\n")
    query = os.fsdecode(b"red \xff <b>desk</b>")
    code, printed, _ = run("rank", tiny_checkpoint, query, "--products", odd, "--skip-bad-rows", "--json")
    assert code == 0
    answer = from_json(printed)  # stricter than Python's own
    assert answer["query"] == "red ? desk"
    assert answer["left_out"][0].endswith("caf?.jsonl:65: column 'product_id' is missing")


def test_queries_that_are_none_are_refused(products) -> None:
    for given, said in ((float("nan"), "has no text"), (b"\xff", "bytes that are not UTF-8"), (["a"], "not a list")):
        with pytest.raises(BadInput, match=f"the query.*{said}"):
            rank_products("no-model", given, products)  # type: ignore[arg-type]


def test_the_table_of_one_query(run, second, products) -> None:
    code, printed, _ = run("rank", second, QUERY, "--products", products.parent)
    assert code == 0
    assert f"{QUERY}: 10 of 64 products" in printed
    assert "Tier" in printed
    assert "close" in printed or "exact" in printed
    assert "█" in printed


def test_a_least_tier_and_how_sure_the_first_place_is(run, second, tiny_checkpoint, products) -> None:
    asked = ("rank", second, QUERY, "--products", products, "--min-tier")
    code, printed, _ = run(*asked, "close", "--confidence", "--top", 3)
    assert code == 0
    assert "the first is the best of these with a probability of" in printed
    answer = json.loads(run(*asked, "exact", "--confidence", "--top", 100, "--json")[1])
    assert {row["tier"] for row in answer["results"]} <= {"exact"}
    assert answer["no_good_match"] is False, "all scores of this model are near a half"
    assert ("rank_confidence" in answer) == bool(answer["results"])
    assert "tiers are exact, close, irrelevant" in complaint(run(*asked, "good"))
    without = ("rank", tiny_checkpoint, QUERY, "--products", products)
    assert "this model has no tiers" in complaint(run(*without, "--min-tier", "close"))
    assert json.loads(run(*without, "--json")[1])["no_good_match"] is None


@pytest.mark.parametrize(("width", "tables"), [(60, 2), (80, 1), (130, 1)])
@pytest.mark.parametrize("product_id", ["p00083", "8d3c1c3e-5d0c-4a53-9c3b-0a4c4e7a3f11"])
def test_a_title_has_room(width, tables, product_id) -> None:
    product = Product(product_id=product_id, title="Strydon Classic Silver Waterproof Sneakers, size 7, for men")
    ranked = RankedProduct(1, product, 0.5, 0.1, None, np.array([0, 0.2, 0.3, 0.5, *[0] * 7], np.float32))
    shown = Console(file=io.StringIO(), width=width, record=True)
    shown.print(QueryAnswer("boots", "m", "x", 1, (ranked,), False, ()).table())
    text = shown.export_text()
    assert max(map(len, text.splitlines())) <= width
    if product_id == "p00083":
        assert text.count("┏") == tables
        heading = next(line for line in text.splitlines() if "Title" in line)
        assert len(next(cell for cell in heading.split("┃") if "Title" in cell)) >= 20
    assert "│  ▃▅█        │" in text
    assert all(word in text for word in ("Waterproof", "Strydon", "0.500", "0.100"))


def test_products_of_every_form(run, tiny_checkpoint, products, tmp_path) -> None:
    rows = [json.loads(line) for line in products.read_text().splitlines()]
    packed, columns = tmp_path / "a.jsonl.gz", tmp_path / "b.parquet"
    packed.write_bytes(gzip.compress(products.read_bytes()))
    columns_only = [{"product_id": row["product_id"], "title": row["title"]} for row in rows]
    pq.write_table(pa.Table.from_pylist(columns_only), columns)
    for file in (packed, columns):
        code, printed, _ = run("rank", tiny_checkpoint, QUERY, "--products", file, "--json", "--top", 100)
        assert (code, len(json.loads(printed)["results"])) == (0, 64)


def test_titles_are_shown_as_they_are(run, tiny_checkpoint, tmp_path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps({"product_id": ":car:", "title": "[red]desk[/red] :smile: [/x]"}) + "\n")
    code, printed, _ = run("rank", tiny_checkpoint, "[b] :car:", "--products", file)
    assert code == 0
    assert "[red]desk[/red] :smile: [/x]" in printed
    assert "[b] :car:" in printed


def test_what_cannot_be_ranked_is_one_sentence(run, tiny_checkpoint, products, tmp_path) -> None:
    def said(*words: object) -> str:
        return complaint(run("rank", tiny_checkpoint, *words))

    assert "the query has no text" in said(" \u200b", "--products", products)
    assert "no such file" in said(QUERY, "--products", tmp_path / "none.jsonl")
    assert "neither products.jsonl nor products.parquet" in said(QUERY, "--products", tmp_path)
    (tmp_path / "feed.csv").write_text("id,title\n1,desk\n")
    assert "gen-rerank import" in said(QUERY, "--products", tmp_path / "feed.csv")
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    assert "is a pipe or a device, and products are read from a file" in said(QUERY, "--products", pipe)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("")
    assert "no usable rows" in said(QUERY, "--products", bad)
    bad.write_text('{"product_id": "1"}\n')
    assert f"{bad}:1: " in said(QUERY, "--products", bad)
    assert "no usable rows" in said(QUERY, "--products", bad, "--skip-bad-rows")
    bad.write_text('{"product_id": "1"}\n{"product_id": "2", "title": "desk"}\n')
    code, printed, err = run("rank", tiny_checkpoint, QUERY, "--products", bad, "--skip-bad-rows", "--json")
    assert code == 0
    assert json.loads(printed)["left_out"][0].startswith(f"{bad}:1: ")
    assert "1 bad row left out" in err
    assert run("rank", tiny_checkpoint, QUERY, "--products", products, "--top", 0)[0] == 2


def test_nothing_is_written_over_the_data_that_is_read(run, tiny_checkpoint, tiny_shop, tmp_path) -> None:
    shop = tmp_path / "shop"
    tiny_shop.save(shop)
    before = {path.name: path.read_bytes() for path in shop.iterdir()}
    words = [("score", tiny_checkpoint, shop, "--out"), *(("evaluate", tiny_checkpoint, shop, o) for o in OUTPUTS)]
    for command in words:
        for name in ("queries.jsonl", "judgments.jsonl", "products.parquet"):
            assert "is a file of the data that is read; name another" in complaint(run(*command, shop / name))
    assert {path.name: path.read_bytes() for path in shop.iterdir()} == before


def test_nothing_is_written_over_a_model_or_a_baseline_that_is_read(run, tiny_checkpoint, tiny_data, tmp_path) -> None:
    model, adapter, saved = shutil.copytree(tiny_checkpoint, tmp_path / "m"), tmp_path / "adapter", tmp_path / "e.json"
    adapter.mkdir()
    for file in (adapter / "adapter_config.json", saved):
        file.write_text("{}")
    link = tmp_path / "link"
    link.symlink_to(model / "config.json")
    weights = tmp_path / "weights"
    os.link(model / "model.safetensors", weights)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    places = (*model.iterdir(), link, weights)
    commands = [("evaluate", tiny_checkpoint, model, tiny_data, "--out"), ("evaluate", model, tiny_data, "--scores")]
    for command in (*commands, ("score", model, tiny_data, "--out")):
        for place in places:
            said = complaint(run(*command, place))
            assert f"{place}: is a file of the model {model} that is read; name another" in said
    read = ("evaluate", model, tiny_data, "--adapter", adapter, "--baseline", saved, "--out")
    assert f"is a file of the adapter {adapter} that is read" in complaint(run(*read, adapter / "adapter_config.json"))
    assert "is a file of the baseline that is read" in complaint(run(*read, saved))
    assert {path: path.read_bytes() for path in before} == before


def test_nothing_is_written_over_data_that_are_links(run, tiny_checkpoint, tiny_data, tmp_path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    for file in tiny_data.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
        (shop / file.name).symlink_to(tmp_path / file.name)
    for place in (shop / "queries.jsonl", tmp_path / "queries.jsonl"):
        said = complaint(run("score", tiny_checkpoint, shop, "--out", place))
        assert "is a file of the data that is read; name another" in said


def test_a_line_break_in_a_name_breaks_no_line(run, tiny_checkpoint, tiny_data, tmp_path) -> None:
    model = shutil.copytree(tiny_checkpoint, tmp_path / "my\nmodel")
    code, printed, _ = run("evaluate", tiny_checkpoint, model, tiny_data)
    assert code == 0
    assert "my\\nmodel" in printed
    assert not [line for line in printed.splitlines() if line.startswith("model")]
    assert "no such folder" in complaint(run("evaluate", tmp_path / "no\nmodel", tiny_data))


def test_folders_in_crossed_order_are_refused_before_any_work(run, tmp_path) -> None:
    gate = ("--gate", "ndcg@5 of B - A >= -0.005")
    said = complaint(run("evaluate", tmp_path / "B", tmp_path / "A", tmp_path / "none", *gate))
    assert f"'B' is also the place of {tmp_path / 'A'}" in said


def test_a_model_in_the_place_of_the_data_is_told_so(run, tiny_checkpoint) -> None:
    said = complaint(run("evaluate", tiny_checkpoint, tiny_checkpoint))
    assert "is a model's folder; models come first and the data folder last" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_with_the_file(run, tiny_checkpoint, tiny_data) -> None:
    for words in (("score", "--out"), ("evaluate", "--out"), ("evaluate", "--scores")):
        said = complaint(run(words[0], tiny_checkpoint, tiny_data, words[1], "/dev/full"))
        assert "/dev/full: " in said
        assert "(the disk is full)" in said
    assert not Path("/dev/full").is_file()


@pytest.mark.parametrize("width", [80, 130])
def test_long_names_and_tags_are_whole_in_the_tables(
    run, monkeypatch, tiny_checkpoint, tiny_shop, tmp_path, width
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    queries = {key: one.model_copy(update={"tags": (":tv:", "[bold]x")}) for key, one in tiny_shop.queries.items()}
    Dataset(tiny_shop.products, queries, tiny_shop.judgments).save(tmp_path / "shop")
    model = tmp_path / ":car: [red]"
    model.symlink_to(tiny_checkpoint)
    code, printed, _ = run("evaluate", model, tmp_path / "shop", "--measure", "eress")
    assert code == 0
    tables = [line for line in printed.splitlines() if line[:1] in "┃│"]
    assert max(map(len, tables)) <= width
    assert "…" not in printed
    assert all(name in printed for name in (":tv:", "[bold]x", ":car: [red]", "MRR(rel>=0.8)", "ECE(10 bins)"))
