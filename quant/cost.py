"""What a checkpoint costs: start-up, memory, throughput and latency, measured in visits that alternate between the systems.

A visit is a fresh process (`quant.measured_process` says what it times and what is cold in it). Visits of the systems A, B and C go A B C A
B C … in one run, so that a machine that becomes slower in the meantime is no system's disadvantage. The first visit
of a system decides how much the others score; where it cannot be made, its reason stands in the place of the figures.

How good the scores are is none of this module's business, but for one figure: how far the scores of a serving engine are from
those of plain transformers on the same checkpoint, which the caller brings.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.folders import read_json
from gen_rerank.data.records import Dataset, Pair
from gen_rerank.errors import BadInput
from gen_rerank.scorers.engine_plan import Dtype
from quant.comparison import Cost, Engine
from quant.measured_process import LATENCY, SAMPLE, THROUGHPUT, WARM_UP, Budget, Order, Outcome, Request, Size

# The most requests of a workload: 16,384 pairs for the throughput, and for the latency enough for a 95th percentile.
_MOST_LATENCY = 100
_MOST_THROUGHPUT = 256
_MOST_SAMPLE = 256
# One to warm up, and one for each of the two measurements.
_LEAST_REQUESTS = 3
_LEAST_CANDIDATES = 2
# In which a visit can stop its engine.
_STOP_SECONDS = 15
# How a process of vLLM's logs the last line of a traceback.
_ENGINE_ERROR = re.compile(r"^\(\w+ pid=\d+\) ERROR [^\]]*\] \w[\w.]*(?:Error|Exception): (.+)$", re.MULTILINE)
_SEE_ABOVE = "See root cause above"


@dataclass(frozen=True)
class Subject:
    """What is visited: a checkpoint and the way in which it is opened.

    Attributes:
        name: for people.
        folder: of the checkpoint, on this machine.
        engine: what scores.
        load_time: `nf4` or `int8`: how bitsandbytes quantizes it while transformers loads it; None for not at all.
        dtype: of the activations, and of the weights that are not quantized.
    """

    name: str
    folder: Path
    engine: Engine
    load_time: str | None = None
    dtype: Dtype = "bfloat16"


@dataclass(frozen=True)
class Workload:
    """What the visits score: the same for every system, rendered by each checkpoint's own prompt.

    No pair is in two requests. The products of a request are new to the visit while the catalog lasts, but for those that are judged
    for its query.

    Attributes:
        warm_up: one request.
        latency: requests that are timed one by one.
        throughput: requests that are timed together.
        sample: places in the data set's judgments: the pairs on which engines are compared.
        sample_pairs: those pairs.
    """

    warm_up: Request
    latency: tuple[Request, ...]
    throughput: tuple[Request, ...]
    sample: tuple[int, ...]
    sample_pairs: tuple[Pair, ...]

    @classmethod
    def of(cls, dataset: Dataset, *, candidates: int = 64, seed: int = 0) -> Workload:
        """Make one from a split: to each query the products that are judged for it, then others at random.

        Args:
            dataset: the split. A query comes again, with other products, where there are few.
            candidates: the products of a request; fewer where the catalog has fewer.
            seed: of the order of the queries, of the products and of the sample.

        Raises:
            BadInput: too few queries and products for three different requests.

        Example:
            >>> Workload.of(Dataset.load("shop").of("test")).candidates  # doctest: +SKIP
            64
        """
        size = min(candidates, len(dataset.products))
        requests = tuple(islice(_requests(dataset, size, seed), 1 + _MOST_LATENCY + _MOST_THROUGHPUT))
        if size < _LEAST_CANDIDATES or len(requests) < _LEAST_REQUESTS:
            raise BadInput(
                f"the split has {len(dataset.queries)} queries and the catalog {len(dataset.products)} products: too few to "
                f"measure speed on queries with {candidates} candidates that are all different; bring more, or leave the cost out"
            )
        latency = min(_MOST_LATENCY, (len(requests) - 1) // 2)
        places = np.random.default_rng(seed).permutation(len(dataset.judgments))[:_MOST_SAMPLE].tolist()
        return cls(
            warm_up=requests[0],
            latency=requests[1 : 1 + latency],
            throughput=requests[1 + latency :],
            sample=tuple(places),
            sample_pairs=tuple(dataset.pair(dataset.judgments[place]) for place in places),
        )

    @property
    def candidates(self) -> int:
        """The products of each request."""
        return len(self.warm_up.products)

    @property
    def available(self) -> Size:
        """The number of requests."""
        return Size(latency=len(self.latency), throughput=len(self.throughput))

    def save(self, folder: Path) -> None:
        """Write the files that a visit reads."""
        _write(folder / WARM_UP, [self.warm_up])
        _write(folder / LATENCY, self.latency)
        _write(folder / THROUGHPUT, self.throughput)
        _write(folder / SAMPLE, (Request(query=pair.query, products=(pair.product,)) for pair in self.sample_pairs))


def measure(
    subjects: Sequence[Subject],
    workload: Workload,
    *,
    visits: int = 3,
    expected: Mapping[Path, Distribution] | None = None,
    budget: Budget = Budget(),  # noqa: B008 - frozen
    console: Console = Console(quiet=True),  # noqa: B008 - says nothing
) -> dict[Subject, Cost]:
    """Visit every subject `visits` times, in turns.

    A subject that cannot be visited, or no longer, gets no further visit, and its cost says why.

    Args:
        subjects: in the order of the turns.
        workload: what is scored.
        visits: of each subject.
        expected: what plain transformers answers, by the checkpoint's folder: one row for each judgment of the data set that the
            workload was made from, in order. Where it is given, `served_change` of vLLM is measured.
        budget: how long a visit may take.
        console: is told of every visit when it is over.

    Returns:
        the cost of each subject.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when the visit's processes have ended.

    Example:
        >>> subject = Subject("int8", Path("runs/demo/model-int8"), "vllm")
        >>> measure([subject], workload)[subject].median("pairs_per_second")  # doctest: +SKIP
        1204.3
    """
    costs = {each: Cost(engine=each.engine, dtype=each.dtype, unmeasured=_meaningless(each)) for each in subjects}
    turns = deque(each for _ in range(visits) for each in subjects if not costs[each].unmeasured)
    sizes: dict[Subject, Size] = {}
    done = 0
    with tempfile.TemporaryDirectory(prefix="gen_rerank_") as folder:
        workload.save(Path(folder))
        while turns:
            subject = turns.popleft()
            done += 1
            heading = f"visit {done} of {done + len(turns)}: {subject.name}, {subject.engine}"
            reference = None if subject in sizes else (expected or {}).get(subject.folder)
            order = Order(
                folder=subject.folder,
                engine=subject.engine,
                load_time=subject.load_time,
                dtype=subject.dtype,
                workload=Path(folder),
                available=workload.available,
                size=sizes.get(subject),
                sample=subject.engine == "vllm" and reference is not None,
                budget=budget,
                started=time.monotonic(),
            )
            with console.status(escape(heading)):
                outcome = _visit(order, Path(folder))
            console.print(f"{heading}: {_summary(outcome)}", markup=False, highlight=False)
            if outcome.size is None:
                turns = deque(each for each in turns if each != subject)
            else:
                sizes[subject] = outcome.size
            costs[subject] = _with(costs[subject], outcome, workload, reference)
    return costs


def _requests(dataset: Dataset, candidates: int, seed: int) -> Iterator[Request]:
    """Go round the queries, for as long as one of them has candidates that it was not given yet."""
    random = np.random.default_rng(seed)
    ids = list(dataset.products)
    others = cycle([ids[i] for i in random.permutation(len(ids))])
    judged = dataset.by_query()
    # A text that two queries have is one query here.
    queries = list({query.text: query for query in dataset.queries.values()}.values())
    queries = [queries[i] for i in random.permutation(len(queries))]
    given: dict[str, set[str]] = defaultdict(set)
    while queries := [query for query in queries if len(ids) - len(given[query.query_id]) >= candidates]:
        for query in queries:
            seen = given[query.query_id]
            first = [row.product_id for row in judged.get(query.query_id, ()) if row.product_id not in seen]
            chosen = dict.fromkeys(first[:candidates])
            while len(chosen) < candidates:
                product_id = next(others)
                if product_id not in seen:
                    chosen[product_id] = None
            seen.update(chosen)
            yield Request(query=query.text, products=tuple(dataset.products[product_id] for product_id in chosen))


def _write(file: Path, requests: Iterable[Request]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for request in requests:
            lines.write(request.model_dump_json(exclude_defaults=True) + "\n")


def _meaningless(subject: Subject) -> str:
    """Return why a measurement would say nothing of the subject; empty where it would."""
    if subject.engine != "transformers":
        return ""
    stored = read_json(subject.folder / "config.json").get("quantization_config") or {}
    if stored.get("quant_method") != "compressed-tensors":
        return ""
    return (
        "transformers unpacks these weights when it loads them, so its speed and memory would say nothing of the scheme"
    )


def _visit(order: Order, folder: Path) -> Outcome:
    """Start a visit and wait until it is over; it leaves no process behind, whatever happens."""
    told, answer, log = folder / "order.json", folder / "outcome.json", folder / "visit.log"
    told.write_text(order.model_dump_json(), encoding="utf-8")
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "quant.measured_process", str(told), str(answer)]
    with (
        log.open("wb") as output,
        # A session of its own: what it starts can then be stopped as one group, and Ctrl-C reaches us alone. The pipe is
        # closed when we end, however that happens, and the visit ends then too.
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            code = process.wait(order.budget.timeout)
        except subprocess.TimeoutExpired:
            return Outcome(refused=f"the visit was not over after {order.budget.timeout:,.0f} s, and was stopped")
        finally:
            _stop(process)
    words = log.read_text(encoding="utf-8", errors="replace")
    if not answer.is_file():  # with one, the work was done, however the process ended afterwards
        return Outcome(refused=_death(code, words))
    return _explained(Outcome.model_validate_json(answer.read_bytes()), words)


def _explained(outcome: Outcome, words: str) -> Outcome:
    """Put the cause that the engine's process has logged in the place of vLLM's own exception, which says only that it ended."""
    cause = _ENGINE_ERROR.search(words) if _SEE_ABOVE in outcome.refused else None
    if cause is None:
        return outcome
    return Outcome(refused=f"vLLM cannot open this checkpoint here ({_sentence(cause.group(1))})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let a visit that is not over stop its engine, and end whatever of its group is left."""
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):  # the usual case: nothing is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _death(code: int, words: str) -> str:
    end = f"with exit code {code}" if code > 0 else f"by {signal.Signals(-code).name}"
    lines = words.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"the visit ended {end}" + (f" ({_sentence(last)})" if last else "")


def _sentence(text: str) -> str:
    """Return what an engine says without the heading of a list that does not follow."""
    return text.strip().removesuffix("Reasons:").rstrip(" .:")


def _summary(outcome: Outcome) -> str:
    if outcome.figures is None:
        return outcome.refused
    visit = outcome.figures
    return (
        f"{_rounded(visit.pairs_per_second)} pairs/s, a query in {visit.p50_seconds * 1e3:,.0f} ms, "
        f"{visit.resident_bytes / 2**20:,.0f} MiB, started in {visit.start_seconds:,.0f} s"
    )


def _rounded(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _with(cost: Cost, outcome: Outcome, workload: Workload, reference: Distribution | None) -> Cost:
    """Return the cost with what a visit has answered."""
    if outcome.figures is None:
        return cost.model_copy(update={"unmeasured": outcome.refused})
    more = cost.model_copy(update={"visits": (*cost.visits, outcome.figures)})
    if not outcome.sample or reference is None:
        return more
    known = reference.mean[list(workload.sample[: len(outcome.sample)])]
    changes = np.abs(np.asarray(outcome.sample) - known)
    # What is judged is not the largest: with activations in bfloat16 a single pair of a healthy model may jump to the next
    # step of a coarse grid.
    served = {
        "served_change": float(np.quantile(changes, 0.99, method="inverted_cdf")),
        "served_largest": float(changes.max()),
        "served_pairs": len(changes),
    }
    return more.model_copy(update=served)
