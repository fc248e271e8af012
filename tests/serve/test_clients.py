"""The clients that people have, against the real server: one for the whole file, because it takes long to start.

Whatever the client, order and scores must be those of `/v1/rerank`, and these those of the reference in transformers.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gen_rerank import Pair
from gen_rerank.bins import BIN_TOKENS, BIN_VALUES
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.reranker import as_product
from gen_rerank.scorers.transformers import TransformersScorer

pytest.importorskip("vllm")
cohere = pytest.importorskip("cohere")
openai = pytest.importorskip("openai")

QUERY = "red desk"
TEXTS = ["blue sofa", "red desk", "green lamp", "black kettle", "white boots", "oak desk please"]
NODE = {"node_id": "n", "sku": 7}  # what a catalog's rows carry that nobody ranks by

Ranking = list[tuple[int, float]]


@pytest.fixture(scope="module")
def ranking(tiny_server: str) -> Ranking:
    """What `/v1/rerank` answers: (index, score), best first."""
    answer = httpx.post(f"{tiny_server}/v1/rerank", json={"query": QUERY, "documents": TEXTS}, timeout=120)
    return [(result["index"], result["relevance_score"]) for result in answer.json()["results"]]


def same(ranking: Ranking, abs: float = 1e-6) -> Any:  # noqa: A002 - pytest's word
    return [(index, pytest.approx(score, abs=abs)) for index, score in ranking]


def test_the_reference(ranking: Ranking, tiny_checkpoint: Path) -> None:
    pairs = [Pair(QUERY, as_product(text)) for text in TEXTS]
    expected = TransformersScorer(Checkpoint.open(tiny_checkpoint)).score(pairs).mean.tolist()
    scores = [score for _, score in ranking]
    assert dict(ranking) == pytest.approx(dict(enumerate(expected)), abs=1e-3)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(TEXTS)


class TestCohere:
    @pytest.fixture
    def v1(self, url: str) -> Any:
        return cohere.Client(api_key="none", base_url=url)

    @pytest.fixture
    def v2(self, url: str) -> Any:
        return cohere.ClientV2(api_key="none", base_url=url)

    def test_v1(self, v1: Any, ranking: Ranking) -> None:
        answer = v1.rerank(model="tiny", query=QUERY, documents=TEXTS, top_n=4, return_documents=True)
        assert [(r.index, r.relevance_score) for r in answer.results] == same(ranking[:4])
        assert [r.document.text for r in answer.results] == [TEXTS[index] for index, _ in ranking[:4]]
        assert answer.id
        assert answer.meta.api_version.version == "1"
        assert answer.meta.billed_units.search_units == 1

    def test_v1_objects_with_rank_fields(self, v1: Any, ranking: Ranking) -> None:
        documents = [NODE | {"name": text} for text in TEXTS]
        answer = v1.rerank(
            query=QUERY, documents=documents, rank_fields=["name"], return_documents=True, max_chunks_per_doc=10
        )
        assert [(r.index, r.relevance_score) for r in answer.results] == same(ranking)
        assert answer.results[0].document.dict(exclude={"text"}) == documents[ranking[0][0]]

    def test_v1_objects_with_a_text(self, v1: Any, ranking: Ranking) -> None:
        documents = [{"text": text, "id": str(i)} for i, text in enumerate(TEXTS)]
        answer = v1.rerank(query=QUERY, documents=documents, return_documents=True)
        assert [(r.index, r.relevance_score) for r in answer.results] == same(ranking)
        assert [r.document.dict() for r in answer.results] == [documents[index] for index, _ in ranking]

    def test_v2(self, v2: Any, ranking: Ranking) -> None:
        answer = v2.rerank(model="tiny", query=QUERY, documents=TEXTS, top_n=3, max_tokens_per_doc=4096)
        assert [(r.index, r.relevance_score) for r in answer.results] == same(ranking[:3])
        assert answer.meta.api_version.version == "2"
        assert 0 <= answer.results[0].std <= 0.5

    def test_an_adapter_is_a_model(self, v2: Any, url: str, ranking: Ranking) -> None:
        answer = v2.rerank(model="shop", query=QUERY, documents=TEXTS)
        direct = httpx.post(f"{url}/v1/rerank", json={"model": "shop", "query": QUERY, "documents": TEXTS}).json()
        assert [(r.index, r.relevance_score) for r in answer.results] == same(
            [(r["index"], r["relevance_score"]) for r in direct["results"]]
        )
        assert dict(ranking) != pytest.approx({r.index: r.relevance_score for r in answer.results}, abs=1e-3)

    def test_a_text_that_is_empty_does_not_cost_the_page(self, v2: Any, ranking: Ranking) -> None:
        last = {"additional_body_parameters": {"empty_documents": "last"}}
        answer = v2.rerank(model="tiny", query=QUERY, documents=[*TEXTS, " "], request_options=last)
        assert [(r.index, r.relevance_score) for r in answer.results] == [*same(ranking), (len(TEXTS), 0.0)]
        assert answer.results[-1].note == "the document has no text"

    def test_options_of_ours_pass_through(self, v2: Any, ranking: Ranking) -> None:
        middle = ranking[2][1]
        answer = v2.rerank(
            model="tiny",
            query=QUERY,
            documents=TEXTS,
            request_options={"additional_body_parameters": {"min_score": middle, "return_distribution": True}},
        )
        assert [(r.index, r.relevance_score) for r in answer.results] == same(ranking[:3])
        assert [float(np.dot(r.distribution, BIN_VALUES)) for r in answer.results] == pytest.approx(
            [score for _, score in ranking[:3]], abs=1e-5
        )

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_errors(self, version: str, request: pytest.FixtureRequest) -> None:
        client = request.getfixturevalue(version)
        with pytest.raises(cohere.NotFoundError) as missing:
            client.rerank(model="other", query=QUERY, documents=TEXTS)
        assert "other" in missing.value.body["message"]
        with pytest.raises(cohere.UnprocessableEntityError) as wrong:
            client.rerank(model="tiny", query=QUERY, documents=[])
        assert wrong.value.body["message"] == "documents is empty; give at least one"


class TestOpenAI:
    @pytest.fixture
    def client(self, url: str) -> Any:
        return openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)

    def test_models(self, client: Any) -> None:
        assert [model.id for model in client.models.list()] == ["tiny", "shop"]

    def test_completions_of_named_parts(self, client: Any, ranking: Ranking) -> None:
        prompts = [f"Query: {QUERY}\nProduct: {text}" for text in TEXTS]
        answer = client.completions.create(model="tiny", prompt=prompts, max_tokens=1, logprobs=11)
        assert {choice.index: score(choice) for choice in answer.choices} == pytest.approx(dict(ranking), abs=1e-3)
        assert answer.usage.completion_tokens == len(TEXTS)

    def test_completions_of_a_rendered_prompt(self, client: Any, tiny_checkpoint: Path, ranking: Ranking) -> None:
        prompt = Checkpoint.open(tiny_checkpoint).prompt
        rendered = [prompt.render(Pair(QUERY, as_product(text))) for text in TEXTS]
        answer = client.completions.create(model="tiny", prompt=rendered, max_tokens=1, logprobs=11, temperature=0)
        assert {choice.index: score(choice) for choice in answer.choices} == pytest.approx(dict(ranking), abs=1e-3)

    def test_completions_of_a_product_with_an_instruction(self, client: Any, url: str) -> None:
        product = {"title": "red desk", "brand": "Brand1", "attributes": {"colour": "red"}}
        prompt = f"Instruction: Rate the desks.\nQuery: {QUERY}\nProduct: {json.dumps(product)}"
        answer = client.completions.create(model="tiny", prompt=prompt, max_tokens=1, logprobs=11)
        asked = {"query": QUERY, "documents": [product], "instruction": "Rate the desks."}
        (direct,) = httpx.post(f"{url}/v1/rerank", json=asked).json()["results"]
        (choice,) = answer.choices
        assert score(choice) == pytest.approx(direct["relevance_score"], abs=1e-3)
        assert choice.gen_rerank == {
            "score": pytest.approx(direct["mean"], abs=1e-6),
            "std": pytest.approx(direct["std"], abs=1e-6),
        }

    @pytest.mark.parametrize("root", ["/v1", ""])
    @pytest.mark.parametrize("names", [("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2")])
    def test_score(self, url: str, root: str, names: tuple[str, str], ranking: Ranking) -> None:
        client = openai.OpenAI(api_key="none", base_url=url + root, max_retries=0)
        for queries in (QUERY, [QUERY] * len(TEXTS)):
            body = {"model": "tiny", names[0]: queries, names[1]: TEXTS}
            answer = client.post("/score", cast_to=object, body=body)
            assert [(row["index"], row["score"]) for row in answer["data"]] == same(sorted(ranking))

    def test_errors(self, client: Any) -> None:
        with pytest.raises(openai.NotFoundError, match="other"):
            client.completions.create(model="other", prompt="Query: a\nProduct: b", max_tokens=1)
        with pytest.raises(openai.BadRequestError, match="max_tokens must be 1"):
            client.completions.create(model="tiny", prompt="Query: a\nProduct: b", max_tokens=16)
        with pytest.raises(openai.BadRequestError, match="stream must be false"):
            client.completions.create(model="tiny", prompt="Query: a\nProduct: b", max_tokens=1, stream=True)
        with pytest.raises(openai.BadRequestError, match=r"prompt"):
            client.completions.create(model="tiny", prompt="no prompt of this checkpoint", max_tokens=1)
        with pytest.raises(openai.BadRequestError) as wrong:
            client.post("/score", cast_to=object, body={"queries": ["a", "b"], "documents": "c"})
        assert wrong.value.type == "invalid_request_error"


def score(choice: Any) -> float:
    """The expected relevance, as a client of OpenAI computes it from the log-probabilities."""
    (top,) = choice.logprobs.top_logprobs
    assert top.keys() == set(BIN_TOKENS)
    assert choice.text == max(top, key=top.get)
    return math.fsum(math.exp(top[token]) * value for token, value in zip(BIN_TOKENS, BIN_VALUES, strict=True))


def test_langchain(url: str, ranking: Ranking) -> None:
    langchain_cohere = pytest.importorskip("langchain_cohere")
    from langchain_core.documents import Document

    reranker = langchain_cohere.CohereRerank(model="tiny", cohere_api_key="none", base_url=url, top_n=3)
    documents = [Document(page_content=text, metadata={"place": i}) for i, text in enumerate(TEXTS)]
    best = reranker.compress_documents(documents, QUERY)
    assert [(d.metadata["place"], d.metadata["relevance_score"]) for d in best] == same(ranking[:3])


@pytest.mark.parametrize("kind", ["cohere", "jina", "tei"])
def test_llama_index(kind: str, url: str, ranking: Ranking) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
    from llama_index.postprocessor.cohere_rerank import CohereRerank
    from llama_index.postprocessor.jinaai_rerank import JinaRerank
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    reranker = {
        "cohere": lambda: CohereRerank(model="tiny", api_key="none", base_url=url, top_n=3),
        "jina": lambda: JinaRerank(model="tiny", api_key="none", base_url=f"{url}/v1", top_n=3),
        "tei": lambda: TextEmbeddingInference(base_url=url, top_n=3),
    }[kind]()
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(i)), score=0.0) for i, text in enumerate(TEXTS)]
    best = reranker.postprocess_nodes(nodes, query_bundle=QueryBundle(QUERY))
    assert [(int(node.node.node_id), node.score) for node in best] == same(ranking[:3])


def test_llama_index_shows_our_sentence(url: str) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    reranker = JinaRerank(model="other", api_key="none", base_url=f"{url}/v1")
    with pytest.raises(RuntimeError, match="other"):
        reranker.postprocess_nodes([NodeWithScore(node=TextNode(text="a"))], query_bundle=QueryBundle(QUERY))


def test_tei(url: str, ranking: Ranking) -> None:
    asked = {"query": QUERY, "texts": TEXTS, "raw_scores": True, "return_text": True, "truncate": True}
    answer = httpx.post(f"{url}/rerank", json=asked).json()
    assert [row["index"] for row in answer] == [index for index, _ in ranking]
    assert [1 / (1 + math.exp(-row["score"])) for row in answer] == pytest.approx([s for _, s in ranking], abs=1e-5)
    assert [row["text"] for row in answer] == [TEXTS[index] for index, _ in ranking]


def test_tei_errors(url: str) -> None:
    long = {"query": QUERY, "texts": ["desk " * 2000], "truncate": False}
    refused = httpx.post(f"{url}/rerank", json=long)
    assert refused.status_code == 413
    assert refused.json()["error_type"] == "Validation"
    assert httpx.post(f"{url}/rerank", json=long | {"truncate": True}).status_code == 200


@pytest.mark.parametrize(
    ("texts", "status", "kind"),
    [(["desk"] * 1025, 413, "Validation"), ([], 400, "Empty"), ("desk", 422, "Tokenizer")],
)
def test_tei_statuses(url: str, texts: Any, status: int, kind: str) -> None:
    """What a client of text-embeddings-inference decides by whether to split its batch."""
    refused = httpx.post(f"{url}/rerank", json={"query": QUERY, "texts": texts})
    assert (refused.status_code, refused.json()["error_type"]) == (status, kind)


def test_vllms_own_shapes(url: str, ranking: Ranking) -> None:
    """A client that is made of vLLM's own classes sends all their defaults and requires all their fields."""
    from vllm.entrypoints.pooling.scoring.protocol import (
        RerankRequest,
        RerankResponse,
        ScoreQueriesDocumentsRequest,
        ScoreResponse,
    )
    from vllm.entrypoints.serve.engine.protocol import ErrorResponse

    asked = RerankRequest(model="tiny", query=QUERY, documents=TEXTS).model_dump()
    answer = RerankResponse.model_validate(httpx.post(f"{url}/rerank", json=asked).json())
    assert [(r.index, r.relevance_score) for r in answer.results] == same(ranking)
    assert [r.document.text for r in answer.results] == [TEXTS[index] for index, _ in ranking]
    best = httpx.post(f"{url}/rerank", json=asked | {"top_n": 2}).json()
    assert [r["index"] for r in best["results"]] == [index for index, _ in ranking[:2]]

    pairs = ScoreQueriesDocumentsRequest(model="tiny", queries=QUERY, documents=TEXTS).model_dump()
    scored = ScoreResponse.model_validate(httpx.post(f"{url}/v1/score", json=pairs).json())
    assert [(row.index, row.score) for row in scored.data] == same(sorted(ranking))

    for wrong, status in (({"documents": []}, 400), ({"model": "other"}, 404)):
        refused = httpx.post(f"{url}/rerank", json=asked | wrong)
        error = ErrorResponse.model_validate(refused.json()).error
        assert refused.status_code == error.code == status


def test_vllm_bench(url: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """`vllm bench serve`; its command needs the distribution's name `vllm`, its module does not."""
    program = (
        "from vllm.benchmarks.serve import add_cli_args, main\n"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
        "parser = FlexibleArgumentParser()\n"
        "add_cli_args(parser)\n"
        "main(parser.parse_args())\n"
    )
    options = {
        "backend": "vllm-rerank",
        "base-url": url,
        "endpoint": "/v1/rerank",
        "model": "tiny",
        "tokenizer": str(tiny_checkpoint),
        "dataset-name": "random-rerank",
        "num-prompts": "12",
        "random-input-len": "40",
        "random-batch-size": "4",
        "result-dir": str(tmp_path),
        "result-filename": "result.json",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-c", program, *arguments, "--save-result", "--save-detailed", "--disable-tqdm"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["errors"] == [""] * 3
    assert (result["completed"], result["total_input_sequences"]) == (3, 12)
    assert result["total_input_tokens"] > 12
