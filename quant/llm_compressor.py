"""llm-compressor at work: a model's linear layers are quantized by a recipe and written, with its noise kept inside.

Imported plainly the library takes over the process's log and environment, and writes several progress bars a layer. All
that stays in here. What is written beside the weights, and whether they are right, is `quant.quantize`'s.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.schemes import Scheme
from gen_rerank.checkpoints.weights import reads_out
from gen_rerank.errors import BadInput
from gen_rerank.reporting.shell import say
from gen_rerank.scorers.transformers import model_class
from quant.example_pairs import ExamplePairs
from quant.recipes import Modifier, recipe

# What is not quantized is written in bfloat16, whatever the parent has: vLLM serves bfloat16, so the scores that are
# measured are the scores that are served, and a float32 embedding would be most of a small checkpoint's size.
REST = torch.bfloat16

_SWITCHES = {
    "LLM_COMPRESSOR_LOG_DISABLED": "true",
    "COMPRESSED_TENSORS_LOG_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
_PACKAGES = ("llmcompressor", "compressed_tensors")


def write_weights(
    parent: Checkpoint, scheme: Scheme, examples: ExamplePairs | None, folder: Path, console: Console
) -> tuple[Modifier, ...]:
    """Write `config.json` and the weights, with every linear layer but the readout quantized, and return the recipe.

    Args:
        parent: in full precision.
        scheme: of the table.
        examples: what runs through the model while scales are set; None where the scheme needs none.
        folder: where the files go.
        console: is told what is being done.

    Raises:
        BadInput: a layer whose size the scheme cannot take.
    """
    # In float32, so that a weight is rounded once: bfloat16 would round the scaled weight before the grid does.
    auto_class = model_class(parent.card.readout)
    model: PreTrainedModel = auto_class.from_pretrained(parent.folder, dtype=torch.float32)
    layers, left = linear_layers(model)
    group = group_for(scheme, layers)
    if group != scheme.groups[0]:
        say(f"{scheme.name}: groups of {group}, because {scheme.groups[0]} does not divide every layer", console)
    on = "" if examples is None else f", its scales set on {len(examples.pairs):,} pairs ({examples.tokens:,} tokens)"
    say(f"quantizing {len(layers)} layers with {scheme.name}{on}", console)
    steps = recipe(scheme, left, group)
    with _contained():
        _compress(model, layers, steps, examples, folder)
    return steps


def linear_layers(model: nn.Module) -> tuple[dict[str, nn.Linear], list[str]]:
    """Return the linear layers to quantize, by name, and the names of those that read the model out."""
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return {name: layer for name, layer in linear.items() if not reads_out(name)}, [*filter(reads_out, linear)]


def group_for(scheme: Scheme, layers: dict[str, nn.Linear]) -> int:
    """Return the first group of the scheme that divides the input size of every layer.

    Raises:
        BadInput: none does, or a layer has an output size that the scheme cannot take.
    """
    for name, layer in layers.items():
        for size, kind, divisor in (
            (layer.in_features, "input", min(scheme.groups)),
            (layer.out_features, "output", scheme.outputs),
        ):
            if size % divisor:
                raise BadInput(
                    f"{scheme.name} needs layers whose {kind} size is a multiple of {divisor}, but {name} has "
                    f"{size}; choose another scheme"
                )
    # Every group is a multiple of the smallest one, which divides.
    return next(group for group in scheme.groups if all(layer.in_features % group == 0 for layer in layers.values()))


def _compress(
    model: PreTrainedModel,
    layers: Collection[str],
    steps: Sequence[Modifier],
    examples: ExamplePairs | None,
    folder: Path,
) -> None:
    """Quantize the layers, round everything else to bfloat16, and write the model."""
    from llmcompressor import oneshot, reset_session

    modifiers = _modifiers(steps)
    try:
        # Several progress bars for each layer. Only now: what is imported may keep hold of the standard error.
        with redirect_stderr(io.StringIO()):
            oneshot(model=model, recipe=modifiers, dataset=_batches(examples))
        for name, parameter in model.named_parameters():
            owner, _, leaf = name.rpartition(".")
            if owner not in layers or leaf == "bias":
                parameter.data = parameter.data.to(REST)
        model.config.dtype = REST
        with redirect_stderr(io.StringIO()):
            model.save_pretrained(folder, save_compressed=True)
    finally:
        reset_session()  # it holds the model


def _modifiers(steps: Sequence[Modifier]) -> list[Any]:
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    known = {kind.__name__: kind for kind in (GPTQModifier, QuantizationModifier, SmoothQuantModifier)}
    return [known[step.modifier](**step.arguments) for step in steps]


def _batches(examples: ExamplePairs | None) -> DataLoader[dict[str, torch.Tensor]] | None:
    """Return the prompts one by one, whole: padding would count in the scales, a cut suffix would hide the readout."""
    if examples is None:
        return None
    prompts = [torch.tensor([ids]) for ids in examples.token_ids]
    rows: Any = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in prompts]  # a list is a data set
    return DataLoader(rows, batch_size=None)


@contextmanager
def _contained() -> Iterator[None]:
    """Keep llm-compressor's log lines off the terminal, and its changes of the environment to itself.

    Imported plainly it removes every loguru handler and adds its own on the standard output, where it warns of things
    that are no concern of the caller (a machine without a GPU); `oneshot` switches off parallel tokenization for the
    process. What would matter is checked by us on the written files, and its errors are exceptions.
    """
    with _environment(_SWITCHES):
        from loguru import logger

        try:
            logger.level("METRIC")
        except ValueError:  # GPTQ logs at a level of its own, which llm-compressor defines only where its log is on
            logger.level("METRIC", no=38)
        for package in _PACKAGES:
            logger.disable(package)
        logged_from = logging.root.manager.disable
        logging.disable(logging.WARNING)  # torch.fx, which takes layers one after the other, warns about itself
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Attempting to save a model with offloaded modules")
                yield
        finally:
            logging.disable(logged_from)
            for package in _PACKAGES:
                logger.enable(package)


@contextmanager
def _environment(switches: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for as long as the block runs."""
    before = {name: os.environ.get(name) for name in switches}
    os.environ.update(switches)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
