"""What every training run shares: its folders, what is said before it, how its result appears, what is measured of it.

The phases, the adapter and the encoder each train something else; a run's life around that is here. States that are saved on the way
are `states`', the documents that a run leaves are `report`'s.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType, PartialState
from rich.console import Console
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Trainer, TrainingArguments

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.card import Card, Provenance
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import Evaluation, evaluate
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.evaluation.tables import difference_table, ranking_table
from gen_rerank.system.machine import source_commit
from gen_rerank.system.memory import keep_freed_memory
from train import saved_states as states
from train.batches import TokenBudgetSampler
from train.data_check import DataSummary, check, summary_table
from train.estimate import Plan, estimate_seconds, measured_matmul_flops
from train.noise import FittedNoise, disagreement
from train.report import Kind, TrainingRun, write_model_card, write_training_report
from train.targets import Noise

QUIET = Console(quiet=True)

SHARE_OF_PEAK = 0.4  # of the matrix product's FLOP/s that training usually reaches

# What a run gets unless the recipe says otherwise.
DEFAULTS: dict[str, Any] = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "report_to": "none",
    "logging_steps": 0.02,
    "disable_tqdm": False,
    "include_num_input_tokens_seen": "no",
    "prediction_loss_only": True,
    "dataloader_pin_memory": torch.cuda.is_available(),
    "use_cpu": not torch.cuda.is_available(),
    "gradient_checkpointing": False,
    "ddp_find_unused_parameters": False,
    "bf16": False,
}


@dataclass(frozen=True)
class Epoch:
    """What an epoch holds, before it begins.

    Attributes:
        pairs: judged pairs, varied copies counted.
        rows: training rows; pairs with a common prefix share one.
        tokens: of all rows, padding left out.
        padding: share of all positions, in [0, 1].
        batches: of all processes.
        epochs: how often all of it is read.
    """

    pairs: int
    rows: int
    tokens: int
    padding: float
    batches: int
    epochs: float

    @classmethod
    def of(cls, sampler: TokenBudgetSampler, pairs: int, max_steps: int, epochs: float) -> Epoch:
        """Return what a sampler's epoch holds; `max_steps` above 0 says how often it is read."""
        steps = len(sampler) * sampler.processes // sampler.step_batches
        epochs = max_steps / steps if max_steps > 0 else epochs
        return cls(pairs, len(sampler.padded), sampler.tokens, sampler.padding, len(sampler.sizes), epochs)


@dataclass(frozen=True)
class Run:
    """What a run works on, and where.

    Attributes:
        out: where the result will appear.
        folder: the run's own, `<out>.training`, while it lasts.
        dataset: all of the data.
        summary: of the data, with what looks wrong.
        train: the split that is learned from; something is judged in it.
        validation: the split that is only measured; it may be empty.
    """

    out: Path
    folder: Path
    dataset: Dataset
    summary: DataSummary
    train: Dataset
    validation: Dataset

    @classmethod
    def open(cls, data: str | Path, out: str | Path, console: Console, *, skip_bad_rows: bool = False) -> Run:
        """Read the data and show, on the first process, counts, label histogram and problems before any work.

        Raises:
            BadInput: `out` holds something, bad data, or nothing is judged in the training split.
        """
        out = Path(out)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BadInput(f"{out}: already exists; choose another --out or remove it")
        keep_freed_memory()
        dataset = Dataset.load(data, skip_bad_rows=skip_bad_rows)
        summary = check(dataset)
        if PartialState().is_main_process:
            for row in dataset.bad_rows:
                console.print(f"left out {row}", markup=False, highlight=False, soft_wrap=True)
            console.print(summary_table(summary))
        train = dataset.of("train")
        if not train.judgments:
            raise BadInput(f"{data}: no query of the split 'train' has a judgment; nothing to train on")
        return cls(out, out.with_name(out.name + ".training"), dataset, summary, train, dataset.of("validation"))

    def refuse_measuring_nothing(self, config: TrainingArguments) -> None:
        """Refuse arguments that measure on validation queries where there are none.

        Raises:
            BadInput: so it is.
        """
        if config.eval_strategy != "no" and not self.validation.judgments:
            raise BadInput("eval_strategy needs judged queries of the split 'validation', and there are none")

    def begin(self, settings: dict[str, Any], *, resume: bool) -> Path | None:
        """Return the state to go on from, or None; the first process prepares the folder, the others find it prepared.

        Raises:
            BadInput: there is nothing to resume, or it was begun with other settings or data.
        """
        processes = PartialState()
        if processes.is_main_process:
            return states.begin(
                self.folder,
                # Batches are dealt out by the number of processes: another number would skip other ones.
                {**settings, "data": self.dataset.fingerprint, "number of processes": processes.num_processes},
                resume=resume,
            )
        return states.newest_whole(self.folder) if resume else None


def announce_epoch(console: Console, epoch: Epoch, model: PreTrainedModel, plan: Plan) -> None:
    """Show what is about to be read, and how long it may take by the model's FLOP count and a measured product of matrices."""
    if not PartialState().is_main_process:
        return
    a_pair = epoch.tokens / epoch.pairs
    console.print(
        f"an epoch: {epoch.pairs:,} pairs in {epoch.rows:,} rows, {epoch.tokens:,} tokens ({a_pair:.1f} a pair), "
        f"{epoch.batches:,} batches, padding {epoch.padding:.1%}"
    )
    speed = SHARE_OF_PEAK * measured_matmul_flops() * PartialState().num_processes
    seconds = estimate_seconds(model.config, epoch.tokens * epoch.epochs, flops_per_second=speed, plan=plan)
    console.print(
        f"{epoch.epochs:.2f} epochs: about {duration(seconds)} or more by the FLOP count, at {SHARE_OF_PEAK:.0%} of the "
        "measured peak (an estimate; small models stay further below it)"
    )


def announce_result(console: Console, report: TrainingRun) -> None:
    """Show what validation says, beside the floors and what was there before, on the first process."""
    if not (PartialState().is_main_process and report.systems):
        return
    console.print(ranking_table(report.systems))
    if report.before is not None and report.after is not None:
        console.print(difference_table({f"{report.after.name} - {report.before.name}": report.gain}))


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> duration(5400)
        '1.5 hours'
    """
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


@contextmanager
def publishing(out: Path) -> Iterator[Path]:
    """Give a folder to write into, which becomes `out` when the block ends well: whole or not at all.

    Raises:
        BadInput: a file could not be written.
    """
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        for file in partial.rglob("*"):  # safetensors writes for its owner alone; a server may run as somebody else
            file.chmod(0o755 if file.is_dir() else 0o644)
        if out.is_dir():
            out.rmdir()
        partial.replace(out)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise BadInput(
            f"{out}: the result could not be written ({' '.join(str(error).split())}); "
            "make room and run the same command with --resume"
        ) from error


def write_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, card: Card, out: Path, report: TrainingRun
) -> Checkpoint:
    """Write a plain folder in bfloat16, as it will be served, so that every backend has the same weights."""
    model.to(torch.bfloat16)
    with publishing(out) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        card.save(folder)
        write_training_report(folder, report)
        write_model_card(folder, report, card)
    return Checkpoint.open(out)


def provenance(
    base: str, dataset: Dataset, recipe: dict[str, Any], trainer: Trainer, noise: FittedNoise | None = None
) -> Provenance:
    """Return where a result comes from, with the last figures of its trainer."""
    more: dict[str, Any] = {} if noise is None else {"noise": noise.model_dump(mode="json")}
    return Provenance(
        base=base,
        data=dataset.fingerprint,
        recipe=recipe,
        metrics=last_metrics(trainer),
        commit=source_commit(),
        **more,
    )


def refuse_sharding(trainer: Trainer, why: str) -> None:
    """Refuse to train under FSDP what it cannot shard.

    Raises:
        BadInput: the trainer runs under FSDP.
    """
    if trainer.accelerator.distributed_type == DistributedType.FSDP:
        raise BadInput(f"{why}: launch it with train/launch/ddp.yaml, where each process has the whole model")


def last_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the training loss and what was last measured on validation queries, by name."""
    found: dict[str, float] = {}
    for row in trainer.state.log_history:
        found |= {"train_loss": row["train_loss"]} if "train_loss" in row else {}
        found |= {
            f"validation_{name[5:]}": row[name] for name in ("eval_loss", "eval_ndcg@5", "eval_rps") if name in row
        }
    return {name: float(value) for name, value in found.items()}


def validation_report(name: str, validation: Dataset, logits: torch.Tensor) -> Evaluation:
    """Return the evaluation of bin logits `[judgments, 11]` on the validation queries."""
    return evaluate(name, validation, Distribution.from_logits(logits.numpy()))


def training_run(
    kind: Kind,
    run: Run,
    base: str,
    recipe: dict[str, Any],
    trainer: Trainer,
    *,
    before: Evaluation | None = None,
    after: Evaluation | None = None,
    epoch: Epoch | None = None,
    noise: Noise | None = None,
    fitted: FittedNoise | None = None,
    resumed: bool = False,
) -> TrainingRun:
    """Return what the run's documents are made of; of a resumed run the time is not known."""
    times = [] if resumed else [row["train_runtime"] for row in trainer.state.log_history if "train_runtime" in row]
    seconds = times[0] if times else None
    pairs = None if epoch is None else epoch.pairs * float(trainer.state.epoch or 0.0)
    return TrainingRun(
        kind=kind,
        name=run.out.name,
        base=base,
        data=run.summary,
        fingerprint=run.dataset.fingerprint,
        recipe=recipe,
        history=tuple(trainer.state.log_history),
        tokens=None if epoch is None else epoch.tokens,
        padding=None if epoch is None else epoch.padding,
        pairs_per_second=pairs / seconds if pairs and seconds else None,
        seconds=seconds,
        noise=noise,
        fitted=fitted,
        disagreement=tuple(disagreement(run.train.judgments)),
        before=before,
        after=after,
        floors=tuple(evaluate_floors(run.validation)) if run.validation.judgments else (),
    )
