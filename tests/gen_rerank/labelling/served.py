"""A judge's server in a thread: OpenAI's wire format over HTTP, answers by a formula, faults on request."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LEVELS = 5


@dataclass
class JudgeServer:
    """What it was asked, and how it is to misbehave.

    Attributes:
        asked: how often each judge (its model) was asked about each pair.
        failures: statuses that the next requests are answered with; a float before one is its Retry-After.
        unread: how often a pair is answered with nonsense first.
        delay: seconds before each answer.
        bodies: of all requests that were answered.
        keys: the Authorization headers that came.
    """

    url: str = ""
    asked: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failures: list[int] = field(default_factory=list)
    unread: int = 0
    delay: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def yaml(self, file: Path, *judges: str) -> Path:
        """Write a file of judges, each a line of YAML such as `model: kind`."""
        rows = [f"  - {{base_url: {self.url}/v1, retries: 2, {judge}}}" for judge in judges]
        file.write_text("judges:\n" + "\n".join(rows) + "\n", encoding="utf-8")
        return file


def overlap(query: str, title: str) -> int:
    """The grade by formula: two for each word of the query that the title has."""
    return min(2 * len(set(query.lower().split()) & set(title.lower().split())), LEVELS - 1)


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    """Serve until the block ends."""
    state = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.keys.add(self.headers.get("Authorization"))
                status = state.failures.pop(0) if state.failures else 200
            if status != 200:
                self.reply(status, {"error": {"message": "not now", "type": "x", "code": status}})
                return
            time.sleep(state.delay)
            with state.lock:
                state.bodies.append(body)
                answer = _answer(state, self.path, body)
            self.reply(200, answer)

        def reply(self, status: int, value: Any) -> None:
            raw = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            if status == 429:
                self.send_header("Retry-After", "0.01")
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that is killed, or has given up, is no failure of ours."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def _answer(state: JudgeServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    decided = path.endswith("/decisions")
    data = body["input"][0]["content"][0]["data"] if decided else json.loads(_data(body))
    title = data["product"]["title"]
    key = (body["model"], data["query"], title)
    state.asked[key] += 1
    grade = overlap(data["query"], title)
    if body["model"] == "strict":
        grade = max(grade - 1, 0)
    if decided:
        shares = [{"value": i, "label": str(i), "probability": float(i == grade)} for i in range(LEVELS)]
        answer = {"type": "score", "name": None, "score": grade, "confidence": 1.0, "probabilities": shares}
        usage = {"input_tokens": 90, "output_tokens": 0, "total_tokens": 90}
        return {"model": body["model"], "answers": [answer], "usage": usage}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if state.asked[key] <= state.unread:
        choice["message"] = {"role": "assistant", "content": "I would rather not"}
    elif body.get("logprobs"):
        other = max(grade - 1, 0)
        tops = [(str(grade), 0.6), (f" {other}", 0.2), ("The", 0.2)]
        listed = [{"token": token, "logprob": math.log(share), "bytes": None} for token, share in tops]
        choice["message"] = {"role": "assistant", "content": str(grade)}
        choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
    else:
        choice["message"] = {"role": "assistant", "content": json.dumps({"grade": grade})}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice],
            "usage": usage}  # fmt: skip


def _data(body: dict[str, Any]) -> str:
    text: str = body["messages"][-1]["content"]
    return text.split("\n\n")[0]
