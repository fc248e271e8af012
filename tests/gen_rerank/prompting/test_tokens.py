"""Plain text: a text's lines have the token ids of the whole, each is tokenized once, and what is kept stays small."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting import tokens
from gen_rerank.prompting.tokens import PlainText

KINDS = ("qwen", "tiny", "word_piece", "pair_bpe", "minilm")

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def qwen() -> Tokenizer:
    """A byte-level BPE that splits text as Qwen2 does and has learned tokens with new lines in them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_QWEN2), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    texts = ["An oak desk.\nBrand: Holm:\n\n\nIt's red!\r\n  A lamp;\n \n120 cm, it'll do.\n"] * 4
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@pytest.fixture
def plain_text(encoder_tokenizer, tiny_checkpoint: Path):
    def make(kind: str) -> PlainText:
        if kind == "qwen":
            return PlainText(qwen())
        return PlainText(read_tokenizer(tiny_checkpoint) if kind == "tiny" else encoder_tokenizer(kind))

    return make


class Recorder:
    """Passes calls on to a tokenizer and notes what it was asked, and whether the lock was held."""

    def __init__(self, plain: PlainText) -> None:
        self._tokenizer, self._lock = plain._tokenizer, plain._lock
        self.calls: list[list[str]] = []
        plain._tokenizer = self

    def encode_batch_fast(self, texts, **options):
        assert not self._lock.locked()
        self.calls.append(list(texts))
        return self._tokenizer.encode_batch_fast(texts, **options)

    def encode_batch(self, texts, **options):
        assert not self._lock.locked()
        self.calls.append(list(texts))
        return self._tokenizer.encode_batch(texts, **options)


pieces = st.one_of(
    st.sampled_from([
        "\n", "\n", "\n\n", "\r\n", " ", "  ", "\t", "\u2028", "\u00a0", "\x1f", "oak desk", "Brand: ", "it's", "'ll",
        "120", ".", "!\n", "-", "é", "e\u0301", "\u0301\u0327",
        "\u0130", "ﬀ", "漢字", "🛋️", "\u200b", "\u1100\u1161", "<|im_end|>", "[SEP]", "x" * 120,
    ]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)  # fmt: skip
texts = st.lists(pieces, max_size=12).map("".join)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_have_the_ids_of_the_whole_text(plain_text, kind):
    plain = plain_text(kind)

    @settings(max_examples=150, deadline=None)
    @given(text=texts)
    def check(text):
        whole = plain._tokenizer.encode(text, add_special_tokens=False).ids
        assert plain.token_ids([text, text]) == [whole, whole]

    check()


def test_lines_by_hand():
    assert tokens._lines("Oak desk\nBrand: Holm\nQuery: desk") == ["Oak desk\n", "Brand: Holm\n", "Query: desk"]
    assert tokens._lines("user\n\nQuery: desk\n") == ["user\n\nQuery: desk\n"]
    assert tokens._lines("Query: \nOak desk\n a") == ["Query: \nOak desk\n a"]
    assert tokens._lines("") == [""]


@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_lines_make_up_the_text(text):
    lines = tokens._lines(text)
    assert "".join(lines) == text
    assert all(line.endswith("\n") and len(line) > 1 for line in lines[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_text_is_a_beginning_within_its_budget(plain_text, kind):
    plain = plain_text(kind)

    @settings(max_examples=150, deadline=None)
    @given(text=texts.map(lambda text: " ".join(text.split())), budget=st.integers(0, 30))
    @example(text="\U0001e01b\u064b", budget=2)  # two accents that normalization puts in the other order
    @example(text="\U0001e01b\u064b", budget=3)
    def check(text, budget):
        (cut,) = plain.cut([(text, budget)])
        assert text.startswith(cut)
        assert len(plain._tokenizer.encode(cut, add_special_tokens=False)) <= budget
        if len(plain._tokenizer.encode(text, add_special_tokens=False)) <= budget:
            assert cut == text[: budget * tokens.CHARACTERS_PER_TOKEN].rstrip()
        assert plain.cut([(text, budget)]) == [cut]

    check()


def test_each_line_is_tokenized_once_and_the_new_ones_in_one_batch():
    plain = PlainText(qwen())
    recorder = Recorder(plain)
    plain.token_ids(["Oak desk\nBrand: Holm", "Oak desk\nPrice: 9.50", "Oak desk\nBrand: Holm"])
    assert recorder.calls == [["Oak desk\n", "Brand: Holm", "Price: 9.50"]]
    plain.token_ids(["Oak desk\nBrand: Holm", "Red lamp\nPrice: 9.50"])
    assert recorder.calls[1:] == [["Red lamp\n"]]
    plain.token_ids(["Red lamp\nBrand: Holm"])
    assert len(recorder.calls) == 2


def test_a_long_text_is_cut_once_for_each_budget():
    plain = PlainText(qwen())
    recorder = Recorder(plain)
    long = "oak desk " * 20 + "end"
    once = plain.cut([(long, 5), ("lamp", 5), (long, 5)])
    assert recorder.calls == [[long[: 5 * tokens.CHARACTERS_PER_TOKEN]]]
    assert plain.cut([(long, 5), ("lamp", 5), (long, 5)]) == once
    assert len(recorder.calls) == 1
    assert plain.cut([(long, 6)]) != once[:1]
    assert len(recorder.calls) == 2


def test_what_is_kept_is_bounded_and_right(monkeypatch):
    monkeypatch.setattr(tokens, "LINE_TOKENS", 200)
    monkeypatch.setattr(tokens, "CUT_CHARACTERS", 300)
    plain, fresh = PlainText(qwen()), qwen()
    for k in [*range(40), *range(40)]:
        line = f"oak desk number {k}"
        assert plain.token_ids([line]) == [fresh.encode(line).ids]
        assert plain.cut([(line, 4)]) == PlainText(fresh).cut([(line, 4)])
        assert plain._lines.currsize <= 200
        assert plain._cuts.currsize <= 300
    assert 1 < len(plain._lines) < 40
    assert 1 < len(plain._cuts) < 40


def test_threads_share_it(monkeypatch):
    monkeypatch.setattr(tokens, "LINE_TOKENS", 300)
    plain = PlainText(qwen())
    batches = [[f"oak desk {k % 7}\nBrand: {k % 11}" for k in range(start, start + 20)] for start in range(60)]
    expected = [[qwen().encode(text).ids for text in batch] for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(plain.token_ids, batches)) == expected
