"""Fuzzed requests: what schemathesis makes of the OpenAPI document, valid and broken, to each of our routes."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Err

from experiments.clients import PATH
from experiments.finding import Notes, Sizes
from experiments.scored import SAME, ScoredTraffic
from experiments.server import serving
from serve.access import add_key


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Send what schemathesis makes of the OpenAPI document: valid requests and broken ones, to each of our routes."""
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        headers = {"Authorization": f"Bearer {add_key(keys, 'fuzzer', admin=True)}"}
        with serving(traffic.model, "--keys", str(keys), "--adapter-folder", folder) as server:
            schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=headers)
            ours = []
            for found in schema.get_all_operations():
                if isinstance(found, Err):
                    raise found.err()
                if "gen_rerank" in (found.ok().tags or ()):
                    ours.append(found.ok())
            notes.wanted("routes of ours", len(ours), "some", bool(ours))
            for operation in ours:
                statuses = fuzz(operation, server.url, headers, sizes.cases)
                wrong = sum(count for status, count in statuses.items() if status == 0 or status >= 500)
                shown = ", ".join(f"{count}× {status or 'no answer'}" for status, count in sorted(statuses.items()))
                held = statuses.total() > 0 and wrong == 0
                notes.wanted(f"{operation.label}: {statuses.total()} cases", shown, "no 5xx, no lost one", held)
            asked = traffic.requests[0]
            answer = httpx.post(f"{server.url}{PATH}", json=asked.body(), headers=headers, timeout=60).json()
            notes.wanted(
                "score afterwards, difference",
                asked.difference(answer),
                f"below {SAME}",
                asked.difference(answer) < SAME,
            )


def fuzz(operation: Any, url: str, headers: dict[str, str], cases: int) -> Counter[int]:
    """Send valid and invalid requests, half of each, and return how often each status came; 0 where no answer came."""
    statuses: Counter[int] = Counter()

    def send(case: Any) -> None:
        if isinstance(case.body, dict) and statuses.total() % 2:
            know_the_server(case.body)
        try:
            status = case.call(base_url=url, headers=headers, timeout=60).status_code
        except OSError:  # what the HTTP library raises is one
            status = 0
        statuses[status] += 1

    # Each case is sent once, whatever came of the one before: nothing fails here, and nothing is to be made smaller.
    checks = list(HealthCheck)
    chosen = settings(
        max_examples=cases // 2,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=checks,
    )
    has_input = bool(operation.body) or any(True for _ in operation.iter_parameters())
    for mode in GenerationMode if has_input else [GenerationMode.POSITIVE]:  # what takes nothing can get nothing wrong
        chosen(given(case=operation.as_strategy(generation_mode=mode))(send))()
    return statuses


def know_the_server(body: dict[str, Any]) -> None:
    """Give a generated body what no schema can say, so that it may reach the engine.

    No name of a model that nobody serves, a text in each document that is an object, the two named parts of a prompt.
    """
    body.pop("model", None)
    documents = body.get("documents")
    for document in documents if isinstance(documents, list) else ():
        if isinstance(document, dict):
            document["text"] = "Oak writing desk"
    if "prompt" in body:
        body["prompt"] = f"Query: desk {body['prompt']!r:.80}\nProduct: Oak writing desk"
