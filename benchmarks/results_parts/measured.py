"""The six systems on each shop, from data to what the test queries say.

Every model is trained and scored by the command that a user types, in a process of its own. The base must come out of
it untouched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import Evaluation, evaluate
from gen_rerank.evaluation.floors import bm25_scores, random_scores
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.evaluation.scores import read_scores
from harness.bi_encoder import bi_encoder_scores
from harness.steps import CommandSteps
from results_parts.shops import BenchmarkShop

RANDOM, BM25, BI_ENCODER, CROSS_ENCODER = "random", "BM25", "MiniLM bi-encoder", "MiniLM cross-encoder"
NANO, ADAPTED = "nano", "nano + adapter"

# What the command says, with exit code 2, when held-out queries speak against it; anything else is a failure.
REFUSAL = "no adapter was written"


@dataclass(frozen=True)
class ShopResult:
    """What a shop's test queries say.

    Attributes:
        shop: which.
        data: all of its splits.
        systems: by name, in the order of the tables; without an adapter that was refused.
        refused: the sentence by which the adapter was refused; empty if it was not.
    """

    shop: BenchmarkShop
    data: Dataset
    systems: dict[str, Evaluation]
    refused: str


@dataclass(frozen=True)
class Untouched:
    """The base before the adapters were trained and after: fingerprints, and what the sample's test queries say."""

    fingerprint_before: str
    fingerprint_after: str
    before: Evaluation
    after: Evaluation

    def check(self) -> None:
        """Raise BadInput if anything differs."""
        before, after = self.before.per_query, self.after.per_query
        same = all(np.array_equal(before[name], after[name], equal_nan=True) for name in before)
        if self.fingerprint_before != self.fingerprint_after or not same:
            raise BadInput(
                "the base changed while adapters were trained on it "
                f"(fingerprint {self.fingerprint_before}, now {self.fingerprint_after})"
            )


def without_gain(code: int, sentence: str) -> bool:
    """Say whether the training of an adapter ended as it does when held-out queries speak against it."""
    return code == 2 and REFUSAL in sentence


@dataclass(frozen=True)
class Benchmark:
    """One run of the benchmark in one folder.

    Attributes:
        model: the nano decoder; it is read, never changed.
        out: where data, models, scores and tables go.
        steps: the optimizer steps of each training, for a quick look at the whole; None as the recipes say.
        console: where progress and tables are printed.
    """

    model: Path
    out: Path
    steps: int | None
    console: Console

    def run(self, shops: Sequence[BenchmarkShop], sample: BenchmarkShop) -> tuple[list[ShopResult], Untouched]:
        """Measure all systems on each shop, and the base on the sample before and after.

        Raises:
            BadInput: a step failed, or `out` was begun with another model.
        """
        fingerprint = self._fingerprint()
        self._make(sample)
        before = self._base_on_sample(sample)
        results = [self._result(shop) for shop in shops]
        after = self.out / sample.name / "base_after.jsonl"
        after.unlink(missing_ok=True)  # never kept: it is the check
        self._steps(sample).run("base_after", after, "gen-rerank", "score", self.model, self._data(sample))
        test = Dataset.load(self._data(sample)).of("test")
        found = Untouched(
            fingerprint,
            Checkpoint.open(self.model).fingerprint,
            evaluate(NANO, test, read_scores(before).of(test)),
            evaluate(NANO, test, read_scores(after).of(test)),
        )
        found.check()
        return results, found

    def _result(self, shop: BenchmarkShop) -> ShopResult:
        self.console.rule(shop.title)
        self._make(shop)
        data, steps, folder = self._data(shop), self._steps(shop), self.out / shop.name
        scores = folder / "scores"
        scores.mkdir(parents=True, exist_ok=True)
        files = {
            CROSS_ENCODER: scores / "encoder.jsonl",
            NANO: scores / "nano.jsonl",
            ADAPTED: scores / "adapter.jsonl",
        }
        encoder, adapter = folder / "encoder", folder / "adapter"
        steps.run("nano", files[NANO], "gen-rerank", "score", self.model, data)
        recipe = self._recipe(shop.encoder, "encoder")
        training = ("gen-rerank", "train", "encoder", "--base", "minilm")
        steps.run("train_encoder", encoder, *training, "--config", recipe, "--data", data)
        steps.run("encoder", files[CROSS_ENCODER], "gen-rerank", "score", encoder, data)
        recipe = self._recipe(shop.adapter, "adapter")
        training = ("gen-rerank", "train", "adapter", "--base", str(self.model))
        steps.run("train_adapter", adapter, *training, "--config", recipe, "--catalog", data, may_stop=without_gain)
        refused = steps.steps.finished()["train_adapter"]["refused"]
        if refused:
            self.console.print(f"[yellow]{refused}[/yellow]", soft_wrap=True)
            del files[ADAPTED]
        else:
            steps.run("adapter", files[ADAPTED], "gen-rerank", "score", self.model, data, "--adapter", adapter)
        dataset = Dataset.load(data)
        test = dataset.of("test")
        floors = {RANDOM: random_scores(test), BM25: bm25_scores(test), BI_ENCODER: self._bi_encoder(shop, test)}
        systems = {name: evaluate(name, test, found) for name, found in floors.items()}
        systems |= {name: evaluate(name, test, read_scores(file).of(test)) for name, file in files.items()}
        return ShopResult(shop, dataset, systems, refused)

    def _bi_encoder(self, shop: BenchmarkShop, test: Dataset) -> Doubles:
        """Return the cosine of query and product for each judgment; kept in a file, as the steps' scores are."""
        file = self.out / shop.name / "scores" / "bi_encoder.npy"
        if not file.is_file():
            from train.encoder import EncoderRecipe  # opens sentence-transformers

            start = time.perf_counter()
            np.save(file, bi_encoder_scores(test, EncoderRecipe.load(shop.encoder).prompt))
            self._steps(shop).steps.record("bi_encoder", "", time.perf_counter() - start, refused="")
        scores: Doubles = np.load(file)
        return scores

    def _fingerprint(self) -> str:
        """Return the base's fingerprint when this folder was begun, which resumed runs compare with theirs."""
        now, file = Checkpoint.open(self.model).fingerprint, self.out / "base.json"
        self.out.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            file.write_text(json.dumps({"fingerprint": now}), encoding="utf-8")
        begun: str = json.loads(file.read_text(encoding="utf-8"))["fingerprint"]
        if begun != now:
            raise BadInput(f"{self.out} was begun with another model ({begun}, not {now}); choose another --out")
        return begun

    def _base_on_sample(self, sample: BenchmarkShop) -> Path:
        scores = self.out / sample.name / "scores" / "nano.jsonl"
        self._steps(sample).run("nano", scores, "gen-rerank", "score", self.model, self._data(sample))
        return scores

    def _make(self, shop: BenchmarkShop) -> None:
        self._steps(shop).run("data", self._data(shop), *shop.command)

    def _data(self, shop: BenchmarkShop) -> Path:
        return self.out / shop.name / "data"

    def _steps(self, shop: BenchmarkShop) -> CommandSteps:
        return CommandSteps(self.out / shop.name, self.console)

    def _recipe(self, recipe: Path, section: str) -> Path:
        """Return the recipe, or a copy of it that stops after `steps`."""
        if self.steps is None:
            return recipe
        given = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        often = {"max_steps": self.steps, "eval_strategy": "steps", "eval_steps": self.steps, "save_steps": self.steps}
        given[section] = {**given[section], **often, "save_strategy": "steps"}
        copy = self.out / "recipes" / f"{recipe.stem}-{self.steps}.yaml"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(yaml.safe_dump(given), encoding="utf-8")
        return copy
