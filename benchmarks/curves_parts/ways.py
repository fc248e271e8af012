"""Three ways to learn from a subset, each by the command that a user types, and what the test queries say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from curves_parts.subsets import Subset
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import Evaluation
from gen_rerank.system.publishing import folder_appearing
from harness.recipes import write_recipe
from harness.steps import SCRIPTS, CommandSteps

ADAPTER, ALL_WEIGHTS, ENCODER = WAYS = ("adapter", "all", "encoder")
NAMES = {ADAPTER: "adapter", ALL_WEIGHTS: "all weights", ENCODER: "encoder"}

# What the command says, with exit code 2, when it writes no adapter; anything else that stops it is a failure.
REFUSALS = ("no adapter was written", "too few queries to judge by")
# All weights go on from the base for so long, at this rate times the base's width; a LoRA's is 0.2.
EPOCHS, RATE = 10, 0.05


@dataclass(frozen=True)
class CurvePoint:
    """What the test queries say of one way to learn from one subset.

    Attributes:
        way: of `WAYS`.
        judgments: learned from.
        queries: learned from.
        found: the test queries; those of the base, where no adapter was written.
        refused: why there is none; empty otherwise.
    """

    way: str
    judgments: int
    queries: int
    found: Evaluation
    refused: str = ""


@dataclass(frozen=True)
class Curves:
    """One run of the benchmark in one folder, where what is finished is kept: each point's figures are a JSON file.

    Attributes:
        base: the checkpoint that adapters and all weights go on from.
        encoder: what the encoder starts from: minilm, a folder or a hub name.
        seed: of the subsets.
        steps: the finished commands.
    """

    base: Path
    encoder: str
    seed: int
    steps: CommandSteps

    def data(self, subset: Subset) -> Path:
        """Return the folder of a subset, written once."""
        folder = self.steps.folder / "data" / f"{self.seed}-{subset.judgments}"
        if not folder.is_dir():
            with folder_appearing(folder) as made:
                subset.data.save(made)
        return folder

    def before(self, subset: Subset) -> Evaluation:
        """Return what the test queries say of the base; they are the same in each subset."""
        return self._measured("base", self.base, self.data(subset))

    def point(self, way: str, subset: Subset) -> CurvePoint:
        """Train and measure, unless that is done."""
        data, name = self.data(subset), f"{way}-{subset.judgments}"
        model = self.steps.folder / "models" / name
        base = str(self.base)
        if way == ADAPTER:
            training = ("gen-rerank", "train", "adapter", "--base", base, "--catalog", data)
            self.steps.run(f"train {name}", model, *training, may_stop=_refused)
            refused = str(self.steps.steps.finished()[f"train {name}"]["refused"])
            if refused:
                return CurvePoint(way, subset.judgments, subset.queries, self.before(subset), refused)
            found = self._measured(name, self.base, data, "--adapter", model)
        else:
            kind = ("distributional", "--config", self._continued()) if way == ALL_WEIGHTS else self._encoder()
            self.steps.run(f"train {name}", model, "gen-rerank", "train", *kind, "--data", data)
            found = self._measured(name, model, data)
        return CurvePoint(way, subset.judgments, subset.queries, found)

    def _measured(self, name: str, model: Path, data: Path, *more: str | Path) -> Evaluation:
        file = self.steps.folder / "points" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        self.steps.run(f"measure {name}", file, "gen-rerank", "evaluate", model, data, *more)
        return Evaluation.load(file)

    def _continued(self) -> Path:
        """Write the recipe that goes on with all weights of the base, prompted as it is."""
        base = Checkpoint.open(self.base)
        rate = RATE / int(base.config["hidden_size"])
        changes = {
            "base": str(self.base),
            "prompt": base.card.prompt,
            "lora": None,
            "distributional": {
                "learning_rate": rate,
                "num_train_epochs": EPOCHS,
                "batch_tokens": 2048,
                "save_strategy": "epoch",
            },
        }
        return write_recipe(self.steps.folder / "all-weights.yaml", "adapter", changes)

    def _encoder(self) -> tuple[str | Path, ...]:
        """Write the encoder's recipe without what needs validation queries: here all are learned from."""
        file = self.steps.folder / "encoder.yaml"
        if not file.is_file():
            recipe = yaml.safe_load((SCRIPTS / "recipes" / "minilm.yaml").read_text(encoding="utf-8"))
            measured = ("eval_strategy", "load_best_model_at_end", "metric_for_best_model", "greater_is_better")
            recipe["encoder"] = {key: value for key, value in recipe["encoder"].items() if key not in measured}
            file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        return ("encoder", "--config", file, "--base", self.encoder)


def ways_named(given: str) -> list[str]:
    """Return the ways in a list with commas between.

    Raises:
        BadInput: there is another one in it.
    """
    names = [name.strip() for name in given.split(",")]
    for name in names:
        if name not in WAYS:
            raise BadInput(f"--ways {given}: there is no way {name!r}; choose of {', '.join(WAYS)}")
    return names


def _refused(code: int, sentence: str) -> bool:
    return code == 2 and any(refusal in sentence for refusal in REFUSALS)
