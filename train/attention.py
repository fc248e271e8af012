"""Which kernel multiplies the attention of a training step: on a CPU, plain matrix products where rows are short.

PyTorch's fused kernel for CPUs is slow backwards where rows are short (`benchmarks/small_step.py`). Plain products keep
the attention's weights instead, which costs memory that grows with the square of a row. GPUs choose for themselves.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

SHORT_ROW = 256


def attention_kernel(tokens: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which attention is computed by the faster kernel.

    Args:
        tokens: `[rows, width, …]`, what the model is about to read.

    Example:
        >>> import torch
        >>> with attention_kernel(torch.zeros(4, 56)):
        ...     print(torch.backends.cuda.flash_sdp_enabled())
        False
    """
    if tokens.device.type == "cpu" and tokens.shape[1] <= SHORT_ROW:
        chosen: AbstractContextManager[Any] = sdpa_kernel([SDPBackend.MATH])
        return chosen
    return nullcontext()
