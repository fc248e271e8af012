"""Limits of one call: on the query, on the whole prompt; those on the product stand with the budgets."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Pair, Product
from gen_rerank.prompting.limits import Limits
from gen_rerank.prompting.prompt import Prompt, PromptSpec

from .texts import SUFFIX, TEMPLATES, byte_level, fixed_length, full_product, hostile, tokenizer_of

DESK = Product(product_id="p", title="Oak desk", description="Sturdy. " * 30)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", ["tiny", "byte_level"])
def test_a_limit_on_the_prompt_is_a_lower_max_length(tiny_checkpoint, kind, template):
    tokenizer = tokenizer_of(kind, tiny_checkpoint)
    fixed = fixed_length(template, tokenizer)
    whole = Prompt(PromptSpec(template=template), tokenizer)
    suffix = tokenizer.encode(SUFFIX[template], add_special_tokens=False).ids

    @settings(max_examples=30, deadline=None)
    @given(text=hostile, query=hostile, room=st.integers(1, 80))
    def check(text, query, room):
        pair = Pair(f"x{query}", full_product(text))
        encoded = whole.prepare([pair], limits=Limits(prompt_tokens=fixed + room))
        short = Prompt(PromptSpec(template=template, max_length=fixed + room), tokenizer)
        assert encoded == short.prepare([pair])
        assert encoded.token_ids[0][-len(suffix) :] == suffix

    check()


def test_limits_above_the_checkpoints_own_change_nothing():
    prompt = Prompt(PromptSpec(max_length=120), byte_level())
    pair = Pair("oak desk " * 40, DESK)
    assert prompt.prepare([pair], limits=Limits(10**6, 10**6, 10**6)) == prompt.prepare([pair])


def test_a_prompt_without_room_for_text_is_refused_with_the_least_number_that_works():
    prompt = Prompt(PromptSpec(), byte_level())
    assert prompt.least_length == fixed_length("product_first", byte_level()) + 1
    for tokens in (0, prompt.least_length - 1):
        with pytest.raises(BadInput, match=rf"prompt_tokens is {tokens}; .* must be at least {prompt.least_length}$"):
            prompt.prepare([Pair("desk", DESK)], limits=Limits(prompt_tokens=tokens))
    (ids,) = prompt.prepare([Pair("desk", DESK)], limits=Limits(prompt_tokens=prompt.least_length)).token_ids
    assert len(ids) <= prompt.least_length


@pytest.mark.parametrize("tokens", [1, 3, 64])
def test_the_query_alone_is_cut_to_its_limit(tokens):
    prompt = Prompt(PromptSpec(), byte_level())
    query = "a long oak desk with two drawers"
    kept = byte_level().decode(byte_level().encode(query).ids[:tokens])
    limited = prompt.prepare([Pair(query, DESK)], limits=Limits(query_tokens=tokens))
    assert limited == prompt.prepare([Pair(kept, DESK)])
    assert limited.cut == prompt.prepare([Pair(query, DESK)]).cut


def test_a_query_of_no_tokens_is_refused():
    with pytest.raises(BadInput, match="query_tokens is 0; it must be at least 1"):
        Prompt(PromptSpec(), byte_level()).prepare([], limits=Limits(query_tokens=0))


@pytest.mark.parametrize(
    "query", ["oak desk " * 20, "\n oak \t desk" * 5000, " " * 100_000 + "oak" + " " * 100_000 + "desk"]
)
def test_of_a_long_query_the_start_is_what_it_was(query):
    """However much white space there is before the text, and within it."""
    prompt = Prompt(PromptSpec(), byte_level())
    collapsed = " ".join(query.split())
    assert prompt.encode([Pair(query, DESK)], instruction=query) == prompt.encode(
        [Pair(collapsed, DESK)], instruction=collapsed
    )


@pytest.mark.parametrize("unit", ["oak desk ", "x", " ", "漢", "<b>"])
def test_thirty_megabytes_of_query_and_instruction_cost_next_to_nothing(unit):
    huge = "desk" + unit * (30_000_000 // len(unit.encode())) + "desk"
    prompt = Prompt(PromptSpec(), byte_level())
    pairs = [Pair(huge, Product(product_id=str(i), title=f"Desk {i}")) for i in range(1000)]
    start = time.process_time()
    token_ids = prompt.encode(pairs, instruction=huge)
    assert time.process_time() - start < 2
    assert max(map(len, token_ids)) <= 512
