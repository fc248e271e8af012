"""Quantization-aware training: a model that computes as its quantized copy will, while its weights stay full floats.

Each linear layer rounds its weight and its input to a scheme's grid in every forward pass, with scales that follow the
weight as it moves (compressed-tensors' own arithmetic). Rounding has no useful gradient, so the backward pass takes it
for the identity: the straight-through estimator (Bengio et al. 2013, arXiv 1308.3432). What training leaves is a plain
checkpoint; turning it into the scheme is quantization's.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, fake_quantize, preset_name_to_scheme
from compressed_tensors.quantization.utils import calculate_qparams
from torch import Tensor, nn
from transformers import PreTrainedModel

from gen_rerank.checkpoints.schemes import scheme_named
from gen_rerank.errors import BadInput

FakeQuantization = Literal["int8", "fp8", "mxfp4", "mxfp4a16"]
"""Schemes that round each weight to the nearest point of a grid; its scale is the largest weight of its row or group.

The others find their weights from example data (GPTQ, SmoothQuant) or share a scale over several layers (NVFP4).
"""


def add_fake_quantization(model: PreTrainedModel, scheme: FakeQuantization) -> None:
    """Make every linear layer but the readout compute as quantized; no parameter gets another name, value or dtype.

    Args:
        model: a causal language model with float weights, about to be trained.
        scheme: what the trained checkpoint will be quantized to.

    Raises:
        BadInput: the scheme's groups do not divide a layer's input.

    Example:
        >>> add_fake_quantization(model, "mxfp4")  # doctest: +SKIP
    """
    chosen = preset_name_to_scheme(scheme_named(scheme).preset, targets=["Linear"])
    weights = cast(QuantizationArgs, chosen.weights)
    layers: dict[str, Any] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not model.get_output_embeddings()
    }
    for name, layer in layers.items():
        if layer.in_features % (weights.group_size or 1):
            raise BadInput(
                f"fake_quantization: {scheme} needs layers whose input size is a multiple of {weights.group_size}, but "
                f"{name} has {layer.in_features}; choose int8 or fp8"
            )
        layer.fake_quantization = chosen
        layer.forward = MethodType(_quantized_forward, layer)


class _Rounding(torch.autograd.Function):
    """Rounding to a grid, whose gradient is taken to be that of the identity."""

    @staticmethod
    def forward(_context: object, values: Tensor, args: QuantizationArgs) -> Tensor:
        """Return `values` `[…, n]`, in their own dtype, on the grid."""
        exact = values.float()  # so are scales found where the checkpoint is quantized, and where it is scored
        groups = exact.unflatten(-1, (-1, args.group_size or exact.shape[-1]))
        scale, zero_point = calculate_qparams(groups.amin(dim=-1), groups.amax(dim=-1), args)
        return fake_quantize(exact, scale, zero_point, args).to(values.dtype)

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient unchanged."""
        return gradient, None


def _quantized_forward(self: nn.Linear, values: Tensor) -> Tensor:
    """The forward pass of a fake-quantized linear layer."""
    scheme: QuantizationScheme = self.fake_quantization
    if scheme.input_activations is not None:
        values = _Rounding.apply(values, scheme.input_activations)
    return F.linear(values, _Rounding.apply(self.weight, scheme.weights), self.bias)
