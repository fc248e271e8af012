"""Whole comparisons on the tiny checkpoint: what is written, what is refused before any work, what is a finding."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from gen_rerank import BadInput, Dataset
from gen_rerank.checkpoints.card import Calibration, Card, Readout, read_card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.dequantize import dequantize
from gen_rerank.evaluation.evaluation import evaluate
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.reranker import Reranker
from quant import answers
from quant import compare as module
from quant.compare import ComparisonPlan, compare, with_costs
from quant.comparison import Comparison, Cost
from quant.gates import Gates


@pytest.fixture(scope="module")
def run(
    reference: Path, int8_copy: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Comparison, Path]:
    folder = tmp_path_factory.mktemp("compare")
    broken = Path(shutil.copytree(int8_copy, folder / "broken"))
    (broken / "model.safetensors").write_bytes(b"not tensors")
    candidates = (str(int8_copy), str(broken))
    plan = ComparisonPlan(str(reference), candidates, tiny_data, folder / "out", load_time=("nf4", "int8"), cost=False)
    return compare(plan), folder / "out"


def test_the_result_is_written_whole(run: tuple[Comparison, Path]) -> None:
    comparison, out = run
    assert Comparison.load(out / "comparison.json") == comparison
    assert sorted(path.name for path in out.iterdir()) == ["comparison.json", "report.html", "report.md"]


def test_what_was_compared(run: tuple[Comparison, Path], tiny_shop: Dataset, reference: Path) -> None:
    comparison, _ = run
    test = tiny_shop.of("test")
    assert (comparison.queries, comparison.pairs) == (8, len(test.judgments))
    assert comparison.fingerprint == test.fingerprint
    assert comparison.thresholds == {"exact": 0.8, "close": 0.5}
    assert comparison.thresholds_source == "defaults; the checkpoint has none"
    assert set(comparison.floors) == {"random", "bm25"}
    assert [candidate.name for candidate in comparison.candidates] == [
        "int8", "broken", "nf4 (bitsandbytes)", "int8 (bitsandbytes)",
    ]  # fmt: skip
    assert (comparison.reference.scheme, comparison.candidates[0].scheme) == ("none", "int8")
    assert comparison.reference.disk_bytes == (reference / "model.safetensors").stat().st_size


def test_figures_are_those_of_an_evaluation(run: tuple[Comparison, Path], tiny_shop: Dataset, int8_copy: Path) -> None:
    candidate = run[0].candidates[0]
    test = tiny_shop.of("test")
    scorer = Reranker.load(int8_copy, dtype="float32").scorer
    expected = evaluate("int8", test, scorer.score([test.pair(row) for row in test.judgments]))
    assert candidate.quality.measures["nDCG@5"].mean == pytest.approx(expected.ranking["nDCG@5"].mean)
    assert candidate.quality.measures["RPS"].mean == pytest.approx(expected.calibration["RPS"].mean, abs=1e-6)
    assert set(candidate.delta) == {"nDCG@5", "nDCG@10", "RPS", "MSE"}
    reference = run[0].reference.quality.measures["nDCG@5"].mean
    assert candidate.delta["nDCG@5"].mean == pytest.approx(expected.ranking["nDCG@5"].mean - reference)
    # Every query has the one tag, so the slice is the whole.
    assert candidate.slices["colour"].queries == 8
    assert candidate.slices["colour"].ndcg5.mean == pytest.approx(candidate.delta["nDCG@5"].mean)
    assert candidate.slices["colour"].mean_change == pytest.approx(candidate.drift.mean_change)
    assert run[0].slice_floor == {"colour": pytest.approx(run[0].floor.mean_change)}


def test_the_floor_is_rounding(run: tuple[Comparison, Path]) -> None:
    assert 0 <= run[0].floor.largest_change < 1e-4
    assert run[0].floor.tier_flips == 0
    assert run[0].candidates[0].drift.mean_change > 100 * run[0].floor.mean_change


def test_a_candidate_that_does_not_load_is_a_finding(run: tuple[Comparison, Path]) -> None:
    broken = run[0].candidates[1]
    assert "cannot be loaded" in broken.refused
    assert not broken.passed
    assert {verdict.gate for verdict in broken.failures} >= {"base", "readout", "layers", "scorable"}


def reconfigured(folder: Path, **changed: object) -> str:
    """Change the config.json of a copy."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changed}))
    return str(folder)


def test_a_candidate_with_a_broken_card_is_a_finding_and_a_null_is_no_quantization(
    reference: Path, int8_copy: Path, tiny_data: Path, tmp_path: Path
) -> None:
    null = reconfigured(Path(shutil.copytree(reference, tmp_path / "null")), quantization_config=None)
    broken = Path(shutil.copytree(int8_copy, tmp_path / "broken"))
    card = json.loads((broken / "gen_rerank.json").read_text())
    card["provenance"]["quantization"] = "int8"
    (broken / "gen_rerank.json").write_text(json.dumps(card))
    found = compare(
        ComparisonPlan(null, (null, str(broken)), tiny_data, tmp_path / "out", load_time=("int8",), cost=False)
    )
    assert (found.reference.scheme, found.candidates[1].scheme) == ("none", "unknown")
    assert "provenance.quantization: " in found.candidates[1].refused
    assert [candidate.refused == "" for candidate in found.candidates] == [True, False, True]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model_type": "qwen9"}, "`qwen9`"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32}}, "AWQ"),
        ({"num_attention_heads": 0}, "division"),
    ],
)
def test_a_reference_that_does_not_load_is_bad_input(
    changed: dict[str, object], says: str, reference: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = reconfigured(Path(shutil.copytree(reference, tmp_path / "model")), **changed)
    with pytest.raises(BadInput, match=f"model: .*cannot be loaded.*{says}"):
        compare(ComparisonPlan(folder, (str(reference),), tiny_data, tmp_path / "out", cost=False))


def test_what_is_left_out_of_the_data_is_said(reference: Path, tiny_shop: Dataset, tmp_path: Path) -> None:
    tiny_shop.save(tmp_path / "shop")
    with (tmp_path / "shop" / "judgments.jsonl").open("a") as rows:
        rows.write('{"query_id": "q0", "product_id": "p01", "relevance": NaN}\n')
    screen = io.StringIO()
    plan = ComparisonPlan(
        str(reference), (str(reference),), tmp_path / "shop", tmp_path / "out", cost=False, skip_bad_rows=True
    )
    found = compare(plan, Console(file=screen, width=300))
    assert (found.skipped, found.pairs) == (1, len(tiny_shop.of("test").judgments))
    assert f"judgments.jsonl:{len(tiny_shop.judgments) + 1}: " in screen.getvalue()
    assert "1 bad row left out" in screen.getvalue()


def test_load_time_rows_have_scores_of_their_own_and_no_files(run: tuple[Comparison, Path]) -> None:
    nf4, int8 = run[0].candidates[2:]
    for row in (nf4, int8):
        assert row.refused == ""
        assert row.checks == ()
        assert (row.folder, row.disk_bytes) == (run[0].reference.folder, run[0].reference.disk_bytes)
    assert nf4.drift.mean_change > int8.drift.mean_change > 10 * run[0].floor.mean_change


def test_thresholds_of_the_card(reference: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "model"))
    card = read_card(folder, Card)
    recorded = Calibration(thresholds={"exact": 0.6, "close": 0.3})
    card.model_copy(update={"calibration": recorded}).save(folder)
    found = compare(ComparisonPlan(str(folder), (str(folder),), tiny_data, tmp_path / "out", cost=False))
    assert found.thresholds == {"exact": 0.6, "close": 0.3}
    assert found.thresholds_source == "the reference's card"
    assert [found.reference.name, found.candidates[0].name] == ["model", "model (2)"]
    assert found.passed


@pytest.fixture
def refuse(
    reference: Path, int8_copy: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Returns the sentence with which a plan is refused, and sees that nothing was scored before."""

    def scored(*_: object) -> None:
        raise AssertionError("scored before it was refused")

    monkeypatch.setattr(answers, "score_pairs", scored)
    plan = {
        "reference": str(reference),
        "candidates": (str(int8_copy),),
        "data": tiny_data,
        "out": tmp_path / "out",
        "cost": False,
    }

    def refused(**changed: object) -> str:
        with pytest.raises(BadInput) as error:
            compare(ComparisonPlan(**{**plan, **changed}))
        return str(error.value)

    return refused


def test_what_cannot_be_compared_is_refused_before_any_work(
    refuse: Callable[..., str], int8_copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("here")
    (tmp_path / "gates.yaml").write_text("tierflips: 1")
    assert "no such folder" in refuse(candidates=(str(tmp_path / "none"),))
    assert "config.json is missing" in refuse(candidates=(str(tmp_path / "empty"),))
    assert "no such folder" in refuse(reference=str(tmp_path / "none"))
    assert "no such folder" in refuse(data=tmp_path / "none")
    assert "there is no split 'tst'" in refuse(split="tst")
    assert "nothing to compare" in refuse(candidates=())
    assert "there is no load-time row 'fp4'" in refuse(load_time=("fp4",))
    twice = {"reference": str(int8_copy), "load_time": ("nf4",)}
    assert "the reference is a quantized checkpoint" in refuse(**twice)
    assert "already quantized" in refuse(**twice, quantized_reference=True)
    assert "cannot be written" in refuse(out=tmp_path / "file")
    assert "the nearest is 'tier_flips'" in refuse(gates=tmp_path / "gates.yaml")


def test_encoders_are_compared_with_encoders(refuse: Callable[..., str], reference: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "encoder"))
    Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder", max_length=64)).save(folder)
    assert "its readout is classifier, the reference's is bins" in refuse(candidates=(str(folder),))


RESULTS = ("comparison.json", "report.html", "report.md")


def test_no_old_verdict_is_left_where_a_run_failed(
    refuse: Callable[..., str], reference: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in RESULTS:
        (out / name).write_text("old")
    refuse(split="tst")
    assert {(out / name).read_text() for name in RESULTS} == {"old"}, "that run never began"
    monkeypatch.undo()

    def interrupted(self: Path, _: Path) -> None:
        assert self.read_text().startswith("{"), "all but the last step"
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(ComparisonPlan(str(reference), (str(reference),), tiny_data, out, cost=False))
    assert not any((out / name).exists() for name in RESULTS)


def test_an_interrupt_while_costs_are_measured_leaves_the_quality(
    reference: Path, int8_copy: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "measure", interrupted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compare(ComparisonPlan(str(reference), (str(int8_copy),), tiny_data, out, candidates_per_query=16))
    left = Comparison.load(out / "comparison.json")
    assert left.candidates[0].delta
    assert left.candidates[0].verdicts
    assert "Costs were not measured" in (out / "report.html").read_text()
    assert "Costs were not measured" in (out / "report.md").read_text()


def test_costs_are_judged_too(run: tuple[Comparison, Path]) -> None:
    comparison, _ = run
    cost = Cost(engine="vllm", dtype="bfloat16", served_change=0.06)
    found = with_costs(comparison, {comparison.reference.name: (), "int8": (cost,)}, Gates())
    (served,) = set(found.candidates[0].verdicts) - set(comparison.candidates[0].verdicts)
    assert (served.gate, served.passed) == ("served", False)
    assert found.candidates[0].cost == (cost,)
    assert found.candidates[1:] == comparison.candidates[1:]


@pytest.fixture(scope="module")
def with_relevant(tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Writes the shop with only so many test queries for which anything is relevant."""

    def write(count: int) -> Path:
        kept = {*list(tiny_shop.of("test").queries)[:count]}
        judgments = [
            row if row.query_id in kept else row.model_copy(update={"relevance": 0.0, "labels": (0.0,)})
            for row in tiny_shop.judgments
        ]
        folder = tmp_path_factory.mktemp("few")
        Dataset(tiny_shop.products, tiny_shop.queries, tuple(judgments)).save(folder)
        return folder

    return write


def test_queries_are_counted_where_the_difference_is_defined(
    with_relevant: Callable[[int], Path], reference: Path, int8_copy: Path, tmp_path: Path
) -> None:
    found = compare(ComparisonPlan(str(reference), (str(int8_copy),), with_relevant(3), tmp_path / "out", cost=False))
    candidate = found.candidates[0]
    assert found.queries == 8
    assert candidate.queries == {"nDCG@5": 3, "nDCG@10": 3, "RPS": 8, "MSE": 8}
    assert candidate.slices["colour"].queries == 3
    verdicts = {verdict.gate: verdict for verdict in candidate.verdicts}
    assert verdicts["ndcg@5"].passed is verdicts["ndcg@10"].passed is None
    assert "systems can differ in nDCG@5 in 3 queries" in verdicts["ndcg@5"].meaning
    assert verdicts["rps"].passed is not None


def test_a_split_that_says_nothing_of_order_is_refused(
    refuse: Callable[..., str], with_relevant: Callable[[int], Path]
) -> None:
    assert "no query of the split 'test' can be ranked" in refuse(data=with_relevant(0))


def test_names_are_no_markup_and_libraries_are_quiet(
    reference: Path, int8_copy: Path, tiny_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = Path(shutil.copytree(reference, tmp_path / "plain" / "v2]"))
    copy = Path(shutil.copytree(int8_copy, tmp_path / "model[" / "v2]"))
    screen = io.StringIO()
    plan = ComparisonPlan(str(plain), (str(copy),), tiny_data, tmp_path / "out", load_time=("nf4",), cost=False)
    found = compare(plan, Console(file=screen, force_terminal=True, width=200))
    assert found.candidates[0].name == "model[/v2]"
    assert "model[/v2]" in screen.getvalue()
    assert capfd.readouterr() == ("", "")


def test_a_quantized_reference_is_compared_only_if_it_is_asked_for(
    refuse: Callable[..., str], int8_copy: Path, tiny_data: Path, tmp_path: Path
) -> None:
    plain = dequantize(Checkpoint.open(int8_copy), tmp_path / "plain").checkpoint.folder
    for reference in (int8_copy, plain):
        assert "what it lost already would not be seen; name the one that it was made from" in refuse(
            reference=str(reference)
        )


def test_a_quantized_reference_can_be_compared(int8_copy: Path, tiny_data: Path, tmp_path: Path) -> None:
    copy = str(int8_copy)
    plan = ComparisonPlan(copy, (copy,), tiny_data, tmp_path / "out", cost=False, quantized_reference=True)
    assert compare(plan).candidates[0].delta["nDCG@5"].mean == 0


def test_a_report_is_not_written_over_what_is_read(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "report.md").write_text("of the model")
    with pytest.raises(BadInput, match=f"report.md: is a file of the model {model} that is read"):
        compare(ComparisonPlan(str(model), (), tmp_path / "none", model))
    assert (model / "report.md").read_text() == "of the model"
    gates = tmp_path / "comparison.json"
    gates.write_text("{}")
    with pytest.raises(BadInput, match="is a file of the gates that is read"):
        compare(ComparisonPlan("none", (), tmp_path / "none", tmp_path, gates=gates))
    assert gates.exists()
