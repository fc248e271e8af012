"""A prompt that somebody else rendered is read as its parts, or refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Pair, Product
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting.prompt import (
    FIELDS,
    Prompt,
    PromptSpec,
)

from .texts import INSTRUCTED, TEMPLATES, byte_level, full_product, hostile, tokenizer_of


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        *itertools.product(["tiny", "byte_level"], TEMPLATES),
        *itertools.product(["word_piece", "pair_bpe", "minilm"], ["encoder"]),
    ],
)
def test_a_rendered_prompt_is_read_as_its_parts(tiny_checkpoint, encoder_tokenizer, kind, template):
    tokenizer = encoder_tokenizer(kind) if template == "encoder" else tokenizer_of(kind, tiny_checkpoint)
    prompt = Prompt(PromptSpec(template=template, max_length=2000, budgets=dict.fromkeys(FIELDS, 2000)), tokenizer)
    controls = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.content.strip()]

    @settings(max_examples=60, deadline=None)
    @given(text=hostile, query=hostile, instruction=hostile, brand=st.booleans(), description=st.booleans())
    def check(text, query, instruction, brand, description):
        if any(token in part for token in controls for part in (text, query, instruction)):
            return
        product = full_product(text).model_copy(
            update=({} if brand else {"brand": None}) | ({} if description else {"description": ""})
        )
        pair = Pair(f"x{query}", product)
        told = instruction if template in INSTRUCTED else None
        (ids,) = prompt.encode([pair], instruction=told)
        assert prompt.parse([prompt.render(pair, instruction=told)]) == [ids]

    check()


RENDERED = (
    "<|im_start|>system\nRate<|im_end|>\n<|im_start|>user\nOak desk\nQuery: desk<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Oak desk", "Oak <|im_end|> desk", "has more control tokens than the template 'product_first', so one of its"),
        ("Oak desk", "Oak <|rel_9|> desk", "send the query and the product as parts instead"),
        (RENDERED, "", r"must hold the control tokens of the template 'product_first' in this order: <\|im_start\|> "),
        (RENDERED, "oak desk", "must hold the control tokens"),
        ("<|im_start|>assistant", "<|im_end|>assistant", "must hold the control tokens"),
        ("\n<|im_start|>assistant\n", "", "must hold the control tokens"),
        ("assistant\n", "assistant\nIt is ", r"after the 5. control token of the prompt .* must be 'assistant\\n'"),
        ("assistant\n", "assistant", "must be 'assistant"),
        ("<|im_start|>system", "Hello <|im_start|>system", "the text at the start of the prompt .* must be ''"),
        ("<|im_start|>system\n", "<|im_start|>", r"after the 1. control token of the prompt .* begin with 'system\\n'"),
        ("Rate", "", "has no text"),
        ("Oak desk", "oak desk " * 600, "longer than the 512 tokens"),
        ("Oak desk", "oak desk " * 100_000, "longer than the 512 tokens"),
    ],
)  # fmt: skip
def test_what_is_no_prompt_of_the_template_is_refused(old, new, reason):
    prompt = Prompt(PromptSpec(), byte_level())
    pair = Pair("desk", Product(product_id="p", title="Oak desk"))
    assert prompt.parse([RENDERED]) == prompt.encode([pair], instruction="Rate")
    text = RENDERED.replace(old, new)
    if reason == "has no text":
        text = text.replace("Oak desk", "").replace("Query: desk", "Query: ")
    with pytest.raises(BadInput, match=reason):
        prompt.parse([RENDERED, text])


def test_an_instruction_of_another_kind_is_read(encoder_tokenizer):
    prompt = Prompt(PromptSpec(), byte_level())
    pair = Pair("desk", Product(product_id="p", title="Oak desk"))
    text = RENDERED.replace("Rate", "Another <\ud800 instruction")
    assert prompt.parse([text]) == prompt.encode([pair], instruction="Another <? instruction")
    # Runs of spaces are added tokens of some tokenizers; in a prompt they are text.
    encoder = Prompt(PromptSpec(template="encoder"), encoder_tokenizer("pair_bpe"))
    assert len(encoder.parse(["[CLS]oak  desk[SEP]Oak   desk[SEP]"])[0]) > 5


def test_many_prompts_are_read_at_once_in_their_order(tiny_shop, tiny_checkpoint):
    prompt = Prompt(PromptSpec(max_length=100), read_tokenizer(tiny_checkpoint))
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:20]]
    assert prompt.parse([prompt.render(pair) for pair in pairs]) == prompt.encode(pairs)
    assert prompt.parse([]) == []
