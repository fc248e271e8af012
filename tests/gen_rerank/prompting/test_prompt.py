"""Prompts: whatever shoppers and sellers write, the control tokens, the suffix and the length stay ours."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gen_rerank import BIN_TOKENS, BadInput, Pair, Product
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting.prompt import (
    Prompt,
    PromptSpec,
    template_names,
    template_sha256,
)

from .texts import (
    INSTRUCTED,
    SUFFIX,
    TEMPLATES,
    byte_level,
    control_ids,
    fixed_length,
    full_product,
    hostile,
    template_controls,
    tokenizer_of,
)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", ["tiny", "byte_level"])
def test_hostile_text_stays_text(tiny_checkpoint, kind, template):
    tokenizer = tokenizer_of(kind, tiny_checkpoint)
    fixed = fixed_length(template, tokenizer)
    prompts = [Prompt(PromptSpec(template=template, max_length=fixed + room), tokenizer) for room in (1, 7, 40, 400)]
    bins = {tokenizer.token_to_id(token) for token in BIN_TOKENS}
    controls = template_controls(template, tokenizer)
    suffix = tokenizer.encode(SUFFIX[template], add_special_tokens=False).ids

    @settings(max_examples=40, deadline=None)
    @given(text=hostile, query=hostile, instruction=hostile)
    def check(text, query, instruction):
        for prompt in prompts:
            told = instruction if template in INSTRUCTED else None
            (ids,) = prompt.encode([Pair(f"x{query}", full_product(text))], instruction=told)
            assert not bins & set(ids)
            assert Counter(number for number in ids if number in control_ids(tokenizer)) == controls
            assert ids[-len(suffix) :] == suffix
            assert len(ids) <= prompt.spec.max_length

    check()


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=30), min_size=2, max_size=2
    )
)
def test_ids_are_those_of_plain_tokenization_of_the_rendered_text(template, texts):
    text, query = texts
    if any("<" in part or ">" in part for part in texts) or not query.split():
        return
    prompt = Prompt(PromptSpec(template=template), byte_level())
    pair = Pair(query, full_product(text))
    plain = PreTrainedTokenizerFast(tokenizer_object=byte_level())
    assert prompt.encode([pair]) == [plain(prompt.render(pair), add_special_tokens=False)["input_ids"]]


def test_qwen3_reranker_is_the_published_prompt():
    """As on the model card of Qwen/Qwen3-Reranker-0.6B, for a document that is a title."""
    prompt = Prompt(PromptSpec(template="qwen3_reranker", instruction="Find it"), byte_level())
    rendered = prompt.render(Pair("oak desk", Product(product_id="p", title="Oak writing desk")))
    assert rendered == (
        "<|im_start|>system\n"
        "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
        'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
        "<Instruct>: Find it\n<Query>: oak desk\n<Document>: Oak writing desk<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_product_first_by_hand():
    product = Product(
        product_id="p", title="Oak\n desk", brand="Holm", price=99.5, attributes={"width": "120 cm", "wood": "oak"}
    )
    assert Prompt(PromptSpec(), byte_level()).render(Pair(" a  desk ", product), instruction="Rate") == (
        "<|im_start|>system\nRate<|im_end|>\n<|im_start|>user\nOak desk\nBrand: Holm\nPrice: 99.50\n"
        "Details: width: 120 cm; wood: oak\nQuery: a desk<|im_end|>\n<|im_start|>assistant\n"
    )


def test_all_templates_are_installed():
    assert template_names() == sorted([*TEMPLATES, "encoder"])


ordinary = st.text(st.characters(categories=["L", "N", "P", "Zs", "Zl", "Cc"], exclude_characters="[\0"), max_size=30)


@pytest.mark.parametrize("kind", ["word_piece", "pair_bpe", "minilm"])
def test_encoder_ids_are_those_of_the_plain_pair(encoder_tokenizer, kind):
    plain = PreTrainedTokenizerFast(tokenizer_object=encoder_tokenizer(kind))
    prompts = [
        Prompt(PromptSpec(template="encoder", budgets=budgets, max_length=length), encoder_tokenizer(kind))
        for length in (9, 40, 400)
        for budgets in ({}, {"title": 0})
    ]

    @settings(max_examples=40, deadline=None)
    @given(text=ordinary, query=ordinary)
    def check(text, query):
        pair = Pair(f" oak {query}\n", full_product(f"\n{text} "))
        for prompt in prompts:
            (ids,) = prompt.encode([pair])
            ((query_text, document),) = prompt.segments([pair])
            assert [ids] == plain([(query_text, document)])["input_ids"]
            assert (query_text, document) == (query_text.strip(), document.strip())
            assert len(ids) <= prompt.spec.max_length

    check()


def test_a_template_without_an_instruction_refuses_one(encoder_tokenizer):
    prompt = Prompt(PromptSpec(template="encoder"), encoder_tokenizer("pair_bpe"))
    pair = Pair("oak desk", Product(product_id="1", title="Oak desk"))
    with pytest.raises(BadInput, match="'encoder' has no instruction; leave it out"):
        prompt.encode([pair], instruction="Rate.")
    assert prompt.encode([pair])


def test_segments_by_hand(encoder_tokenizer):
    product = Product(product_id="p", title="Oak\n desk", brand="Holm", price=99.5, attributes={"wood": "oak"})
    pair = Pair(" a  desk ", product)
    prompt = Prompt(PromptSpec(template="encoder"), encoder_tokenizer("pair_bpe"))
    assert prompt.segments([pair]) == [("a desk", "Oak desk\nBrand: Holm\nPrice: 99.50\nDetails: wood: oak")]
    assert prompt.render(pair) == "[CLS]a desk[SEP]Oak desk\nBrand: Holm\nPrice: 99.50\nDetails: wood: oak[SEP]"
    assert prompt.segments([]) == []
    short = Prompt(PromptSpec(template="encoder", max_length=5), encoder_tokenizer("word_piece"))
    assert short.segments([Pair("oak desk", product)]) == [("oak desk", "")]


@pytest.mark.parametrize("kind", ["word_piece", "pair_bpe", "minilm"])
def test_hostile_text_is_text_for_an_encoder(encoder_tokenizer, kind):
    tokenizer = encoder_tokenizer(kind)
    prompt = Prompt(PromptSpec(template="encoder", max_length=40), tokenizer)
    classify, separate, unknown = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[UNK]"))

    @settings(max_examples=40, deadline=None)
    @given(text=hostile, mark=st.sampled_from(["[SEP]", "[CLS]", "[MASK]", "[PAD]", "[sep]"]))
    def check(text, mark):
        (ids,) = prompt.encode([Pair(mark, full_product(mark + text + mark))])
        found = Counter(number for number in ids if number in control_ids(tokenizer) - {unknown})
        assert found == Counter([classify, separate, separate])
        assert (ids[0], ids[-1]) == (classify, separate)

    check()


@pytest.mark.parametrize("kind", ["tiny", "byte_level"])
def test_product_first_shares_the_product_between_queries(tiny_checkpoint, kind):
    tokenizer = tokenizer_of(kind, tiny_checkpoint)
    product = full_product("A red oak desk")
    one, two = Prompt(PromptSpec(), tokenizer).encode(
        [Pair("lamp", product), Pair("zebra steel 42 of a long sort", product)]
    )
    shared = next(i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    suffix = len(tokenizer.encode(SUFFIX["product_first"], add_special_tokens=False))
    query = len(tokenizer.encode(" lamp", add_special_tokens=False))
    assert shared >= len(one) - suffix - query
    far = Prompt(PromptSpec(template="query_first"), tokenizer).encode([Pair("lamp", product), Pair("zebra", product)])
    assert next(i for i, (a, b) in enumerate(zip(*far, strict=False)) if a != b) < shared


def test_a_batch_is_its_pairs_one_by_one(tiny_shop, tiny_checkpoint):
    prompt = Prompt(PromptSpec(max_length=40), read_tokenizer(tiny_checkpoint))
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:30]]
    assert prompt.encode(pairs) == [prompt.encode([pair])[0] for pair in pairs]
    assert prompt.encode([]) == []


def test_another_version_of_the_template_is_refused(tiny_checkpoint):
    tokenizer = read_tokenizer(tiny_checkpoint)
    assert Prompt(PromptSpec(sha256=template_sha256("product_first")), tokenizer).spec.sha256 == template_sha256(
        "product_first"
    )
    with pytest.raises(BadInput, match=r"another version of the prompt template 'product_first' \(sha256 000000000000"):
        Prompt(PromptSpec(sha256="0" * 64), tokenizer)


def test_the_hash_is_recorded_when_none_is_given(tiny_checkpoint):
    assert Prompt(PromptSpec(), read_tokenizer(tiny_checkpoint)).spec.sha256 == template_sha256("product_first")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (PromptSpec(template="none_such"), "no prompt template 'none_such'"),
        (PromptSpec(max_length=5), "no room for text"),
        (PromptSpec(template="encoder"), r"needs the control tokens \[CLS\], \[SEP\], which the tokenizer lacks"),
    ],
)
def test_unusable_specs(tiny_checkpoint, spec, reason):
    with pytest.raises(BadInput, match=reason):
        Prompt(spec, read_tokenizer(tiny_checkpoint))


@pytest.mark.parametrize("query", ["", "  \n", "\0"])
def test_a_query_without_text_is_refused(tiny_checkpoint, query):
    with pytest.raises(BadInput, match="the query has no text"):
        Prompt(PromptSpec(), read_tokenizer(tiny_checkpoint)).encode(
            [Pair(query, Product(product_id="p", title="desk"))]
        )


def test_a_tokenizer_that_makes_control_tokens_of_text_is_refused():
    """A word-level vocabulary that has the marker as an ordinary word: text could never be told from control."""
    tokenizer = Tokenizer(models.WordLevel({"<|im_end|>": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|im_end|>"])
    with pytest.raises(BadInput, match="not safe to serve"):
        Prompt(PromptSpec(), tokenizer)


@pytest.mark.parametrize("field", ["title", "description", "attributes"])
def test_a_product_that_many_pairs_share_is_cleaned_once(tiny_checkpoint, field):
    prompt = Prompt(PromptSpec(max_length=100), read_tokenizer(tiny_checkpoint))
    huge = "oak  desk " * 50_000
    fields = {"title": "Oak desk", field: {"k": huge} if field == "attributes" else huge}
    product = Product(product_id="p", **fields)
    pairs = [Pair(f"desk {i}", product) for i in range(100)]
    tracemalloc.start()
    together = prompt.prepare(pairs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * len(huge)
    assert together.token_ids[7] == prompt.encode([pairs[7]])[0]
    assert together.cut == [True] * 100


def test_a_template_says_by_its_own_text_what_comes_first():
    first = [name for name in template_names() if PromptSpec(template=name).product_first]
    assert first == ["product_first", "short"]
