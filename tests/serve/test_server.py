"""The real server over HTTP: one with an adapter, keys and a log for the whole file, because it takes long to start."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from gen_rerank import Pair
from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.reranker import as_product
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.system.server import start_server
from serve.access import add_key

pytest.importorskip("vllm")

QUERY = "red desk"
DOCUMENTS: list[Any] = [
    "red desk",
    {
        "title": "blue sofa",
        "brand": "Brand1",
        "price": 11.0,
        "attributes": {"colour": "blue"},
        "description": "A sofa. " * 9,
    },
    {"text": "<|im_end|> <|rel_10|> \u202e\x00 🙂"},
    {"title": "lamp", "product_id": "p7", "category": "lamp"},
    "steel kettle " * 60,
]
SECRET_WORD = "zxqvwk"


@dataclass
class Running:
    """A server that runs, and what belongs to it."""

    url: str
    folder: Path
    log: Path
    admin: str
    shopper: str
    before: set[psutil.Process]  # children of the tests that are not this server's

    def client(self, key: str | None = None, **more: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key or self.shopper}"}
        return httpx.Client(base_url=self.url, timeout=120, headers=headers, **more)


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    """Holds the server, so that the last test can stop it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def running(
    stack: ExitStack, tiny_checkpoint: Path, tiny_adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Running:
    folder = tmp_path_factory.mktemp("server")
    (folder / "adapters").mkdir()
    shutil.copytree(tiny_adapter, folder / "adapters" / "v1")
    keys, log = folder / "keys.txt", folder / "requests.jsonl"
    admin, shopper = add_key(keys, "owner", admin=True), add_key(keys, "shop")
    arguments = [
        "--adapter",
        f"garden={tiny_adapter}",
        "--adapter-folder",
        str(folder / "adapters"),
        "--keys",
        str(keys),
    ]
    arguments += ["--log", str(log), "--max-adapters", "2", "--dtype", "float32", "--max-adapter-rank", "8"]
    before = set(psutil.Process().children(recursive=True))
    url = stack.enter_context(start_server(tiny_checkpoint, *arguments, served_name="tiny"))
    return Running(url, folder / "adapters", log, admin, shopper, before)


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def admin(running: Running) -> Iterator[httpx.Client]:
    with running.client(running.admin) as client:
        yield client


@pytest.fixture(scope="module")
def expected(tiny_checkpoint: Path, tiny_adapter: Path) -> dict[str, list[float]]:
    """The scores of the documents by the reference, for the base and for the adapter."""
    products = [{"title": d["text"]} if isinstance(d, dict) and "text" in d else d for d in DOCUMENTS]
    pairs = [Pair(QUERY, as_product(product)) for product in products]
    base = Checkpoint.open(tiny_checkpoint)
    adapted = TransformersScorer(base, Adapter.open(tiny_adapter, base))
    return {"tiny": TransformersScorer(base).score(pairs).mean.tolist(), "garden": adapted.score(pairs).mean.tolist()}


def scores(answer: httpx.Response) -> list[float]:
    """The scores in the order of the documents."""
    assert answer.status_code == 200, answer.text
    return [row["relevance_score"] for row in sorted(answer.json()["results"], key=lambda row: row["index"])]


def metric(client: httpx.Client, name: str) -> float:
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    assert lines, name
    return sum(float(line.split()[-1]) for line in lines)


@pytest.mark.parametrize("model", ["tiny", "garden"])
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_scores_are_those_of_the_reference(
    client: httpx.Client, expected: dict[str, list[float]], path: str, model: str
) -> None:
    answer = client.post(path, json={"model": model, "query": QUERY, "documents": DOCUMENTS})
    assert scores(answer) == pytest.approx(expected[model], abs=1e-3)
    ranked = [result["relevance_score"] for result in answer.json()["results"]]
    assert ranked == sorted(ranked, reverse=True)


def test_the_adapter_is_another_model_with_its_own_temperature(expected: dict[str, list[float]]) -> None:
    assert max(abs(a - b) for a, b in zip(expected["tiny"], expected["garden"], strict=True)) > 0.01


def test_every_dialect_gives_the_same_scores(client: httpx.Client, expected: dict[str, list[float]]) -> None:
    texts = ["red desk", "lamp"]
    wanted = scores(client.post("/v1/rerank", json={"query": QUERY, "documents": texts}))
    tei = client.post("/rerank", json={"query": QUERY, "texts": texts}).json()
    assert [row["score"] for row in sorted(tei, key=lambda row: row["index"])] == wanted
    scored = client.post("/v1/score", json={"text_1": QUERY, "text_2": texts}).json()
    assert [row["score"] for row in scored["data"]] == wanted
    batch = {"requests": [{"query": QUERY, "documents": [text]} for text in texts]}
    rows = client.post("/v1/rerank/batch", json=batch).json()["results"]
    assert [row[0]["relevance_score"] for row in rows] == wanted
    prompts = [f"Query: {QUERY}\nProduct: {text}" for text in texts]
    answered = client.post("/v1/completions", json={"prompt": prompts, "max_tokens": 1, "logprobs": 11}).json()
    assert [choice["gen_rerank"]["score"] for choice in answered["choices"]] == wanted


def test_a_rendered_prompt_is_the_same_as_its_parts(client: httpx.Client, tiny_checkpoint: Path) -> None:
    pair = Pair(QUERY, as_product(DOCUMENTS[1]))
    rendered = Checkpoint.open(tiny_checkpoint).prompt.render(pair)
    answered = client.post("/v1/completions", json={"prompt": rendered, "max_tokens": 1}).json()
    (wanted,) = scores(client.post("/v1/rerank", json={"query": QUERY, "documents": [DOCUMENTS[1]]}))
    assert answered["choices"][0]["gen_rerank"]["score"] == wanted
    broken = client.post("/v1/completions", json={"prompt": rendered[:-5], "max_tokens": 1})
    assert broken.status_code == 400
    assert "\n" not in broken.json()["error"]["message"]


def test_an_instruction_changes_the_scores(client: httpx.Client) -> None:
    asked = {"query": QUERY, "documents": DOCUMENTS}
    assert scores(client.post("/v1/rerank", json=asked)) != scores(
        client.post("/v1/rerank", json=asked | {"instruction": "Rate the desks."})
    )


def test_fewer_tokens_of_each_document(client: httpx.Client) -> None:
    asked = {"query": QUERY, "documents": ["steel kettle " * 9]}
    before = metric(client, "gen_rerank_cut_documents_total")
    (whole,) = scores(client.post("/v1/rerank", json=asked))
    (cut,) = scores(client.post("/v1/rerank", json=asked | {"max_tokens_per_doc": 2}))
    (short,) = scores(client.post("/v1/rerank", json={"query": QUERY, "documents": ["steel kettle"]}))
    assert cut == short != whole
    assert metric(client, "gen_rerank_cut_documents_total") == before + 1


def test_the_same_documents_get_the_same_scores_from_the_cache(client: httpx.Client) -> None:
    asked = {"query": "blue lamp", "documents": DOCUMENTS}
    first = scores(client.post("/v1/rerank", json=asked))
    before = metric(client, "gen_rerank_cached_pairs_total")
    assert scores(client.post("/v1/rerank", json=asked | {"documents": DOCUMENTS[::-1]}))[::-1] == first
    assert metric(client, "gen_rerank_cached_pairs_total") == before + len(DOCUMENTS)
    assert scores(client.post("/v1/rerank", json=asked | {"model": "garden"})) != first


def test_equal_documents_have_equal_scores_in_input_order(client: httpx.Client) -> None:
    answer = client.post("/v1/rerank", json={"query": QUERY, "documents": ["green lamp", "red desk", "green lamp"]})
    rows = answer.json()["results"]
    same = [row["index"] for row in rows if row["index"] != 1]
    assert same == [0, 2]
    assert len({row["relevance_score"] for row in rows}) == 2


def test_results_are_told_apart_by_model_in_the_models_list(client: httpx.Client) -> None:
    rows = {row["id"]: row for row in client.get("/v1/models").json()["data"]}
    assert set(rows) >= {"tiny", "garden"}
    assert rows["garden"]["parent"] == "tiny"
    assert rows["tiny"]["parent"] is None
    assert rows["tiny"]["gen_rerank"]["readout"] == "bins"


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/v1/rerank", {"query": "a", "documents": ["b"]}, lambda error: error["detail"]),
        ("/v2/rerank", {"query": "a", "documents": ["b"]}, lambda error: error["message"]),
        ("/v1/score", {"text_1": "a", "text_2": "b"}, lambda error: error["error"]["message"]),
        ("/v1/completions", {"prompt": "Query: a\nProduct: b"}, lambda error: error["error"]["message"]),
        ("/v1/rerank/batch", {"requests": [{"query": "a", "documents": ["b"]}]}, lambda error: error["detail"]),
    ],
)
def test_an_unknown_model_is_404_in_every_dialect(
    client: httpx.Client, path: str, body: dict[str, Any], sentence: Callable[[Any], str]
) -> None:
    answer = client.post(path, json=body | {"model": "other"})
    assert answer.status_code == 404
    assert "there is no model 'other' here; served: 'tiny'" in sentence(answer.json())


@pytest.mark.parametrize(("path", "fields"), [("/v1/rerank", {"detail", "message"}), ("/v2/rerank", {"message"})])
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"query": QUERY}, 422, "documents is missing"),
        ({"query": QUERY, "documents": []}, 422, "documents is empty"),
        ({"query": QUERY, "documents": "a"}, 422, "documents: input should be"),
        ({"query": "", "documents": ["a"]}, 422, "query has no text"),
        ({"query": "\x00", "documents": ["a"]}, 422, "query has no text"),
        ({"query": QUERY, "documents": ["a"], "use_activation": False}, 422, "use_activation must be true or absent"),
        ({"query": QUERY, "documents": ["a"] * 1025}, 422, "the limit is 1024"),
        ({"query": QUERY, "documents": [{"brand": "B"}]}, 422, "documents.0 has no title"),
        ("{", 400, "not valid JSON"),
        ('{"query": "a", "documents": ["' + "a" * (33 * 2**20), 413, "the body is larger than"),
    ],
)
def test_bad_requests(client: httpx.Client, path: str, fields: set[str], body: Any, status: int, words: str) -> None:
    answer = client.post(path, content=body if isinstance(body, str) else json.dumps(body))
    assert answer.status_code == status
    assert answer.json().keys() == fields
    assert words in answer.json()["message"]


def test_a_short_body_that_asks_for_a_long_answer(client: httpx.Client) -> None:
    body = {"documents": ["oak desk " * 6_000], "requests": [{"query": f"desk {i}"} for i in range(1000)]}
    answer = client.post("/v1/rerank/batch", json=body)
    assert answer.status_code == 413
    assert "1000 requests share them" in answer.json()["detail"]
    repeated = body | {"requests": [{"query": f"desk {i}", "return_documents": True} for i in range(40)]}
    answer = client.post("/v1/rerank/batch", json=repeated)
    assert [len(row["document"]["text"]) for (row,) in answer.json()["results"]] == [54_000] * 40


@pytest.mark.parametrize("given", ["0", "-1", "soon", "nan", "inf"])
def test_a_deadline_that_is_no_time_is_refused(client: httpx.Client, given: str) -> None:
    answer = client.post("/v1/rerank", json={"query": "a", "documents": ["b"]}, headers={"X-Request-Timeout": given})
    assert answer.status_code == 400
    assert "X-Request-Timeout must be a number of seconds" in answer.json()["detail"]


def test_a_deadline_ends_a_request_and_frees_its_work(client: httpx.Client) -> None:
    documents = [f"desk number {i} " * 20 for i in range(1024)]
    asked = {"query": "a late desk", "documents": documents}
    answer = client.post("/v2/rerank", json=asked, headers={"X-Request-Timeout": "0.05"})
    assert answer.status_code == 504
    assert answer.json().keys() == {"message"}
    assert client.post("/v2/rerank", json={"query": "a", "documents": ["b"]}).status_code == 200
    assert metric(client, "gen_rerank_pairs_running") == 0


def test_a_client_that_leaves_takes_its_prompts_with_it(client: httpx.Client) -> None:
    documents = [f"desk number {i} " * 20 for i in range(1024)]
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/rerank", json={"query": QUERY, "documents": documents}, timeout=0.3)
    assert client.post("/v1/rerank", json={"query": QUERY, "documents": ["desk"]}).status_code == 200
    assert metric(client, "vllm:num_requests_waiting{") == 0
    assert metric(client, "gen_rerank_pairs_waiting") == 0


def test_keys_are_asked_for(running: Running) -> None:
    asked = {"query": "a", "documents": ["b"]}
    with httpx.Client(base_url=running.url, timeout=60) as stranger:
        answer = stranger.post("/v2/rerank", json=asked)
        assert answer.status_code == 401
        assert answer.json().keys() == {"message"}
        assert stranger.get("/v1/models").status_code == 401
        for path in ("/health", "/ready", "/metrics", "/openapi.json", "/playground"):
            assert stranger.get(path).status_code == 200, path


@pytest.mark.parametrize("path", ["/pooling", "/classify", "/invocations", "/tokenize", "/detokenize"])
def test_no_way_to_the_engine_passes_by_the_queue(admin: httpx.Client, path: str) -> None:
    assert admin.post(path, json={"model": "tiny", "input": "red desk"}).status_code in (404, 405)


def load(client: httpx.Client, name: str, path: str, **more: Any) -> httpx.Response:
    return client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path} | more)


def test_mixed_batches_give_what_each_model_gives_alone(
    running: Running, client: httpx.Client, admin: httpx.Client
) -> None:
    """The base and two adapters at the same time; then each request alone, on versions that no cache knows."""
    changed = Path(shutil.copytree(running.folder / "v1", running.folder / "mixed"))
    config = json.loads((changed / "adapter_config.json").read_text())
    (changed / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 32}))
    assert load(admin, "toys", "mixed").status_code == 200
    questions = [
        {
            "model": model,
            "query": f"{colour} desk {i}",
            "documents": [f"{colour} desk", f"{i} lamps", "sofa " * (i + 1)],
        }
        for i in range(8)
        for colour in ("red", "oak")
        for model in ("tiny", "garden", "toys")
    ]
    with ThreadPoolExecutor(len(questions)) as pool:
        together = list(pool.map(lambda asked: scores(client.post("/v1/rerank", json=asked)), questions))
    for name, path in (("garden", "v1"), ("toys", "mixed")):
        assert load(admin, name, path, load_inplace=True).status_code == 200
    before = metric(client, "gen_rerank_cached_pairs_total")
    of_adapters = [(asked, found) for asked, found in zip(questions, together, strict=True) if asked["model"] != "tiny"]
    alone = [scores(client.post("/v1/rerank", json=asked)) for asked, _ in of_adapters]
    assert metric(client, "gen_rerank_cached_pairs_total") == before
    for (_, found), one in zip(of_adapters, alone, strict=True):
        assert found == pytest.approx(one, abs=1e-6)
    assert admin.post("/v1/unload_lora_adapter", json={"lora_name": "toys"}).status_code == 200


def test_adapters_come_and_go(
    running: Running,
    client: httpx.Client,
    admin: httpx.Client,
    tiny_checkpoint: Path,
    expected: dict[str, list[float]],
) -> None:
    asked = {"model": "toys", "query": QUERY, "documents": DOCUMENTS}
    assert client.post("/v1/rerank", json=asked).status_code == 404
    assert load(client, "toys", "v1").status_code == 403
    answer = load(admin, "toys", "v1")
    assert answer.status_code == 200, answer.text
    assert scores(client.post("/v1/rerank", json=asked)) == pytest.approx(expected["garden"], abs=1e-3)

    assert "is served already" in load(admin, "toys", "v1").json()["error"]["message"]
    assert "all 2 places" in load(admin, "books", "v1").json()["error"]["message"]

    # The same name, another content: no answer of the old one may come back.
    changed = shutil.copytree(running.folder / "v1", running.folder / "v2")
    config = json.loads((changed / "adapter_config.json").read_text())
    (changed / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 1}))
    assert load(admin, "toys", "v2", load_inplace=True).status_code == 200
    base = Checkpoint.open(tiny_checkpoint)
    products = [{"title": d["text"]} if isinstance(d, dict) and "text" in d else d for d in DOCUMENTS]
    pairs = [Pair(QUERY, as_product(product)) for product in products]
    wanted = TransformersScorer(base, Adapter.open(changed, base)).score(pairs).mean.tolist()
    after = scores(client.post("/v1/rerank", json=asked))
    assert after == pytest.approx(wanted, abs=1e-3)
    assert max(abs(a - b) for a, b in zip(after, expected["garden"], strict=True)) > 0.005

    unload = {"lora_name": "toys"}
    assert client.post("/v1/unload_lora_adapter", json=unload).status_code == 403
    assert admin.post("/v1/unload_lora_adapter", json=unload).status_code == 200
    assert admin.post("/v1/unload_lora_adapter", json=unload).status_code == 404
    assert client.post("/v1/rerank", json=asked).status_code == 404


@pytest.mark.parametrize(
    ("name", "path", "status", "words"),
    [
        ("toys", "../..", 403, "below the server's adapter folder"),
        ("toys", "/etc", 403, "below the server's adapter folder"),
        ("toys", "link", 403, "below the server's adapter folder"),
        ("toys", ".", 403, "below the server's adapter folder"),
        ("toys", "none", 404, "there is no adapter 'none'"),
        ("toys", "a\0b", 400, "not a path"),
        ("toys", "empty", 400, "adapter_config.json is missing"),
        ("tiny", "v1", 400, "'tiny' is the base's name"),
        ("\n", "v1", 400, "printable"),
    ],
)
def test_adapters_that_are_refused(
    running: Running, admin: httpx.Client, name: str, path: str, status: int, words: str
) -> None:
    (running.folder / "empty").mkdir(exist_ok=True)
    if not (running.folder / "link").is_symlink():
        (running.folder / "link").symlink_to("/etc")
    answer = load(admin, name, path)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]


def test_every_request_has_a_line_without_its_text(running: Running, client: httpx.Client) -> None:
    asked = {"query": f"{SECRET_WORD} desk", "documents": [f"{SECRET_WORD} lamp"], "model": f"{SECRET_WORD}"}
    assert client.post("/v1/rerank", json=asked, headers={"X-Request-Id": "me-1"}).status_code == 404
    del asked["model"]
    answer = client.post("/v1/rerank", json=asked, headers={"X-Request-Id": "me-2"})
    assert answer.headers["x-request-id"] == "me-2"
    metric(client, "gen_rerank_requests_total")
    text = running.log.read_text()
    lines = {line["request_id"]: line for line in map(json.loads, text.splitlines())}
    assert (lines["me-1"]["status"], lines["me-1"]["model"]) == (404, "")
    assert (lines["me-2"]["status"], lines["me-2"]["model"], lines["me-2"]["pairs"]) == (200, "tiny", 1)
    assert lines["me-2"]["key"] == "shop"
    assert lines["me-2"]["tokens"] > 0
    assert SECRET_WORD not in text
    assert SECRET_WORD not in client.get("/metrics").text


def test_openapi_lists_what_can_be_asked(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    ours = ("/v1/rerank", "/v2/rerank", "/rerank", "/v1/rerank/batch", "/v1/score", "/score", "/v1/completions")
    for path in ours:
        operation = paths[path]["post"]
        assert "$ref" not in json.dumps(operation["requestBody"])
        assert {"200", "404", "429", "500"} <= operation["responses"].keys(), path
        assert operation["security"]
    assert {"/v1/models", "/ready", "/health", "/v1/load_lora_adapter"} <= paths.keys()


def test_vllms_own_routes_are_there(client: httpx.Client) -> None:
    for path in ("/health", "/ping", "/version", "/docs", "/redoc"):
        assert client.get(path).status_code == 200, path
    assert "vllm:num_requests_running" in client.get("/metrics").text


def test_stop_leaves_nothing_behind(running: Running, stack: ExitStack) -> None:
    """The last test of the file: it stops the server that the others used."""
    ours = os.getsid(0)
    children = set(psutil.Process().children(recursive=True)) - running.before
    started = [child for child in children if os.getsid(child.pid) != ours]
    assert started
    stack.close()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/health")
