"""What a trainer is given: each pair's own state, read once, and the texts that a new tokenizer learns from."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import Qwen3Config, Qwen3ForCausalLM

from gen_rerank import Dataset, Judgment, Product, Query
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.reporting.progress import SECONDS_BETWEEN_LINES
from train.inputs import pair_features, training_texts
from train.packing import pack

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        head_dim=16, intermediate_size=48, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def test_features_are_in_the_order_of_the_pairs(model):
    encoded = [[1, 2, 3], [4, 5], [1, 2, 6, 7], [8]]
    rows = pack(encoded, ["a", "b", "a", "c"], row_tokens=24)
    found = pair_features(model, rows, len(encoded), console=QUIET)
    with torch.no_grad():
        alone = [model.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1].numpy() for ids in encoded]
    assert np.allclose(found, alone, atol=1e-4)


def test_reading_pairs_says_how_far_it_is_where_there_is_no_terminal(model):
    """A clock that moves as long as a line needs whenever it is asked."""
    text, times = io.StringIO(), iter(SECONDS_BETWEEN_LINES * tick for tick in range(1000))
    console = Console(file=text, width=200, get_time=lambda: next(times))
    encoded = [[token] * 12 for token in range(2, 5)] * 200  # more than a batch
    pair_features(model, pack(encoded, [str(i) for i in range(600)], row_tokens=12), 600, console=console)
    lines = text.getvalue().splitlines()
    assert len(lines) > 1
    assert all(line.startswith("reading pairs: ") and " of 600 (" in line for line in lines)
    assert lines[-1].startswith("reading pairs: 600 of 600 (100%)")


def test_a_tokenizer_learns_from_queries_judged_products_and_the_template():
    products = {
        "1": Product(product_id="1", title="Oak  desk", brand="Brandt", attributes={"colour": "oak"}, price=99.0),
        "2": Product(product_id="2", title="Never judged"),
    }
    shop = Dataset(
        products,
        {"q": Query(query_id="q", text="oak table", split="train")},
        (Judgment(query_id="q", product_id="1", relevance=0.5),),
    )
    query, product = training_texts(PromptSpec(instruction="Rate."), shop)
    assert query == "oak table"
    assert product.endswith("Rate. Oak desk Brandt colour: oak")
    assert "Query:" in product
    assert not {"<|", "{%", "{{", "99"} & set(product.replace("<|", " <| ").split())
