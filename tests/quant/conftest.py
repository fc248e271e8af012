"""What these tests share: checkpoints whose scores spread, int8 copies of them, and how to plant a fault in one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from gen_rerank import Dataset, Pair
from gen_rerank.checkpoints.card import Provenance
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from quant.quantize import quantize
from quant.workload import VisitWorkload

Change = Callable[[dict[str, Tensor]], object]


@pytest.fixture(scope="session")
def spread_scores(tiny_shop: Dataset) -> Callable[[Path], Path]:
    """Gives a checkpoint bin rows (never an input) that read what differs most between pairs, so that scores spread."""

    def spread(folder: Path) -> Path:
        checkpoint = Checkpoint.open(folder)
        scorer = TransformersScorer(checkpoint)
        scorer.network.rows = torch.eye(checkpoint.config["hidden_size"])  # read the whole state
        pairs = [tiny_shop.pair(judgment) for judgment in tiny_shop.judgments]
        hidden = scorer.logits(checkpoint.prompt.encode(pairs))
        centre = hidden.mean(dim=0)
        varies = torch.linalg.svd(hidden - centre).Vh[0]
        varies -= (varies @ centre) / (centre @ centre) * centre
        worth = torch.linspace(-0.5, 0.5, 11)[:, None]
        rows = 6 * worth * varies / (hidden @ varies).std()
        change_weights(folder, lambda weights: put_rows(weights, checkpoint.card.readout.token_ids, rows))
        return folder

    return spread


@pytest.fixture(scope="session")
def reference(
    tiny_checkpoint: Path,
    spread_scores: Callable[[Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The tiny checkpoint with scores that spread. Do not write into it."""
    return spread_scores(Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("reference") / "model")))


@pytest.fixture(scope="session")
def int8_copy(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference in int8. Do not write into it."""
    return quantize(reference, "int8", tmp_path_factory.mktemp("int8") / "int8").folder


@pytest.fixture(scope="session")
def parent(
    tiny_checkpoint: Path, spread_scores: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A decoder of two layers, 128 wide (fp8-block takes no less), whose scores spread. Do not write into it."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("parent") / "model"))
    config = AutoConfig.from_pretrained(folder)
    config.update({"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 256})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith("_proj.weight"):
            torch.nn.init.normal_(parameter, 0.0, 0.05)
    model.save_pretrained(folder)
    spread_scores(folder)
    trained = Provenance(base="nano", metrics={"validation_rps": 0.05})
    Checkpoint.open(folder).card.model_copy(update={"provenance": trained}).save(folder)
    return folder


@pytest.fixture(scope="session")
def wide_int8(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parent in int8. Do not write into it."""
    return quantize(parent, "int8", tmp_path_factory.mktemp("wide") / "int8").folder


@pytest.fixture(scope="session")
def pairs(tiny_shop: Dataset) -> list[Pair]:
    """Forty judged pairs."""
    return [tiny_shop.pair(judgment) for judgment in tiny_shop.judgments[:40]]


@pytest.fixture(scope="session")
def split(tiny_shop: Dataset) -> Dataset:
    """The shop's test queries."""
    return tiny_shop.of("test")


@pytest.fixture(scope="session")
def workload(split: Dataset) -> VisitWorkload:
    """Requests of 16 candidates."""
    return VisitWorkload.of(split, candidates=16)


def change_weights(folder: Path, change: Change) -> Path:
    """Rewrite the tensors of a folder."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def put_rows(weights: dict[str, Tensor], ids: tuple[int, ...], rows: Tensor) -> None:
    """Replace readout rows of a tied matrix."""
    matrix = weights["model.embed_tokens.weight"]
    matrix[list(ids)] = rows.to(matrix.dtype)
