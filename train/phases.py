"""The life of a training run: data in, checkpoint out, for each of the two phases.

`train_distributional` renders and tokenizes all pairs, packs them into rows, trains, and writes a checkpoint.
`train_scalar` opens that checkpoint, reads each pair's last hidden state once, trains the readout on them and writes another.
The trainers know the losses, `packing` the layout, `gen_rerank` the prompt and the files.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gen_rerank.bins import Floats
from gen_rerank.checkpoint import Calibration, Card, Checkpoint, Provenance, Readout, source_commit
from gen_rerank.cpu import keep_freed_memory
from gen_rerank.errors import BadInput
from gen_rerank.prompt import Prompt, template_source
from gen_rerank.records import Dataset
from train import targets
from train.augment import Augment, augmented
from train.base import load_base, new_base
from train.packing import Row, collate, pack
from train.recipe import Recipe, trainer_config
from train.trainers import DistributionalConfig, DistributionalTrainer, ScalarConfig, ScalarTrainer

logger = logging.getLogger(__name__)


def train_distributional(recipe: Recipe, data: str | Path, out: str | Path, *, resume: bool = False) -> Checkpoint:
    """Run phase 1 and write a checkpoint.

    Args:
        recipe: base, prompt and arguments.
        data: a data set folder; the `train` split is learned from, `validation` is only measured.
        out: the checkpoint's folder. While training, the trainer's own state lies in `<out>.training`.
        resume: go on from the last state in `<out>.training`.

    Raises:
        BadInput: bad data or recipe, no training pairs, `out` is taken, or nothing to resume.
    """
    out, state = _folders(out, resume)
    keep_freed_memory()
    dataset = Dataset.load(data)
    config = trainer_config(DistributionalConfig, recipe.distributional, state, **_defaults(recipe))
    train = _split(dataset, "train")
    base = recipe.base or str(_base_folder(recipe, train, state, config.seed))
    model, tokenizer = load_base(base, dtype=torch.bfloat16 if recipe.lora else torch.float32)
    prompt = Prompt(recipe.prompt, tokenizer.backend_tokenizer)
    readout = Readout.of(tokenizer.backend_tokenizer)
    trainer = DistributionalTrainer(
        model,
        config,
        token_ids=list(readout.token_ids),
        train_dataset=rows_dataset(prompt, train, config, recipe.augment),
        eval_dataset=rows_dataset(prompt, dataset.of("validation"), config),
        processing_class=tokenizer,
        peft_config=_lora(recipe, readout),
    )
    trainer.train(resume_from_checkpoint=resume or None)
    trained = trainer.model.merge_and_unload() if isinstance(trainer.model, PeftModel) else trainer.model
    card = Card(
        readout=readout,
        prompt=prompt.spec,
        provenance=Provenance(
            base=recipe.base or "new",
            data=dataset.fingerprint,
            recipe=recipe.model_dump(mode="json", exclude_none=True),
            metrics=_last_metrics(trainer),
            commit=source_commit(),
        ),
    )
    return _export(trained, tokenizer, card, out, state)


def train_scalar(recipe: Recipe, model: str | Path, data: str | Path, out: str | Path) -> Checkpoint:
    """Run phase 2 on a checkpoint of phase 1 and write another; the backbone's weights are the same in both.

    Raises:
        BadInput: as `train_distributional`, or `model` is not a checkpoint with the `bins` readout.
    """
    out, state = _folders(out, resume=False)
    keep_freed_memory()
    checkpoint = Checkpoint.open(model)
    if checkpoint.card.readout.kind != "bins":
        raise BadInput(
            f"{model}: phase 2 needs the readout 'bins', this checkpoint has {checkpoint.card.readout.kind!r}"
        )
    dataset = Dataset.load(data)
    config = trainer_config(ScalarConfig, recipe.scalar, state, **_DEFAULTS)
    backbone, tokenizer = load_base(checkpoint.folder)
    token_ids = list(checkpoint.card.readout.token_ids)
    trainer = ScalarTrainer(
        backbone,
        config,
        token_ids=token_ids,
        train_dataset=features_dataset(
            backbone, checkpoint.prompt, _split(dataset, "train"), recipe.augment, seed=config.seed
        ),
        eval_dataset=features_dataset(backbone, checkpoint.prompt, dataset.of("validation")),
        processing_class=tokenizer,
    )
    trainer.train()
    metrics = _last_metrics(trainer)
    readout = backbone.readout
    with torch.no_grad():
        backbone.get_output_embeddings().weight[token_ids] = readout.rows
    temperature = float(readout.log_temperature.detach().exp()) * checkpoint.card.calibration.temperature
    del backbone.readout
    card = checkpoint.card.model_copy(
        update={
            "calibration": Calibration(temperature=temperature),
            "provenance": Provenance(
                base=checkpoint.card.provenance.base,
                data=dataset.fingerprint,
                recipe=recipe.model_dump(mode="json", exclude_none=True),
                metrics=metrics,
                commit=source_commit(),
            ),
        }
    )
    return _export(backbone, tokenizer, card, out, state)


def rows_dataset(
    prompt: Prompt, dataset: Dataset, config: DistributionalConfig, augment: Augment | None = None
) -> datasets.Dataset | None:
    """Return the packed rows of a split with their targets; None if nothing is judged in it."""
    if not dataset.judgments:
        return None
    copies = _copies(prompt, dataset, augment, config.row_tokens, config.seed)
    rows = [row for copy in copies for row in copy]
    labels = np.array([row.relevance for row in dataset.judgments])
    wanted = _targets(dataset, labels, config)
    tokens = sum(row.length for row in rows)
    logger.info("%d pairs × %d in %d rows, %d tokens", len(labels), len(copies), len(rows), tokens)
    return datasets.Dataset.from_dict(
        {
            "prefix": [row.prefix for row in rows],
            "tails": [row.tails for row in rows],
            "targets": [wanted[row.members] for row in rows],
            "relevance": [labels[row.members] for row in rows],
            "length": [row.length for row in rows],
        },
        features=datasets.Features(
            prefix=datasets.List(datasets.Value("int32")),
            tails=datasets.List(datasets.List(datasets.Value("int32"))),
            targets=datasets.List(datasets.List(datasets.Value("float32"))),
            relevance=datasets.List(datasets.Value("float32")),
            length=datasets.Value("int32"),
        ),
    )


def features_dataset(
    model: PreTrainedModel, prompt: Prompt, dataset: Dataset, augment: Augment | None = None, *, seed: int = 0
) -> datasets.Dataset | None:
    """Return each pair's last hidden state `[hidden]` and its relevance; the backbone reads each pair once."""
    if not dataset.judgments:
        return None
    copies = _copies(prompt, dataset, augment, row_tokens=512, seed=seed)
    features = np.concatenate([_features(model, rows, len(dataset.judgments)) for rows in copies])
    relevance = np.tile(np.array([row.relevance for row in dataset.judgments], np.float32), len(copies))
    return datasets.Dataset.from_dict({"features": features, "relevance": relevance}).with_format("numpy")


def _copies(prompt: Prompt, dataset: Dataset, augment: Augment | None, row_tokens: int, seed: int) -> list[list[Row]]:
    """Return the packed rows of each varied copy of the data; their members are places in `dataset.judgments`."""
    settings = augment or Augment()
    pairs = [dataset.pair(row) for row in dataset.judgments]
    product_first = prompt.spec.template == "product_first"
    groups = [row.product_id if product_first else row.query_id for row in dataset.judgments]
    return [
        pack(prompt.encode(augmented(pairs, settings, seed=seed + copy)), groups, row_tokens)
        for copy in range(settings.copies)
    ]


@torch.inference_mode()
def _features(model: PreTrainedModel, rows: Sequence[Row], pairs: int) -> Floats:
    features = np.zeros((pairs, model.config.hidden_size), dtype=np.float32)
    backbone = model.get_decoder().eval()
    for batch in _batches(sorted(rows, key=lambda row: -row.length), tokens=4096):
        inputs = collate(batch)
        readout = inputs.pop("readout")
        hidden = backbone(**inputs, use_cache=False).last_hidden_state
        features[[member for row in batch for member in row.members]] = hidden[readout[:, 0], readout[:, 1]].numpy()
    return features


def _batches(rows: Sequence[Row], tokens: int) -> Iterator[Sequence[Row]]:
    start = 0
    while start < len(rows):
        size = max(1, tokens // rows[start].length)
        yield rows[start : start + size]
        start += size


def _targets(dataset: Dataset, labels: Floats, config: DistributionalConfig) -> Floats:
    if config.variance == "empirical":
        return targets.empirical([row.labels for row in dataset.judgments])
    return targets.gaussian(labels)


_DEFAULTS: dict[str, Any] = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "report_to": "none",
    "logging_steps": 50,
    "disable_tqdm": False,
    "include_num_input_tokens_seen": "no",
    "prediction_loss_only": True,
    "dataloader_pin_memory": torch.cuda.is_available(),
    "use_cpu": not torch.cuda.is_available(),
    "gradient_checkpointing": False,
    "bf16": False,
}


def _defaults(recipe: Recipe) -> dict[str, Any]:
    """Return what phase 1 gets unless the recipe says otherwise: LoRA learns at a higher rate than all weights."""
    return {
        **_DEFAULTS,
        "bf16": True,
        "learning_rate": 2e-4 if recipe.lora else 2e-5,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "save_strategy": "steps",
        "save_total_limit": 2,
    }


def _lora(recipe: Recipe, readout: Readout) -> LoraConfig | None:
    if recipe.lora is None:
        return None
    return LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=recipe.lora.target_modules
        if isinstance(recipe.lora.target_modules, str)
        else list(recipe.lora.target_modules),
        trainable_token_indices={"embed_tokens": list(readout.token_ids)},
        task_type="CAUSAL_LM",
    )


def _base_folder(recipe: Recipe, train: Dataset, state: Path, seed: int) -> Path:
    """Return a new base in the run's own folder; a resumed run finds the one that it began with."""
    folder = state / "base"
    if folder.is_dir():
        return folder
    return new_base(training_texts(recipe, train), recipe.shape, folder, seed=seed)


def training_texts(recipe: Recipe, train: Dataset) -> list[str]:
    """Return what a new tokenizer learns from: the judged training pairs' texts and the template's own words."""
    fixed = re.sub(r"\{[{%].*?[%}]\}|<\|.*?\|>", " ", template_source(recipe.prompt.template))
    judged = dict.fromkeys(row.product_id for row in train.judgments)
    texts = [query.text for query in train.queries.values()]
    for product_id in judged:
        product = train.products[product_id]
        details = "; ".join(f"{name}: {value}" for name, value in product.attributes.items())
        parts = (
            fixed,
            recipe.prompt.instruction,
            product.title,
            product.brand,
            product.category,
            details,
            product.description,
        )
        texts.append(" ".join(part for part in parts if part))
    return texts


def _split(dataset: Dataset, name: Any) -> Dataset:
    part = dataset.of(name)
    if not part.judgments:
        raise BadInput(f"no query of the split {name!r} has a judgment; nothing to train on")
    return part


def _folders(out: str | Path, resume: bool) -> tuple[Path, Path]:
    """Return the checkpoint's folder and the trainer's, after checking that nothing is in the way."""
    out = Path(out)
    state = out.with_name(out.name + ".training")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out}: already exists; choose another --out or remove it")
    if resume and not any(state.glob("checkpoint-*")):
        raise BadInput(f"{state}: there is no saved state to resume from")
    if not resume:
        shutil.rmtree(state, ignore_errors=True)
    return out, state


def _last_metrics(trainer: Any) -> dict[str, float]:
    metrics = {"train_loss": trainer.state.log_history[-1].get("train_loss")}
    if trainer.eval_dataset is not None:
        metrics["validation_loss"] = trainer.evaluate()["eval_loss"]
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _export(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, card: Card, out: Path, state: Path
) -> Checkpoint:
    """Write a plain folder in bfloat16, as it will be served, so that every backend has the same weights.

    The folder appears whole or not at all: it is written under another name and renamed.
    """
    model.to(torch.bfloat16)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    card.save(partial)
    for file in partial.iterdir():  # safetensors writes for its owner alone; a server may run as somebody else
        file.chmod(0o644)
    if out.is_dir():
        out.rmdir()
    partial.replace(out)
    shutil.rmtree(state, ignore_errors=True)
    return Checkpoint.open(out)
