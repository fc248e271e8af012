"""Gates: the limits within which a quantized checkpoint may replace its reference, and the verdict on each.

The defaults are those of a shop that would not notice the difference. `Gates().to_yaml()` is a file to start from; a
line that is `null` switches its gate off. What is judged was measured before (`drift`, `identity`,
`gen_rerank.evaluation.evaluation`, `cost`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import ECE, HEADLINE, RPS
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.verdicts import Verdict, signed_interval, too_few_queries
from gen_rerank.system.settings import read_settings
from quant.comparison import Candidate, Drift, System

On = bool | None
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Change = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]

# Schemes whose 4-bit activations vLLM's Marlin kernel, the one before Blackwell, leaves in 16 bits; and what to do.
_UNROUNDED = {
    "mxfp4": "compare mxfp4a16 instead, whose activations nobody rounds there",
    "nvfp4": "judge it on a GPU whose kernel rounds them too",
}


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True)


class Collapse(_Limits):
    """What a distribution that still says something keeps, measured against the reference's.

    Attributes:
        spread: the least standard deviation of the scores, as a share of the reference's.
        saturated: the largest share of pairs that put all mass on one bin where the reference does not.
        stuck: the largest share of pairs with the score 0, 0.5 or 1, of those beyond the reference's share.
    """

    spread: Share = 0.2
    saturated: Share = 0.01
    stuck: Share = 0.5


class Slices(_Limits):
    """What a slice may lose.

    Attributes:
        loss: the most nDCG@5, on average.
        queries: how many a slice must have; in a smaller one a single query would decide.
    """

    loss: Share = 0.02
    queries: Annotated[int, Field(ge=1)] = 30


class Gates(_Limits):
    """The limits, by the names that `gates.yaml` uses; None switches a gate off.

    Raises:
        ValidationError: an unknown gate, or a limit that is none.

    Example:
        >>> Gates(tier_flips=0.02, served=None).tier_flips
        0.02
    """

    base: Annotated[On, Field(description="embeddings and norms are the reference's")] = True
    tokenizer: Annotated[On, Field(description="so is the content of tokenizer.json")] = True
    template: Annotated[On, Field(description="so are the prompt template, its budgets and its length")] = True
    readout: Annotated[On, Field(description="the rows that are read are right and in high precision")] = True
    calibration: Annotated[On, Field(description="temperature and thresholds of the card are the reference's")] = True
    layers: Annotated[On, Field(description="each layer's decoded weights are near the reference's")] = True
    scorable: Annotated[On, Field(description="it opens, and gives finite scores")] = True
    collapsed: Annotated[
        Collapse | None,
        Field(description="least spread of scores, most saturated and stuck pairs"),
    ] = Collapse()
    ndcg5: Annotated[
        Change | None, Field(alias="ndcg@5", description=f"lower end of the paired 95% interval of Δ{HEADLINE}")
    ] = -0.005
    ndcg10: Annotated[Change | None, Field(alias="ndcg@10", description="the same for nDCG@10")] = -0.005
    slice: Annotated[
        Slices | None, Field(description=f"most {HEADLINE} that any slice of so many queries loses on average")
    ] = Slices()
    rps: Annotated[Change | None, Field(description="upper end of the paired 95% interval of ΔRPS")] = 0.005
    ece: Annotated[Change | None, Field(description="most that the calibration error grows")] = 0.01
    tier_flips: Annotated[Share | None, Field(description="most pairs that change their tier")] = 0.01
    top5_kept: Annotated[Share | None, Field(description="least share of the first five products that stays")] = 0.95
    kendall_tau: Annotated[Change | None, Field(description="least rank correlation within queries")] = 0.9
    mean_change: Annotated[Share | None, Field(description="largest mean |Δscore|")] = 0.02
    p99_change: Annotated[Share | None, Field(description="largest 99th percentile of |Δscore|")] = 0.1
    jensen_shannon: Annotated[
        Share | None, Field(description="largest mean divergence of the distributions, in bits")
    ] = 0.02
    served: Annotated[
        Share | None,
        Field(description="largest 99th percentile of |Δscore| between vLLM and transformers, where vLLM serves it"),
    ] = 0.05

    @classmethod
    def load(cls, path: str | Path | None) -> Self:
        """Read a file of gates; what it does not name keeps its default, and None gives the defaults.

        Raises:
            BadInput: no such file, not YAML, an unknown gate (the sentence names the nearest), or a value that is no
                limit.
        """
        if path is None:
            return cls()
        try:
            return cls.model_validate(read_settings(path, "gates are lines like 'tier_flips: 0.01'"), by_name=False)
        except ValidationError as error:
            raise BadInput(f"{path}: {_sentence(error.errors()[0])}") from error

    def to_yaml(self) -> str:
        """Return these limits as a file of gates, with what each means."""
        lines = ["# Gates of gen-rerank compare. null switches one off; a line that is left out keeps its default."]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            written = value.model_dump() if isinstance(value, BaseModel) else value
            lines.append(f"{field.alias or name}: {_flow(written)}  # {field.description}")
        return "\n".join(lines) + "\n"

    def judge(self, candidate: Candidate, reference: System, floor: Drift) -> tuple[Verdict, ...]:
        """Return one verdict a gate that is on.

        The gates on files are left out for a candidate without checks (a load-time row has no files of its own), and
        `served` where vLLM did not score it.

        Args:
            candidate: all measured, without verdicts.
            reference: what it is compared with.
            floor: the drift of the reference from itself.
        """
        return (
            *self._identity(candidate),
            *self._scores(candidate, floor),
            *self._quality(candidate, reference),
            *self._drift(candidate, floor),
            *self._served(candidate),
        )

    def _identity(self, candidate: Candidate) -> Iterator[Verdict]:
        for check in candidate.checks:
            if getattr(self, check.name):
                yield Verdict(
                    gate=check.name,
                    passed=check.held,
                    measured="the reference's" if check.held else "not the reference's",
                    limit="the reference's",
                    meaning=check.finding,
                )

    def _scores(self, candidate: Candidate, floor: Drift) -> Iterator[Verdict]:
        if self.scorable:
            yield Verdict(
                gate="scorable",
                passed=not candidate.refused,
                measured="refused" if candidate.refused else "finite scores",
                limit="finite scores",
                meaning=candidate.refused or "it opens and gives every pair a finite score",
            )
        if self.collapsed is not None:
            yield _collapse(self.collapsed, candidate.drift, floor)

    def _quality(self, candidate: Candidate, reference: System) -> Iterator[Verdict]:
        for gate, measure, least in (("ndcg@5", HEADLINE, self.ndcg5), ("ndcg@10", "nDCG@10", self.ndcg10)):
            change = _difference(candidate, measure)
            if least is not None:
                yield _verdict(
                    gate,
                    None if change is None else change.low >= least,
                    "" if change is None else signed_interval(change),
                    f"lower end at least {least:+.4f}",
                    _too_few(candidate, measure)
                    or f"the ranking is as good as the reference's: paired difference of {measure} with its 95% "
                    "interval",
                    "" if change is None else f"{measure} may be {-change.low:.4f} lower than the reference's",
                )
        if self.slice is not None:
            yield _slices(self.slice, candidate)
        if self.rps is not None:
            change = _difference(candidate, RPS)
            yield _verdict(
                "rps",
                None if change is None else change.high <= self.rps,
                "" if change is None else signed_interval(change),
                f"upper end at most {self.rps:+.4f}",
                _too_few(candidate, RPS)
                or "the distributions are as good: paired difference of the ranked probability score with its 95% "
                "interval",
                "" if change is None else f"the ranked probability score may be {change.high:.4f} worse",
            )
        if self.ece is not None:
            grown = _ece(candidate, reference)
            yield _verdict(
                "ece",
                None if grown is None else grown <= self.ece,
                "" if grown is None else f"{grown:+.4f}",
                f"at most {self.ece:+.4f}",
                "scores still mean what they say: the growth of the expected calibration error",
                "" if grown is None else f"the expected calibration error grows by {grown:.4f}",
            )

    def _drift(self, candidate: Candidate, floor: Drift) -> Iterator[Verdict]:
        for gate, at_most, guards, wrong in _DRIFT_GATES:
            limit = getattr(self, gate)
            if limit is None:
                continue
            value = None if candidate.drift is None else getattr(candidate.drift, gate)
            passed = None if value is None else (value <= limit if at_most else value >= limit)
            measured = "" if value is None else f"{value:.4f} (floor {getattr(floor, gate):.4f})"
            limited = f"at {'most' if at_most else 'least'} {limit:.4f}"
            if candidate.drift is not None and value is None:
                guards = (
                    "no query has more than five candidates, so no product can leave the first five; null switches "
                    "the gate off"
                )
            yield _verdict(gate, passed, measured, limited, guards, "" if value is None else wrong.format(value))

    def _served(self, candidate: Candidate) -> Iterator[Verdict]:
        cost = candidate.cost_of("vllm")
        if self.served is not None and cost is not None and cost.served_change is not None:
            yield _verdict(
                "served",
                cost.served_change <= self.served,
                f"{cost.served_change:.4f}",
                f"at most {self.served:.4f}",
                "what vLLM serves is what was judged here: the 99th percentile of |Δscore| between it and transformers",
                f"vLLM serves other scores than were judged here: one in a hundred is {cost.served_change:.4f} apart "
                f"or more{_unrounded(candidate.scheme)}",
            )


# Fields of `Drift`: whether the limit is the most, what the gate guards against, and what is wrong when it fails.
_DRIFT_GATES = (
    (
        "tier_flips",
        True,
        "a product keeps its tier: the share of pairs that changed it",
        "{:.1%} of the pairs change their tier",
    ),
    (
        "top5_kept",
        False,
        "shoppers see the same products first: the share of the first five that stays, mean over queries with more",
        "only {:.1%} of the first five products stay among them",
    ),
    (
        "kendall_tau",
        False,
        "candidates keep their order: Kendall's tau-b, mean over queries",
        "candidates change their order: Kendall's tau-b is {:.3f}",
    ),
    ("mean_change", True, "scores stay where they were: the mean |Δscore|", "scores move by {:.4f} on average"),
    (
        "p99_change",
        True,
        "few scores jump: the 99th percentile of |Δscore|",
        "one score in a hundred moves by {:.3f} or more",
    ),
    (
        "jensen_shannon",
        True,
        "distributions keep their shape: the mean Jensen–Shannon divergence, in bits",
        "distributions change their shape: they diverge by {:.4f} bits on average",
    ),
)


def _verdict(gate: str, passed: bool | None, measured: str, limit: str, guards: str, wrong: str) -> Verdict:
    """Return a verdict that says what the gate guards against or, where it failed, what is wrong."""
    meaning = wrong if passed is False else guards
    return Verdict(gate=gate, passed=passed, measured=measured or "not measured", limit=limit, meaning=meaning)


def _difference(candidate: Candidate, measure: str) -> Interval | None:
    """Return the paired difference, None where it was not measured or on too few queries."""
    return None if _too_few(candidate, measure) else candidate.delta.get(measure)


def _too_few(candidate: Candidate, measure: str) -> str:
    """Return why the difference of a measure decides nothing; empty where it does, or where nothing was scored."""
    if candidate.drift is None:
        return ""
    return too_few_queries(measure, candidate.queries.get(measure, 0))


def _unrounded(scheme: str) -> str:
    """Return why vLLM's scores differ from transformers' where the scheme explains it."""
    if scheme not in _UNROUNDED:
        return ""
    return (
        f"; before Blackwell its kernel for {scheme} (Marlin) leaves activations in 16 bits, and transformers rounds "
        f"them to 4: {_UNROUNDED[scheme]}"
    )


def _collapse(limits: Collapse, drift: Drift | None, floor: Drift) -> Verdict:
    limit = (
        f"spread at least {limits.spread:.2f}, saturated at most {limits.saturated:.4f}, "
        f"stuck at most {limits.stuck:.2f} of those that are not stuck in the reference"
    )
    guards = "the distributions still tell products apart, and how sure they are"
    if drift is None:
        return _verdict("collapsed", None, "", limit, guards, "")
    # Of those that are free in the reference; where none is, none can get stuck.
    free = 1 - floor.stuck
    stuck = (drift.stuck - floor.stuck) / free if free > 0 else 0.0
    faults = [
        (drift.spread < limits.spread, f"scores spread only {drift.spread:.1%} as far as the reference's"),
        (drift.saturated > limits.saturated, f"{drift.saturated:.1%} of the distributions collapsed onto one bin"),
        (
            stuck > limits.stuck,
            f"{drift.stuck:.1%} of the scores are stuck at 0, 0.5 or 1, {floor.stuck:.1%} of the reference's",
        ),
    ]
    found = "; ".join(sentence for wrong, sentence in faults if wrong)
    measured = (
        f"spread {drift.spread:.2f}, saturated {drift.saturated:.4f} (floor {floor.saturated:.4f}), "
        f"stuck {drift.stuck:.4f} (floor {floor.stuck:.4f})"
    )
    return _verdict("collapsed", not found, measured, limit, guards, found)


def _slices(limits: Slices, candidate: Candidate) -> Verdict:
    limit = f"no slice of {limits.queries} queries or more loses more than {limits.loss:.4f} {HEADLINE}"
    guards = "no kind of query pays for the rest"
    if candidate.drift is None:
        return _verdict("slice", None, "", limit, guards, "")
    judged = {tag: row for tag, row in candidate.slices.items() if row.queries >= limits.queries}
    if not judged:
        return _verdict("slice", True, "no slice is large enough", limit, guards, "")
    tag, worst = min(judged.items(), key=lambda item: item[1].ndcg5.mean)
    return _verdict(
        "slice",
        worst.ndcg5.mean >= -limits.loss,
        f"{worst.ndcg5.mean:+.4f} ({tag}, {worst.queries} queries)",
        limit,
        f"{guards}; the worst of {len(judged)} slices is {tag!r}",
        f"queries tagged {tag!r} lose {-worst.ndcg5.mean:.4f} {HEADLINE} on average",
    )


def _ece(candidate: Candidate, reference: System) -> float | None:
    if candidate.quality is None or reference.quality is None:
        return None
    return candidate.quality.measures[ECE].mean - reference.quality.measures[ECE].mean


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def _sentence(error: Any) -> str:
    """Return what is wrong with a file of gates."""
    *above, key = map(str, error["loc"])
    if error["type"] == "extra_forbidden":
        known = _names(_NESTED[above[0]] if above else Gates)
        nearest = get_close_matches(key, known, n=1, cutoff=0)
        return f"there is no gate {'.'.join((*above, key))!r}; the nearest is {'.'.join((*above, nearest[0]))!r}"
    return f"{'.'.join((*above, key))}: {error['msg']}, not {error['input']!r}; null switches the gate off"


_NESTED: dict[str, type[BaseModel]] = {"collapsed": Collapse, "slice": Slices}


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
