"""The result of a comparison: what `gen-rerank compare` measured, as values that `comparison.json` holds.

Figures only: how they are measured is `drift`'s, `identity`'s and `cost`'s, what they mean for a shop is `gates`', and
how they look is `report`'s. A figure that this machine could not measure is absent, and a sentence stands in its
place.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from gen_rerank.errors import BadInput
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.verdicts import Verdict
from gen_rerank.system.publishing import write_text_whole

Engine = Literal["vllm", "transformers"]


class FrozenModel(BaseModel):
    """A value that is written as JSON and read back; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Histogram(FrozenModel):
    """How often values fall between edges, `counts[i]` in [edges[i], edges[i + 1]); the ends hold what lies beyond."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Drift(FrozenModel):
    """How far a system's answers are from the reference's, on the same pairs. No gold label is needed.

    Attributes:
        mean_change: mean of |Δscore|, in units of relevance.
        p99_change: 99th percentile of |Δscore|.
        largest_change: largest |Δscore|.
        jensen_shannon: mean Jensen–Shannon divergence of the two distributions, in bits, from 0 to 1.
        p99_jensen_shannon: its 99th percentile.
        kendall_tau: Kendall's tau-b of the two orders, mean over queries with two candidates or more.
        top5_kept: share of the reference's first five products that stay among the first five, mean over queries with
            more than five candidates; None where there is none, since nothing can leave the first five.
        top5_changed: share of those queries whose first five products are another set.
        tier_flips: share of the pairs whose tier is another one.
        flips: how many pairs went from one tier to another, by `"exact>close"`.
        saturated: share of the pairs whose distribution has all its mass, but for 0.001, on one bin, where the
            reference's has 0.01 or more elsewhere.
        changes: histogram of the signed Δscore.
        spread: standard deviation of all scores, as a share of the reference's.
        stuck: share of the pairs whose score is 0, 0.5 or 1, to within 0.001.
    """

    mean_change: float
    p99_change: float
    largest_change: float
    jensen_shannon: float
    p99_jensen_shannon: float
    kendall_tau: float
    top5_kept: float | None
    top5_changed: float | None
    tier_flips: float
    flips: dict[str, int]
    saturated: float
    changes: Histogram
    spread: float = 1.0
    stuck: float = 0.0


class SliceChange(FrozenModel):
    """One tag: its queries with a defined nDCG@5, the paired difference of that, and the mean |Δscore| of its pairs."""

    queries: int
    ndcg5: Interval
    mean_change: float


class WorstPair(FrozenModel):
    """A pair whose score changed most, readable."""

    query_id: str
    query: str
    tags: tuple[str, ...]
    product_id: str
    title: str
    relevance: float
    reference_score: float
    candidate_score: float
    reference_distribution: tuple[float, ...]
    candidate_distribution: tuple[float, ...]


class Quality(FrozenModel):
    """What a system is worth on the split, by the names of `gen_rerank.evaluation`: nDCG@5, nDCG@10, RPS, MSE, ECE."""

    measures: dict[str, Interval]


class Check(FrozenModel):
    """One thing that a quantized checkpoint must share with the one it was made from.

    Attributes:
        name: `base`, `tokenizer`, `template`, `readout`, `calibration` or `layers`.
        held: whether it is shared.
        finding: one sentence: what is the same, or what differs and where.
    """

    name: str
    held: bool
    finding: str


class LayerError(FrozenModel):
    """How far a layer's decoded weights W' are from the reference's W.

    Attributes:
        layer: its full name.
        relative_error: ‖W' − W‖ / ‖W‖.
        scale: the factor a that makes a·W nearest to W'.
    """

    layer: str
    relative_error: float
    scale: float


class Visit(FrozenModel):
    """One start of an engine on a checkpoint, in a process of its own.

    Attributes:
        start_seconds: until the first score, from the start of the process.
        resident_bytes: memory of the host, and none of a GPU's, that the process and those below it hold after scoring;
            shared pages are counted once. On a CPU vLLM takes its whole key-value cache at the start, so every visit
            has the same one, of 8,192 tokens.
        pairs_per_second: over all pairs, each query's candidates together.
        p50_seconds: median time of one query with `candidates` candidates, alone.
        p95_seconds: its 95th percentile.
        queries: how many of them were timed, after the warm-up.
        pairs: how many the throughput was measured on.
        cache_bytes: the part of `resident_bytes` that is vLLM's key-value cache; 0 where it is not in there.
    """

    start_seconds: float
    resident_bytes: int
    pairs_per_second: float
    p50_seconds: float
    p95_seconds: float
    queries: int = 0
    pairs: int = 0
    cache_bytes: int = 0


class Cost(FrozenModel):
    """What a system costs with one engine.

    Attributes:
        engine: what scored.
        dtype: of the activations.
        visits: one a start, alternating with the other systems; empty where nothing could be measured.
        unmeasured: why there are none, or fewer than were asked for; empty otherwise.
        served_change: 99th percentile of |Δscore| between this engine and plain transformers on the same checkpoint;
            None where this engine is transformers or nothing was measured.
        served_largest: the largest of them.
        served_pairs: how many pairs that was measured on.
    """

    engine: Engine
    dtype: str
    visits: tuple[Visit, ...] = ()
    unmeasured: str = ""
    served_change: float | None = None
    served_largest: float | None = None
    served_pairs: int = 0

    def median(self, field: str) -> float:
        """Return the median of a field of the visits, of which there must be some."""
        assert self.visits, self.unmeasured
        return float(median(getattr(visit, field) for visit in self.visits))


class System(FrozenModel):
    """The reference or a candidate.

    Attributes:
        name: unique in the comparison.
        folder: as it was given.
        scheme: of the quantization, from the checkpoint's card; `none` for a checkpoint in full precision, `nf4` or
            `int8 (bitsandbytes)` for a load-time row.
        realigned: whether phase 2 was run on the quantized backbone.
        disk_bytes: of the weights.
        quality: None where it could not be scored.
        cost: one an engine.
    """

    name: str
    folder: str
    scheme: str
    realigned: bool
    disk_bytes: int
    quality: Quality | None
    cost: tuple[Cost, ...] = ()

    def cost_of(self, engine: Engine) -> Cost | None:
        """Return what it costs with an engine, if that was asked."""
        return next((cost for cost in self.cost if cost.engine == engine), None)


class Candidate(System):
    """A system beside the reference.

    Attributes:
        refused: why it could not be scored; empty otherwise.
        checks: of identity; empty for load-time rows, which are the reference's own files.
        layers: the layers with the largest errors, largest first.
        delta: candidate − reference, paired over queries, by measure.
        queries: in how many queries the two can differ, by measure.
        drift: from the reference.
        slices: by tag.
        worst: the pairs whose scores changed most, most changed first.
        verdicts: one a gate.
    """

    refused: str = ""
    checks: tuple[Check, ...] = ()
    layers: tuple[LayerError, ...] = ()
    delta: dict[str, Interval] = {}
    queries: dict[str, int] = {}
    drift: Drift | None = None
    slices: dict[str, SliceChange] = {}
    worst: tuple[WorstPair, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """The gates that did not pass."""
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)


class Comparison(FrozenModel):
    """One run of `gen-rerank compare`.

    Attributes:
        date: in ISO form.
        version: of gen_rerank.
        commit: of its source, where known.
        machine: in words.
        data: the folder as it was given.
        fingerprint: of the split's data.
        split: which.
        queries: of the split.
        pairs: judged in it.
        skipped: how many bad rows of the data were left out.
        floors: the quality of `random` and `bm25` on the same split.
        thresholds: the scores at which the tiers begin, by tier.
        thresholds_source: where they come from.
        candidates_per_query: the candidates of a query when latency is measured.
        reference: what all candidates are compared with.
        floor: the drift of the reference from itself, in another order and other batches.
        slice_floor: the mean |Δscore| of that by tag.
        candidates: in the order given.
    """

    date: str
    version: str
    commit: str | None
    machine: str
    data: str
    fingerprint: str
    split: str
    queries: int
    pairs: int
    skipped: int = 0
    floors: dict[str, Quality]
    thresholds: dict[str, float]
    thresholds_source: str
    candidates_per_query: int
    reference: System
    floor: Drift
    slice_floor: dict[str, float] = {}
    candidates: tuple[Candidate, ...]

    @property
    def passed(self) -> bool:
        """Whether every candidate passed every gate."""
        return all(candidate.passed for candidate in self.candidates)

    def save(self, path: str | Path) -> None:
        """Write `comparison.json`, whole or not at all."""
        write_text_whole(Path(path), self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            BadInput: there is no such file, or it is no comparison.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise BadInput(f"{path}: not a comparison; {where}: {first['msg']}") from error
