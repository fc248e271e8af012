"""What a checkpoint costs: start-up, memory, throughput and latency, measured in visits that take turns.

A visit is a fresh process (`quant.measured_process` says what it times and what is cold in it). Visits of the systems
A, B and C go A B C A B C … in one run, so that a machine that becomes slower in the meantime is no system's
disadvantage. The first visit of a system decides how much the others score; where it cannot be made, its reason stands
in the place of the figures.

How good the scores are is none of this module's business, but for one figure: how far the scores of a serving engine
are from those of plain transformers on the same checkpoint, which the caller brings.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.text import Text

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.folders import read_json
from gen_rerank.reporting.numbers import significant
from gen_rerank.reporting.shell import say
from gen_rerank.scorers.engine_plan import Dtype
from quant.comparison import Cost, Engine
from quant.measured_process import VisitBudget, VisitOrder, VisitOutcome
from quant.visits import make_visit
from quant.workload import RequestCount, VisitWorkload


@dataclass(frozen=True)
class Subject:
    """What is visited: a checkpoint and the way in which it is opened.

    Attributes:
        name: for people.
        folder: of the checkpoint, on this machine.
        engine: what scores.
        loaded_as: how bitsandbytes quantizes it while transformers loads it; None for not at all.
        dtype: of the activations, and of the weights that are not quantized.
    """

    name: str
    folder: Path
    engine: Engine
    loaded_as: str | None = None
    dtype: Dtype = "bfloat16"

    @property
    def meaningless(self) -> str:
        """Why a measurement would say nothing of the subject; empty where it would."""
        if self.engine != "transformers":
            return ""
        stored = read_json(self.folder / "config.json").get("quantization_config") or {}
        if stored.get("quant_method") != "compressed-tensors":
            return ""
        return (
            "transformers unpacks these weights when it loads them, so its speed and memory would say nothing of the "
            "scheme"
        )


def measure(
    subjects: Sequence[Subject],
    workload: VisitWorkload,
    *,
    visits: int = 3,
    expected: Mapping[Path, Distribution] | None = None,
    budget: VisitBudget = VisitBudget(),  # noqa: B008 - frozen
    console: Console = Console(quiet=True),  # noqa: B008 - says nothing
) -> dict[Subject, Cost]:
    """Visit every subject `visits` times, in turns.

    A subject that cannot be visited, or no longer, gets no further visit, and its cost says why.

    Args:
        subjects: in the order of the turns.
        workload: what is scored.
        visits: of each subject.
        expected: what plain transformers answers, by the checkpoint's folder: one row for each judgment of the data set
            that the workload was made from, in order. Where it is given, `served_change` of vLLM is measured.
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
    costs = {each: Cost(engine=each.engine, dtype=each.dtype, unmeasured=each.meaningless) for each in subjects}
    turns = deque(each for _ in range(visits) for each in subjects if not costs[each].unmeasured)
    sizes: dict[Subject, RequestCount] = {}
    done = 0
    with tempfile.TemporaryDirectory(prefix="gen_rerank_") as folder:
        workload.save(Path(folder))
        while turns:
            subject = turns.popleft()
            done += 1
            heading = f"visit {done} of {done + len(turns)}: {subject.name}, {subject.engine}"
            known = None if subject in sizes else _known(subject, workload, expected or {})
            order = _order(subject, workload, Path(folder), sizes.get(subject), known is not None, budget)
            with console.status(Text(heading)):
                outcome = make_visit(order, Path(folder))
            say(f"{heading}: {_summary(outcome)}", console)
            if outcome.size is None:
                turns = deque(each for each in turns if each != subject)
            else:
                sizes[subject] = outcome.size
            costs[subject] = add_visit(costs[subject], outcome, known)
    return costs


def add_visit(cost: Cost, outcome: VisitOutcome, known: npt.NDArray[np.floating] | None) -> Cost:
    """Return the cost with what a visit has answered.

    Args:
        cost: of the visits before.
        outcome: of this one.
        known: what plain transformers answers on the workload's sample, `[n]`; the visit may have scored the first of
            these. None where nothing is to be compared.
    """
    if outcome.figures is None:
        return cost.model_copy(update={"unmeasured": outcome.refused})
    more = cost.model_copy(update={"visits": (*cost.visits, outcome.figures)})
    if not outcome.sample or known is None:
        return more
    changes = np.abs(np.asarray(outcome.sample) - known[: len(outcome.sample)])
    # What is judged is not the largest: with activations in bfloat16 a single pair of a healthy model may jump to the
    # next step of a coarse grid.
    served = {
        "served_change": float(np.quantile(changes, 0.99, method="inverted_cdf")),
        "served_largest": float(changes.max()),
        "served_pairs": len(changes),
    }
    return more.model_copy(update=served)


def _known(
    subject: Subject, workload: VisitWorkload, expected: Mapping[Path, Distribution]
) -> npt.NDArray[np.floating] | None:
    """Return the scores of the sample that those of an engine are held against, None where there are none."""
    plain = expected.get(subject.folder)
    return None if subject.engine != "vllm" or plain is None else plain.mean[list(workload.sample)]


def _order(
    subject: Subject,
    workload: VisitWorkload,
    folder: Path,
    size: RequestCount | None,
    sample: bool,
    budget: VisitBudget,
) -> VisitOrder:
    return VisitOrder(
        folder=subject.folder,
        engine=subject.engine,
        loaded_as=subject.loaded_as,
        dtype=subject.dtype,
        workload=folder,
        available=workload.available,
        size=size,
        sample=sample,
        budget=budget,
        started=time.monotonic(),
    )


def _summary(outcome: VisitOutcome) -> str:
    if outcome.figures is None:
        return outcome.refused
    visit = outcome.figures
    return (
        f"{significant(visit.pairs_per_second)} pairs/s, a query in {visit.p50_seconds * 1e3:,.0f} ms, "
        f"{visit.resident_bytes / 2**20:,.0f} MiB, started in {visit.start_seconds:,.0f} s"
    )
