"""Losses that are relative within a query: which product comes before which, and by how much, whatever the level.

KL teaches each pair its own distribution; these compare the mean scores of one query's products with each other. They
know of scores, labels and query numbers alone, so that decoders, encoders and whatever else has a mean use the same
ones. That a batch holds whole queries is `batches`' part; the weight beside KL is `pair_trainer`'s.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Relative = Literal["ranknet", "margin_mse", "listwise"]

# Scores lie in [0, 1], where a logistic function or a softmax is almost flat. Divided by the distance between two bins,
# neighbours on the scale are one unit apart, and its ends ten.
TEMPERATURE = 0.1


def relative_loss(kind: Relative, scores: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """Return Σ nᵩ·loss(query) / n over the queries of a batch with n pairs, nᵩ of them the query's; a scalar.

    As each pair has the weight 1/n, a step that is cut into batches of whole queries has the mean of all its pairs,
    wherever the cuts fall. A query with one product, or whose labels are all equal, adds nothing to the sum. The loss
    of a query, with scores s, labels y and τ = 0.1:

    - `ranknet` (Burges et al. 2005, "Learning to rank using gradient descent"): the mean of
      (yᵢ − yⱼ)·softplus(−(sᵢ − sⱼ)/τ) over its pairs of products with yᵢ > yⱼ;
    - `margin_mse` (Hofstätter et al. 2020, arXiv 2010.02666): the mean of ((sᵢ − sⱼ) − (yᵢ − yⱼ))² over all its pairs
      of products, which is twice the sample variance of s − y;
    - `listwise` (ListNet, top one: Cao et al. 2007, "Learning to rank: from pairwise approach to listwise approach"):
      the cross-entropy of softmax(s/τ) under softmax(y/τ).

    Args:
        kind: which one.
        scores: `[n]` in [0, 1], differentiable.
        labels: `[n]` in [0, 1].
        queries: `[n]` int; pairs with the same number are compared.

    Example:
        >>> y = torch.tensor([1.0, 0.0, 0.5])
        >>> relative_loss("margin_mse", torch.tensor([0.5, 0.3, 0.9]), y, torch.tensor([0, 0, 1])).round(decimals=4)
        tensor(0.4267)
    """
    same = queries[:, None] == queries[None, :]
    above = same & (labels[:, None] > labels[None, :])
    count = same.sum(dim=1)
    # Of each pair's query: how many pairs of products it has whose labels differ.
    differing = (same * above.sum(dim=1)).sum(dim=1)
    if kind == "ranknet":
        margins = (scores[:, None] - scores[None, :]) / TEMPERATURE
        costs = above * (labels[:, None] - labels[None, :]) * F.softplus(-margins)
        terms = count * costs.sum(dim=1) / differing.clamp(min=1)
    elif kind == "margin_mse":
        errors = scores - labels
        means = (same * errors).sum(dim=1) / count
        terms = 2 * count * (errors - means) ** 2 / (count - 1).clamp(min=1)
    else:
        terms = -count * _log_softmax(labels, same).exp() * _log_softmax(scores, same)
    return (terms * (differing > 0)).sum() / len(scores)


def _log_softmax(values: Tensor, same: Tensor) -> Tensor:
    """Return the logarithm of the softmax `[n]` of values / τ within each query."""
    scaled = values / TEMPERATURE
    return scaled - scaled.expand(len(scaled), -1).masked_fill(~same, -torch.inf).logsumexp(dim=1)
