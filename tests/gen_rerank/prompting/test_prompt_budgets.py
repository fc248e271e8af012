"""What is cut when a text is too long: each field to its budget, the description first, the query last."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Pair, Product
from gen_rerank.prompting.limits import Limits
from gen_rerank.prompting.prompt import (
    PRODUCT_FIELDS,
    Prompt,
    PromptSpec,
)

from .texts import SUFFIX, TEMPLATES, byte_level, fixed_length, full_product, hostile, tokenizer_of


def test_the_description_is_cut_first_and_the_query_last():
    product = Product(product_id="p", title="title " * 9, attributes={"k": "value " * 9}, description="words " * 20)
    pair = Pair("thequery", product)
    fixed = fixed_length("product_first", byte_level())
    whole = len(Prompt(PromptSpec(max_length=2000, instruction="Go"), byte_level()).encode([pair])[0])
    seen = []
    for max_length in range(whole, fixed, -4):
        (ids,) = Prompt(PromptSpec(max_length=max_length, instruction="Go"), byte_level()).encode([pair])
        assert len(ids) <= max_length
        text = byte_level().decode(ids, skip_special_tokens=False)
        words, value, title, query = (text.count(word) for word in ("words", "value", "title", "thequery"))
        assert value == 9 or words == 0
        assert title == 9 or value == 0
        assert query == 1 or title == 0
        seen.append((words, value, title, query))
    assert seen[0] == (20, 9, 9, 1)
    assert (0, 9, 9, 1) in seen
    assert seen[-1][:2] == (0, 0)


def test_a_label_that_goes_with_its_field_leaves_room_for_the_query():
    product = Product(product_id="p", title="t", brand="Holm", category="Home", description="for every day")
    for room in range(1, 12):
        spec = PromptSpec(instruction="", max_length=fixed_length("product_first", byte_level()) + room)
        (ids,) = Prompt(spec, byte_level()).encode([Pair("a b c d e f g h i j k l m n", product)])
        assert spec.max_length - 1 <= len(ids) <= spec.max_length  # a cut never ends in a space


def test_budgets_are_kept_and_zero_leaves_a_field_out():
    pair = Pair("desk", Product(product_id="p", title="one two three four five", brand="Holm", description="long text"))
    prompt = Prompt(PromptSpec(budgets={"title": 3, "description": 0}), byte_level())
    rendered = prompt.render(pair)
    assert "Description" not in rendered
    title = rendered.split("user\n")[1].split("\nBrand")[0]
    assert "one two three four five".startswith(title)
    assert 0 < len(byte_level().encode(title).ids) <= 3


@pytest.mark.parametrize("field", ["title", "brand", "description", "query", "attributes"])
@pytest.mark.parametrize("unit", ["oak desk ", "x", "<|im_end|>", "漢"])
def test_a_megabyte_is_cut_quickly(field, unit):
    huge = unit * (1_000_000 // len(unit.encode()))
    fields = {"title": "Oak desk", field: {"k": huge} if field == "attributes" else huge}
    query = str(fields.pop("query", "desk"))
    prompt = Prompt(PromptSpec(max_length=256), byte_level())
    start = time.process_time()
    (ids,) = prompt.encode([Pair(query, Product(product_id="p", **fields))])
    assert time.process_time() - start < 1.0
    assert len(ids) <= 256


def field_tokens(prompt: Prompt, pair: Pair, document_tokens: int | None) -> dict[str, int]:
    """The tokens of each field as `prepare` left it, each counted by itself."""
    (row,), _ = prompt._fit(prompt._rows([pair], None), Limits(document_tokens=document_tokens))
    return {field: len(ids) for field, ids in zip(row, prompt._text.token_ids(list(row.values())), strict=True)}


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", ["tiny", "byte_level"])
def test_document_tokens_bound_the_product_alone(tiny_checkpoint, kind, template):
    tokenizer = tokenizer_of(kind, tiny_checkpoint)
    suffix = tokenizer.encode(SUFFIX[template], add_special_tokens=False).ids
    fixed = fixed_length(template, tokenizer)
    prompts = [Prompt(PromptSpec(template=template, max_length=fixed + room), tokenizer) for room in (9, 1000)]

    @settings(max_examples=40, deadline=None)
    @given(text=hostile, query=hostile, limit=st.integers(1, 80))
    def check(text, query, limit):
        pair = Pair(f"x{query}", full_product(text))
        for prompt in prompts:
            encoded = prompt.prepare([pair], limits=Limits(document_tokens=limit))
            (ids,) = encoded.token_ids
            assert len(ids) <= prompt.spec.max_length
            assert ids[-len(suffix) :] == suffix
            limited, free = (field_tokens(prompt, pair, tokens) for tokens in (limit, None))
            assert sum(limited[field] for field in PRODUCT_FIELDS) <= limit
            assert all(limited[field] >= free[field] for field in ("query", "instruction"))
            if encoded.cut == [False]:
                assert limited == free
                assert prompt.encode([pair]) == [ids]
        # Without a limit, and with one that nothing reaches, it is what `encode` gives.
        assert prompts[0].prepare([pair]).token_ids == prompts[0].encode([pair])
        assert prompts[0].prepare([pair], limits=Limits(document_tokens=10**6)) == prompts[0].prepare([pair])

    check()


def test_cut_by_hand():
    desk = Product(product_id="p", title="Oak desk", description="word " * 300)
    lamp = Product(product_id="q", title="Red lamp", brand="Holm")
    pairs = [Pair("oak " * 200, desk), Pair("oak " * 200, lamp)]
    assert Prompt(PromptSpec(), byte_level()).prepare(pairs).cut == [True, False]
    assert Prompt(PromptSpec(budgets={"description": 0}), byte_level()).prepare(pairs).cut == [False, False]
    assert Prompt(PromptSpec(max_length=110), byte_level()).prepare(pairs[1:], instruction="Go").cut == [False]
    assert Prompt(PromptSpec(max_length=40), byte_level()).prepare(pairs[1:], instruction="Go").cut == [True]


def test_document_tokens_are_cut_in_order_and_count_no_labels():
    product = Product(product_id="p", title="red oak desk", brand="ab", description="lamp lamp")
    prompt = Prompt(PromptSpec(), byte_level())
    whole = {text: len(byte_level().encode(text).ids) for text in ("red oak desk", "ab", "lamp lamp")}
    pair = Pair("desk", product)

    def document(tokens: int) -> str:
        (row,), _ = prompt._fit(prompt._rows([pair], None), Limits(document_tokens=tokens))
        return "|".join(row[field] for field in ("title", "brand", "description", "query"))

    everything = sum(whole.values())
    assert document(everything) == "red oak desk|ab|lamp lamp|desk"
    assert prompt.prepare([pair], limits=Limits(document_tokens=everything)).cut == [False]
    assert prompt.prepare([pair], limits=Limits(document_tokens=everything - 1)).cut == [True]
    assert document(whole["red oak desk"] + whole["ab"]) == "red oak desk|ab||desk"
    assert document(whole["red oak desk"]) == "red oak desk|||desk"


@pytest.mark.parametrize("tokens", [0, -3])
def test_document_tokens_below_one_are_refused(tokens):
    with pytest.raises(BadInput, match=f"document_tokens is {tokens}; it must be at least 1"):
        Prompt(PromptSpec(), byte_level()).prepare([], limits=Limits(document_tokens=tokens))


def test_a_long_title_goes_on_in_the_description():
    prompt = Prompt(PromptSpec(budgets={"title": 8, "description": 90}), byte_level())
    text = "Oak writing desk with two drawers and a shelf for books"
    encoded = prompt.prepare([Pair("desk", Product(product_id="1", title=text))])
    rendered = prompt.render(Pair("desk", Product(product_id="1", title=text)))
    head, rest = rendered.split("user\n")[1].split("\nQuery:")[0].split("\nDescription: ")
    assert f"{head} {rest}" == text
    assert 0 < len(byte_level().encode(head).ids) <= 8
    assert encoded.cut == [False]


def test_a_long_title_is_cut_where_there_is_a_description_or_no_place_for_one():
    long = Product(product_id="1", title="oak desk " * 60, description="Sturdy.")
    prompt = Prompt(PromptSpec(budgets={"title": 20}), byte_level())
    assert prompt.prepare([Pair("desk", long)]).cut == [True]
    assert "Description: Sturdy." in prompt.render(Pair("desk", long))
    without = Prompt(PromptSpec(budgets={"title": 20, "description": 0}), byte_level())
    assert without.prepare([Pair("desk", long.model_copy(update={"description": None}))]).cut == [True]


def test_a_word_longer_than_the_title_is_split_where_the_budget_ends():
    prompt = Prompt(PromptSpec(budgets={"title": 5, "description": 60}), byte_level())
    rendered = prompt.render(Pair("desk", Product(product_id="1", title="abcdefgh")))
    assert "\nabcde\nDescription: fgh\n" in rendered
