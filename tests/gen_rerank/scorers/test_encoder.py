"""OpenVINO against transformers: the same scores, whatever the lengths; the graph that is kept; what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification, ModernBertForSequenceClassification

from gen_rerank import BadInput, Pair, Product, Reranker
from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.scorers import encoder as encoder_module
from gen_rerank.scorers.encoder import EncoderScorer, near_batches, padded, padded_length
from gen_rerank.scorers.encoder_graph import FOLDER, GRAPH, has_openvino, open_graph
from gen_rerank.scorers.opening import prepare_scorer
from gen_rerank.scorers.transformers import TransformersScorer
from tests.conftest import spread
from train.encoder_bases import EncoderShape, new_encoder, pair_tokenizer

needs_openvino = pytest.mark.skipif(not has_openvino(), reason="the extra openvino is not installed")
LENGTH = 256


@pytest.fixture(scope="module", params=["modernbert", "bert"])
def encoder(
    request: pytest.FixtureRequest,
    encoder_tokenizer: Callable[[str], Tokenizer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Checkpoint:
    """An encoder with random weights, 64 wide; of ModernBERT's three layers two look 64 tokens to each side."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "modernbert":
        texts = ["oak steel linen desk sofa lamp kettle red blue for every day"] * 3
        new_encoder(
            texts, EncoderShape(hidden=64, layers=3, mlp=96, heads=2, vocabulary=512), folder, max_length=LENGTH
        )
        model = ModernBertForSequenceClassification.from_pretrained(folder)
    else:
        tokenizer = pair_tokenizer(encoder_tokenizer("word_piece"), LENGTH)
        tokenizer.save_pretrained(folder)
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=96, max_position_embeddings=LENGTH, num_labels=11,
        )  # fmt: skip
        model = BertForSequenceClassification(config)
    spread(model)
    model.save_pretrained(folder)
    Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder", max_length=LENGTH)).save(folder)
    return Checkpoint.open(folder)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Of very different lengths, in no order, some of the greatest."""
    words = ("oak", "steel", "linen", "desk", "sofa", "lamp", "kettle", "red", "blue")
    draws = np.random.default_rng(0)
    titles = [" ".join(draws.choice(words, size)) for size in (1, 3, 200, 40, 2, 90, 60, 400, 55, 7, 41, 120)]
    return [Pair("red oak desk", Product(product_id=str(i), title=title)) for i, title in enumerate(titles)]


@needs_openvino
def test_scores_are_those_of_transformers(encoder: Checkpoint, pairs: list[Pair]) -> None:
    expected = TransformersScorer(encoder).pair_logits(pairs)
    scorer = EncoderScorer(encoder, dtype="float32", threads=1)
    seen: list[int] = []
    found = scorer.pair_logits(pairs, advance=seen.append)
    assert expected.std(axis=0).min() > 0.1  # they differ from pair to pair
    assert sum(seen) == len(pairs)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    # One at a time, nothing is padded to anything else's length.
    alone = np.concatenate([scorer.pair_logits([pair]) for pair in pairs])
    np.testing.assert_allclose(alone, found, atol=2e-4)
    assert scorer.pair_logits([]).shape == (0, 11)


@needs_openvino
def test_a_kept_graph_is_opened_without_torch(encoder: Checkpoint, pairs: list[Pair], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder.folder, tmp_path / "copy"))
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    copy = Checkpoint.open(folder)
    assert ", kept in " in open_graph(copy).origin
    assert open_graph(copy).origin.startswith("kept in ")
    code = (
        "import sys\nfrom gen_rerank import Reranker\n"
        f"results = Reranker.load({str(folder)!r}, 'openvino', dtype='float32').score('red oak desk', ['oak desk'])\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "print(results[0].score)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    expected = Reranker.load(folder, dtype="float32").score("red oak desk", ["oak desk"])[0].score
    assert float(done.stdout) == pytest.approx(expected, abs=1e-4)


@needs_openvino
def test_a_changed_checkpoint_gets_a_new_graph(encoder: Checkpoint, pairs: list[Pair], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder.folder, tmp_path / "copy"))
    before = EncoderScorer(Checkpoint.open(folder), dtype="float32").pair_logits(pairs[:3])
    kind = BertForSequenceClassification if encoder.config["model_type"] == "bert" else None
    model = (kind or ModernBertForSequenceClassification).from_pretrained(folder)
    with torch.no_grad():
        model.classifier.bias += 1
    model.save_pretrained(folder)
    after = EncoderScorer(Checkpoint.open(folder), dtype="float32").pair_logits(pairs[:3])
    np.testing.assert_allclose(after, before + 1, atol=2e-4)


@needs_openvino
def test_a_graph_that_cannot_be_kept_is_used_all_the_same(
    encoder: Checkpoint, pairs: list[Pair], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(encoder.folder, tmp_path / "copy"))
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    (folder / FOLDER).write_text("in the way")
    scorer = EncoderScorer(Checkpoint.open(folder), dtype="float32")
    assert "and not kept" in scorer.origin
    np.testing.assert_allclose(
        scorer.pair_logits(pairs[:2]), TransformersScorer(encoder).pair_logits(pairs[:2]), atol=2e-4
    )


@needs_openvino
def test_a_damaged_graph_is_named(encoder: Checkpoint, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder.folder, tmp_path / "copy"))
    open_graph(Checkpoint.open(folder))
    (graph,) = (folder / FOLDER).glob(f"*/{GRAPH}")
    graph.write_text("<net")
    with pytest.raises(BadInput, match=r"not a graph that OpenVINO can read .*remove it"):
        open_graph(Checkpoint.open(folder))


def test_what_is_refused(encoder: Checkpoint, tiny_checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(BadInput, match="the backend openvino is for encoders; choose transformers or vllm"):
        prepare_scorer(tiny_checkpoint, "openvino")
    quantized = Path(shutil.copytree(encoder.folder, tmp_path / "int8"))
    config = json.loads((quantized / "config.json").read_text())
    (quantized / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "x"}}))
    with pytest.raises(BadInput, match="quantized for vLLM and transformers"):
        prepare_scorer(quantized, "openvino")
    monkeypatch.setattr(encoder_module, "cpu_multiplies_bfloat16", lambda: False)
    assert str(prepare_scorer(encoder.folder, "openvino")) == "openvino in float32"
    with pytest.raises(BadInput, match="this CPU does not multiply it"):
        EncoderScorer(encoder, dtype="bfloat16")
    with pytest.raises(BadInput, match="--threads 0: this process may use 1 to"):
        EncoderScorer(encoder, threads=0)
    monkeypatch.setattr(encoder_module, "cpu_multiplies_bfloat16", lambda: True)
    assert str(prepare_scorer(encoder.folder, "openvino")) == "openvino in bfloat16"


@given(
    lengths=st.lists(st.integers(1, 300), max_size=40),
    budget=st.integers(1, 2000),
    most_padding=st.integers(7, 32),
)
def test_every_prompt_is_in_one_batch_of_its_like(lengths: list[int], budget: int, most_padding: int) -> None:
    batches = list(near_batches(lengths, budget, most_padding))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        width = padded_length(max(lengths[i] for i in batch))
        assert width - min(lengths[i] for i in batch) <= max(most_padding, 7)
        assert len(batch) * width <= budget or len(batch) == 1


def test_padding_is_on_the_right_and_masked() -> None:
    inputs = padded([[5, 6, 7], [8]])
    assert inputs["input_ids"].tolist() == [[5, 6, 7, 0, 0, 0, 0, 0], [8] + [0] * 7]
    assert inputs["attention_mask"].sum(axis=1).tolist() == [3, 1]
