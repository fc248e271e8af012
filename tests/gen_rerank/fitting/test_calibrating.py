"""The command `calibrate` on real checkpoints: what it writes, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gen_rerank import Dataset, Reranker
from gen_rerank.checkpoints.adapter import AdapterCard
from gen_rerank.checkpoints.card import CARD, Calibration, Card, Provenance, ScoreMap, read_card
from tests.conftest import complaint

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that may be written into."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))


@pytest.fixture
def adapter(tiny_adapter: Path, tmp_path: Path) -> Path:
    """An adapter that may be written into."""
    return Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_the_card_gets_tiers_and_the_rest_stays(
    run: Run, model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a narrower table breaks the promise into lines
    before = files(model)
    code, out, _ = run("calibrate", model, tiny_data)
    assert code == 0
    assert "exact: not promised: 4 queries" in out
    assert "wrong <= 5%" in out
    after = files(model)
    assert set(after) - set(before) == {"calibration.html", "calibration.json"}
    assert {name for name in before if before[name] != after[name]} == {CARD}
    calibration = read_card(model, Card).calibration
    assert set(calibration.thresholds) == {"exact", "close"}
    assert {tier: one.promise for tier, one in calibration.promises.items()} == {
        "exact": "exact: wrong <= 5%",
        "close": "close: missed <= 10%",
    }
    assert calibration.source is not None
    assert (calibration.source.split, calibration.source.queries) == ("validation", 4)
    figures = json.loads(after["calibration.json"])
    assert figures["tiers"]["exact"]["threshold"] == calibration.thresholds["exact"]


def test_json_is_all_that_is_printed(run: Run, model: Path, tiny_data: Path) -> None:
    code, out, _ = run("calibrate", model, tiny_data, "--json", "--slices")
    assert code == 0
    found = json.loads(out)
    assert found == json.loads((model / "calibration.json").read_text())
    assert found["slices"]["colour"]["queries"] == 4


def test_a_copy_gets_the_card_and_the_model_stays(run: Run, model: Path, tiny_data: Path, tmp_path: Path) -> None:
    before = files(model)
    out = tmp_path / "copy"
    code, said, _ = run("calibrate", model, tiny_data, "--out", out, "--set", "exact=0.85", "close=0.5")
    assert code == 0
    assert "set by hand" in said
    assert files(model) == before
    assert read_card(out, Card).calibration.thresholds == {"exact": 0.85, "close": 0.5}
    assert read_card(out, Card).calibration.promises == {}
    assert Reranker.load(out).rank("oak desk", ["oak desk"])
    assert "already exists" in complaint(run("calibrate", model, tiny_data, "--out", out))


def test_thresholds_may_be_set_one_by_one(run: Run, model: Path, tiny_data: Path) -> None:
    assert run("calibrate", model, "--set", "exact=0.85", tiny_data, "--set", "close=0.5")[0] == 0
    assert read_card(model, Card).calibration.thresholds == {"exact": 0.85, "close": 0.5}


def test_an_adapter_gets_its_own(run: Run, model: Path, adapter: Path, tiny_data: Path) -> None:
    before = files(model)
    assert run("calibrate", model, tiny_data, "--adapter", adapter, "--slices")[0] == 0
    assert files(model) == before
    assert set(read_card(adapter, AdapterCard).calibration.thresholds) == {"exact", "close"}
    assert (adapter / "calibration.html").is_file()


def test_an_adapter_promises_nothing_of_queries_that_it_has_learned(
    run: Run, model: Path, adapter: Path, tiny_data: Path
) -> None:
    provenance = Provenance(data=Dataset.load(tiny_data).fingerprint)
    read_card(adapter, AdapterCard).model_copy(update={"provenance": provenance}).save(adapter)
    code, out, _ = run("calibrate", model, tiny_data, "--adapter", adapter)
    assert code == 0
    assert "The adapter was trained on these queries" in out
    assert "nothing is promised" in out


def test_queries_that_chose_the_checkpoint_are_named(run: Run, model: Path, tiny_data: Path) -> None:
    provenance = Provenance(data=Dataset.load(tiny_data).fingerprint)
    read_card(model, Card).model_copy(update={"provenance": provenance}).save(model)
    assert "These queries also chose the checkpoint" in run("calibrate", model, tiny_data)[1]
    assert "The model was trained on these queries" in run("calibrate", model, tiny_data, "--split", "train")[1]


def test_a_yes_no_reranker(run: Run, tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    card = read_card(tiny_checkpoint, Card)
    values, ids = (0.0, 1.0), card.readout.token_ids[:2]
    readout = card.readout.model_copy(
        update={"kind": "yes_no", "tokens": card.readout.tokens[:2], "token_ids": ids, "values": values}
    )
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "yes_no"))
    card.model_copy(update={"readout": readout}).save(folder)
    assert run("calibrate", folder, tiny_data)[0] == 0
    scored = Reranker.load(folder).rank("oak desk", ["oak desk", "red lamp"])
    assert all(result.distribution[1:10].sum() == 0 for result in scored)


def test_scores_are_read_through_the_map(model: Path) -> None:
    plain = Reranker.load(model, dtype="float32").score("oak desk", ["oak desk", "red lamp"])
    score_map = ScoreMap(scores=(0.0, 1.0), relevances=(0.2, 0.4))
    card = read_card(model, Card)
    card.model_copy(update={"calibration": Calibration(score_map=score_map)}).save(model)
    found = Reranker.load(model, dtype="float32").score("oak desk", ["oak desk", "red lamp"])
    for before, after in zip(plain, found, strict=True):
        assert after.score == pytest.approx(0.2 + 0.2 * before.score, abs=1e-5)
        assert float(np.sum(after.distribution)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--split", "test"], "the test split has the last word"),
        (["--split", "tset"], "there is no split 'tset'"),
        (["--promise", "exact: lost <= 5%"], "products can be wrong or missed"),
        (["--promise", "exact: wrong <= 5%", "--promise", "exact: wrong <= 6%"], "two promises are about exact"),
        (["--promise", "exact: wrong <= 5%", "--set", "exact=0.8", "close=0.5"], "not both"),
        (["--set", "exact=0.4", "close=0.5"], "would begin below"),
        (["--set", "exact=high", "close=0.5"], "--set exact=high: no threshold"),
        (["--set", "exact=0.9", "exact=0.5"], "stands twice"),
        (["--set", "exact=0.9"], "close is missing"),
        (["--set", "exact=0.9", "close=0.5", "close=0.4"], "stands twice"),
        (["close=0.5"], "write thresholds behind --set"),
        (["--set", "exact=nan", "close=0.5"], "a score between 0 and 1"),
        (["--adapter", "nowhere"], "nowhere"),
        (["--out", "."], "the current folder"),
        (["--out", "/proc/nowhere/copy"], "cannot be written"),
    ],
)
def test_what_is_refused_is_refused_in_one_sentence(
    run: Run, model: Path, tiny_data: Path, words: list[str], says: str
) -> None:
    before = files(model)
    assert says in complaint(run("calibrate", model, tiny_data, *words))
    assert files(model) == before


def test_no_validation_split(run: Run, model: Path, tiny_shop: Dataset, tmp_path: Path) -> None:
    tiny_shop.of("train", "test").save(tmp_path / "shop")
    said = complaint(run("calibrate", model, tmp_path / "shop"))
    assert "no query of the split 'validation' has a judgment; judged queries: train has 12, test has 8" in said


def test_a_split_with_one_query(run: Run, model: Path, tiny_shop: Dataset, tmp_path: Path) -> None:
    part = tiny_shop.of("validation")
    first = next(iter(part.queries))
    rows = tuple(row for row in part.judgments if row.query_id == first)
    Dataset(part.products, {first: part.queries[first]}, rows).save(tmp_path / "shop")
    code, out, _ = run("calibrate", model, tmp_path / "shop")
    assert code == 0
    assert "one query cannot be held out" in out
    assert "1 query with" in out


def test_an_adapter_of_another_base(run: Run, model: Path, adapter: Path, tiny_data: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-5}))
    assert "this adapter belongs to" in complaint(run("calibrate", model, tiny_data, "--adapter", adapter))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(run: Run, model: Path, tiny_data: Path) -> None:
    model.chmod(0o555)
    try:
        assert "cannot be written" in complaint(run("calibrate", model, tiny_data))
    finally:
        model.chmod(0o755)


def test_a_file_in_the_way(run: Run, model: Path, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is no folder" in complaint(run("calibrate", model, tiny_data, "--out", tmp_path / "file" / "copy"))
    assert "lies in" in complaint(run("calibrate", model, tiny_data, "--out", model / "copy"))


def test_a_model_with_weights_that_are_no_numbers(run: Run, model: Path, tiny_data: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = next(model.glob("*.safetensors"))
    tensors = load_file(file)
    tensors["model.norm.weight"][:] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    before = files(model)
    assert "logits are not finite" in complaint(run("calibrate", model, tiny_data))
    assert files(model) == before


@pytest.mark.parametrize("when", ["logits_of_pairs", "save_json"])
@pytest.mark.parametrize("copied", [False, True])
def test_ctrl_c_leaves_the_card_as_it_was(
    run: Run, model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, copied: bool
) -> None:
    """While pairs are scored, and between page and card."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    card = (model / CARD).read_bytes()
    monkeypatch.setattr(f"gen_rerank.fitting.calibrating.{when}", interrupt)
    code, _, err = run("calibrate", model, tiny_data, *(["--out", tmp_path / "copy"] if copied else []))
    assert code == 130
    assert err.startswith("error: interrupted")
    assert (model / CARD).read_bytes() == card
    assert not list(tmp_path.glob("*copy*"))
