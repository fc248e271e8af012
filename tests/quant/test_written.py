"""A written checkpoint is refused where anything but its layers changed, and where its scores collapsed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gen_rerank import BadInput, Dataset, Distribution
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.schemes import scheme_named
from quant.example_pairs import draw_pairs
from quant.quantize import quantize
from quant.written import check_scores, check_weights, checked_pairs

PAIRS = 32


def test_a_changed_tensor_is_found(wide_int8: Path, parent: Path, tmp_path: Path) -> None:
    opened = Checkpoint.open(parent)
    for name, change in (("model.embed_tokens.weight", 1.01), ("model.norm.weight", None)):
        folder = tmp_path / name
        folder.mkdir()
        weights = load_file(wide_int8 / "model.safetensors")
        if change is None:
            del weights[name]
        else:
            weights[name] *= change
        save_file(weights, folder / "model.safetensors")
        shutil.copyfile(wide_int8 / "config.json", folder / "config.json")
        with pytest.raises(BadInput, match=name):
            check_weights(opened, scheme_named("int8"), folder)
    with pytest.raises(BadInput, match="nothing at all"):
        check_weights(opened, scheme_named("int8"), parent)


def test_a_quantized_readout_is_found(wide_int8: Path, parent: Path, tmp_path: Path) -> None:
    weights = load_file(wide_int8 / "model.safetensors")
    weights["lm_head.weight_scale"] = torch.ones(1)
    save_file(weights, tmp_path / "model.safetensors")
    shutil.copyfile(wide_int8 / "config.json", tmp_path / "config.json")
    with pytest.raises(BadInput, match="quantized the readout"):
        check_weights(Checkpoint.open(parent), scheme_named("int8"), tmp_path)


def test_a_split_readout_is_found(wide_int8: Path, parent: Path, tmp_path: Path) -> None:
    """A second copy of the tied matrix, and a config that no longer ties: two engines would read two readouts."""
    weights, config = load_file(wide_int8 / "model.safetensors"), json.loads((wide_int8 / "config.json").read_text())
    head = {"lm_head.weight": weights["model.embed_tokens.weight"] * 2}
    for name, stored, tied in (("copy", weights | head, True), ("untied", weights, False)):
        folder = tmp_path / name
        folder.mkdir()
        save_file(stored, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": tied}))
        with pytest.raises(BadInput, match="split the matrix that embeddings and readout share"):
            check_weights(Checkpoint.open(parent), scheme_named("int8"), folder)


def test_smoothing_that_is_not_made_up_for_is_found(parent: Path, tiny_shop: Dataset, tmp_path: Path) -> None:
    """The norms are the parent's again, the layers are not: the product is another."""
    smooth = scheme_named("int8-smoothquant")
    folder = quantize(parent, smooth.name, tmp_path / "out", tiny_shop, example_pairs=PAIRS).folder
    check_weights(Checkpoint.open(parent), smooth, folder)
    weights, before = load_file(folder / "model.safetensors"), load_file(parent / "model.safetensors")
    name = "model.layers.0.input_layernorm.weight"
    assert not torch.equal(weights[name], before[name].to(torch.bfloat16))
    save_file(weights | {name: before[name].to(torch.bfloat16)}, folder / "model.safetensors")
    with pytest.raises(BadInput, match=r"changed the product of model\.layers\.0\.input_layernorm"):
        check_weights(Checkpoint.open(parent), smooth, folder)


class Planted:
    """A scorer that answers with the given means, on two bins; NaN stands for logits that are not finite."""

    def __init__(self, means: list[float]) -> None:
        self.means = np.asarray(means)

    def score(self, _: object) -> Distribution:
        rows = np.zeros((len(self.means), 11))
        rows[:, 0], rows[:, 10] = 1 - self.means, self.means
        return Distribution(rows)


@pytest.mark.parametrize(
    ("means", "says"),
    [
        ([0.31, 0.31, 0.31, 0.31], "every pair the score 0.31"),
        ([0.5, 0.5, 0.5, 0.5], "every pair the score 0.5"),
        ([0.0, 1.0, 0.5, 1.0], "stuck at"),
        ([float("nan"), 0.2, 0.3, 0.4], "no finite scores"),
    ],
)
def test_collapsed_scores_are_refused(means: list[float], says: str) -> None:
    expected = Planted([0.1, 0.4, 0.6, 0.9]).score(None)
    with pytest.raises(BadInput, match=says):
        check_scores(scheme_named("fp8"), expected, Planted(means), [])


def test_scores_that_are_like_the_parents_pass() -> None:
    for before, after in (([0.1, 0.4], [0.15, 0.35]), ([0.5, 0.5], [0.5, 0.5]), ([0.0, 1.0], [0.0, 1.0])):
        check_scores(scheme_named("fp8"), Planted(before).score(None), Planted(after), [])


def test_example_data_chooses_the_checked_pairs(tiny_shop: Dataset) -> None:
    assert checked_pairs(tiny_shop, 3) == draw_pairs(tiny_shop, 32, seed=3)
    assert len(checked_pairs(None, 0)) == 12
