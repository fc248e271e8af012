"""How long a training run takes and how much memory it needs: `python -m train.estimate 0.6b --pairs 100000`.

Time is floating-point operations divided by a GPU's dense bfloat16 peak and an assumed share of it; memory is
weights, gradients, optimizer state and what the backward pass has to remember. Sizes come from the model's
configuration on PyTorch's meta device: no weights are read. These are estimates, good to a factor of about 1.5, and
marked as such. Of the machine at hand nothing is assumed: `measured_flops` runs one layer of the model there.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from rich.console import Console
from torch import nn
from transformers import AutoConfig, AutoModel, LlamaConfig, PretrainedConfig, Qwen3Config

from gen_rerank.errors import BadInput
from gen_rerank.reporting.tables import TextTable
from gen_rerank.system.machine import Machine
from train.attention import attention_kernel
from train.bases import base_folder
from train.defaults import fast_dtype
from train.recipe import Recipe
from train.smollm2 import SMOLLM2

Method = Literal["full", "lora", "qlora", "frozen"]

GIB = 2**30

# The shapes of the recipes' bases, as their makers publish them, so that an estimate needs no download.
_QWEN3: dict[str, Any] = {
    "vocab_size": 151936, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
    "max_position_embeddings": 40960, "tie_word_embeddings": True,
}  # fmt: skip
_QWEN3_06B = Qwen3Config(**_QWEN3, hidden_size=1024, intermediate_size=3072)
PUBLISHED: dict[str, PretrainedConfig] = {
    "Qwen/Qwen3-0.6B": _QWEN3_06B,
    "Qwen/Qwen3-Reranker-0.6B": _QWEN3_06B,
    "Qwen/Qwen3-1.7B": Qwen3Config(**_QWEN3, hidden_size=2048, intermediate_size=6144),
    SMOLLM2: LlamaConfig(
        vocab_size=49152, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, hidden_size=576,
        intermediate_size=1536, max_position_embeddings=8192, tie_word_embeddings=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Device:
    """What a run could be done on.

    Attributes:
        name: for people.
        peak: dense bfloat16 matrix multiplication with float32 sums, in FLOP/s.
        memory: in bytes.
        share: of the peak that training reaches; an assumption.
    """

    name: str
    peak: float
    memory: float
    share: float = 0.4


DEVICES = (
    Device("24 GB GPU (RTX 4090)", 165e12, 24 * GIB),
    Device("80 GB GPU (A100)", 312e12, 80 * GIB),
    Device("80 GB GPU (H100 SXM)", 989e12, 80 * GIB),
)

_TOKENS_MEASURED = 2048

# What the library and the driver take beside the tensors.
_WORKSPACE = 1 * GIB
# 4 bits a weight and 0.127 for the twice quantized scales (Dettmers et al. 2023, arXiv 2305.14314, section 3).
_NF4_BYTES = 4.127 / 8


@dataclass(frozen=True)
class StepPlan:
    """What the figures depend on beside the model's shape.

    Attributes:
        method: all weights, a LoRA, a LoRA on a base in NF4, or a forward pass only.
        weights: what all weights are kept in by the method `full`.
        rank: of the LoRA.
        width: tokens of a row; attention is counted over all of it, because a packed row's mask is dense.
        batch_tokens: tokens of a step on one device.
        checkpointing: the backward pass computes each layer again instead of remembering it.
    """

    method: Method = "full"
    weights: Literal["float32", "bfloat16"] = "float32"
    rank: int = 16
    width: int = 512
    batch_tokens: int = 4096
    checkpointing: bool = False


@dataclass(frozen=True)
class StepMemory:
    """Bytes at the peak of a step."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of it, with what libraries and driver take."""
        return self.weights + self.gradients + self.optimizer + self.activations + _WORKSPACE


class ParameterCounts:
    """A decoder's or an encoder's numbers of parameters, without the few of a classification head.

    Example:
        >>> size = ParameterCounts(base_config(Recipe.load("1.3b")))
        >>> f"{size.total / 1e9:.2f}B, {size.layers / 1e9:.2f}B of them compute"
        '1.32B, 1.01B of them compute'
    """

    def __init__(self, config: PretrainedConfig) -> None:
        """Build the model without weights."""
        with torch.device("meta"):
            self._model: nn.Module = AutoModel.from_config(config)
        # `AutoModel` builds what lies below the output matrix, which is another one where it is not tied to the
        # embeddings.
        self._output = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size

    @cached_property
    def total(self) -> int:
        """All parameters; tied ones count once."""
        return sum(parameter.numel() for parameter in self._model.parameters()) + self._output

    @cached_property
    def layers(self) -> int:
        """Those of the layers' matrices, which do the computing."""
        return sum(outputs * inputs for outputs, inputs in self._matrices)

    def lora(self, rank: int) -> int:
        """Return the parameters of a LoRA of `rank` on every matrix of the layers."""
        return sum(rank * (outputs + inputs) for outputs, inputs in self._matrices)

    @cached_property
    def _matrices(self) -> list[tuple[int, ...]]:
        named = self._model.named_parameters()
        # A list of layers is called `layers`, in a BERT `layer`.
        return [tuple(matrix.shape) for name, matrix in named if re.search(r"\blayers?\.", name) and matrix.ndim == 2]


def base_config(recipe: Recipe) -> PretrainedConfig:
    """Return the configuration of what a recipe trains: its base's, with as many layers as it keeps.

    Raises:
        BadInput: the recipe has no base, the base cannot be found, or it has fewer layers than the recipe keeps.
    """
    if recipe.base is None:
        raise BadInput("the recipe makes a new base from nothing; an estimate needs one with a `base`")
    config = PUBLISHED.get(recipe.base) or AutoConfig.from_pretrained(base_folder(recipe.base))
    for key, count in (("keep_layers", recipe.keep_layers), ("keep_lowest_layers", recipe.keep_lowest_layers)):
        if count is None:
            continue
        if count > config.num_hidden_layers:
            raise BadInput(f"{key}: {count} is more than the {config.num_hidden_layers} of {recipe.base}")
        return with_layers(config, count)
    return config


def with_layers(config: PretrainedConfig, count: int) -> PretrainedConfig:
    """Return the configuration of the same model with its first `count` layers.

    Example:
        >>> with_layers(base_config(Recipe.load("0.6b")), 20).num_hidden_layers
        20
    """
    config = copy.deepcopy(config)
    config.num_hidden_layers = count
    if (kinds := getattr(config, "layer_types", None)) is not None:  # only some architectures name them
        config.layer_types = kinds[:count]
    return config


def flops_per_token(config: PretrainedConfig, plan: StepPlan) -> float:
    """Return the floating-point operations that one token costs, in training unless the plan's method is `frozen`.

    A forward pass takes 2 a weight, and a backward pass 2 for the gradient of the input and 2 for that of the weight,
    which frozen weights do not need (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). The 11 readout rows are too
    few to count.

    Example:
        >>> plan = StepPlan("frozen", width=256)
        >>> round(flops_per_token(base_config(Recipe.load("0.6b")), plan) * 256 / 1e9)  # one pair
        241
    """
    size = ParameterCounts(config)
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * _head_width(config) * plan.width
    forward = 2 * size.layers + attention
    if plan.method == "frozen":
        return forward
    if plan.method == "full":
        cost = 6 * size.layers + 3 * attention
    else:
        cost = 4 * size.layers + 6 * size.lora(plan.rank) + 3 * attention
    return cost + forward * plan.checkpointing


def estimate_seconds(
    config: PretrainedConfig, tokens: float, *, flops_per_second: float, plan: StepPlan | None = None
) -> float:
    """Return the seconds that `tokens` take at `flops_per_second`.

    Args:
        config: of the model, a decoder or an encoder.
        tokens: padding included, over all epochs.
        flops_per_second: what is really reached: a share of the peak.
        plan: method and row width; training all weights by default.

    Example:
        >>> speed = measured_flops(config, StepPlan(), autocast=True)  # doctest: +SKIP
        >>> estimate_seconds(config, 2e6, flops_per_second=speed)  # doctest: +SKIP
        7310.5
    """
    return tokens * flops_per_token(config, plan or StepPlan()) / flops_per_second


def step_memory(config: PretrainedConfig, plan: StepPlan) -> StepMemory:
    """Return the bytes that one training step of `plan.batch_tokens` needs, with AdamW.

    - All weights in float32: 4 bytes a weight, 4 of gradient, 8 of optimizer, and autocast's bfloat16 copies. In
      bfloat16: 2, 2, and 12 (two moments and the optimizer's float32 copy).
    - LoRA: the base in bfloat16 or NF4 (then the embeddings in float32), and 16 bytes for each weight of its own.

    What the backward pass remembers of a layer, in bytes a token: 8 for each unit of the MLP, 14 and 6 for each of
    the query heads' and the key and value heads' widths, and for the residual stream 16 in bfloat16, 18 under a LoRA,
    26 in float32.
    """
    size = ParameterCounts(config)
    own = size.lora(plan.rank)
    rest = size.total - size.layers
    if plan.method == "full":
        residual = 26 if plan.weights == "float32" else 16
        parts = (4 * size.total + 2 * size.layers, 4 * size.total, 8 * size.total)
        if plan.weights == "bfloat16":
            parts = (2 * size.total, 2 * size.total, 12 * size.total)
        weights, gradients, optimizer = map(float, parts)
    elif plan.method == "lora":
        residual = 18
        weights, gradients, optimizer = 2 * size.total + 4 * own, 4 * own, 8 * own
    elif plan.method == "qlora":
        residual = 26
        weights = _NF4_BYTES * size.layers + 4 * rest + 4 * own
        gradients, optimizer = 4 * own, 8 * own
    else:
        return StepMemory(2 * size.total, 0, 0, plan.batch_tokens * _layer_bytes(config, 16))
    layer = _layer_bytes(config, residual)
    remembered = config.num_hidden_layers * layer
    if plan.checkpointing:
        remembered = config.num_hidden_layers * 4 * config.hidden_size + layer
    return StepMemory(weights, gradients, optimizer, plan.batch_tokens * remembered)


def measured_flops(config: PretrainedConfig, plan: StepPlan, *, autocast: bool, seconds: float = 0.5) -> float:
    """Return the FLOP/s that one layer of a model reaches on this machine, forward and backward.

    A product of large matrices is faster by far than a narrow layer, whose time goes into norms, activations and
    rounding as well.

    Args:
        config: of the model, a decoder or an encoder.
        plan: how it is trained; of a large batch only as many rows as have 2,048 tokens are read.
        autocast: whether products are rounded to bfloat16.
        seconds: how long to measure, after a warm-up.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plan = replace(plan, rank=0, checkpointing=False)  # neither is in this one layer
    one = with_layers(config, 1)
    one.vocab_size, one.pad_token_id, one.use_cache = 1, None, False
    dtype = getattr(torch, plan.weights) if plan.method == "full" else fast_dtype()
    layer = AutoModel.from_config(one, dtype=dtype).to(device).requires_grad_(plan.method == "full")
    rows = max(1, min(plan.batch_tokens, _TOKENS_MEASURED) // plan.width)
    states = torch.randn(rows, plan.width, one.hidden_size, dtype=dtype, device=device)
    states.requires_grad_(plan.method != "frozen")

    def step_seconds() -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast), attention_kernel(states):
            read = layer(inputs_embeds=states).last_hidden_state
        if read.requires_grad:
            read.float().sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    step_seconds()
    times = [step_seconds()]
    while sum(times) < seconds:
        times.append(step_seconds())
    return rows * plan.width * flops_per_token(one, plan) * len(times) / sum(times)


def recipe_plan(recipe: Recipe, method: Method | None = None) -> StepPlan:
    """Return the plan of a recipe's phase 1, by its own method unless another is given."""
    section = recipe.distributional
    own: Method = "full" if recipe.lora is None else "lora" if recipe.quantize_base is None else "qlora"
    width = int(section.get("row_tokens", StepPlan.width))
    return StepPlan(
        method=method or own,
        weights=recipe.weights,
        rank=recipe.lora.r if recipe.lora else StepPlan.rank,
        width=width,
        batch_tokens=max(width, int(section.get("batch_tokens", StepPlan.batch_tokens))),
        checkpointing=bool(section.get("gradient_checkpointing", False)),
    )


def training_tokens(recipe: Recipe, pairs: int, tokens_per_pair: int) -> float:
    """Return the tokens of a recipe's phase 1: all copies of all pairs in every epoch, or what `max_steps` allows."""
    section = recipe.distributional
    if int(section.get("max_steps", -1)) > 0:
        steps = int(section["max_steps"]) * int(section.get("gradient_accumulation_steps", 1))
        return steps * recipe_plan(recipe).batch_tokens
    return float(section.get("num_train_epochs", 3)) * recipe.augment.copies * pairs * tokens_per_pair


def estimates_table(recipe: Recipe, name: str, pairs: int, tokens_per_pair: int) -> TextTable:
    """Return one row a method and device: hours of both phases and the peak of memory."""
    config = base_config(recipe)
    size = ParameterCounts(config)
    own = recipe_plan(recipe)
    tokens = training_tokens(recipe, pairs, tokens_per_pair)
    once = recipe.augment.copies * pairs * tokens_per_pair
    table = TextTable(
        f"{name}: {size.total / 1e9:.2f}B parameters, {pairs:,} pairs of {tokens_per_pair} tokens, "
        f"{tokens / 1e6:.0f}M tokens in phase 1, {own.batch_tokens:,} a step",
        "Estimates by FLOP count: at 40% of a GPU's peak, not run, and here at the speed of one layer, just measured. "
        "One device; * the recipe's own method. Validation and QLoRA's time to dequantize are not counted.",
    )
    for column in (
        "Method",
        "Device",
        "Phase 1, h",
        "Phase 2, h",
        "Weights",
        "Gradients",
        "Optimizer",
        "Activations",
        "Peak, GiB",
    ):
        table.add_column(column, justify="left" if column in ("Method", "Device") else "right", no_wrap=True)
    methods: tuple[Method, ...] = ("full", "lora", "qlora")
    frozen = recipe_plan(recipe, "frozen")
    here = _speed_here(config, frozen)
    for method in methods:
        plan = recipe_plan(recipe, method)
        memory = step_memory(config, plan)
        for device in (*DEVICES, None):
            speed, reading_speed = (device.peak * device.share,) * 2 if device else (_speed_here(config, plan), here)
            hours = estimate_seconds(config, tokens, flops_per_second=speed, plan=plan) / 3600
            reading = estimate_seconds(config, once, flops_per_second=reading_speed, plan=frozen) / 3600
            parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.total)
            peak = [f"{part / GIB:.1f}" for part in parts]
            if memory.total > (_memory_here() if device is None else device.memory):
                peak[-1] += ": does not fit"
            mark = "*" if method == own.method else ""
            called = "this machine, measured" if device is None else device.name
            table.add_row(method + mark, called, f"{hours:.2f}", f"{reading:.2f}", *peak)
        table.add_section()
    return table


def _speed_here(config: PretrainedConfig, plan: StepPlan) -> float:
    return measured_flops(config, plan, autocast=fast_dtype() is torch.bfloat16, seconds=0.1)


def _memory_here() -> float:
    """Return the bytes of this machine's first GPU, or of its main memory."""
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory)
    return Machine.here().memory_gib * GIB


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a recipe; exit code 2 and one sentence for a recipe that cannot be read."""
    parser = argparse.ArgumentParser(description="Estimate hours and memory of a training run.")
    parser.add_argument("recipe", help="a preset (small, 0.6b, 1.3b, rexreranker-0.6b) or a YAML file")
    parser.add_argument("--pairs", type=int, default=100_000, help="judged pairs of the training split")
    parser.add_argument("--tokens-per-pair", type=int, default=256, help="tokens a pair, after packing")
    given = parser.parse_args(arguments)
    try:
        table = estimates_table(Recipe.load(given.recipe), given.recipe, given.pairs, given.tokens_per_pair)
    except BadInput as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        return 2
    Console(width=max(150, Console().width)).print(table)
    return 0


def _head_width(config: PretrainedConfig) -> int:
    """Return the width of an attention head, which not every kind of configuration names."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _layer_bytes(config: PretrainedConfig, residual: int) -> int:
    """Return what one layer's backward pass remembers of a token, in bytes."""
    queries = config.num_attention_heads * _head_width(config)
    keys = (getattr(config, "num_key_value_heads", None) or config.num_attention_heads) * _head_width(config)
    mlp = getattr(config, "intermediate_size", None) or 4 * config.hidden_size  # as GPT-2's, which does not name it
    return residual * config.hidden_size + 14 * queries + 6 * keys + 8 * mlp


if __name__ == "__main__":
    sys.exit(main())
