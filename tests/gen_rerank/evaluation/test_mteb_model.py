"""mteb runs a checkpoint on a reranking task that is made here, without a network."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import mteb
import numpy as np
import pytest
from mteb.models.models_protocols import CrossEncoderProtocol, EncoderProtocol, SearchProtocol

from gen_rerank import Dataset, Product, Reranker
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.evaluation.eress_measures import MTEB, eress_report
from gen_rerank.evaluation.mteb_model import MtebReranker, revision_of
from gen_rerank.scorers.opening import prepare_scorer
from harness.mteb_shop import ShopReranking


def as_mteb_has_it(product: Product) -> Product:
    """What is left of a product where there are a title and a text."""
    return Product(product_id=product.product_id, title=product.title, description=product.description)


@pytest.fixture(scope="module")
def plain_shop(tiny_shop: Dataset) -> Dataset:
    judged = tiny_shop.of("test")
    return Dataset(
        {key: as_mteb_has_it(each) for key, each in judged.products.items()}, judged.queries, judged.judgments
    )


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> MtebReranker:
    return MtebReranker.load(tiny_checkpoint, dtype="float32")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"the network was asked for {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def ours(model: MtebReranker, shop: Dataset, instruction: str | None = None) -> np.ndarray:
    """The scores of all judgments, as our own evaluation has them."""
    return model.scorer.score([shop.pair(row) for row in shop.judgments], instruction=instruction).mean


def run(model: MtebReranker, task: ShopReranking, cache: Path | None = None) -> dict:
    kept = None if cache is None else mteb.ResultCache(cache)
    (result,) = mteb.evaluate(model, task, cache=kept, show_progress_bar=False, co2_tracker=False).task_results
    (scores,) = result.scores["test"]
    return scores


def test_it_is_a_cross_encoder_and_nothing_else(model: MtebReranker):
    assert isinstance(model, CrossEncoderProtocol)
    assert not isinstance(model, EncoderProtocol | SearchProtocol)


@pytest.mark.usefixtures("no_network")
def test_mteb_finds_what_our_own_figure_is(model: MtebReranker, plain_shop: Dataset):
    scores = run(model, ShopReranking(plain_shop))
    found = eress_report(plain_shop, {"model": ours(model, plain_shop)}).systems["model"][MTEB].mean
    assert scores["main_score"] == scores["ndcg_at_5"] == pytest.approx(found, abs=1e-5)
    assert 0.3 < found < 1.0


def test_what_moves_a_score_moves_the_revision(tiny_checkpoint: Path, tiny_adapter: Path):
    ways = [("transformers", None, "float32"), ("vllm", None, "float32"), ("transformers", None, "bfloat16"),
            ("transformers", tiny_adapter, "float32")]  # fmt: skip
    prepared = [prepare_scorer(tiny_checkpoint, backend, adapter, dtype) for backend, adapter, dtype in ways]
    revisions = {revision_of(one, Calibration()) for one in prepared}
    revisions.add(revision_of(prepared[0], Calibration(temperature=2.0)))
    assert len(revisions) == 5
    assert revision_of(prepare_scorer(tiny_checkpoint, dtype="float32"), Calibration()) in revisions


@pytest.mark.usefixtures("no_network")
def test_mteb_keeps_results_by_what_the_checkpoint_is(
    model: MtebReranker, plain_shop: Dataset, tiny_checkpoint: Path, tiny_adapter: Path, tmp_path: Path
):
    """What it kept for one model it must not tell of another: an adapter on it, another temperature."""
    run(model, ShopReranking(plain_shop), tmp_path)
    (kept,) = tmp_path.rglob("ShopReranking.json")
    assert kept.parent.name == model.revision
    assert (
        json.loads(kept.read_text())["scores"]["test"][0]["main_score"]
        == run(model, ShopReranking(plain_shop), tmp_path)["main_score"]
    )
    adapted = MtebReranker.load(tiny_checkpoint, adapter=tiny_adapter, dtype="float32")
    again = MtebReranker.load(tiny_checkpoint, dtype="float32")
    assert again.name == model.name == f"gen_rerank/{tiny_checkpoint.name}"
    assert again.revision == model.revision
    assert adapted.name == f"gen_rerank/{tiny_checkpoint.name}+{tiny_adapter.name}"
    rounded = MtebReranker.load(tiny_checkpoint, dtype="bfloat16")
    assert len({model.revision, adapted.revision, rounded.revision}) == 3
    run(adapted, ShopReranking(plain_shop), tmp_path)
    assert len(list(tmp_path.rglob("ShopReranking.json"))) == 2


def test_an_instruction_of_the_task_stands_in_for_the_checkpoints(
    model: MtebReranker, plain_shop: Dataset, tmp_path: Path
):
    instruction = "Judge the colour alone."
    mteb.evaluate(
        model, ShopReranking(plain_shop, instruction), cache=None, prediction_folder=tmp_path, show_progress_bar=False
    )
    kept = json.loads(next(tmp_path.rglob("*.json")).read_text())["default"]["test"]
    found = [kept[row.query_id][row.product_id] for row in plain_shop.judgments]
    assert found == pytest.approx(ours(model, plain_shop, instruction).tolist(), abs=1e-6)
    assert found != pytest.approx(ours(model, plain_shop).tolist(), abs=1e-6)


def test_what_has_no_text_has_the_lowest_score(model: MtebReranker, tiny_checkpoint: Path):
    queries = [{"query": ["desk", "desk", " "]}, {"query": ["desk", "desk"]}]
    documents = [
        {"title": ["Oak desk", "", "Oak desk"], "body": ["For writing.", "<br>", "For writing."]},
        {"title": ["", "Lamp"], "body": ["Oak desk", ""]},
    ]
    scores = model.predict(queries, documents, show_progress_bar=False)
    assert scores.dtype == np.float32
    assert scores[1] == scores[2] == 0.0
    reranker = Reranker.load(tiny_checkpoint, dtype="float32")
    expected = reranker.score("desk", [{"title": "Oak desk", "description": "For writing."}, "Oak desk", "Lamp"])
    assert scores[[0, 3, 4]] == pytest.approx([each.score for each in expected], abs=1e-6)


def test_a_corpus_without_titles_is_read_from_its_text(model: MtebReranker):
    scores = model.predict([{"query": ["desk"]}], [{"body": ["Oak desk"]}], show_progress_bar=False)
    assert scores == pytest.approx(model.predict([{"query": ["desk"]}], [{"title": ["Oak desk"], "body": [""]}]))


def test_more_pairs_than_one_part_keep_their_order(model: MtebReranker, monkeypatch: pytest.MonkeyPatch):
    titles = [f"{colour} {thing}" for colour in ("red", "oak", "blue") for thing in ("desk", "lamp", "sofa")]
    queries, documents = [{"query": ["oak desk"] * 9}], [{"body": titles}]
    whole = model.predict(queries, documents, show_progress_bar=False)
    monkeypatch.setattr("gen_rerank.evaluation.mteb_model.PAIRS_AT_A_TIME", 4)
    assert model.predict(queries, documents, show_progress_bar=False) == pytest.approx(whole, abs=1e-6)
    assert len(set(whole.tolist())) == 9


def test_no_pairs_have_no_scores(model: MtebReranker):
    assert model.predict([], [], show_progress_bar=False).shape == (0,)


def test_the_module_opens_without_mteb():
    script = "import gen_rerank.evaluation.mteb_model, sys; sys.exit('mteb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=300).returncode == 0
