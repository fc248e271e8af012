"""The clients of typed questions that people have, against the real server.

Whatever the client, what it reads of a pair must be what `/v1/rerank` says of it, its distribution included.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gen_rerank import Distribution
from serve.wire.graded import tier_shares, yes

pytest.importorskip("vllm")
openai = pytest.importorskip("openai")

QUERY = "red desk"
TEXTS = ["blue sofa", "red desk", "green lamp", "black kettle"]
TIERS = [{"value": "exact"}, {"value": "close"}, {"value": "irrelevant"}]
LEVELS = [{"label": "no"}, {"label": "partly"}, {"label": "yes", "description": "What was asked for."}]


@pytest.fixture(scope="module")
def scored(tiny_server: str) -> Distribution:
    """What `/v1/rerank` says of the texts, in their order."""
    asked = {"query": QUERY, "documents": TEXTS, "return_distribution": True}
    answer = httpx.post(f"{tiny_server}/v1/rerank", json=asked, timeout=120).json()
    rows = sorted(answer["results"], key=lambda row: row["index"])
    return Distribution(np.array([row["distribution"] for row in rows]))


@pytest.fixture
def client(url: str) -> Any:
    return openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)


def near(values: Any) -> Any:
    return pytest.approx([float(value) for value in values], abs=1e-5)


class TestOpenAI:
    def test_a_score_for_each_product(self, client: Any, scored: Distribution) -> None:
        questions = [{"type": "score", "name": text, "instructions": text, "levels": LEVELS} for text in TEXTS]
        decision = client.decisions.create(model="tiny", input=QUERY, questions=questions, prompt_cache_key="any")
        assert [answer.name for answer in decision.answers] == TEXTS
        assert [answer.score for answer in decision.answers] == near(2 * scored.mean)
        for answer, shares in zip(decision.answers, scored.levels(3), strict=True):
            assert [each.probability for each in answer.probabilities] == near(shares)
            assert [(each.value, each.label) for each in answer.probabilities] == [(0, "no"), (1, "partly"), (2, "yes")]
            assert 0 <= answer.confidence <= 1
        assert decision.model == "tiny"
        assert decision.usage.input_tokens == decision.usage.total_tokens > 0
        again = client.decisions.create(model="tiny", input=QUERY, questions=questions)
        assert again.answers == decision.answers
        assert again.usage.input_tokens_details.cached_tokens == again.usage.input_tokens

    def test_every_type_of_question_about_a_pair(self, client: Any, scored: Distribution) -> None:
        decision = client.decisions.create(
            model="tiny",
            input=[
                {"role": "user", "content": [{"type": "input_json", "data": {"query": QUERY, "product": TEXTS[1]}}]}
            ],
            questions=[
                {"type": "predicate", "instructions": "Is it relevant?"},
                {"type": "predicate", "name": "exact", "instructions": "Is it what was asked for?"},
                {"type": "choice", "instructions": "Which tier is it?", "choices": TIERS},
                {"type": "choice", "instructions": "Which colour is it?", "choices": [{"value": "a"}, {"value": True}]},
            ],
        )
        relevant, exact, tier, colour = decision.answers
        pair = scored[[1]]
        assert [relevant.probability, exact.probability] == near([yes(pair, "close")[0], yes(pair, "exact")[0]])
        (shares,) = tier_shares(pair)
        assert {each.value: each.probability for each in tier.probabilities} == pytest.approx(shares, abs=1e-5)
        assert tier.choice == max(shares, key=lambda name: shares[name])
        assert (colour.type, colour.name) == ("refusal", None)

    def test_many_queries_about_one_product(self, client: Any, url: str) -> None:
        product = {"title": "red desk", "brand": "Brand1"}
        queries = ["red desk", "desk for a nursery", "lamp"]
        decision = client.decisions.create(
            model="tiny",
            input=[
                {"role": "developer", "content": "Rate the desks."},
                {"role": "user", "content": [{"type": "input_json", "data": {"product": product}}]},
            ],
            questions=[{"type": "score", "instructions": each, "levels": LEVELS[:2]} for each in queries],
        )
        asked = {"queries": queries, "documents": [product] * 3, "instruction": "Rate the desks."}
        pairs = httpx.post(f"{url}/v1/score", json=asked, timeout=60).json()["data"]
        assert [answer.score for answer in decision.answers] == near([pair["score"] for pair in pairs])

    def test_asynchronously_and_with_an_adapter(self, url: str) -> None:
        questions = [{"type": "score", "instructions": text, "levels": LEVELS[:2]} for text in TEXTS]
        asked = {"model": "shop", "queries": QUERY, "documents": TEXTS}
        pairs = httpx.post(f"{url}/v1/score", json=asked, timeout=60).json()["data"]

        async def ask() -> Any:
            async with openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0) as client:
                return await client.decisions.create(model="shop", input=QUERY, questions=questions)

        assert [answer.score for answer in asyncio.run(ask()).answers] == near([pair["score"] for pair in pairs])

    def test_errors(self, client: Any) -> None:
        question = {"type": "predicate", "instructions": "desk"}
        with pytest.raises(openai.NotFoundError, match="other"):
            client.decisions.create(model="other", input=QUERY, questions=[question])
        with pytest.raises(openai.BadRequestError, match="questions has 401 entries; the limit is 400") as many:
            client.decisions.create(model="tiny", input=QUERY, questions=[question] * 401)
        assert many.value.type == "invalid_request_error"
        image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
        with pytest.raises(openai.BadRequestError, match="is an image"):
            client.decisions.create(model="tiny", input=[{"role": "user", "content": [image]}], questions=[question])
        with pytest.raises(openai.BadRequestError, match="'function_call'"):
            client.decisions.create(
                model="tiny",
                input=[{"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}],
                questions=[question],
            )


@pytest.mark.filterwarnings("ignore:.*beta")
class TestLangChain:
    @pytest.fixture
    def decisions(self, url: str) -> Any:
        module = pytest.importorskip("langchain_openai.decisions")
        return module.OpenAIDecisions(model="tiny", api_key="none", base_url=f"{url}/v1", max_retries=0)

    def test_a_query_with_its_products(self, decisions: Any, scored: Distribution) -> None:
        from langchain_openai.decisions import Predicate, Score

        questions: dict[str, Any] = {text: Predicate(instructions=text) for text in TEXTS}
        questions["levels"] = Score(instructions=TEXTS[1], levels=["no", "partly", "yes"])
        found = decisions.invoke({"input": QUERY, "questions": questions})
        assert [found.predicates[text].probability for text in TEXTS] == near(yes(scored, "close"))
        assert found.scores["levels"].score == pytest.approx(2 * float(scored.mean[1]), abs=1e-5)
        assert found.scores["levels"].legend == {0: "no", 1: "partly", 2: "yes"}

    def test_a_dictionary_is_the_pair(self, decisions: Any, scored: Distribution) -> None:
        from langchain_openai.decisions import Choice, Predicate

        questions = {
            "relevant": Predicate(instructions="Is it relevant?"),
            "tier": Choice(instructions="Which?", choices=dict.fromkeys(each["value"] for each in TIERS)),
            "colour": Choice(instructions="Which?", choices={"red": None, "blue": None}),
        }
        state = {"query": QUERY, "product": {"title": TEXTS[1]}}
        found = asyncio.run(decisions.ainvoke({"input": state, "questions": questions}))
        assert found.predicates["relevant"].probability == pytest.approx(yes(scored[[1]], "close")[0], abs=1e-5)
        assert found.choices["tier"].probabilities == pytest.approx(tier_shares(scored[[1]])[0], abs=1e-5)
        assert found.refusals.keys() == {"colour"}
        assert found.usage.input_tokens > 0

    def test_messages_of_several_roles(self, decisions: Any, url: str) -> None:
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
        from langchain_openai.decisions import Score

        questions = {"a": Score(instructions="red desk", levels=["no", "yes"])}
        told = [SystemMessage("Rate the desks."), HumanMessage(QUERY)]
        found = decisions.invoke({"input": told, "questions": questions})
        asked = {"queries": QUERY, "documents": "red desk", "instruction": "Rate the desks."}
        (pair,) = httpx.post(f"{url}/v1/score", json=asked, timeout=60).json()["data"]
        assert found.scores["a"].score == pytest.approx(pair["score"], abs=1e-5)
        with pytest.raises(openai.BadRequestError, match="has the role 'assistant'"):
            decisions.invoke({"input": [*told, AIMessage("Yes.")], "questions": questions})


def test_decisions_reranker(client: Any, scored: Distribution) -> None:
    package = pytest.importorskip("decisions_reranker")
    reranker = package.DecisionsReranker(client=client, model="tiny")
    documents = [package.Document(id=str(i), text=text) for i, text in enumerate(TEXTS)]
    found = reranker.rerank(QUERY, documents)
    masses = yes(scored, "close")
    assert [each.score for each in found] == near(sorted(masses, reverse=True))
    assert {int(each.id): each.score for each in found} == pytest.approx(dict(enumerate(masses)), abs=1e-5)
    middle = sorted(masses)[2]
    assert len(reranker.filter(QUERY, documents, threshold=middle - 1e-4)) == 2


class TestJevReranker:
    @pytest.fixture
    def package(self) -> Any:
        return pytest.importorskip("jev_reranker")

    def reranker(self, package: Any, url: str, **options: Any) -> Any:
        return package.JevReranker(
            "tiny", endpoint=f"{url}/v1/systemone", api_key="none", dotenv_path=None, max_retries=0, **options
        )

    def test_pointwise(self, package: Any, url: str, scored: Distribution) -> None:
        reranker = self.reranker(package, url, mode="pointwise")
        masses = dict(enumerate(yes(scored, "close")))
        for found in (reranker.rerank(QUERY, TEXTS), reranker.relevance_rerank(QUERY, TEXTS, threshold=0.0)):
            scores = {row["document_index"]: row["score"] for row in found["results"]}
            assert scores == pytest.approx(masses, abs=1e-5)

    @pytest.mark.parametrize("mode", ["listwise", "pairwise"])
    def test_what_compares_documents_is_refused(self, mode: str, package: Any, url: str) -> None:
        with pytest.raises(package.APIError, match="HTTP 422"):
            self.reranker(package, url, mode=mode).rerank(QUERY, TEXTS)


def test_the_readmes_eight_lines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (script,) = [
        block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "decisions.create" in block
    ]
    assert len([line for line in script.splitlines() if line]) == 8
    exec(script.replace("http://127.0.0.1:8000", url).replace("sample-shop", "tiny"), {})
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in said] == re.findall(r'"(Desk.*?|Acme.*?)"', script)
    assert all(re.match(r"[012]\.\d\d of 2, confidence [01]\.\d\d: ", line) for line in said)


def test_system_one_by_hand(url: str, scored: Distribution) -> None:
    body = {
        "model": "tiny",
        "state": json.dumps({"query": QUERY, "document": TEXTS[1]}),
        "questions": {"how": {"type": "score", "criteria": ["no", "partly", "yes"]}, "exact": {"type": "noul"}},
    }
    answer = httpx.post(f"{url}/v1/systemone", json=body, timeout=60).json()
    how = answer["answers"]["how"]
    assert how["score"] == pytest.approx(2 * float(scored.mean[1]), abs=1e-5)
    assert list(how["probabilities"].values()) == near(scored.levels(3)[1])
    assert answer["answers"]["exact"] == {"type": "noul", "noul": pytest.approx(yes(scored[[1]], "exact")[0], abs=1e-5)}
