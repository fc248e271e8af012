"""The operations of a request, by hand and by the model's own matrices; and what a prefix cache holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from harness.traffic import RequestMaker, Settings
from serving_parts.arithmetic import Arithmetic, PrefixCache

SETTINGS = Settings("nano")


def test_operations_by_hand():
    shape = {
        "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 3,
        "intermediate_size": 5,
    }  # fmt: skip
    arithmetic = Arithmetic.of(shape)
    # A layer: queries and output 4 × 6 each, keys and values 4 × 3 each, three matrices of 4 × 5.
    assert arithmetic.weights == 2 * (2 * 24 + 2 * 12 + 60)
    # Three tokens look at 1, 2 and 3; each look is two products of 6 numbers in each of 2 layers.
    assert arithmetic.flops(0, 3) == 2 * 264 * 3 + 4 * 12 * (1 + 2 + 3)
    assert arithmetic.flops(2, 3) == 2 * 264 + 4 * 12 * 3


def test_the_weights_are_those_of_the_model(nano):
    model = AutoModelForCausalLM.from_pretrained(nano.folder)
    matrices = sum(p.numel() for name, p in model.named_parameters() if ".layers." in name and p.dim() == 2)
    assert Arithmetic.of(nano.config).weights == matrices


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_part_and_the_rest_are_the_whole(a, b, c):
    start, middle, end = sorted((a, b, c))
    arithmetic = Arithmetic(weights=7, width=3)
    assert arithmetic.flops(start, middle) + arithmetic.flops(middle, end) == arithmetic.flops(start, end)


def test_the_prefix_cache_by_hand():
    cache = PrefixCache(block=2)
    assert [cache.held(ids) for ids in ([1, 2, 3, 4], [1, 2, 9, 4], [5, 2, 3, 4])] == [0, 2, 0]
    assert cache.held([1, 2, 3, 4]) == 2  # both blocks are held, and the last token is computed all the same
    assert cache.held([1, 2, 3, 4, 5]) == 4


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), max_size=9))
def test_what_is_held_was_seen(prompts):
    cache, seen = PrefixCache(block=2), []
    for ids in prompts:
        held = cache.held(ids)
        assert held % 2 == 0
        assert held < len(ids)
        assert held == 0 or any(other[:held] == ids[:held] for other in seen)
        seen.append(ids)


def test_cold_is_cold_and_warm_is_warm(nano):
    maker, cache = RequestMaker(nano.tokenizer, SETTINGS, seed=0), PrefixCache(32)
    first, second = maker.fresh(), maker.fresh()
    cold = [cache.held(ids) for pairs in (first, second) for ids in nano.prompt.encode(pairs)]
    assert set(cold) == {0}
    warm = maker.about([pair.product for pair in second])
    # 26 tokens before the product, and the product.
    assert {cache.held(ids) for ids in nano.prompt.encode(warm)} == {224}
    again = RequestMaker(nano.tokenizer, SETTINGS, seed=0)
    assert again.fresh() == first
    assert RequestMaker(nano.tokenizer, SETTINGS, seed=1).fresh() != first
