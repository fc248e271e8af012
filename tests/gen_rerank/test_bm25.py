"""BM25: what it finds, that it never depends on chance, and that nothing else pays for importing it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from gen_rerank.bm25 import BM25

TEXTS = (
    "Black leather sofa",
    "Cover for a sofa",
    "Steel kettle",
    "Running shoes size 9",
    "Running shoes size 10",
    "Steel kettle",
)


@pytest.fixture(scope="module")
def index() -> BM25:
    return BM25(TEXTS)


def test_scores_have_one_float32_per_text_and_follow_word_overlap(index: BM25):
    scores = index.scores("black sofa")
    assert scores.dtype == np.float32
    assert scores.shape == (len(TEXTS),)
    assert scores[0] > scores[1] > 0.0
    assert scores[2:].tolist() == [0.0] * 4


@pytest.mark.parametrize(("query", "best"), [("SOFAS in leather", 0), ("covers", 1), ("shoe size 9", 3), ("run 10", 4)])
def test_case_stems_and_single_digits_count(index: BM25, query: str, best: int):
    assert index.top(query, 1).tolist() == [best]


@pytest.mark.parametrize("query", ["", "   ", "the of and", "zyzzyva", "?!"])
def test_a_query_without_a_known_word_scores_zero_everywhere(index: BM25, query: str):
    assert not index.scores(query).any()
    assert index.top(query, 3).tolist() == [0, 1, 2]


def test_equals_come_in_corpus_order_and_k_may_exceed_the_corpus(index: BM25):
    assert index.top("kettle", 2).tolist() == [2, 5]
    assert len(index.top("kettle", 99)) == len(TEXTS)


def test_scores_do_not_depend_on_the_hash_seed():
    query = "steel kettle for running shoes"
    code = f"from gen_rerank.bm25 import BM25; print(BM25({TEXTS!r}).scores({query!r}).tobytes().hex())"
    command = [sys.executable, "-c", code]
    there = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == BM25(TEXTS).scores(query).tobytes().hex()


def test_importing_the_library_does_not_load_bm25s():
    code = "import sys, gen_rerank, gen_rerank.data.records, gen_rerank.bm25; print('bm25s' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
