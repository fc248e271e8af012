"""Both backends against plain libraries and each other: encoders, yes/no readouts, adapters.

One vLLM engine a test, and everything about its checkpoint in that test: an engine takes long to start.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from gen_rerank import Pair, Product
from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.card import Calibration, Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer, single_token_id
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.scorers.engine_plan import EngineChoices
from gen_rerank.scorers.opening import open_scorer
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.scorers.vllm import VllmScorer
from tests.conftest import spread
from train.nano import NanoShape, new_base

LENGTH = 128
LABELS = {"id2label": {k: f"{k / 10}" for k in range(11)}, "label2id": {f"{k / 10}": k for k in range(11)}}


@pytest.fixture(scope="module")
def pairs(tiny_shop) -> list[Pair]:
    """Of very different lengths, in no order."""
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:10]]
    return [
        Pair("x", Product(product_id="s", title="y")),
        *pairs,
        Pair("desk " * 20, Product(product_id="l", title="sofa " * 40, description="steel lamp " * 60)),
        Pair("red oak", Product(product_id="m", title="a green kettle " * 3)),
    ]


@pytest.fixture(scope="module", params=["modernbert", "bert"])
def encoder(
    request: pytest.FixtureRequest,
    encoder_tokenizer: Callable[[str], Tokenizer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Checkpoint:
    """An encoder with random weights: 2 layers, 64 wide, eleven labels."""
    folder = tmp_path_factory.mktemp(request.param)
    kind = "pair_bpe" if request.param == "modernbert" else "word_piece"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=encoder_tokenizer(kind),
        model_max_length=LENGTH,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    )
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "max_position_embeddings": LENGTH,
        "pad_token_id": tokenizer.pad_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    if request.param == "modernbert":
        config = ModernBertConfig(**shape, **LABELS, local_attention=16, global_attn_every_n_layers=2)
        model = ModernBertForSequenceClassification(config)
    else:
        model = BertForSequenceClassification(BertConfig(**shape, **LABELS))
    spread(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder", max_length=LENGTH)).save(folder)
    return Checkpoint.open(folder)


@pytest.fixture(scope="module")
def yes_no(tiny_shop, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A decoder that answers "yes" or "no", prompted as the public yes/no rerankers are."""
    folder = tmp_path_factory.mktemp("yes_no")
    texts = [f"yes no {product.title} {product.description}" for product in tiny_shop.products.values()]
    new_base(texts, NanoShape(vocabulary=512, hidden=64, layers=2, heads=2, mlp=128), folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    spread(model)
    model.save_pretrained(folder)
    tokenizer = read_tokenizer(folder)
    ids = tuple(single_token_id(tokenizer, token) for token in ("no", "yes"))
    readout = Readout(kind="yes_no", tokens=("no", "yes"), token_ids=ids, values=(0.0, 1.0))
    Card(readout=readout, prompt=PromptSpec(template="qwen3_reranker", max_length=384)).save(folder)
    sharpen(model, Checkpoint.open(folder), [tiny_shop.pair(row) for row in tiny_shop.judgments])
    return Checkpoint.open(folder)


@torch.no_grad()
def sharpen(model: PreTrainedModel, checkpoint: Checkpoint, pairs: list[Pair]) -> None:
    """Turn the readout rows away from what all pairs have in common, so that scores differ, and write the model."""
    last = [model.model(torch.tensor([ids])).last_hidden_state[0, -1] for ids in checkpoint.prompt.encode(pairs)]
    centre = torch.stack(last).mean(dim=0)
    rows = model.get_output_embeddings().weight
    for number in checkpoint.card.readout.token_ids:
        rows[number] -= rows[number] @ centre / (centre @ centre) * centre
    model.save_pretrained(checkpoint.folder)


def plain_yes(model: PreTrainedModel, checkpoint: Checkpoint, pairs: list[Pair], temperature: float) -> np.ndarray:
    """P(yes) / (P(yes) + P(no)) from the whole vocabulary's logits, one prompt at a time, without our code."""
    vocabulary = PreTrainedTokenizerFast.from_pretrained(checkpoint.folder).get_vocab()
    found = []
    for ids in checkpoint.prompt.encode(pairs):
        with torch.inference_mode():
            logits = model.eval()(input_ids=torch.tensor([ids])).logits[0, -1] / temperature
        yes, no = logits.softmax(dim=0)[[vocabulary["yes"], vocabulary["no"]]].double()
        found.append(float(yes / (yes + no)))
    return np.array(found)


def test_an_encoder_is_what_sentence_transformers_says(encoder, pairs):
    expected = CrossEncoder(str(encoder.folder), device="cpu").predict(
        encoder.prompt.segments(pairs), apply_softmax=True, show_progress_bar=False
    )
    assert (expected @ np.linspace(0, 1, 11)).std() > 0.02, "the test would pass with any order of the answers"
    for batch_tokens in (1, 300, 8192):
        found = TransformersScorer(encoder, dtype=torch.float32, batch_tokens=batch_tokens).score(pairs)
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)


def test_an_encoder_looks_both_ways(encoder, pairs):
    """The first position is read, which a causal model would keep blind to the product."""
    scorer = TransformersScorer(encoder, dtype=torch.float32)
    one, two = scorer.score([Pair("oak", Product(product_id=str(k), title=title)) for k, title in enumerate("ab")]).mean
    assert abs(one - two) > 1e-4


@pytest.mark.slow
def test_an_encoder_in_vllm(encoder, pairs):
    pytest.importorskip("vllm")
    hot = replace(encoder, card=encoder.card.model_copy(update={"calibration": Calibration(temperature=1.7)}))
    expected = TransformersScorer(hot, dtype=torch.float32).score(pairs)
    assert np.abs(expected.mean - TransformersScorer(encoder).score(pairs).mean).max() > 0.01
    with VllmScorer(hot, choices=EngineChoices(dtype="float32")) as scorer:
        np.testing.assert_allclose(scorer.score(pairs).probabilities, expected.probabilities, atol=1e-3)
        np.testing.assert_allclose(scorer.score(pairs[::-1]).mean[::-1], expected.mean, atol=1e-3)


def test_an_adapter_is_the_merged_model(tiny_checkpoint, tiny_adapter, pairs, tmp_path):
    base = Checkpoint.open(tiny_checkpoint)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_checkpoint), tiny_adapter)
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "merged")
    merged.merge_and_unload().save_pretrained(folder)
    adapter = Adapter.open(tiny_adapter, base)
    expected = TransformersScorer(adapter.applied(Checkpoint.open(folder)), dtype=torch.float32).score(pairs)
    found = TransformersScorer(base, adapter, dtype=torch.float32).score(pairs)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    untouched = TransformersScorer(base, dtype=torch.float32).score(pairs)
    assert np.abs(found.probabilities - untouched.probabilities).max() > 0.01
    by_name = open_scorer(tiny_checkpoint, adapter=tiny_adapter, dtype="float32").score(pairs)
    np.testing.assert_allclose(by_name.probabilities, found.probabilities, atol=1e-5)


@pytest.mark.slow
def test_yes_no_and_its_adapter_in_both_backends(yes_no, pairs, write_adapter, tmp_path):
    """P(yes) / (P(yes) + P(no)), of the base and with an adapter; one engine serves both."""
    folder = write_adapter(yes_no.folder, tmp_path / "shop")
    adapter = Adapter.open(folder, yes_no)
    model = AutoModelForCausalLM.from_pretrained(yes_no.folder, dtype=torch.float32)
    base = plain_yes(model, yes_no, pairs, temperature=1.0)
    adapted = plain_yes(PeftModel.from_pretrained(model, folder), yes_no, pairs, temperature=1.7)
    assert base.std() > 0.05
    assert np.abs(base - adapted).max() > 0.05

    scored = TransformersScorer(yes_no, dtype=torch.float32).score(pairs)
    np.testing.assert_allclose(scored.mean, base, atol=1e-5)
    assert not scored.probabilities[:, 1:10].any()
    with_adapter = TransformersScorer(yes_no, adapter, dtype=torch.float32).score(pairs)
    np.testing.assert_allclose(with_adapter.mean, adapted, atol=1e-5)

    pytest.importorskip("vllm")
    with VllmScorer(yes_no, adapter, EngineChoices(dtype="float32")) as scorer:
        np.testing.assert_allclose(scorer.score(pairs).mean, adapted, atol=1e-3)
        # The same prompts again without the adapter: nothing of it may be left in the prefix cache.
        scorer.checkpoint, scorer._lora = yes_no, None
        np.testing.assert_allclose(scorer.score(pairs).mean, base, atol=1e-3)
