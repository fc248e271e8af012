"""The screening: every variant is trained on a part of Home Depot's training queries and measured on others of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console

from gen_rerank.data.dataset import Dataset
from harness.steps import CommandSteps
from real_parts.folders import SCREEN, RealFolders
from real_parts.measured import RealSystem, floors, scored
from real_parts.tables import SystemRow
from real_parts.variants import Variant, recipe_name, recipe_of

HELD_OUT = "validation"  # of the mix: it was drawn from the training queries


@dataclass(frozen=True)
class Screening:
    """One run of the screening.

    Attributes:
        folders: of the data.
        preset: that is varied, a name or a file.
        seeds: trainings of each variant.
        steps: of each training, for a quick look at the whole; None as the preset says.
        backend: that scores.
        console: where each command is printed.
    """

    folders: RealFolders
    preset: str
    seeds: int
    steps: int | None
    backend: str
    console: Console

    def held_out(self) -> Dataset:
        """Return the queries that are measured."""
        return Dataset.load(self.folders.there(self.folders.mix(SCREEN))).of("validation")

    def run(self, variants: Sequence[Variant]) -> list[SystemRow]:
        """Train and measure what is missing; the floors come first.

        Raises:
            BadInput: the data are not there, or a command stopped.
        """
        held_out = self.held_out()
        commands = CommandSteps(self.folders.out / "screen" / Path(self.preset).stem, self.console)
        rows = [SystemRow((one,)) for one in floors(held_out, commands.steps)]
        measured: dict[str, list[RealSystem]] = {one.name: [] for one in variants}
        minutes: dict[str, float] = {one.name: 0.0 for one in variants}
        speeds: dict[str, float | None] = {}
        for seed in range(self.seeds):  # seed by seed, so that an interrupted run has all variants of the first ones
            for one in variants:
                model, seconds = self._train(commands, one, seed)
                measured[one.name].append(self._score(commands, one.name, model, held_out))
                minutes[one.name] += seconds / 60 / self.seeds
                speeds[one.name] = trained_speed(model)
        for one in variants:
            against = None if one.against is None else tuple(measured[one.against])
            rows.append(SystemRow(tuple(measured[one.name]), against, minutes[one.name], speeds[one.name]))
        return rows

    def _train(self, commands: CommandSteps, variant: Variant, seed: int) -> tuple[Path, float]:
        content = recipe_of(self.preset, variant.changes)
        quick = {} if self.steps is None else {"max_steps": self.steps}
        content["distributional"] = {**content.get("distributional", {}), "seed": seed, **quick}
        name = recipe_name(variant.name, seed, content)
        recipe, model = commands.folder / "recipes" / f"{name}.yaml", commands.folder / "models" / name
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        data = self.folders.there(self.folders.mix(variant.data))
        step = f"train {name}"
        commands.run(step, model, *variant.command, "--config", recipe, "--data", data)
        return model, commands.steps.finished()[step]["seconds"]

    def _score(self, commands: CommandSteps, name: str, model: Path, held_out: Dataset) -> RealSystem:
        data = self.folders.mix(SCREEN)
        return scored(commands, model.name, name, model, data, HELD_OUT, held_out, self.backend)


def trained_speed(model: Path) -> float | None:
    """Return the pairs a second of a training, as it wrote them down; None where it did not."""
    for name in ("training.json", "sft.json"):
        if (model / name).is_file():
            speed: float | None = json.loads((model / name).read_text(encoding="utf-8"))["pairs_per_second"]
            return speed
    return None
