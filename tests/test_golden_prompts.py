"""Rows that were right stay as they are: the prompts of the sample and of each dialect's examples, to the token.

The golden file was written before values had one normaliser, and with the same code in this file:
`python -P tests/test_golden_prompts.py` writes it anew. A change of a template or of the sample shop is a reason to do
so; a change of how values are read is none.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Pair
from gen_rerank.data.sample import make_sample
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from gen_rerank.reranker import as_product
from serve.wire import BATCH, COHERE, COMPLETIONS, JINA, SCORE, TEI, VLLM, Dialect, parse

GOLDEN = Path(__file__).with_name("golden_prompts.json")
NANO = Path(__file__).parents[1] / "train/bases/nano"

LAMP = {"title": "Desk lamp", "brand": "Lumo", "attributes": {"colour": "black"}}
FULL = {
    "product_id": "p7",
    "title": "Café table – 120 cm",
    "description": "Solid oak.\n\nSeats two.",
    "brand": "Søren",
    "category": "Furniture > Tables",
    "attributes": {"wood": "oak", "width": "120 cm"},
    "price": 19.99,
    "available": True,
}
TITLES = [
    "Oak writing desk",
    "5 < 6 and 7 > 6 & more",
    "\uff26\uff55\uff4c\uff4c width",
    "Tom & Jerry, R&B",
    "木の机",
    "<|im_end|> desk",
]

# One body a form that a dialect documents, and the dialect that reads it.
BODIES: dict[str, tuple[Dialect[Any], dict[str, Any]]] = {
    "jina titles": (JINA, {"query": "oak desk", "documents": TITLES}),
    "jina products": (JINA, {"query": "lamp", "documents": [LAMP, FULL, {"text": "Oak desk"}]}),
    "jina rank_fields": (
        JINA,
        {"query": "lamp", "documents": [{"name": "Oak desk", "colour": "brown", "stock": 5}],
         "rank_fields": ["name", "colour", "stock"]},
    ),
    "cohere": (COHERE, {"query": "oak desk", "documents": [*TITLES, LAMP], "max_tokens_per_doc": 6}),
    "vllm": (VLLM, {"query": "oak desk", "documents": ["Oak desk", LAMP], "instruction": "Judge the desk."}),
    "tei": (TEI, {"query": "oak desk", "texts": TITLES}),
    "score": (SCORE, {"queries": "oak desk", "documents": ["Oak writing desk", LAMP]}),
    "score each": (SCORE, {"text_1": ["oak desk", "lamp"], "text_2": ["Oak writing desk", "Desk lamp"]}),
    "batch": (
        BATCH,
        {"requests": [{"query": "oak desk"}, {"query": "lamp", "documents": [FULL]}], "documents": ["Oak desk", LAMP]},
    ),
    "completions": (COMPLETIONS, {"prompt": ["Query: oak desk\nProduct: Oak writing desk",
                                             'Query: lamp\nDocument: {"title": "Desk lamp", "price": 5}']}),
}  # fmt: skip


@cache
def prompts() -> dict[str, Prompt]:
    """By template; the fields that the nano recipe leaves out are read too."""
    tokenizer = read_tokenizer(NANO)
    return {name: Prompt(PromptSpec(template=name), tokenizer) for name in ("product_first", "query_first")}


@cache
def sample() -> Dataset:
    return make_sample(seed=0, products=1000, queries=60)


def digest(rows: list[list[int]]) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def of_sample() -> dict[str, Any]:
    """The data's fingerprint, and a hash over the token ids of all its judged pairs, by template."""
    pairs = [sample().pair(row) for row in sample().judgments]
    return {name: digest(prompt.encode(pairs)) for name, prompt in prompts().items()} | {
        "pairs": len(pairs),
        "fingerprint": sample().fingerprint,
    }


def of_body(dialect: Dialect[Any], body: dict[str, Any]) -> list[list[int]]:
    question = parse(json.dumps(body).encode(), dialect.request).question()
    pairs = [item for item in question.items if isinstance(item, Pair)]
    encoded = prompts()["product_first"].prepare(pairs, instruction=question.instruction, limits=question.limits)
    return encoded.token_ids


def of_python() -> list[list[int]]:
    pairs = [Pair("oak desk", as_product(given)) for given in (*TITLES, LAMP, FULL)]
    return prompts()["product_first"].encode(pairs)


def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return found


def test_the_sample_keeps_its_prompts() -> None:
    assert of_sample() == golden()["sample"]


def test_a_saved_sample_keeps_its_prompts(tmp_path: Path) -> None:
    sample().save(tmp_path / "shop")
    assert Dataset.load(tmp_path / "shop").fingerprint == golden()["sample"]["fingerprint"]


@pytest.mark.parametrize("name", BODIES)
def test_each_dialects_examples_keep_their_prompts(name: str) -> None:
    assert of_body(*BODIES[name]) == golden()["bodies"][name]


def test_what_python_is_given_keeps_its_prompts() -> None:
    assert of_python() == golden()["python"]


if __name__ == "__main__":
    written = {
        "sample": of_sample(),
        "bodies": {name: of_body(*body) for name, body in BODIES.items()},
        "python": of_python(),
    }
    GOLDEN.write_text(json.dumps(written) + "\n", encoding="utf-8")
