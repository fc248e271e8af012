"""Public yes/no rerankers and encoders behind the same command and routes, against computations without our code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from gen_rerank import Dataset
from gen_rerank.bins import BIN_VALUES
from gen_rerank.checkpoints.card import CARD, Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.system.server import start_server
from train.nano import NanoShape, new_base

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

QUERY = "red desk please"
DOCUMENTS = ["red desk", "blue sofa for every day", "steel kettle " * 3, "lamp"]
SCORED = {"query": QUERY, "documents": DOCUMENTS}
# As the model's own page writes it.
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a product search query, retrieve relevant products that match the query"


def ask(url: str, asked: dict[str, object]) -> list[float]:
    answer = httpx.post(f"{url}/v1/rerank", json=asked, timeout=120)
    assert answer.status_code == 200, answer.text
    return [row["relevance_score"] for row in sorted(answer.json()["results"], key=lambda row: row["index"])]


def spread(model: torch.nn.Module, width: float = 0.08) -> None:
    """Give every matrix a say, so that scores differ."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, width)


@pytest.fixture(scope="module")
def reranker(tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny decoder as the published one lies in a folder: without a card, under its own name."""
    folder = tmp_path_factory.mktemp("public") / "RexReranker-0.6B"
    texts = [f"yes no {product.title} {product.description} {PREFIX}" for product in tiny_shop.products.values()]
    new_base(texts, NanoShape(vocabulary=600, hidden=64, layers=2, heads=2, mlp=128), folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.max_position_embeddings = 8192
    spread(model)
    model.save_pretrained(folder)
    tokenizer = read_tokenizer(folder)
    assert tokenizer.token_to_id("yes") is not None
    assert not (folder / CARD).exists()
    return folder


@torch.no_grad()
def plain_yes(folder: Path) -> list[float]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    scores = []
    for document in DOCUMENTS:
        content = f"<Instruct>: {INSTRUCTION}\n<Query>: {QUERY}\n<Document>: {document.strip()}"
        ids = tokenizer(PREFIX + content + SUFFIX, add_special_tokens=False, return_tensors="pt").input_ids
        logits = model(ids).logits[0, -1, tokenizer.convert_tokens_to_ids(["no", "yes"])]
        scores.append(logits.softmax(0)[1].item())
    return scores


def test_a_public_yes_no_reranker_is_served_as_published(reranker: Path) -> None:
    expected = plain_yes(reranker)
    assert np.std(expected) > 0.01
    with start_server(reranker, "--dtype", "float32", "--cache-gib", "0.5") as url:
        assert ask(url, SCORED) == pytest.approx(expected, abs=1e-3)
        prompt = PREFIX + f"<Instruct>: {INSTRUCTION}\n<Query>: {QUERY}\n<Document>: red desk" + SUFFIX
        asked = {"prompt": prompt, "max_tokens": 1, "logprobs": 11}
        choice = httpx.post(f"{url}/v1/completions", json=asked, timeout=60).json()["choices"][0]
        assert choice["gen_rerank"]["score"] == pytest.approx(expected[0], abs=1e-3)
        (card,) = httpx.get(f"{url}/v1/models").json()["data"]
        assert card["gen_rerank"]["readout"] == "yes_no"


def test_an_encoder_is_served(encoder_tokenizer: Callable[[str], Tokenizer], tmp_path: Path) -> None:
    tokenizer = encoder_tokenizer("word_piece")
    labels = {"id2label": {k: f"bin {k}" for k in range(11)}, "label2id": {f"bin {k}": k for k in range(11)}}
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=128, **labels,
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    spread(model, 0.3)
    model.save_pretrained(tmp_path)
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    inputs = ["input_ids", "attention_mask"]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **names)
    fast.save_pretrained(tmp_path)
    Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder", max_length=96)).save(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)

    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32).eval()
    expected = []
    for document in DOCUMENTS:
        ids = fast(QUERY, document.strip(), return_tensors="pt").input_ids
        with torch.no_grad():
            logits = plain(ids).logits[0]
        expected.append(float(logits.softmax(0).numpy() @ BIN_VALUES))
    assert np.std(expected) > 0.005
    assert checkpoint.card.readout.kind == "classifier"
    with start_server(tmp_path) as url:
        assert ask(url, SCORED) == pytest.approx(expected, abs=2e-3)
