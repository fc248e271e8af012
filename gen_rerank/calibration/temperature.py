"""The temperature that brings a model's distributions closest to what they should say.

One number for a whole checkpoint: it flattens or sharpens every distribution and leaves the order of the logits of a
pair alone. Which pairs it is fitted on is the caller's choice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Of log temperature: from a twelfth to twelve.
_RANGE = (-2.5, 2.5)


def fit_temperature(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Return the temperature by which logits must be divided to come closest, in KL, to the targets.

    A convex problem in its inverse: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv 1706.04599.

    Args:
        logits: `[n, k]`.
        targets: `[n, k]`, rows sum to 1.

    Example:
        >>> logits = np.array([[0.0, 2.0] + [-30.0] * 9])
        >>> half = np.exp(logits / 2.0)
        >>> round(fit_temperature(logits, half / half.sum()), 2)
        2.0
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    given, wanted = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)

    def cross_entropy(log_temperature: float) -> float:
        """Return KL(target ‖ model) but for the entropy of the targets, which no temperature changes; nats a pair."""
        return -float((wanted * log_softmax(given / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    return float(np.exp(minimize_scalar(cross_entropy, bounds=_RANGE, method="bounded").x))
