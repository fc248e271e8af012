"""Two processes under `accelerate launch` train what one process trains at the same global batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from train.distributional import train_distributional
from train.recipe import Recipe

LAUNCH = Path(__file__).parents[2] / "train" / "launch"
RECIPE = {
    "shape": {"vocabulary": 512, "hidden": 64, "layers": 2, "heads": 2, "mlp": 128},
    "prompt": {"max_length": 96, "instruction": "Rate."},
    "distributional": {
        "learning_rate": 2e-3, "row_tokens": 128, "batch_tokens": 256, "max_steps": 12, "logging_steps": 1,
        "eval_steps": 6, "save_steps": 100, "bf16": False, "disable_tqdm": True, "mse_weight": 1.0,
        "relative_loss": "listwise",
    },
}  # fmt: skip


def history(folder: Path, name: str) -> list[float]:
    rows = json.loads((folder / "training.json").read_text(encoding="utf-8"))["history"]
    return [row[name] for row in rows if name in row]


@pytest.mark.slow
def test_two_processes_reproduce_one(tiny_data, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    where = ("--config", str(recipe), "--data", str(tiny_data), "--out", str(tmp_path / "two"))
    launch = (
        "-m", "accelerate.commands.launch", "--config_file", str(LAUNCH / "ddp.yaml"), "--num_processes", "2",
        "--num_cpu_threads_per_process", "1", "--main_process_port", "0",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *launch, "-m", "gen_rerank", "train", "distributional", *where],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    section = {**RECIPE["distributional"], "gradient_accumulation_steps": 2}
    alone = train_distributional(
        Recipe.model_validate({**RECIPE, "distributional": section}), tiny_data, tmp_path / "one"
    ).folder
    for name in ("loss", "eval_loss", "eval_ndcg@5", "eval_rps"):
        assert history(tmp_path / "two", name) == pytest.approx(history(alone, name), abs=1e-4), name
    one, two = (load_file(folder / "model.safetensors") for folder in (alone, tmp_path / "two"))
    assert all(torch.allclose(one[name].float(), two[name].float(), atol=2e-2) for name in one)
    assert done.stdout.count("an epoch:") == 1, "only one process speaks"
