import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from gen_rerank import BadInput
from train.packing import Row, attention_mask, collate, pack, refuse_unpackable

tokens = st.lists(st.integers(1, 20), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        head_dim=16, intermediate_size=48, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).model.eval()


def test_pairs_of_one_product_share_their_prefix():
    rows = pack([[1, 2, 3, 9], [1, 2, 4, 9], [5, 9]], ["a", "a", "b"], row_tokens=100)
    assert rows == [Row([1, 2], [[3, 9], [4, 9]], [0, 1]), Row([5], [[9]], [2])]


def test_a_row_is_closed_when_the_next_tail_does_not_fit():
    rows = pack([[1, 2, 3], [1, 2, 4], [1, 2, 5]], ["a"] * 3, row_tokens=4)
    assert [row.members for row in rows] == [[0, 1], [2]]


def test_a_pair_longer_than_a_row_stands_alone():
    assert [row.members for row in pack([[1] * 9, [1] * 9], ["a", "a"], row_tokens=4)] == [[0], [1]]


def test_equal_pairs_keep_a_tail_each():
    (row,) = pack([[1, 2], [1, 2]], ["a", "a"], row_tokens=9)
    assert row.tails == [[2], [2]]


@given(st.lists(st.tuples(tokens, st.sampled_from("abc")), min_size=1, max_size=12), st.integers(1, 30))
def test_packing_loses_nothing(pairs, row_tokens):
    encoded = [ids for ids, _ in pairs]
    rows = pack(encoded, [group for _, group in pairs], row_tokens)
    found = {member: row.prefix + tail for row in rows for member, tail in zip(row.members, row.tails, strict=True)}
    assert found == dict(enumerate(encoded))
    assert all(tail for row in rows for tail in row.tails)
    assert all(row.length <= row_tokens or len(row.members) == 1 for row in rows)


def test_the_mask_by_hand():
    mask = attention_mask(torch.tensor([[0, 1, 2, -1]]))[0, 0].int().tolist()
    assert mask == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(tokens, st.sampled_from("ab")), min_size=1, max_size=6))
def test_a_pair_in_a_row_has_the_state_that_it_has_alone(model, pairs):
    encoded = [ids for ids, _ in pairs]
    rows = pack(encoded, [group for _, group in pairs], row_tokens=24)
    inputs = collate(rows)
    readout = inputs.pop("readout")
    with torch.no_grad():
        packed = model(**inputs, use_cache=False).last_hidden_state[readout[:, 0], readout[:, 1]]
        alone = {
            i: model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1]
            for i, ids in enumerate(encoded)
        }
    members = [member for row in rows for member in row.members]
    assert torch.allclose(packed, torch.stack([alone[member] for member in members]), atol=1e-4)


SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip


def small(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(
    "config",
    [LlamaConfig(**SMALL), Qwen3Config(**SMALL), GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2)],
)
def test_models_that_keep_pairs_apart_are_accepted(config):
    refuse_unpackable(small(config), row_tokens=512)


def test_models_that_do_not_are_refused_in_one_sentence():
    sliding = Gemma3TextConfig(**SMALL, sliding_window=8, layer_types=["sliding_attention", "full_attention"])
    with pytest.raises(BadInput, match="window of 8 tokens, which does not fit rows of pairs: set row_tokens to 8"):
        refuse_unpackable(small(sliding), row_tokens=512)
    with pytest.raises(BadInput, match=r"Bloom.* cannot read rows of pairs"):
        refuse_unpackable(small(BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=2)), row_tokens=512)
