"""Muon for the hidden matrices and AdamW for everything else, as one optimizer that a trainer can drive.

Muon orthogonalises the update of a matrix (Jordan et al., 2024, kellerjordan.github.io/posts/muon); torch ships it for 2-D parameters
only, so embeddings, readout rows and norms stay with AdamW. Both share one schedule, each from its own peak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class MuonAdamW(torch.optim.Optimizer):
    """Two optimizers behind one interface; their groups are exposed side by side for the scheduler.

    Args:
        matrices: 2-D parameters for Muon.
        others: all other trainable parameters, for AdamW.
        muon_lr: peak learning rate of Muon.
        adamw_lr: peak learning rate of AdamW.
        weight_decay: of the matrices; the others have none.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        muon_lr: float,
        adamw_lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        """Build both."""
        self.muon = torch.optim.Muon(matrices, lr=muon_lr, weight_decay=weight_decay, momentum=0.95)
        self.adamw = torch.optim.AdamW(others, lr=adamw_lr, weight_decay=0.0, betas=(0.9, 0.98), fused=True)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        # The base class copies the groups; the schedulers must move the ones that the two optimizers read.
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with each."""
        loss = None if closure is None else closure()
        self.muon.step()
        self.adamw.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of both."""
        self.muon.zero_grad(set_to_none)
        self.adamw.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]


def hidden_matrices(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trainable matrices inside the decoder layers, and all other trainable parameters."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside = ".layers." in name and parameter.ndim == 2
            (matrices if inside else others).append(parameter)
    return matrices, others


def count(parameters: Iterable[Tensor]) -> int:
    """Return how many numbers the tensors hold."""
    return sum(parameter.numel() for parameter in parameters)
