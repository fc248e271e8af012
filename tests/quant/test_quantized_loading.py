"""bitsandbytes while loading: real runs on the CPU, compared with what the quantized weights decode to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

from gen_rerank import BadInput, Dataset, Pair
from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.scorers.transformers import TransformersScorer
from quant.quantized_loading import open_loaded_as
from train.encoder_bases import EncoderShape, new_encoder


@pytest.mark.parametrize(("kind", "least"), [("nf4", 0.8), ("int8", 0.98)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_stay_near(kind: str, least: float, dtype: torch.dtype, reference: Path, pairs: list[Pair]) -> None:
    checkpoint = Checkpoint.open(reference)
    before = TransformersScorer(checkpoint).score(pairs).mean
    scorer = open_loaded_as(checkpoint, kind, dtype)
    after = scorer.score(pairs).mean
    assert not np.array_equal(before, after)
    assert np.corrcoef(before, after)[0, 1] > least
    quantized = Linear4bit if kind == "nf4" else Linear8bitLt
    assert sum(isinstance(layer, quantized) for layer in scorer.network.backbone.modules()) == 14
    assert scorer.network.rows.dtype == dtype, "the readout is not quantized"


def test_nf4_in_float32_computes_with_the_decoded_weights(reference: Path, pairs: list[Pair]) -> None:
    checkpoint = Checkpoint.open(reference)
    packed, plain = (
        open_loaded_as(checkpoint, "nf4", torch.float32),
        TransformersScorer(checkpoint, dtype=torch.float32),
    )
    decoded = 0
    for name, layer in packed.network.backbone.named_modules():
        if isinstance(layer, Linear4bit):
            weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            plain.network.backbone.get_submodule(name).weight.data = weight
            decoded += 1
    assert decoded == 14
    assert np.allclose(packed.score(pairs).mean, plain.score(pairs).mean, atol=1e-5)


def test_an_encoder_keeps_its_head(tiny_shop: Dataset, pairs: list[Pair], tmp_path: Path) -> None:
    texts = [product.title for product in tiny_shop.products.values()]
    new_encoder(texts, EncoderShape(hidden=64, layers=2, mlp=96, heads=2, vocabulary=512), tmp_path, max_length=64)
    Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder", max_length=64)).save(tmp_path)
    scorer = open_loaded_as(Checkpoint.open(tmp_path), "int8")
    model = scorer.network.model
    assert isinstance(model.model.layers[0].mlp.Wi, Linear8bitLt)
    assert not isinstance(model.head.dense, Linear8bitLt)
    assert not isinstance(model.classifier, Linear8bitLt)
    assert len(scorer.score(pairs)) == len(pairs)


@pytest.mark.parametrize(("kind", "quantized"), [("nf4", Linear4bit), ("int8", Linear8bitLt)])
def test_a_bert_keeps_its_pooler(
    kind: str, quantized: type, encoder_tokenizer: Callable[[str], Tokenizer], tmp_path: Path
) -> None:
    tokenizer = encoder_tokenizer("word_piece")
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=128, num_labels=11,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder", max_length=64)).save(tmp_path)
    model = open_loaded_as(Checkpoint.open(tmp_path), kind).network.model
    plain = {name for name, layer in model.named_modules() if type(layer) is torch.nn.Linear}
    assert plain == {"bert.pooler.dense", "classifier"}
    assert sum(isinstance(layer, quantized) for layer in model.modules()) == 6


def test_what_is_refused(reference: Path, int8_copy: Path) -> None:
    with pytest.raises(BadInput, match="choose one of nf4, int8"):
        open_loaded_as(Checkpoint.open(reference), "fp4")
    with pytest.raises(BadInput, match="already quantized"):
        open_loaded_as(Checkpoint.open(int8_copy), "nf4")
