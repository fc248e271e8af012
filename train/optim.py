"""Optimizers that torch lacks: Muon with AdamW as one, and a float32 copy of weights that are trained in bfloat16.

Muon orthogonalises the update of a matrix (Jordan et al., 2024, kellerjordan.github.io/posts/muon); torch ships it for
2-D parameters only, so embeddings, readout rows and norms stay with AdamW. Both share one schedule, each from its own
peak. torch multiplies in bfloat16 there; where the machine only emulates that, `Float32Muon` takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gen_rerank.system.machine import Machine


def orthogonalized(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Return the matrix with its singular values moved to about 1 (0.7 to 1.2 after five steps), in its own dtype.

    This is the quintic Newton-Schulz iteration of Jordan et al., 2024 (kellerjordan.github.io/posts/muon).

    Args:
        matrix: of the shape (rows, columns); not changed.
        coefficients: a, b and c of `a * X + b * (X X^T) X + c * (X X^T)^2 X`.
        steps: how often that is applied.
        eps: the least norm by which the matrix is divided.

    Example:
        >>> squares = orthogonalized(torch.diag(torch.tensor([3.0, 1.0])), (3.4445, -4.775, 2.0315), 5, 1e-7)
        >>> [round(value, 1) for value in squares.diag().tolist()]
        [0.8, 1.1]
    """
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Float32Muon(torch.optim.Muon):
    """torch's Muon with its products in the gradient's dtype; its state is the same, so either reads the other's."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)
        return loss

    def _move(self, weight: nn.Parameter, group: dict[str, Any]) -> None:
        assert group["nesterov"], "only torch's defaults are written here"
        assert group["adjust_lr_fn"] is None, "only torch's defaults are written here"
        assert weight.grad is not None
        momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight.grad))
        momentum.lerp_(weight.grad, 1 - group["momentum"])
        update = weight.grad.lerp(momentum, group["momentum"])
        update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        # A tall matrix takes a longer step, so that the change of its outputs is as large as a square one's.
        weight.add_(update, alpha=-group["lr"] * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5)


class MuonAdamW(torch.optim.Optimizer):
    """Two optimizers behind one interface; their groups are exposed side by side for the scheduler.

    Args:
        matrices: 2-D parameters for Muon.
        others: all other trainable parameters, or groups of them, for AdamW.
        muon_lr: peak learning rate of Muon.
        adamw_lr: peak learning rate of AdamW.
        weight_decay: of the matrices; the others have none.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        muon_lr: float,
        adamw_lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        """Build both."""
        muon = torch.optim.Muon if Machine.here().computes_bfloat16 else Float32Muon
        self.muon = muon(matrices, lr=muon_lr, weight_decay=weight_decay, momentum=0.95)
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


class MasterWeights(torch.optim.Optimizer):
    """Any optimizer, run on a float32 copy of the weights; the model's own low-precision weights follow it.

    A bfloat16 weight has eight significant bits, so a small update to it is rounded away; the copy takes it up
    (Micikevicius et al., "Mixed Precision Training", ICLR 2018).

    Args:
        inner: an optimizer that has not taken a step; its parameters are replaced by their copies.

    Example:
        >>> weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
        >>> MasterWeights(torch.optim.AdamW([weight])).param_groups[0]["params"][0].dtype
        torch.float32
    """

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        """Copy the weights."""
        assert not inner.state, "an optimizer that has taken steps cannot change its parameters"
        self.inner = inner
        self.weights: list[nn.Parameter] = []
        for group in inner.param_groups:
            self.weights += group["params"]
            group["params"] = [nn.Parameter(weight.detach().clone().float()) for weight in group["params"]]
        super().__init__(inner.param_groups, {})
        # The base class copies the groups; the schedulers must move the ones that the inner optimizer reads.
        self.param_groups = inner.param_groups

    @property
    def copies(self) -> list[nn.Parameter]:
        """The float32 copies, in the order of `weights`."""
        return [copy for group in self.param_groups for copy in group["params"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Hand the gradients to the copies, step, and round the copies into the weights."""
        loss = None if closure is None else closure()
        for weight, copy in zip(self.weights, self.copies, strict=True):
            copy.grad = None if weight.grad is None else weight.grad.float()
        self.inner.step()
        for weight, copy in zip(self.weights, self.copies, strict=True):
            weight.copy_(copy)
            copy.grad = None
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of the weights."""
        for weight in self.weights:
            if set_to_none:
                weight.grad = None
            elif weight.grad is not None:
                weight.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return the inner state and the copies, which hold more than the weights do."""
        return {"inner": self.inner.state_dict(), "copies": [copy.detach() for copy in self.copies]}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both."""
        self.inner.load_state_dict(state_dict["inner"])
        self.param_groups = self.inner.param_groups
        for copy, saved in zip(self.copies, state_dict["copies"], strict=True):
            copy.copy_(saved)


def hidden_matrices(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trainable matrices inside the decoder layers, and all other trainable parameters."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside = ".layers." in name and parameter.ndim == 2
            (matrices if inside else others).append(parameter)
    return matrices, others
