"""What phase 2 gains after phase 1, and what it gains on labels of another scale, on three shops.

The shops: the embedded sample (synthetic), and, where their folders are given, Home Depot (whole queries, drawn by a
seed, until there are some thousand pairs) and Chorus. On each a nano phase 1 is trained, or `--model` takes its place,
and then phase 2 twice: on the labels that phase 1 learned, and on the squares of the labels of a few training queries,
as of people who are stricter. The published checkpoints are scored on the queries of validation and test, which have
no part in any choice. Each step is a command that a user types; finished ones are kept in `--out`.

Run: python benchmarks/phase2.py --homedepot path/to/homedepot --chorus path/to/chorus
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.markdown import Markdown

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Judgment, Split
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import HEADLINE, MSE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.scores import read_scores
from harness.command import run
from harness.steps import CommandSteps
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun
from train.training_run import TrainingRun

MEASURES = (HEADLINE, MSE, RPS)
HOME_DEPOT_QUERIES = {"train": 1000, "validation": 500, "test": 500}  # about 6 pairs each
STRICT_QUERIES = 50
PACKAGES = ("torch", "transformers", "trl")


@dataclass(frozen=True)
class AlignedShop:
    """A data set, and the models that are trained on it.

    Attributes:
        name: of its folder below `--out`.
        make: a step that writes its data into a folder.
    """

    name: str
    make: Callable[[CommandSteps, Path], None]


@dataclass(frozen=True)
class BeforeAfter:
    """A split before phase 2 and after it.

    Attributes:
        shop: the name.
        labels: which.
        split: the name.
        before: what phase 1 says.
        after: what was published.
        trained: whether that is the trained readout.
    """

    shop: str
    labels: str
    split: str
    before: Evaluation
    after: Evaluation
    trained: bool

    def cells(self) -> list[str]:
        """Return the row of the table."""
        gains = difference(self.after, self.before)
        measured = [{**one.ranking, **one.calibrated} for one in (self.before, self.after)]
        shown = [
            cell
            for name in MEASURES
            for cell in (*(f"{found[name].mean:.4f}" for found in measured), gains[name].shown("+.4f"))
        ]
        published = "trained" if self.trained else "as it came"
        return [self.shop, self.labels, f"{self.split} ({self.before.queries:,})", *shown, published]


def main(
    sample: Annotated[bool, typer.Option(help="the embedded sample too")] = True,
    homedepot: Annotated[Path | None, typer.Option(help="the folder with Home Depot's rows in our format")] = None,
    chorus: Annotated[Path | None, typer.Option(help="the folder with Chorus' pairs.jsonl.gz")] = None,
    model: Annotated[Path | None, typer.Option(help="a checkpoint in place of the nano phase 1 of each shop")] = None,
    config: Annotated[str, typer.Option(help="the recipe of both phases")] = "nano",
    out: Annotated[Path, typer.Option(help="where data, models and scores are kept")] = Path("runs/phase2"),
) -> None:
    """Train what is missing, measure, print the table and write phase2.md."""
    console, about = wide_console(180), ThisRun.now(PACKAGES)
    rows: list[BeforeAfter] = []
    said: list[str] = []
    for shop in shops(sample, homedepot, chorus):
        steps = CommandSteps(out / shop.name, console)
        data, strict, phase1 = (out / shop.name / name for name in ("data", "strict-data", "phase1"))
        shop.make(steps, data)
        if not strict.is_dir():
            stricter(Dataset.load(data)).save(strict)
        if model is None:
            steps.run("phase1", phase1, "gen-rerank", "train", "distributional", "--config", config, "--data", data)
        for labels, folder, name in (("as judged", data, "phase2"), ("squared", strict, "phase2-strict")):
            found, sentence = measured(steps, shop.name, labels, folder, model or phase1, name, config)
            rows += found
            said.append(f"- {shop.name}, {labels}: {sentence}")
    text = f"{about.heading()}\n\n{table(rows).document()}\n\n" + "\n".join(said) + "\n"
    table(rows).show(console)
    console.print(Markdown("\n".join(said)))
    (out / "phase2.md").write_text(text, encoding="utf-8")
    console.print(f"{out / 'phase2.md'}", soft_wrap=True)


def shops(sample: bool, homedepot: Path | None, chorus: Path | None) -> list[AlignedShop]:
    """Return the sample if it is wanted, and the shops whose folders are given."""
    found = []
    if sample:
        found.append(AlignedShop("sample", lambda steps, data: steps.run("data", data, "gen-rerank", "sample")))
    if homedepot is not None:
        found.append(AlignedShop("homedepot", lambda _, data: _save_once(homedepot, data)))
    if chorus is not None:
        source = ("catalogs.py", "chorus", "--source", str(chorus))
        found.append(AlignedShop("chorus", lambda steps, data: steps.run("data", data, *source)))
    return found


def measured(
    steps: CommandSteps, shop: str, labels: str, data: Path, phase1: Path, name: str, config: str
) -> tuple[list[BeforeAfter], str]:
    """Run phase 2, score before and after, and return the rows of each split with what the run said of its choice.

    Raises:
        BadInput: a step failed.
    """
    phase2 = steps.folder / name
    steps.run(name, phase2, *("gen-rerank", "train", "scalar", "--config", config, "--model", phase1, "--data", data))
    choice = TrainingRun.load(phase2 / "training.json").choice
    if choice is None:
        raise BadInput(f"{phase2}: was made before phase 2 had a choice; remove it")
    dataset, rows = Dataset.load(data), []
    for split in ("validation", "test"):
        part = dataset.of(split)
        if not part.judgments:
            continue
        found = {}
        for kind, model in (("before", phase1), ("after", phase2)):
            file = steps.folder / f"{name}-{split}-{kind}.jsonl"
            steps.run(file.stem, file, "gen-rerank", "score", model, data, "--split", split)
            found[kind] = evaluate(kind, part, read_scores(file).of(part))
        rows.append(BeforeAfter(shop, labels, split, found["before"], found["after"], choice.trained))
    return rows, choice.sentence


def table(rows: list[BeforeAfter]) -> FigureTable:
    """Return the table of all shops."""
    columns = [cell for name in MEASURES for cell in (f"{name} before", "after", "after − before")]
    caption = (
        "Differences with 95% bootstrap intervals, paired over the queries, whose number stands behind the split. "
        f"MSE and RPS: lower is better. Squared: the squares of the labels, learned from {STRICT_QUERIES} queries."
    )
    return FigureTable(
        "Phase 2", ["shop", "labels", "split", *columns, "readout"], [row.cells() for row in rows], caption
    )


def drawn(dataset: Dataset, queries: Mapping[str, int], seed: int = 0) -> Dataset:
    """Return so many judged queries of each split, whole, with their products; a split that is not named is whole."""
    judged, rng = dataset.by_query(), random.Random(seed)
    kept: set[str] = set()
    for split in get_args(Split):
        ids = sorted(key for key in judged if dataset.queries[key].split == split)
        kept |= set(rng.sample(ids, min(queries.get(split, len(ids)), len(ids))))
    judgments = tuple(row for row in dataset.judgments if row.query_id in kept)
    products = {row.product_id for row in judgments}
    return Dataset(
        {key: product for key, product in dataset.products.items() if key in products},
        {key: query for key, query in dataset.queries.items() if key in kept},
        judgments,
    )


def stricter(dataset: Dataset) -> Dataset:
    """Return a data set with squared labels, of which few training queries are left."""

    def squared(row: Judgment) -> Judgment:
        labels = tuple(label**2 for label in row.labels)
        return row.model_copy(update={"relevance": row.relevance**2, "labels": labels})

    few = drawn(dataset, {"train": STRICT_QUERIES})
    return replace(few, judgments=tuple(map(squared, few.judgments)))


def _save_once(source: Path, data: Path) -> None:
    if not data.is_dir():
        drawn(Dataset.load(source), HOME_DEPOT_QUERIES).save(data)


if __name__ == "__main__":
    run(main)
