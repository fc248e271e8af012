"""What the server tells about itself: Prometheus metrics beside vLLM's, and one line of JSON a request.

Neither ever holds a query or a document: labels are served names and known paths, so that their number is bounded, and
a refusal is logged by its status alone, because its sentence may quote the client. Who fills a `RequestRecord` in, and
which requests are recorded, is the guard's and the routes' business.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Summary

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.card import ScoreHistogram
from gen_rerank.errors import BadInput
from serve.admission import Admission
from serve.stability import RecentScores

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_SCORES = tuple(k / 20 for k in range(1, 21))
_STANDARD_ERROR = 2
# Lines that wait for a slow disk; about 3 MB.
_MOST_LINES = 10_000
CLOSE_SECONDS = 5.0


@dataclass
class RequestRecord:
    """What is known about one request; the guard makes it and the handler fills it in.

    Attributes:
        request_id: the client's `X-Request-Id`, or one that was made.
        route: the path, where it is one of the server's; else `other`.
        method: of HTTP.
        status: of the response; 499 when the client left before there was one.
        model: the served name that answers; empty while unknown, never what a client typed.
        pairs: that were asked for.
        tokens: of all prompts together.
        cached: pairs that came from the score cache.
        cut: documents that did not fit whole.
        queue_seconds: waited for the engine.
        seconds: from the first byte that the guard saw to the end of the response.
        key: the label of the API key.
        scored: what was answered; None when nothing was scored.
        histogram: how the model's scores lay at its calibration; None where its card does not say.
    """

    request_id: str
    route: str
    method: str
    status: int = 0
    model: str = ""
    pairs: int = 0
    tokens: int = 0
    cached: int = 0
    cut: int = 0
    queue_seconds: float = 0.0
    seconds: float = 0.0
    key: str = ""
    scored: Distribution | None = None
    histogram: ScoreHistogram | None = None


class Telemetry:
    """Metrics and the request log.

    Lines are written by a thread, so that a slow disk never holds a request up. A line that cannot be written, because
    the disk is full or too slow, is dropped and counted; the next one is tried again. When the process ends, what waits
    is still written, for a few seconds at most.

    Args:
        log: the file to which lines are added; None means standard error.
        registry: where the metrics live; vLLM exposes the default one at `/metrics`.

    Raises:
        BadInput: the log file cannot be opened.

    Example:
        >>> telemetry = Telemetry(None, registry=CollectorRegistry())
        >>> telemetry.finished(RequestRecord("id-1", "/v1/rerank", "POST", status=200))
        >>> telemetry.close()
    """

    def __init__(self, log: Path | None, *, registry: CollectorRegistry = REGISTRY) -> None:
        self._requests = Counter(
            "gen_rerank_requests", "Requests, refused ones too.", ["route", "model", "status"], registry=registry
        )
        self._pairs = Counter("gen_rerank_pairs", "Pairs answered.", ["route", "model"], registry=registry)
        self._tokens = Counter("gen_rerank_tokens", "Prompt tokens of the answers.", ["model"], registry=registry)
        self._cached = Counter(
            "gen_rerank_cached_pairs", "Pairs answered from the score cache.", ["model"], registry=registry
        )
        self._cut = Counter(
            "gen_rerank_cut_documents", "Documents answered that did not fit whole.", ["model"], registry=registry
        )
        self._seconds = Histogram(
            "gen_rerank_request_seconds",
            "From the request to the end of its response.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue_seconds = Histogram(
            "gen_rerank_queue_seconds",
            "Waiting for the engine, of requests that were answered.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._score = Histogram(
            "gen_rerank_score", "Scores of the answers.", ["model"], buckets=_SCORES, registry=registry
        )
        self._std = Summary("gen_rerank_score_std", "Standard deviations of the answers.", ["model"], registry=registry)
        self._score_psi = Gauge(
            "gen_rerank_score_psi",
            "Population stability index of the last scores against those of the calibration; NaN while unknown.",
            ["model"],
            registry=registry,
        )
        self._std_psi = Gauge(
            "gen_rerank_score_std_psi",
            "The same of the standard deviations.",
            ["model"],
            registry=registry,
        )
        self._recent: dict[str, RecentScores] = {}
        self._pairs_waiting = Gauge("gen_rerank_pairs_waiting", "Pairs that wait for the engine.", registry=registry)
        self._pairs_running = Gauge("gen_rerank_pairs_running", "Pairs that the engine has.", registry=registry)
        lost = Counter("gen_rerank_log_lines_lost", "Log lines that could not be written.", registry=registry)
        self._log = _Log(log, lost)
        # vLLM makes the application that holds us, and tells nobody when it has ended.
        atexit.register(self.close)

    def watch(self, admission: Admission) -> None:
        """Show the queue's pairs in the gauges, as they are when somebody looks."""
        self._pairs_waiting.set_function(lambda: admission.pairs_waiting)
        self._pairs_running.set_function(lambda: admission.pairs_running)

    def finished(self, record: RequestRecord) -> None:
        """Count a request and log it. It never fails and never waits."""
        self._requests.labels(record.route, record.model, str(record.status)).inc()
        self._seconds.labels(record.route).observe(record.seconds)
        if record.scored is not None:
            self._answered(record, record.scored)
        self._log.write(_line(record))

    def close(self) -> None:
        """Write what is left, for a few seconds at most, close the log, and say on stderr how many lines were lost."""
        atexit.unregister(self.close)
        self._log.close()

    def _answered(self, record: RequestRecord, scored: Distribution) -> None:
        self._pairs.labels(record.route, record.model).inc(record.pairs)
        self._tokens.labels(record.model).inc(record.tokens)
        self._cached.labels(record.model).inc(record.cached)
        self._cut.labels(record.model).inc(record.cut)
        self._queue_seconds.observe(record.queue_seconds)
        score, std = self._score.labels(record.model), self._std.labels(record.model)
        for mean in scored.mean.tolist():
            score.observe(mean)
        for deviation in scored.std.tolist():
            std.observe(deviation)
        self._compare(record.model, scored, record.histogram)

    def _compare(self, model: str, scored: Distribution, histogram: ScoreHistogram | None) -> None:
        """Say how far a model's last answers lie from its calibration; another version by its name begins anew."""
        recent = self._recent.get(model)
        if histogram is None:
            if self._recent.pop(model, None) is None:
                return
            found = None
        else:
            if recent is None or recent.reference != histogram:
                recent = self._recent[model] = RecentScores(histogram)
            recent.add(scored)
            found = recent.stability
        self._score_psi.labels(model).set(math.nan if found is None else found.scores)
        self._std_psi.labels(model).set(math.nan if found is None else found.stds)


class _Log:
    """Adds lines to a file from a thread of its own, each with one system call."""

    def __init__(self, path: Path | None, lost: Counter) -> None:
        try:
            # Unbuffered: a line that failed must not linger in a buffer and come out torn later.
            self._file = FileIO(_STANDARD_ERROR, "a", closefd=False) if path is None else FileIO(path, "a")
        except OSError as error:
            raise BadInput(f"{path}: the log cannot be opened ({error.strerror})") from error
        self._to_standard_error = path is None
        self._lost = lost
        self._given = self._written = 0
        self._torn = False
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MOST_LINES)
        self._writer = threading.Thread(target=self._write_all, name="request-log", daemon=True)
        self._writer.start()

    def write(self, line: bytes) -> None:
        self._given += 1
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost.inc()

    def close(self) -> None:
        end = time.monotonic() + CLOSE_SECONDS
        with suppress(queue.Full):  # nothing is being written: the thread ends with the process
            self._lines.put(None, timeout=CLOSE_SECONDS)
            self._writer.join(end - time.monotonic())
        lost = self._given - self._written
        stuck = self._to_standard_error and self._writer.is_alive()
        if lost and not stuck:
            with suppress(OSError):
                os.write(_STANDARD_ERROR, f"{lost} lines of the request log were lost\n".encode())

    def _write_all(self) -> None:
        with self._file:
            while (line := self._lines.get()) is not None:
                if self._write(line):
                    self._written += 1
                else:
                    self._lost.inc()

    def _write(self, line: bytes) -> bool:
        """Return whether a line was written, and all of it."""
        # The last room on a disk may take half a line; the next one must not continue it.
        whole = b"\n" + line if self._torn else line
        try:
            written = self._file.write(whole) or 0  # None is a standard error that would have to be waited for
        except OSError:
            return False
        if written:
            self._torn = written < len(whole)
        return written == len(whole)


def _line(record: RequestRecord) -> bytes:
    shown: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "error" if record.status >= 500 else "warning" if record.status >= 400 else "info",
        "request_id": record.request_id,
        "method": record.method,
        "route": record.route,
        "model": record.model,
        "status": record.status,
        "pairs": record.pairs,
        "tokens": record.tokens,
        "cached": record.cached,
        "cut": record.cut,
        "queue_ms": round(record.queue_seconds * 1000, 1),
        "ms": round(record.seconds * 1000, 1),
        "key": record.key,
    }
    return json.dumps(shown).encode() + b"\n"
