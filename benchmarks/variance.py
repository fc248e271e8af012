"""Whether targets that know the annotators' noise beat the published constants on held-out labels.

Trains the nano preset on the sample with `variance` fixed, fitted and empirical, several seeds each, on the same data,
and evaluates on the test queries, which nothing was tuned on. Prints RPS and nDCG@5 with 95% intervals (bootstrap over
queries of the mean over seeds), the paired differences from fixed, and the fitted noise beside the planted one.
Each step is a command that a user types; finished ones are kept in `--runs` and not repeated, so an interrupted
benchmark goes on where it stopped.

Run: python benchmarks/variance.py --out results.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.sample.annotators import PLANTED
from gen_rerank.evaluation.evaluation import HEADLINE, RPS, Evaluation, evaluate
from gen_rerank.evaluation.intervals import Interval, bootstrap, paired
from gen_rerank.evaluation.scores import read_scores
from harness.command import run
from harness.recipes import write_recipe
from harness.seeds import mean_over_seeds
from harness.steps import CommandSteps
from train.noise import FittedNoise, fit_noise
from train.recipe import Recipe

MEASURES = (RPS, HEADLINE)
VARIANCES = ("fixed", "fitted", "empirical")


def main(
    out: Annotated[Path | None, typer.Option(help="where to write the results as JSON")] = None,
    runs: Annotated[Path, typer.Option(help="where data, models and evaluations are kept")] = Path("runs/variance"),
    steps: Annotated[int | None, typer.Option(help="of each training; the preset's own by default")] = None,
    seeds: Annotated[int, typer.Option(help="trainings of each variance", min=1)] = 3,
    variance: Annotated[list[str], typer.Option(help="which; repeat for several")] = list(VARIANCES),  # noqa: B006
) -> None:
    """Train what is missing, measure and print."""
    preset = Recipe.load("nano")
    steps = steps or preset.distributional["max_steps"]
    commands = CommandSteps(runs, Console(width=150))
    data = runs / "data"
    commands.run("data", data, "gen-rerank", "sample")
    dataset = Dataset.load(data)
    test = dataset.of("test")
    evaluations: dict[str, list[Evaluation]] = {}
    for seed in range(seeds):  # seed by seed, so that an interrupted benchmark has all variances of the first ones
        for kind in variance:
            changes = {"variance": kind, "seed": seed, "max_steps": steps}
            name = f"{kind}-{steps}-{seed}"
            changed = {"distributional": {**preset.distributional, **changes}}
            recipe = write_recipe(runs / f"{name}.yaml", "nano", changed)
            evaluations.setdefault(kind, []).append(evaluation_of(commands, name, recipe, data, test))
    fit = fit_noise([row.labels for row in dataset.of("train").judgments])
    results = {
        "data": test.fingerprint,
        "steps": steps,
        "seeds": seeds,
        "measures": {kind: summary(found) for kind, found in evaluations.items()},
        "differences": {
            f"{kind} - fixed": differences(found, evaluations["fixed"])
            for kind, found in evaluations.items()
            if kind != "fixed" and "fixed" in evaluations
        },
        "parameters": parameters(fit),
        "fit": fit.model_dump(mode="json"),
    }
    show(results, test)
    if out:
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def evaluation_of(commands: CommandSteps, name: str, recipe: Path, data: Path, test: Dataset) -> Evaluation:
    """Return the test evaluation of one training run; what is already done is not done again."""
    model, scores = commands.folder / name, commands.folder / f"{name}.jsonl"
    commands.run(f"train {name}", model, "gen-rerank", "train", "distributional", "--config", recipe, "--data", data)
    commands.run(f"score {name}", scores, "gen-rerank", "score", model, data)
    return evaluate(name, test, read_scores(scores).of(test))


def summary(evaluations: list[Evaluation]) -> dict[str, dict[str, Any]]:
    """Return each measure's interval and its mean for each seed."""
    return {
        measure: {
            "interval": bootstrap(mean_over_seeds(evaluations, measure)).to_json(),
            "seeds": [float(np.nanmean(found.per_query[measure])) for found in evaluations],
        }
        for measure in MEASURES
    }


def differences(first: list[Evaluation], second: list[Evaluation]) -> dict[str, dict[str, Any]]:
    """Return first − second: each measure's paired interval, and the difference for each seed."""
    return {
        measure: {
            "interval": paired(mean_over_seeds(first, measure), mean_over_seeds(second, measure)).to_json(),
            "seeds": [
                float(np.nanmean(a.per_query[measure] - b.per_query[measure]))
                for a, b in zip(first, second, strict=True)
            ],
        }
        for measure in MEASURES
    }


def parameters(fit: FittedNoise) -> list[dict[str, Any]]:
    """Return each fitted parameter with its standard error, the planted value and the relative error."""
    planted = {
        "sigma_min": PLANTED.sigma_min,
        "sigma_max": PLANTED.sigma_max,
        "delta": PLANTED.width,
        "slip": PLANTED.slip,
    }
    rows = []
    for row in fit.parameters:
        true = planted[row.name.split()[0]]
        rows.append({**row.model_dump(), "planted": true, "relative_error": row.estimate / true - 1})
    return rows


def show(results: dict[str, Any], test: Dataset) -> None:
    """Print the tables."""
    print(f"\nnano, {results['steps']} steps, {results['seeds']} seeds; {len(test.by_query())} test queries, ", end="")
    print(f"{len(test.judgments)} pairs; mean over seeds [95% bootstrap interval over queries] (each seed)")
    for title, signed in (("measures", ""), ("differences", "+")):
        for name, found in results[title].items():
            for measure, row in found.items():
                interval = Interval.from_json(row["interval"])
                each = ", ".join(f"{value:{signed}.4f}" for value in row["seeds"])
                bounds = f"[{interval.low:{signed}.4f}, {interval.high:{signed}.4f}]"
                print(f"{name:18} {measure:7} {interval.mean:{signed}.4f} {bounds}  ({each})")
    print(f"\nfitted to {results['fit']['labels']} labels of {results['fit']['pairs']} training pairs")
    print(f"{'parameter':17} {'planted':>7} {'fitted':>7} {'error':>7}   standard error")
    for row in results["parameters"]:
        values = f"{row['planted']:7.4f} {row['estimate']:7.4f} {row['relative_error']:+7.1%}"
        print(f"{row['name']:17} {values}   {row['standard_error']:.4f}")


if __name__ == "__main__":
    run(main)
