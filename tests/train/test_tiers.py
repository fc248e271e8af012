"""A run ends with tiers: which queries may say where they begin, and what is written."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from gen_rerank import Dataset, Reranker
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.folds import part
from train.tiers import JudgedLogits, choosing_half


def arguments(*, chooses: bool) -> Any:
    return SimpleNamespace(load_best_model_at_end=chooses, seed=0)


def test_half_of_the_queries_chooses_a_state_where_one_is_chosen(tiny_shop: Dataset) -> None:
    validation = tiny_shop.of("validation")
    assert choosing_half(validation, arguments(chooses=False)) is None
    half = choosing_half(validation, arguments(chooses=True))
    assert half is not None
    assert (half.queries, half.judged) == (2, 4)
    ids = [row.query_id for row in validation.judgments]
    chose = {ids[place] for place in half.places}
    assert len(chose) == 2
    assert half.places == [place for place, key in enumerate(ids) if key in chose], "whole queries"
    one = {ids[0]}
    assert choosing_half(part(validation, np.array([key in one for key in ids])), arguments(chooses=True)) is None


def test_what_chose_the_state_does_not_calibrate_it(tiny_shop: Dataset) -> None:
    validation = tiny_shop.of("validation")
    logits = torch.arange(11.0 * len(validation.judgments)).reshape(-1, 11)
    said = JudgedLogits(validation, logits)
    assert said.without(None) is said
    half = choosing_half(validation, arguments(chooses=True))
    assert half is not None
    rest = said.without(half)
    others = [place for place in range(len(validation.judgments)) if place not in half.places]
    assert rest.judged.judgments == tuple(validation.judgments[place] for place in others)
    assert rest.logits.tolist() == logits[others].tolist()
    assert rest.remark.startswith("2 of 4 validation queries chose the state")


def test_a_new_checkpoint_has_tiers(phase1: Checkpoint, tiny_shop: Dataset) -> None:
    found = phase1.card.calibration
    assert set(found.thresholds) == {"exact", "close"}
    assert found.source is not None
    validation = tiny_shop.of("validation")
    assert (found.source.data, found.source.split) == (validation.fingerprint, "validation")
    assert (found.source.queries, found.source.pairs) == (4, len(validation.judgments))
    assert found.source.model == phase1.fingerprint
    assert not any(promise.kept for promise in found.promises.values()), "four queries promise nothing"
    figures = json.loads((phase1.folder / "calibration.json").read_text(encoding="utf-8"))
    assert figures["calibration"]["thresholds"] == found.thresholds
    assert (phase1.folder / "calibration.html").is_file()
    card = " ".join((phase1.folder / "README.md").read_text(encoding="utf-8").split())
    assert f"*exact* from a score of {found.thresholds['exact']:.3f} on" in card
    assert "`exact: wrong <= 5%` is not promised (4 queries)." in card


def test_its_tiers_are_those_that_its_own_scores_reach(phase1: Checkpoint, tiny_shop: Dataset) -> None:
    """Weights are rounded when they are written, so a score may move by a thousandth or two."""
    reranker = Reranker.load(phase1.folder, dtype="float32")
    query = next(iter(tiny_shop.of("test").queries.values()))
    results = reranker.rank(query.text, list(tiny_shop.products.values())[:20])
    thresholds = phase1.card.calibration.thresholds
    for result in results:
        expected = "exact" if result.score >= thresholds["exact"] else "close"
        assert result.tier == (expected if result.score >= thresholds["close"] else "irrelevant")
