"""σ(y): how far people's labels of a pair of relevance y lie apart, widest at the transitions between grades.

One formula for whoever needs it: the targets of training, the noise that is fitted to labels (with a gradient) and the
annotators of the sample. Which constants, and what a width does, is theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Where the grades of a pair change from one to the next, and people disagree most.
TRANSITIONS = (0.2, 0.5, 0.8)


def sigma(distance: Any, sigma_min: Any, sigma_max: Any, delta: Any, exp: Callable[[Any], Any]) -> Any:
    """Return σ = σ_min + (σ_max − σ_min) · exp(−d² / 2δ²), in units of relevance.

    The published form (github.com/bajajra/RexReranker), there with fixed constants.

    Args:
        distance: d, from y to the nearest transition; a number, an array or a tensor.
        sigma_min: far from every transition.
        sigma_max: at that transition.
        delta: how far that transition reaches.
        exp: the exponential of the kind that `distance` is of: `math.exp`, `np.exp` or `torch.exp`.

    Example:
        >>> import math
        >>> sigma(0.0, 0.04, 0.12, 0.08, math.exp)
        0.12
    """
    return sigma_min + (sigma_max - sigma_min) * exp(-(distance**2) / (2 * delta**2))
