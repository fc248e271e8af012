"""The routes behind the guard, asked over ASGI: the shape of refusals, and bounds that hold while threads work."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("vllm")

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from gen_rerank import __version__
from gen_rerank.checkpoints.checkpoint import Checkpoint
from serve import routes
from serve.access import Keys, add_key
from serve.admission import Admission
from serve.guard import Guard
from serve.info import EngineFacts
from serve.models import ServedModels
from serve.options import ServeOptions
from serve.phrases import Phrase
from serve.scoring import TOKENIZING_THREADS, OnlineScorer, ScoreCache
from serve.telemetry import Telemetry
from serve.wire import batch as wire_batch
from serve.wire.batch import BatchResponse

LIMIT = 100_000


class Server:
    """The routes and the guard, put together as the plugin does, on an engine."""

    def __init__(self, engine: Any, checkpoint: Checkpoint, folder: Path) -> None:
        self.engine = engine
        self.admin = add_key(folder / "keys", "owner", admin=True)
        self.authorization = {"Authorization": f"Bearer {self.admin}"}
        self.log = folder / "log.jsonl"
        self.telemetry = Telemetry(self.log, registry=CollectorRegistry())
        options = ServeOptions(max_body_bytes=LIMIT, max_bodies_bytes=LIMIT, deadline_seconds=10)
        self.app = FastAPI()
        self.app.include_router(routes.router)
        admission = Admission(max_pairs=options.max_queued_pairs, window=100)
        models = ServedModels(engine, checkpoint, "tiny", folder=None, places=1, largest_rank=8)
        self.app.state.options, self.app.state.served_models = options, models
        self.app.state.engine_facts = EngineFacts("float32", 2048, 64)
        self.app.state.online_scorer = OnlineScorer(engine, models, admission, ScoreCache(1000))
        self.app.add_middleware(
            Guard,
            keys=Keys.read(folder / "keys"),
            telemetry=self.telemetry,
            routes=routes.PATHS,
            max_body_bytes=options.max_body_bytes,
            max_bodies_bytes=options.max_bodies_bytes,
            body_seconds=10,
        )

    async def post(self, path: str, body: Any, *, root: str = "", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self.authorization | {k.replace("_", "-"): v for k, v in headers.items()}
        transport = httpx.ASGITransport(self.app, root_path=root)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            return await asyncio.wait_for(client.post(root + path, content=content), 20)


@pytest.fixture
def server(engine: Any, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Server]:
    server = Server(engine, Checkpoint.open(tiny_checkpoint), tmp_path)
    yield server
    server.telemetry.close()


@contextmanager
def busy() -> Iterator[None]:
    """Keep the thread of large bodies busy for the length of the block."""
    end = threading.Event()
    routes.LARGE_BODIES.submit(end.wait, 30)
    try:
        yield
    finally:
        end.set()


def batch(entries: int, document: Any, **options: Any) -> dict[str, Any]:
    return {"documents": [document], "requests": [{"query": f"desk {i}", **options} for i in range(entries)]}


@pytest.mark.parametrize(
    ("document", "options"),
    [
        ("oak desk " * 1000, {"return_documents": True}),
        ({"title": "oak", "attributes": {f"a{i}": "b" for i in range(900)}}, {}),
        # What is not read is repeated all the same.
        ({"title": "oak", "stock": [0] * 4500}, {"return_documents": True, "rank_fields": ["title"]}),
    ],
)
def test_documents_that_entries_share_count_for_each_of_them(
    server: Server, document: Any, options: dict[str, Any]
) -> None:
    size = len(json.dumps([document], separators=(",", ":")))
    most = LIMIT // size

    async def play() -> None:
        refused = await server.post("/v1/rerank/batch", batch(most + 1, document, **options))
        assert refused.status_code == 413
        assert refused.json()["message"] == (
            f"the shared documents have {size} bytes, and {most + 1} requests share them; together that must be "
            f"at most {LIMIT} bytes: send fewer requests at once"
        )
        assert server.engine.prompts == []
        own = {"query": "lamp", "documents": [document], **options}
        some = batch(most // 2, document, **options)
        answered = await server.post("/v1/rerank/batch", some | {"requests": [*some["requests"], own]})
        assert answered.status_code == 200, answered.text
        assert len(answered.json()["results"]) == most // 2 + 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("body", "thread"),
    [
        (batch(4, "oak desk " * 100), "MainThread"),
        (batch(80, "oak desk " * 100), "large-bodies_0"),
        ({"requests": [{"query": "desk", "documents": ["oak"] * 400}]}, "large-bodies_0"),
    ],
)
def test_a_long_answer_to_a_short_body_is_written_on_a_thread(
    server: Server, body: Any, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def response(**fields: Any) -> BatchResponse:
        written.append(threading.current_thread().name)
        return BatchResponse(**fields)

    monkeypatch.setattr(wire_batch, "BatchResponse", response)
    assert len(json.dumps(body)) < routes.LARGE
    assert asyncio.run(server.post("/v1/rerank/batch", body)).status_code == 200
    assert written == [thread]


def test_answers_are_held_as_bodies_are(server: Server) -> None:
    async def play() -> None:
        document = "x" * 9_000
        held = await server.post("/v1/rerank/batch", batch(11, document, return_documents=True))
        assert held.status_code == 429
        assert held.headers["retry-after"] == "1"
        assert held.json().keys() == {"detail", "message"}
        assert (await server.post("/v1/rerank/batch", batch(11, document))).status_code == 200
        # Nothing of them is held any more.
        padded = json.dumps({"query": "desk", "documents": ["oak"]}).encode().ljust(LIMIT - 1000)
        assert (await server.post("/v1/rerank", padded)).status_code == 200

    asyncio.run(play())


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
def test_waiting_for_another_large_body_is_within_the_deadline(server: Server, path: str) -> None:
    body = json.dumps({"query": "desk", "documents": ["oak"]}).encode().ljust(routes.LARGE)
    with busy():
        answer = asyncio.run(server.post(path, body, X_Request_Timeout="0.1"))
    assert answer.status_code == 504
    assert "longer than 0.1 seconds" in answer.json()["message"]


def test_a_refusal_has_the_paths_shape_until_the_body_says_whose_it_is(server: Server) -> None:
    texts = {"query": "desk", "texts": ["oak"]}
    both = {"detail", "message", "error", "error_type"}

    async def play() -> None:
        for body, headers, status, fields in [
            (b"{", {}, 400, both),
            (texts, {"X_Request_Timeout": "soon"}, 400, both),
            ({"texts": []}, {}, 422, {"error", "error_type"}),
            (texts | {"model": "other"}, {}, 404, {"error", "error_type"}),
            ({"documents": ["a"]}, {}, 400, {"detail", "message", "error"}),
        ]:
            answer = await server.post("/rerank", body, **headers)
            assert (answer.status_code, answer.json().keys()) == (status, fields)
        server.engine.going.clear()
        late = await server.post("/rerank", texts, X_Request_Timeout="0.1")
        assert (late.status_code, late.json().keys()) == (504, {"error", "error_type"})

    asyncio.run(play())


@pytest.mark.parametrize("root", ["", "/shop"])
def test_below_a_root_path_refusals_have_the_same_shape(server: Server, root: str) -> None:
    answer = asyncio.run(server.post("/v1/load_lora_adapter", b"{", root=root))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_is_held_until_the_thread_that_reads_it_has_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"query": "desk", "documents": ["oak"]}).encode().ljust(routes.LARGE)
    began, end, left = threading.Event(), threading.Event(), asyncio.Event()
    read_json = routes.read_json

    def slowly(content: bytes) -> Any:
        began.set()
        assert end.wait(10)
        return read_json(content)

    monkeypatch.setattr(routes, "read_json", slowly)
    messages = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    async def play() -> None:
        headers = [(b"authorization", f"Bearer {server.admin}".encode())]
        scope = {"type": "http", "method": "POST", "path": "/v1/rerank", "query_string": b"", "headers": headers}
        gone = asyncio.create_task(server.app(scope, receive, send))
        await asyncio.to_thread(began.wait)
        left.set()
        await asyncio.sleep(0.05)
        assert not gone.done()
        refused = await server.post("/v1/rerank", body)
        assert (refused.status_code, refused.json()["detail"][:23]) == (429, "too many large requests")
        end.set()
        await gone
        assert (await server.post("/v1/rerank", body)).status_code == 200

    asyncio.run(play())


def test_openapi_has_each_dialects_own_statuses() -> None:
    responses = {route.path: route.responses for route in routes.router.routes if route.path.endswith("rerank")}
    assert responses["/v1/rerank"].keys() == {200, 400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504}
    # text-embeddings-inference says 424 of its own failure.
    assert responses["/rerank"].keys() == responses["/v1/rerank"].keys() | {424}
    assert responses["/rerank"][424] == responses["/rerank"][500]


def test_teis_clients_are_told_of_the_model_and_the_limits(server: Server) -> None:
    async def play() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/info"), await client.get("/info", headers=server.authorization)

    refused, answered = asyncio.run(play())
    assert (refused.status_code, refused.json()["error_type"]) == (401, "Validation")
    assert answered.json() == {
        "model_id": "tiny",
        "model_sha": "base",
        "model_dtype": "float32",
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "max_concurrent_requests": 16384,
        "max_input_length": 128,
        "max_batch_tokens": 2048,
        "max_batch_requests": 64,
        "max_client_batch_size": 1024,
        "auto_truncate": True,
        "tokenization_workers": TOKENIZING_THREADS,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
    described = server.app.openapi()["paths"]["/info"]["get"]["responses"]["200"]["content"]["application/json"]
    assert described["schema"]["$ref"].endswith("/TeiInfo")


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/v1/rerank", {"query": "desk", "documents": ["", "Oak desk"]}, "results"),
        ("/v2/rerank", {"query": "desk", "documents": [{"text": ""}, "Oak desk"]}, "results"),
        ("/rerank", {"query": "desk", "documents": ["", "Oak desk"]}, "results"),
        ("/rerank", {"query": "desk", "texts": ["", "Oak desk"]}, None),
    ],
)
def test_a_document_without_text_comes_last_and_is_not_counted(
    server: Server, path: str, body: dict[str, Any], place: str | None
) -> None:
    answered = asyncio.run(server.post(path, body | {"empty_documents": "last"}, x_request_id="last"))
    assert answered.status_code == 200, answered.text
    results = answered.json()[place] if place else answered.json()
    assert [(row["index"], row.get("note")) for row in results] == [(1, None), (0, "the document has no text")]
    assert len(server.engine.prompts) == 1
    server.telemetry.close()
    assert json.loads(server.log.read_text())["pairs"] == 1


def test_the_server_says_what_becomes_of_empty_documents_where_a_client_cannot(server: Server) -> None:
    body = {"query": "desk", "texts": ["", "Oak desk"]}
    assert asyncio.run(server.post("/rerank", body)).status_code == 422
    server.app.state.options = replace(server.app.state.options, empty_documents="last")
    assert [row["index"] for row in asyncio.run(server.post("/rerank", body)).json()] == [1, 0]
    assert asyncio.run(server.post("/rerank", body | {"empty_documents": "refuse"})).status_code == 422


def test_a_prompt_without_room_is_refused_in_the_clients_words(server: Server) -> None:
    body = {"query": "desk", "documents": ["Oak desk"], "truncate_prompt_tokens": 1}
    said = asyncio.run(server.post("/rerank", body)).json()["error"]["message"]
    least = int(said.rsplit(" ", 1)[1])
    assert said.startswith("truncate_prompt_tokens is 1; the model's template alone has")
    for tokens, status in ((least - 1, 400), (least, 200), (10**6, 200)):
        answered = asyncio.run(server.post("/rerank", body | {"truncate_prompt_tokens": tokens}))
        assert answered.status_code == status
        assert tokens == 10**6 or status != 200 or len(server.engine.prompts[-1]) <= least


def decisions(*instructions: str, **fields: Any) -> dict[str, Any]:
    questions = [{"type": "predicate", "instructions": each} for each in instructions]
    return {"model": "tiny", "input": "desk", "questions": questions} | fields


def test_tokens_that_cost_nothing_count_as_cached(server: Server) -> None:
    async def used(*instructions: str) -> tuple[int, int]:
        answered = await server.post("/v1/decisions", decisions(*instructions))
        usage = answered.json()["usage"]
        assert usage["total_tokens"] == usage["input_tokens"]
        return usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]

    async def play() -> None:
        oak, cached = await used("oak desk")
        assert cached == 0
        assert await used("oak desk") == (oak, oak)  # its score is known
        server.engine.cached_tokens = 5  # the prefix cache's
        lamp, cached = await used("steel lamp")
        assert cached == 5
        sofa, cached = await used("red sofa", "red sofa", "steel lamp")
        assert cached == 5 + (sofa - lamp) // 2 + lamp  # the second sofa is the first one's prompt
        assert len(server.engine.prompts) == 3

    asyncio.run(play())


def test_a_question_is_refused_alone_and_what_is_nobodys_name_is_null(server: Server) -> None:
    choice = {"type": "choice", "instructions": "oak", "choices": [{"value": "red"}, {"value": "blue"}]}
    body = decisions("oak", questions=[choice, *decisions("oak")["questions"]])
    refused, answered = asyncio.run(server.post("/v1/decisions", body)).json()["answers"]
    assert refused == {"type": "refusal", "name": None}
    assert answered["name"] is None
    assert answered["gen_rerank"]["tier"] is None
    # One that asks nothing which can be answered reaches no engine.
    alone = asyncio.run(server.post("/v1/decisions", decisions(questions=[choice, choice | {"name": "c"}])))
    assert [each["name"] for each in alone.json()["answers"]] == [None, "c"]
    assert alone.json()["usage"]["input_tokens"] == 0
    assert len(server.engine.prompts) == 1


def test_many_queries_about_one_product(server: Server) -> None:
    body = decisions("desk", "lamp", "desk for a nursery", input={"product": {"title": "Oak desk", "brand": "B"}})
    answers = asyncio.run(server.post("/v1/decisions", body)).json()["answers"]
    pairs = {"queries": ["desk", "lamp", "desk for a nursery"], "documents": [{"title": "Oak desk", "brand": "B"}] * 3}
    scores = asyncio.run(server.post("/v1/score", pairs)).json()["data"]
    assert [each["gen_rerank"]["score"] for each in answers] == [each["score"] for each in scores]


def test_an_answer_does_not_depend_on_the_other_questions(server: Server) -> None:
    together = asyncio.run(server.post("/v1/decisions", decisions("oak", "red sofa", "steel lamp"))).json()["answers"]
    other_way = asyncio.run(server.post("/v1/decisions", decisions("steel lamp", "red sofa", "oak"))).json()["answers"]
    assert together == other_way[::-1]
    alone = asyncio.run(server.post("/v1/decisions", decisions("red sofa"))).json()["answers"]
    assert alone == together[1:2]


def test_phrases_and_products_without_text_are_as_the_server_was_started(server: Server) -> None:
    plain = asyncio.run(server.post("/v1/decisions", decisions("oak"))).json()["answers"]
    assert asyncio.run(server.post("/v1/decisions", decisions(" "))).status_code == 400
    phrases = (Phrase.of("Buy {product}?"),)
    server.app.state.options = replace(server.app.state.options, empty_documents="last", phrases=phrases)
    bought, blank = asyncio.run(server.post("/v1/decisions", decisions("Buy oak?", " "))).json()["answers"]
    assert [bought] == plain
    assert blank == {"type": "refusal", "name": None}
    pair = {"state": {"query": "desk", "document": ""}, "questions": {"relevant": {"type": "noul"}}}
    assert asyncio.run(server.post("/v1/systemone", pair)).json()["answers"] == {
        "relevant": {"type": "noul", "noul": 0}
    }


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (decisions("oak", model="other"), 404, "there is no model 'other'"),
        (decisions(), 400, "questions is empty"),
        (decisions("oak", input=[{"role": "assistant", "content": "oak"}]), 400, "has the role 'assistant'"),
        (b"{", 400, "the body is not valid JSON"),
    ],
)
def test_decisions_are_refused_as_openai_does(server: Server, body: Any, status: int, words: str) -> None:
    refused = asyncio.run(server.post("/v1/decisions", body))
    assert refused.status_code == refused.json()["error"]["code"] == status
    assert words in refused.json()["error"]["message"]


def test_system_one_has_its_own_errors(server: Server) -> None:
    unknown = {"model": "other", "state": {"query": "a", "product": "b"}, "questions": {"a": {"type": "noul"}}}
    listwise = {"state": {"query": "a", "documents": {"doc_0": "b"}}, "questions": {"doc_0": {"type": "noul"}}}
    refused = asyncio.run(server.post("/v1/systemone", unknown))
    assert (refused.status_code, refused.json()["detail"]["error_type"]) == (404, "not_found")
    refused = asyncio.run(server.post("/v1/systemone", listwise))
    assert refused.status_code == 422
    assert "jev-reranker's listwise mode" in refused.json()["detail"][0]["msg"]
