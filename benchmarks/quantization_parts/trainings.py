"""One training of the nano preset and all that is made of it: quantized, re-aligned, trained on with rounding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.recipes import write_recipe
from harness.steps import CommandSteps
from train.recipe import Recipe

REALIGNED = "-realigned"
# Trained on with the scheme's rounding, and as long without it.
AWARE, CONTROL = "-aware", "-longer"


def train(steps: CommandSteps, folder: Path, data: Path, seed: int) -> Path:
    """Train both phases of the nano preset and return the model."""
    preset = Recipe.load("nano")
    seeded = {name: {**getattr(preset, name), "seed": seed} for name in ("distributional", "scalar")}
    recipe = write_recipe(folder / "recipe.yaml", "nano", seeded)
    phase1, model = folder / "phase1", folder / "model"
    steps.run("phase1", phase1, "gen-rerank", "train", "distributional", "--config", recipe, "--data", data)
    steps.run("phase2", model, "gen-rerank", "train", "scalar", "--config", recipe, "--model", phase1, "--data", data)
    return model


def quantized(steps: CommandSteps, folder: Path, model: Path, data: Path, schemes: Sequence[str]) -> list[Path]:
    """Quantize a model by each scheme, with and without re-alignment; re-align the model itself; return the folders."""
    control = folder / f"unquantized{REALIGNED}"
    realign(steps, model, control, data)
    made = [control]
    for scheme in schemes:
        plain, realigned = folder / scheme, folder / f"{scheme}{REALIGNED}"
        steps.run(scheme, plain, "gen-rerank", "quantize", model, "--scheme", scheme, "--examples", data)
        realign(steps, plain, realigned, data)
        made += [plain, realigned]
    return made


def realign(steps: CommandSteps, plain: Path, realigned: Path, data: Path) -> None:
    """Do what `gen-rerank quantize --realign` does after the quantization."""
    training = ("gen-rerank", "train", "scalar", "--config", "realign")
    steps.run(realigned.name, realigned, *training, "--model", plain, "--data", data)


def aware(steps: CommandSteps, folder: Path, data: Path, schemes: Sequence[str]) -> list[Path]:
    """Train phase 1 on with a scheme's rounding and, as a control, without; quantize both, re-align the first."""
    made = []
    training = ("gen-rerank", "train", "distributional", "--base", str(folder / "phase1"))
    for scheme in schemes:
        for kind, rounding in ((AWARE, scheme), (CONTROL, None)):
            name = f"{scheme}{kind}"
            recipe = write_recipe(folder / f"recipe-{name}.yaml", "nano-qat", {"fake_quantization": rounding})
            trained, plain = folder / f"trained-{name}", folder / name
            steps.run(trained.name, trained, *training, "--config", recipe, "--data", data)
            steps.run(plain.name, plain, "gen-rerank", "quantize", trained, "--scheme", scheme, "--examples", data)
            made.append(plain)
        realigned = folder / f"{scheme}{AWARE}{REALIGNED}"
        realign(steps, folder / f"{scheme}{AWARE}", realigned, data)
        made.append(realigned)
    return made
