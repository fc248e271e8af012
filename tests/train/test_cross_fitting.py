"""Folds of whole queries, what they choose, and that no query has a say in what it is measured by; by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gen_rerank import Dataset
from gen_rerank.data.folds import deal
from tests.conftest import shop_of
from train.cross_fitting import STRENGTHS, OutOfFold, cross_fit, within_one_error
from train.targets import gaussian


def said(shop: Dataset, right: list[list[float]]) -> tuple[torch.Tensor, np.ndarray]:
    """Return logits of candidates, by measurement and strength, and the targets.

    A share from 0 to 1 says how close they are to the targets; a negative one is as close to the opposite.
    """
    labels = np.array([row.relevance for row in shop.judgments])
    wanted, opposite = gaussian(labels), gaussian(1 - labels)
    even = np.full_like(wanted, 1 / wanted.shape[1])

    def logits(share: float) -> np.ndarray:
        return np.log(abs(share) * (wanted if share > 0 else opposite) + (1 - abs(share)) * even)

    found = np.stack([np.stack([logits(share) for share in shares]) for shares in right])
    return torch.tensor(found, dtype=torch.float32), wanted


SHOP = shop_of([f"query {i}" for i in range(12)], each=4)
FOLDS = deal(SHOP, 3, 0)


def out_of_fold(right: list[list[float]]) -> OutOfFold:
    """Return what was said of twelve queries, of which the base orders all right."""
    logits, wanted = said(SHOP, right)
    return OutOfFold(SHOP, FOLDS, said(SHOP, [[0.1]])[0][0, 0], logits, wanted)


def test_of_what_is_as_good_as_the_best_the_simplest_is_taken():
    spread = np.array([-0.1, 0.1, -0.1, 0.1])  # a standard error of 0.0577
    assert within_one_error(np.stack([0.56 + spread, 0.5 + spread])) == 1
    assert within_one_error(np.stack([0.55 + spread, 0.5 + spread, 0.52 + spread])) == 0
    assert within_one_error(np.array([[0.5, 0.5], [0.4, 0.4]])) == 1  # no error: the best


def test_the_measurement_with_the_lowest_rps_is_chosen_at_each_strength():
    """Queries are alike here, so that there is no error to be within."""
    found = out_of_fold([[0.2, 0.3, 0.4, 0.5], [0.1, 0.6, 0.9, 0.8], [0.3, 0.2, 0.2, 0.9]])
    assert [found.choice(strength).measurements for strength in STRENGTHS] == [3, 2, 2, 3]
    assert [row["rps"] for row in found.curve(0.75)] == pytest.approx(found.rps[:, 2].mean(axis=1).tolist())
    sharper = replace(found, logits=2 * found.logits[2:])
    once = replace(found, logits=found.logits[2:])
    assert sharper.choice(0.5).temperature == pytest.approx(2 * once.choice(0.5).temperature, rel=1e-3)


def test_no_query_chooses_what_it_is_measured_by():
    found = out_of_fold([[0.5] * 4, [0.5] * 4, [0.5] * 4])
    good, _ = said(SHOP, [[0.9] * 4])
    held = torch.tensor(FOLDS == 0)
    # Measurement 3 flatters fold 0 alone; measurement 2 is good for the others.
    found.logits[2][:, held] = good[0][:, held]
    found.logits[1][:, ~held] = good[0][:, ~held]
    adapted = found.adapted(0.25)
    ratio = adapted[held] / found.logits[1, 0][held]
    assert ratio.std() < 1e-5  # of measurement 2, at one temperature
    # What fold 0 itself says changes nothing of its own choice.
    elsewhere = replace(found, logits=found.logits.clone())
    elsewhere.logits[0][:, held] = good[0][:, held]
    assert torch.allclose(elsewhere.adapted(0.25)[held], adapted[held])
    # The base has nothing to choose but its temperature.
    assert (found.rival()[held] / found.base[held]).std() < 1e-5


def test_a_finished_fold_is_kept_and_a_damaged_one_is_trained_again(tmp_path: Path):
    shop = shop_of([f"query {i}" for i in range(6)])
    folds = deal(shop, 3, 0)
    logits, _ = said(shop, [[0.2] * 4, [0.9] * 4, [0.5] * 4, [0.4] * 4])
    asked: list[int | None] = []

    def train_fold(learned: Dataset, held: Dataset, most: int | None) -> torch.Tensor:
        """The first fold ends after three measurements, the second after two."""
        asked.append(most)
        if len(asked) == 3:
            raise InterruptedError
        rows = {(row.query_id, row.product_id): place for place, row in enumerate(shop.judgments)}
        places = [rows[row.query_id, row.product_id] for row in held.judgments]
        assert not set(learned.queries) & set(held.queries)
        return logits[: 3 if most is None else 2, :, places]

    with pytest.raises(InterruptedError):
        cross_fit(shop, folds, tmp_path, train_fold)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold-1.safetensors", "fold-2.safetensors"]
    found = cross_fit(shop, folds, tmp_path, train_fold)
    assert asked == [None, 3, 2, 2]
    assert torch.equal(found, logits[:2])

    (tmp_path / "fold-2.safetensors").write_bytes(b"cut short")
    assert torch.equal(cross_fit(shop, folds, tmp_path, train_fold), logits[:2])
    assert asked == [None, 3, 2, 2, 3]
