"""Bin rows that start where a linear probe of the base stands.

Rows that all start alike tell the layers nothing: the gradient that comes through them points along what all hidden
states have in common, which the last norm takes out again, and so a base may train for thousands of pairs before it
reads any of them. A probe reads what the base already knows: the hidden states of some pairs, as they are, and a ridge
regression of relevance on them. The rows then start as the bins' base rates, tilted to what the probe says. So fine
tuning starts from a fitted head (Kumar et al. 2022, arXiv 2202.10054). Reading the pairs is `distributional`'s.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import RidgeCV

from gen_rerank.bins import BIN_VALUES, Floats

_STRENGTHS = np.logspace(-1, 6, 15)  # times the features' variance: from hardly any regularisation to nothing learned
_LEAST = 1e-4  # of a bin's base rate: its logarithm must be a number


def probed_rows(features: Floats, targets: Floats) -> Floats:
    """Return eleven rows `[11, hidden]` float32 whose logits are the base rates, tilted to what a probe says.

    With the probe's relevance s, logit k is log p_k + (s − m) · c_k / v: p are the mean of all targets, m and v its
    mean and variance, c_k what bin k is worth. The mean of such a distribution is s, where s is near m.

    Args:
        features: `[n, hidden]`, the last hidden state of each pair.
        targets: `[n, 11]`, the distribution that each pair should get.

    Example:
        >>> features = np.array([[1.0, -1.0], [1.0, 1.0]] * 50, dtype=np.float32)
        >>> low, high = np.eye(11)[2], np.eye(11)[8]
        >>> rows = probed_rows(features, np.array([low, high] * 50))
        >>> (features[:2] @ rows.T).argmax(axis=1).tolist()
        [2, 8]
    """
    bins = np.array(BIN_VALUES)
    rates = targets.mean(axis=0)
    mean = float(rates @ bins)
    variance = float(rates @ (bins - mean) ** 2)
    centre, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    spread = np.where(spread > 0, spread, 1.0)
    probe = RidgeCV(alphas=_STRENGTHS).fit((features - centre) / spread, targets @ bins - mean)
    direction = probe.coef_ / spread
    # What makes 1 of every hidden state takes the place of a bias, which a row of the output matrix does not have.
    one = _constant(features.astype(np.float64))
    offset = float(probe.intercept_ - centre @ direction)
    levels = np.log(np.maximum(rates, _LEAST)) + offset * bins / variance
    return (np.outer(levels, one) + np.outer(bins / variance, direction)).astype(np.float32)


def _constant(features: Floats) -> Floats:
    """Return the vector `[hidden]` whose product with every row of `features` is nearly 1."""
    products = features.T @ features
    products += np.eye(len(products)) * (1e-3 * np.trace(products) / len(products))
    return np.linalg.solve(products, features.sum(axis=0))
