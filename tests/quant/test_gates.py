"""Gates: the file, and the verdict on either side of each limit."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gen_rerank import BadInput
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.verdicts import Verdict
from quant.comparison import Candidate, Check, Cost, Drift, Histogram, Quality, SliceChange, System
from quant.gates import Collapse, Gates, Slices

ECE = "ECE(10 bins)"
NAMES = [
    "base", "tokenizer", "template", "readout", "calibration", "layers", "scorable", "collapsed", "ndcg@5", "ndcg@10",
    "slice", "rps", "ece", "tier_flips", "top5_kept", "kendall_tau", "mean_change", "p99_change", "jensen_shannon",
    "served",
]  # fmt: skip


def a_drift(**changed: float | None) -> Drift:
    same = {
        "mean_change": 0.0, "p99_change": 0.0, "largest_change": 0.0, "jensen_shannon": 0.0, "p99_jensen_shannon": 0.0,
        "kendall_tau": 1.0, "top5_kept": 1.0, "top5_changed": 0.0, "tier_flips": 0.0, "saturated": 0.0,
    }  # fmt: skip
    return Drift(**{**same, **changed}, flips={}, changes=Histogram(edges=(0.0, 1.0), counts=(1,)))


def flat(value: float) -> Interval:
    return Interval(value, value, value)


REFERENCE = System(
    name="model", folder="model", scheme="none", realigned=False, disk_bytes=1,
    quality=Quality(measures={ECE: flat(0.02)}),
)  # fmt: skip


def a_candidate(**changed: object) -> Candidate:
    healthy = {
        "name": "int8", "folder": "int8", "scheme": "int8", "realigned": False, "disk_bytes": 1,
        "quality": Quality(measures={ECE: flat(0.02)}),
        "delta": {"nDCG@5": flat(0.0), "nDCG@10": flat(0.0), "RPS": flat(0.0)},
        "queries": {"nDCG@5": 5, "nDCG@10": 5, "RPS": 5},
        "checks": tuple(Check(name=name, held=True, finding=f"{name} is fine") for name in NAMES[:6]),
        "drift": a_drift(),
        "slices": {"gift": SliceChange(queries=40, ndcg5=flat(0.0), mean_change=0.0)},
        "cost": (Cost(engine="vllm", dtype="bfloat16", served_change=0.0),),
    }  # fmt: skip
    return Candidate(**{**healthy, **changed})


def judged(candidate: Candidate, gates: Gates | None = None, floor: Drift | None = None) -> dict[str, Verdict]:
    verdicts = (gates or Gates()).judge(candidate, REFERENCE, floor or a_drift())
    return {verdict.gate: verdict for verdict in verdicts}


def test_a_healthy_candidate_passes_every_gate_in_order() -> None:
    found = judged(a_candidate())
    assert list(found) == NAMES
    assert all(verdict.passed for verdict in found.values())
    assert all(verdict.measured and verdict.limit and verdict.meaning for verdict in found.values())


@pytest.mark.parametrize(
    ("gate", "inside", "outside"),
    [
        (
            "ndcg@5",
            {"delta": {"nDCG@5": Interval(-0.002, -0.005, 0.0)}},
            {"delta": {"nDCG@5": Interval(0.0, -0.0051, 0.01)}},
        ),
        (
            "ndcg@10",
            {"delta": {"nDCG@10": Interval(-0.002, -0.005, 0.0)}},
            {"delta": {"nDCG@10": Interval(0.0, -0.0051, 0)}},
        ),
        ("rps", {"delta": {"RPS": Interval(0.004, 0.0, 0.005)}}, {"delta": {"RPS": Interval(0.0, 0.0, 0.0051)}}),
        ("ece", {"quality": Quality(measures={ECE: flat(0.0299)})}, {"quality": Quality(measures={ECE: flat(0.0301)})}),
        ("tier_flips", {"drift": a_drift(tier_flips=0.01)}, {"drift": a_drift(tier_flips=0.0101)}),
        ("top5_kept", {"drift": a_drift(top5_kept=0.95)}, {"drift": a_drift(top5_kept=0.949)}),
        ("kendall_tau", {"drift": a_drift(kendall_tau=0.9)}, {"drift": a_drift(kendall_tau=0.899)}),
        ("mean_change", {"drift": a_drift(mean_change=0.02)}, {"drift": a_drift(mean_change=0.0201)}),
        ("p99_change", {"drift": a_drift(p99_change=0.1)}, {"drift": a_drift(p99_change=0.101)}),
        ("jensen_shannon", {"drift": a_drift(jensen_shannon=0.02)}, {"drift": a_drift(jensen_shannon=0.0201)}),
        ("collapsed", {"drift": a_drift(spread=0.2)}, {"drift": a_drift(spread=0.199)}),
        ("collapsed", {"drift": a_drift(saturated=0.01)}, {"drift": a_drift(saturated=0.0101)}),
        ("collapsed", {"drift": a_drift(stuck=0.5)}, {"drift": a_drift(stuck=1.0)}),
        ("scorable", {}, {"refused": "its logits are not finite"}),
    ],
)  # fmt: skip
def test_limits(gate: str, inside: dict[str, object], outside: dict[str, object]) -> None:
    assert judged(a_candidate(**inside))[gate].passed is True
    assert judged(a_candidate(**outside))[gate].passed is False


def test_a_failed_check_says_its_finding() -> None:
    swapped = "the rows of <|rel_2|> and <|rel_7|> are swapped"
    found = judged(a_candidate(checks=(Check(name="readout", held=False, finding=swapped),)))
    assert found["readout"].passed is False
    assert found["readout"].meaning == swapped


def test_drift_stands_beside_the_floor() -> None:
    found = judged(a_candidate(drift=a_drift(p99_change=0.0123)), floor=a_drift(p99_change=0.0004))
    assert found["p99_change"].measured == "0.0123 (floor 0.0004)"
    assert found["p99_change"].limit == "at most 0.1000"


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [(0.0, 0.5, True), (0.0, 0.51, False), (0.8, 0.9, True), (0.8, 0.91, False), (0.9, 1.0, False), (1.0, 1.0, True)],
)
def test_stuck_counts_what_was_free_in_the_reference(before: float, after: float, passed: bool) -> None:
    found = judged(a_candidate(drift=a_drift(stuck=after)), floor=a_drift(stuck=before))["collapsed"]
    assert found.passed is passed
    assert f"stuck {after:.4f} (floor {before:.4f})" in found.measured
    said = f"{after:.1%} of the scores are stuck at 0, 0.5 or 1, {before:.1%} of the reference's"
    assert (found.meaning == said) is not passed


def test_five_candidates_decide_nothing_on_the_first_five() -> None:
    few = a_drift(top5_kept=None, top5_changed=None)
    found = judged(a_candidate(drift=few), floor=few)
    assert [name for name, verdict in found.items() if not verdict.passed] == ["top5_kept"]
    assert (found["top5_kept"].passed, found["top5_kept"].measured) == (None, "not measured")
    assert found["top5_kept"].meaning.startswith("no query has more than five candidates")


@pytest.mark.parametrize(("gate", "measure"), [("ndcg@5", "nDCG@5"), ("ndcg@10", "nDCG@10"), ("rps", "RPS")])
def test_a_few_queries_decide_nothing(gate: str, measure: str) -> None:
    for count, words in ((4, "4 queries"), (1, "1 query")):
        found = judged(a_candidate(queries={"nDCG@5": 5, "nDCG@10": 5, "RPS": 5, measure: count}))
        assert [name for name, verdict in found.items() if not verdict.passed] == [gate]
        assert (found[gate].passed, found[gate].measured) == (None, "not measured")
        assert (
            found[gate].meaning
            == f"too few queries to judge by: systems can differ in {measure} in {words}, and at least 5 are needed"
        )


@pytest.mark.parametrize(
    ("scheme", "says"),
    [("mxfp4", "(Marlin) leaves activations in 16 bits"), ("mxfp4", "compare mxfp4a16 instead"), ("nvfp4", "(Marlin)")],
)
def test_activations_that_vllm_does_not_round_are_named(scheme: str, says: str) -> None:
    cost = (Cost(engine="vllm", dtype="bfloat16", served_change=0.36),)
    found = judged(a_candidate(scheme=scheme, cost=cost))["served"]
    assert found.passed is False
    assert says in found.meaning
    assert "Marlin" not in judged(a_candidate(scheme="fp8", cost=cost))["served"].meaning
    assert "Marlin" not in judged(a_candidate(scheme=scheme))["served"].meaning


def test_small_slices_do_not_decide() -> None:
    def losing(queries: int) -> Candidate:
        change = SliceChange(queries=queries, ndcg5=flat(-0.03), mean_change=0.0)
        return a_candidate(slices={"typo": change, "gift": SliceChange(queries=40, ndcg5=flat(0.0), mean_change=0.0)})

    assert judged(losing(29))["slice"].passed is True
    found = judged(losing(30))["slice"]
    assert found.passed is False
    assert found.meaning == "queries tagged 'typo' lose 0.0300 nDCG@5 on average"
    assert judged(losing(30), Gates(slice=Slices(queries=31)))["slice"].passed is True
    assert judged(a_candidate(slices={}))["slice"].passed is True


def test_a_refused_candidate_passes_no_gate_on_scores() -> None:
    found = judged(a_candidate(refused="broken", quality=None, drift=None, delta={}, slices={}, cost=()))
    assert found["scorable"].meaning == "broken"
    assert "served" not in found
    assert {found[name].passed for name in NAMES[7:-1]} == {None}
    assert {found[name].measured for name in NAMES[7:-1]} == {"not measured"}
    assert not any("too few" in found[name].meaning for name in found)


def test_what_has_no_files_or_was_not_served_is_not_judged_on_it() -> None:
    found = judged(a_candidate(checks=(), cost=(Cost(engine="vllm", dtype="bfloat16", unmeasured="no kernel"),)))
    assert list(found) == NAMES[6:-1]
    served = a_candidate(cost=(Cost(engine="vllm", dtype="bfloat16", served_change=0.06),))
    assert judged(served)["served"].passed is False


def test_null_switches_a_gate_off(tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text("\n".join(f"{name}: null" for name in NAMES))
    assert judged(a_candidate(), Gates.load(tmp_path / "gates.yaml")) == {}


def test_the_printed_file_is_the_defaults(tmp_path: Path) -> None:
    text = Gates().to_yaml()
    (tmp_path / "gates.yaml").write_text(text)
    assert Gates.load(tmp_path / "gates.yaml") == Gates() == Gates.load(None)
    assert list(yaml.safe_load(text)) == NAMES
    assert all("#" in line for line in text.splitlines())
    changed = Gates(ndcg5=-0.1, collapsed=None, slice=Slices(loss=0.5), base=False)
    (tmp_path / "gates.yaml").write_text(changed.to_yaml())
    assert Gates.load(tmp_path / "gates.yaml") == changed


def test_a_line_changes_one_limit(tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text("ndcg@5: -0.01\ncollapsed: {spread: 0.5}\n")
    assert Gates.load(tmp_path / "gates.yaml") == Gates(ndcg5=-0.01, collapsed=Collapse(spread=0.5))
    (tmp_path / "gates.yaml").write_text("# nothing\n")
    assert Gates.load(tmp_path / "gates.yaml") == Gates()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tier_flip: 0.1", "there is no gate 'tier_flip'; the nearest is 'tier_flips'"),
        ("ndcg5: 0.1", "there is no gate 'ndcg5'; the nearest is 'ndcg@5'"),
        ("collapsed: {sprea: 0.1}", r"there is no gate 'collapsed\.sprea'; the nearest is 'collapsed\.spread'"),
        ("tier_flips: 3", "tier_flips: .* not 3; null switches the gate off"),
        ("kendall_tau: true", "kendall_tau: .*valid number"),
        ("p99_change: .nan", "p99_change: .*finite"),
        ("slice: 3", "slice: "),
        ("- ndcg@5", "gates are lines like"),
        ("base: [", "not YAML"),
    ],
)
def test_bad_files(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text(text)
    with pytest.raises(BadInput, match=says) as refused:
        Gates.load(tmp_path / "gates.yaml")
    assert str(refused.value).startswith(f"{tmp_path / 'gates.yaml'}: ")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        Gates.load(tmp_path / "none.yaml")
