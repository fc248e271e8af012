"""Pairs scored offline, in this process: each once, with its score, whatever is stopped, changed or wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen_rerank import BadInput, Dataset, Pair
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.offline.plan import ScoringPlan
from gen_rerank.offline.scoring import score_here, score_offline
from gen_rerank.scorers.opening import open_scorer
from tests.conftest import complaint

ROWS = 60


@pytest.fixture
def plan(tiny_checkpoint, pair_rows, write_lines, tmp_path) -> ScoringPlan:
    pairs = write_lines(tmp_path / "pairs.jsonl", pair_rows[:ROWS])
    return ScoringPlan(str(tiny_checkpoint), tmp_path / "scores", pairs=pairs, shard_rows=16)


def shards(plan: ScoringPlan) -> dict[str, int]:
    """Each shard with the moment in which it was written."""
    return {path.name: path.stat().st_mtime_ns for path in (plan.out / "scores").iterdir()}


class Killed(BaseException):
    """What no code of ours catches."""


def dies_after(count: int):
    """An engine that is gone after some shards."""

    def engine(job, slices, advance, done) -> None:
        score_here(job, slices[:count], advance, done)
        raise Killed

    return engine


def test_every_pair_has_the_score_of_the_plain_loop(
    run, plan, tiny_checkpoint, tiny_shop, pair_rows, read_scores
) -> None:
    code, printed, _ = run("score", tiny_checkpoint, plan.pairs, "--out", plan.out, "--shard-rows", 16)
    assert code == 0
    assert f"{plan.out}: 60 pairs of 60 rows; bad rows 0, lost 0" in printed
    assert sorted(shards(plan)) == [f"0000-00000{k}.parquet" for k in range(4)]
    rows = read_scores(plan.out)
    assert [(row["query_id"], row["product_id"]) for row in rows] == [
        (row["query_id"], row["product_id"]) for row in pair_rows[:ROWS]
    ]
    pairs = [Pair(row["query"], tiny_shop.products[row["product_id"]]) for row in pair_rows[:ROWS]]
    expected = open_scorer(tiny_checkpoint).score(pairs)
    assert np.allclose([row["probabilities"] for row in rows], expected.probabilities, atol=1e-5)
    assert np.allclose([row["score"] for row in rows], expected.mean, atol=1e-5)
    assert np.allclose([row["std"] for row in rows], expected.std, atol=1e-5)
    assert [row["line"] for row in rows] == list(range(1, ROWS + 1))
    assert {row["tier"] for row in rows} == {None}
    said = json.loads((plan.out / "manifest.json").read_text())
    assert {row["model"] for row in rows} == {said["model"]["fingerprint"]}
    assert not list(plan.out.glob(".*"))
    before = shards(plan)
    code, printed, _ = run("score", tiny_checkpoint, plan.pairs, "--out", plan.out, "--shard-rows", 16, "--json")
    again = json.loads(printed)
    assert (code, again["scored_now"], again["pairs"], again["lost"]) == (0, 0, 60, 0)
    assert shards(plan) == before


def test_what_a_killed_run_has_scored_is_not_scored_again(plan, read_scores) -> None:
    whole = replace(plan, out=plan.out.with_name("whole"))
    score_offline(whole)
    kept: dict[str, int] = {}
    for count in (1, 2):
        with pytest.raises(Killed):
            score_offline(plan, dies_after(count))
        assert shards(plan).items() >= kept.items()
        kept = shards(plan)
    assert len(kept) == 3
    report = score_offline(plan)
    assert (report.scored, report.totals.pairs, report.totals.lost) == (12, ROWS, 0)
    assert shards(plan).items() >= kept.items()
    assert read_scores(plan.out) == read_scores(whole.out)


def test_a_damaged_or_lost_shard_is_made_again(plan, read_scores) -> None:
    score_offline(plan)
    before = read_scores(plan.out)
    (plan.out / "scores" / "0000-000001.parquet").write_bytes(b"PAR1")
    (plan.out / "scores" / "0000-000003.parquet").unlink()
    assert score_offline(plan).scored == 28
    assert read_scores(plan.out) == before


def test_another_run_may_not_go_on(plan, tiny_checkpoint, pair_rows, write_lines, tmp_path) -> None:
    with pytest.raises(Killed):
        score_offline(plan, dies_after(1))
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    card = Checkpoint.open(model).card
    card.model_copy(update={"calibration": Calibration(thresholds={"exact": 0.9, "close": 0.5})}).save(model)
    with pytest.raises(BadInput, match=r"was begun with the thresholds {}, now it is {.*}; choose another --out"):
        score_offline(replace(plan, model=str(model)))
    card.model_copy(update={"calibration": Calibration(temperature=2.0)}).save(model)
    with pytest.raises(BadInput, match=r"was begun with the model .* now it is .*model in float32 on transformers"):
        score_offline(replace(plan, model=str(model)))
    with pytest.raises(BadInput, match=r"was begun otherwise: shard_rows was 16, now 32"):
        score_offline(replace(plan, shard_rows=32))
    write_lines(plan.pairs, pair_rows[: ROWS + 1])
    with pytest.raises(BadInput, match=r"was begun with other data: pairs.jsonl was changed; .* --reuse "):
        score_offline(plan)
    assert len(shards(plan)) == 1


def test_a_second_driver_is_refused(plan) -> None:
    def engine(job, slices, advance, done) -> None:
        with pytest.raises(BadInput, match="another run is writing it"):
            score_offline(plan)
        score_here(job, slices, advance, done)

    assert score_offline(plan, engine).totals.pairs == ROWS


def test_bad_rows_go_to_a_file_of_their_own(plan, pair_rows, write_lines, read_scores) -> None:
    good = pair_rows[:20]
    bad = [
        "no json",
        {"query_id": "q", "product_id": "p"},
        {"query_id": "q", "product_id": "p", "query": "desk", "product": {"title": float("nan")}},
        {"query_id": "q", "product_id": "p", "query": "desk", "product": {"title": "x", "price": -1}},
        {"query_id": "q", "product_id": "p", "query": "desk", "product": {"title": "x", "product_id": "other"}},
        {"query_id": None, "product_id": "p", "query": "desk", "product": "Desk"},
        {"query_id": "q", "product_id": "p", "query": "desk", "product": "Desk", "colour": "red"},
        good[3],
    ]
    write_lines(plan.pairs, [*good[:10], "", *bad, *good[10:]])
    totals = score_offline(plan).totals
    assert (totals.rows, totals.pairs, totals.bad, totals.lost) == (28, 20, 8, 0)
    rows = [json.loads(line) for file in sorted((plan.out / "bad_rows").iterdir())
            for line in file.read_text().splitlines()]  # fmt: skip
    assert [(row["line"], row["reason"].split(";")[0]) for row in rows] == [
        (12, "not valid JSON (expected ident at column 2)"),
        (13, "column 'query' is missing"),
        (14, "product has no text"),
        (15, "product.price: at least 0 is needed, not -1.0"),
        (16, "product.product_id is 'other', and product_id is 'p'"),
        (17, "column 'query_id' has no text"),
        (18, "unknown column 'colour'"),
        (19, f"{good[3]['query_id']} × {good[3]['product_id']} was already given in {plan.pairs}:4"),
    ]
    assert [row["product_id"] for row in read_scores(plan.out)] == [row["product_id"] for row in good]


def test_only_bad_rows_is_one_sentence(run, plan, write_lines) -> None:
    write_lines(plan.pairs, ["{}", "{}"])
    said = complaint(run("score", plan.model, plan.pairs, "--out", plan.out))
    assert f"{plan.pairs}: no row could be used; the reasons are in {plan.out / 'bad_rows'}" in said


def test_ids_are_joined_with_a_data_folder(plan, tiny_shop, tiny_data, pair_rows, write_lines, read_scores) -> None:
    score_offline(plan)
    ids = [{name: row[name] for name in ("query_id", "product_id")} for row in pair_rows[:ROWS]]
    table = pa.Table.from_pylist([*ids, {"query_id": "q0", "product_id": "nobody"}])
    folder = plan.out.with_name("ids")
    folder.mkdir()
    pq.write_table(table[:30], folder / "a.parquet")
    pq.write_table(table[30:], folder / "b.parquet")
    (folder / "_SUCCESS").touch()
    joined = replace(plan, pairs=folder, data=tiny_data, out=plan.out.with_name("joined"))
    totals = score_offline(joined).totals
    assert (totals.pairs, totals.bad, totals.lost) == (ROWS, 1, 0)
    given, found = read_scores(plan.out), read_scores(joined.out)
    assert [row["content"] for row in found] == [row["content"] for row in given]
    assert np.allclose([row["score"] for row in found], [row["score"] for row in given], atol=1e-6)
    Dataset({**tiny_shop.products}, {**tiny_shop.queries}, ()).save(folder.with_name("shop"))
    changed = folder.with_name("shop") / "products.jsonl"
    changed.write_text(changed.read_text().replace("every day", "each day"))
    with pytest.raises(BadInput, match=r"products\.jsonl was changed"):
        score_offline(replace(joined, data=folder.with_name("shop")))


def test_a_second_night_scores_what_changed(plan, pair_rows, write_lines, read_scores) -> None:
    score_offline(plan)
    night = [dict(row) for row in pair_rows[5 : ROWS + 10]]
    night[0] = {**night[0], "query": "something else"}
    night[1] = {**night[1], "product": {**night[1]["product"], "available": False}}  # no prompt says it
    pairs = write_lines(plan.out.with_name("tuesday.jsonl"), night)
    tuesday = replace(plan, pairs=pairs, out=plan.out.with_name("tuesday"), reuse=plan.out)
    report = score_offline(tuesday)
    assert (report.totals.pairs, report.totals.reused, report.totals.dropped) == (65, 54, 6)
    assert f"reused {54 / 65:.1%}, scored {11 / 65:.1%}, dropped 6 earlier scores" in "\n".join(report.shown())
    alone = replace(tuesday, out=plan.out.with_name("alone"), reuse=None)
    score_offline(alone)
    found, expected = read_scores(tuesday.out), read_scores(alone.out)
    assert np.allclose([row["score"] for row in found], [row["score"] for row in expected], atol=1e-5)
    assert [row["content"] for row in found] == [row["content"] for row in expected]


def test_another_models_scores_are_not_reused(plan, tiny_checkpoint, tmp_path) -> None:
    score_offline(plan)
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    Checkpoint.open(model).card.model_copy(update={"calibration": Calibration(temperature=2.0)}).save(model)
    report = score_offline(replace(plan, model=str(model), out=tmp_path / "new", reuse=plan.out))
    assert (report.totals.reused, report.totals.pairs, report.other_model) == (0, ROWS, True)
    assert "another model's" in next(iter(report.shown()))
    with pytest.raises(BadInput, match="holds no scores of gen-rerank score"):
        score_offline(replace(plan, out=tmp_path / "newer", reuse=tmp_path / "nowhere"))


def test_a_file_that_changes_meanwhile_stops_the_run(plan) -> None:
    def engine(job, slices, advance, done) -> None:
        score_here(job, slices[:1], advance, done)
        plan.pairs.write_text(plan.pairs.read_text() + "{}\n")
        score_here(job, slices[1:], advance, done)

    with pytest.raises(BadInput, match=r"pairs.jsonl: was changed while it was scored.*; what is scored is kept in"):
        score_offline(plan, engine)
    assert len(shards(plan)) == 1


def test_what_is_no_shard_is_not_read_as_one(plan) -> None:
    with pytest.raises(Killed):
        score_offline(plan, dies_after(4))
    stranger = plan.out / "scores" / "mine.parquet"
    stranger.touch()
    with pytest.raises(BadInput, match=r"mine.parquet: is no shard of these scores; move it away"):
        score_offline(plan)
    stranger.unlink()
    assert score_offline(plan).totals.pairs == ROWS
