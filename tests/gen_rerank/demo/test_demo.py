"""The demo itself, every step real, with a smaller shop and a few steps of training."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RECIPE = """
base: nano
prompt: {max_length: 160, instruction: Rate relevance., budgets: {price: 0, description: 0}}
augment: {copies: 1, rename_brands: 0.5, keep_brands: [Unbranded]}
distributional:
  {muon_learning_rate: 0.002, learning_rate: 2.0e-4, row_tokens: 256, per_device_train_batch_size: 8, max_steps: 20}
scalar: {learning_rate: 1.0e-4, per_device_train_batch_size: 256, num_train_epochs: 1}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tiny.yaml").write_text(RECIPE)
    words = ["--out", folder / "demo", "--config", folder / "tiny.yaml", "--products", "1200", "--queries", "300"]
    subprocess.run([sys.executable, "-m", "gen_rerank", "demo", *map(str, words)], check=True, timeout=1800)
    return folder / "demo"


@pytest.fixture(scope="module")
def summary(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def test_the_summary_has_every_figure(summary):
    assert summary["data"]["products"] == 1200
    assert set(summary["data"]["queries"]) == {"train", "validation", "test"}
    for system in ("random", "bm25", "phase1", "phase2", "int8"):
        mean, low, high = summary["ranking"][system]["ndcg@5"]
        assert 0 <= low <= mean <= high <= 1
    assert {"phase2-bm25", "int8-phase2"} <= set(summary["difference"])
    assert all(set(row) == {"queries", "bm25", "phase2"} for row in summary["slices"].values())
    assert all(math.isfinite(x) for row in summary["calibration"].values() for x in row.values())
    assert all(seconds > 0 for seconds in summary["seconds"].values())


def test_backends_agree(summary):
    assert summary["parity"]["max_abs_score_difference"] <= 0.03
    assert summary["parity"]["kendall_tau"] >= 0.98


def test_the_served_answer_is_a_ranking_with_distributions(summary):
    results = summary["serving"]["example"]["results"]
    scores = [row["relevance_score"] for row in results]
    assert scores == sorted(scores, reverse=True)
    assert all(sum(row["distribution"]) == pytest.approx(1, abs=1e-3) for row in results)
    assert summary["serving"]["pairs_per_second"] > 0


def test_every_model_has_tiers_and_a_query_without_a_good_product_is_told_so(summary, out):
    assert set(summary["tiers"]) == {"phase1", "phase2", "int8"}
    for found in summary["tiers"].values():
        assert found["close"]["threshold"] <= found["exact"]["threshold"]
        assert all(len(found[tier]["wrong"]) == 3 for tier in ("exact", "close"))
    poor = summary["serving"]["without_good_products"]
    close = summary["tiers"]["phase2"]["close"]["threshold"]
    best = max(row["relevance_score"] for row in poor["results"])
    assert poor["no_good_match"] is (best < close)
    assert "Tiers: a score one can act on" in (out / "report.html").read_text()


def test_the_shop_is_searched(summary):
    found = summary["search"]
    assert found["candidates"] == 256
    assert len(found["results"]) == 5
    rules = {receipt["rule"] for receipt in found["receipts"]}
    assert {"available"} <= rules <= {"available", "query", "caps"}
    if "caps" not in rules:
        scores = [row["score"] for row in found["results"]]
        assert scores == sorted(scores, reverse=True)


def test_models_and_report_are_left(out):
    assert {"model", "model-int8", "report.html", "summary.json"} <= {path.name for path in out.iterdir()}
    assert not list(out.glob("*.training"))
    assert not list(out.glob("*.partial"))


def test_a_demo_with_other_settings_does_not_mix_with_an_old_one(out):
    again = subprocess.run(
        [sys.executable, "-m", "gen_rerank", "demo", "--out", str(out), "--seed", "1"], capture_output=True, text=True
    )
    assert again.returncode == 2
    assert "other settings" in again.stderr


def test_a_demo_that_is_told_to_stop_leaves_no_process(tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE.replace("max_steps: 20", "max_steps: 100000"))
    words = ["--out", tmp_path / "demo", "--config", tmp_path / "tiny.yaml", "--products", "1000", "--queries", "60"]
    command = [sys.executable, "-m", "gen_rerank", "demo", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
        end = time.monotonic() + 120
        while not (tmp_path / "demo" / "phase1.training").exists() and time.monotonic() < end:
            time.sleep(0.2)
        (training,) = psutil.Process(demo.pid).children()
        assert "train" in training.cmdline()
        demo.terminate()
        demo.wait(60)
    assert demo.returncode == 128 + signal.SIGTERM
    assert not training.is_running()
