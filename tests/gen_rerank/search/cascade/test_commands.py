"""`calibrate-cascade`, and a search by what it wrote, with the packaged decoder and an encoder trained for seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gen_rerank import BadInput, Dataset
from gen_rerank.evaluation.scores import read_scores
from gen_rerank.search.cascade.card import CASCADE, CascadeCard
from gen_rerank.search.cascade.judged import TwoReadings
from gen_rerank.search.cascade.models import Cascade, CascadeChoices
from gen_rerank.search.cascade.reading import Bounds
from tests.conftest import complaint

from .conftest import TwoModels

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def written(two_models: TwoModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card of a run that may lose so much that few queries promise it."""
    from gen_rerank.search.cascade.calibrating import CascadePlan, calibrate_cascade

    file = tmp_path_factory.mktemp("card") / "wide.json"
    plan = CascadePlan(
        str(two_models.encoder), str(two_models.decoder), two_models.data, at_most=0.3, dtype="float32", out=file
    )
    report = calibrate_cascade(plan)
    assert report.card == CascadeCard.read_file(file)
    return file


def test_bounds_are_found_promised_and_written(written: Path) -> None:
    card = CascadeCard.read_file(written)
    assert card.loss is not None
    assert card.loss.kept
    assert card.loss.promise == "nDCG@5: lost <= 0.3"
    assert card.loss.bound is not None
    assert card.loss.bound <= 0.3
    assert card.source is not None
    assert card.source.split == "validation"
    assert card.low > 0
    assert card.read is not None
    assert card.read < 1


def test_the_usual_promise_needs_more_queries_and_says_so(run: Run, two_models: TwoModels, tmp_path: Path) -> None:
    encoder = shutil.copytree(two_models.encoder, tmp_path / "encoder")
    code, out, _ = run("calibrate-cascade", encoder, two_models.decoder, two_models.data, "--dtype", "float32")
    assert code == 0
    assert "nDCG@5: lost <= 0.005, not promised: " in out
    assert f"written: {encoder / CASCADE}" in out
    assert "was calibrated on these queries too" in out
    code, out, _ = run(
        "calibrate-cascade", encoder, two_models.decoder, two_models.data, "--dtype", "float32", "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert found["card"]["loss"]["kept"] is False
    assert found["steps"][0]["lost"] == pytest.approx(0.0, abs=1e-9)
    assert found["steps"][0]["read"] == 1.0
    assert found["steps"][-1]["read"] == 0.0


def test_what_was_written_is_what_a_cascade_does(
    two_models: TwoModels, written: Path, run: Run, tmp_path: Path
) -> None:
    """The opened cascade reads, query by query, what the calibration said of the same scores."""
    judged = Dataset.load(two_models.data).of("validation")
    scored = []
    for name, model in (("e", two_models.encoder), ("d", two_models.decoder)):
        file = tmp_path / f"{name}.jsonl"
        assert (
            run("score", model, two_models.data, "--split", "validation", "--dtype", "float32", "--out", file)[0] == 0
        )
        scored.append(read_scores(file).of(judged))
    readings = TwoReadings.of(judged, *scored)
    card = CascadeCard.read_file(written)
    expected = readings.read(card.places, card.bounds, batch=card.batch)
    share = np.bincount(readings.queries, weights=expected) / readings.products
    assert share.mean() == pytest.approx(card.read, abs=0.02)  # score files have six decimals
    choices = CascadeChoices(str(two_models.encoder), str(two_models.decoder), file=written, dtype="float32")
    query_id, rows = next(iter(judged.by_query().items()))
    with Cascade.open(choices) as cascade:
        found = cascade.score([judged.pair(row) for row in rows])
    assert abs(found.read_by.count("decoder") - expected[readings.slices[0]].sum()) <= 1
    assert found.reading.ended == "settled"
    assert query_id == judged.judgments[0].query_id


def test_a_model_without_calibration_is_refused_with_the_command(run: Run, two_models: TwoModels) -> None:
    from train.bases import find_base

    raw = find_base("nano").folder
    said = complaint(run("calibrate-cascade", two_models.encoder, raw, two_models.data))
    assert "is not calibrated, and a cascade compares the scores of two models" in said
    assert f"run gen-rerank calibrate {raw} {two_models.data}" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--split", "test"], "the test split has the last word and is never calibrated on"),
        (["--split", "tset"], "there is no split 'tset'"),
        (["--at-most", "0"], "--at-most 0: what nDCG may lose lies between 0 and 1"),
        (["--at-most", "nan"], "--at-most nan: what nDCG may lose"),
    ],
)
def test_what_cannot_be_calibrated_is_one_sentence(run: Run, two_models: TwoModels, options, words: str) -> None:
    assert words in complaint(
        run("calibrate-cascade", two_models.encoder, two_models.decoder, two_models.data, *options)
    )


def test_places_that_are_read_are_not_written(run: Run, two_models: TwoModels) -> None:
    for out in (two_models.data / "judgments.jsonl", two_models.decoder / "gen_rerank.json"):
        before = out.read_bytes()
        said = complaint(
            run("calibrate-cascade", two_models.encoder, two_models.decoder, two_models.data, "--out", out)
        )
        assert "that is read; name another" in said
        assert out.read_bytes() == before


def test_one_model_twice_is_no_cascade(run: Run, two_models: TwoModels) -> None:
    said = complaint(run("calibrate-cascade", two_models.decoder, two_models.decoder, two_models.data))
    assert "are one model; a cascade needs a fast one and a better one" in said


def test_a_cascade_without_bounds_says_how_to_find_them(two_models: TwoModels) -> None:
    choices = CascadeChoices(str(two_models.encoder), str(two_models.decoder), dtype="float32")
    with pytest.raises(
        BadInput, match=r"no bounds of this cascade are there; find them with gen-rerank calibrate-casc"
    ):
        Cascade.open(choices)


def test_bounds_of_other_models_are_refused(two_models: TwoModels, written: Path, tmp_path: Path) -> None:
    other = json.loads(written.read_text()) | {"decoder": "0" * 16}
    file = tmp_path / "other.json"
    file.write_text(json.dumps(other))
    choices = CascadeChoices(str(two_models.encoder), str(two_models.decoder), file=file, dtype="float32")
    with pytest.raises(
        BadInput, match=r"was made for other models than .* is now, whose weights or calibration differ"
    ):
        Cascade.open(choices)
    file.write_text('{"encoder": "a", "decoder": "b", "low": 7}')
    with pytest.raises(BadInput, match="low: Input should be less than or equal to 1"):
        Cascade.open(choices)


def test_bounds_by_hand_need_no_card(two_models: TwoModels) -> None:
    choices = CascadeChoices(str(two_models.encoder), str(two_models.decoder), bounds=Bounds(0.2), dtype="float32")
    judged = Dataset.load(two_models.data).of("validation")
    with Cascade.open(choices) as cascade:
        found = cascade.score([judged.pair(row) for row in judged.judgments[:12]])
    assert cascade.card.loss is None
    assert 0 < found.read_by.count("decoder") <= 12


@pytest.fixture(scope="module")
def index(two_models: TwoModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gen_rerank.search.building import build_index
    from gen_rerank.search.settings import IndexSettings

    folder = tmp_path_factory.mktemp("searched") / "index"
    build_index(two_models.data, folder, IndexSettings())
    return folder


def test_a_search_by_cascade_says_who_read_each_product(
    run: Run, two_models: TwoModels, written: Path, index: Path, tmp_path: Path
) -> None:
    query = next(iter(Dataset.load(two_models.data).of("validation").queries.values())).text
    named = f"encoder={two_models.encoder},decoder={two_models.decoder}"
    asked = ("search", index, query, "--candidates", 40, "--dtype", "float32", "--cascade")
    code, out, _ = run(*asked, f"{named},low=0.2", "--json", "--out", tmp_path / "answer.json")
    assert code == 0
    found = json.loads(out)
    assert found == json.loads((tmp_path / "answer.json").read_text())
    assert "decoder" in {row["read_by"] for row in found["results"]} <= {"encoder", "decoder"}
    assert (found["cascade"]["ended"], found["cascade"]["degraded"]) == ("settled", False)
    assert 0 < found["cascade"]["read_by_decoder"] < found["candidates"]
    assert found["cascade"]["promised"] is None
    code, out, _ = run(*asked, f"{named},file={written}", "--json")
    assert code == 0
    assert json.loads(out)["cascade"]["promised"] == "nDCG@5: lost <= 0.3"
    code, out, _ = run(*asked, f"{named},low=0,pairs=3")
    assert code == 0
    assert "the decoder read 3 of " in out
    assert "as many as it may; more is undecided" in out
    said = complaint(run(*asked, named, "--model", two_models.decoder))
    assert "--model and --cascade both say who ranks; give one of the two" in said
