"""Labels become target distributions: annotators' disagreement as signal, not as error.

`gaussian` puts a Gaussian around the label, truncated to the bins, whose width grows near the label transitions, where
people disagree more. `empirical` takes the annotators' own grades, smoothed. Both give `[n, 11]` rows for a KL loss;
`targets_of` is the one entry for trainers. Estimating the widths from labels is left to `train.noise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import BIN_VALUES, Floats
from gen_rerank.data.records import Judgment
from gen_rerank.data.sigma import TRANSITIONS, sigma
from gen_rerank.errors import BadInput

Variance = Literal["fixed", "fitted", "empirical"]

_FLOOR = 1e-8


@dataclass(frozen=True)
class Noise:
    """The width of the target as a function of the label, in units of relevance.

    The form is `gen_rerank.data.sigma`'s, with σ_max and δ those of the nearest transition. The defaults are the
    published RexReranker constants (github.com/bajajra/RexReranker).

    Attributes:
        sigma_min: far from every transition.
        transitions: the labels around which people disagree more.
        sigma_max: at each transition.
        delta: how far each transition reaches.

    Raises:
        BadInput: another number of widths than of transitions, or one that is not positive.

    Example:
        >>> Noise().sigma(np.array([0.2])).round(3).tolist()
        [0.12]
    """

    sigma_min: float = 0.04
    transitions: tuple[float, ...] = TRANSITIONS
    sigma_max: tuple[float, ...] = (0.12, 0.12, 0.08)
    delta: tuple[float, ...] = (0.08, 0.08, 0.06)

    def __post_init__(self) -> None:
        """Check that there is a width for each transition."""
        if not len(self.transitions) == len(self.sigma_max) == len(self.delta) > 0:
            raise BadInput("noise needs as many sigma_max and delta as transitions, and at least one")
        if min(self.sigma_min, *self.sigma_max, *self.delta) <= 0:
            raise BadInput("sigma_min, sigma_max and delta must be positive")

    def sigma(self, labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return σ(y) for labels `[n]` in [0, 1]."""
        distance = np.abs(np.asarray(labels, dtype=np.float64)[:, None] - np.asarray(self.transitions)[None, :])
        nearest = distance.argmin(axis=1)
        peak, delta = np.asarray(self.sigma_max)[nearest], np.asarray(self.delta)[nearest]
        width: npt.NDArray[np.float64] = sigma(distance.min(axis=1), self.sigma_min, peak, delta, np.exp)
        return width


def targets_of(judgments: Sequence[Judgment], variance: Variance, noise: Noise | None = None) -> Floats:
    """Return the targets of judged pairs, `[n, 11]` float32, rows sum to 1 and have no zeros.

    Args:
        judgments: the pairs.
        variance: `fixed`, a Gaussian around the relevance with the published widths; `fitted`, the same with those of
            `noise`; `empirical`, the annotators' smoothed histogram. One grade says nothing of disagreement, so a pair
            with fewer than two labels gets the `fixed` target there.
        noise: what `train.noise.fit_noise` found; for `fitted`.

    Raises:
        BadInput: `fitted` without `noise`.

    Example:
        >>> rows = [Judgment(query_id="q", product_id="p", relevance=0.5, labels=(0.4, 0.6))]
        >>> (targets_of(rows, "empirical")[0, 3:8] * 100).round().tolist()
        [5.0, 39.0, 11.0, 39.0, 5.0]
    """
    if variance == "fitted" and noise is None:
        raise BadInput("variance: fitted needs the noise that was fitted to the labels")
    wanted = gaussian([row.relevance for row in judgments], noise if variance == "fitted" else None)
    if variance == "empirical":
        repeated = [i for i, row in enumerate(judgments) if len(row.labels) > 1]
        if repeated:
            wanted[repeated] = empirical([judgments[i].labels for i in repeated])
    return wanted


def gaussian(labels: npt.ArrayLike, noise: Noise | None = None) -> Floats:
    """Return truncated Gaussian targets, `[n, 11]` float32, for labels `[n]` in [0, 1].

    q_k ∝ exp(−(y − c_k)² / 2σ(y)²) over the bin centres c_k, floored at 1e-8 and renormalised.

    Example:
        >>> gaussian([0.0])[0, 0].round(2)
        np.float32(0.93)
    """
    given = np.asarray(labels, dtype=np.float64)
    sigma = (noise or Noise()).sigma(given)
    exponent = -((given[:, None] - BIN_VALUES[None, :]) ** 2) / (2 * sigma[:, None] ** 2)
    weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return _normalised(weights)


def empirical(labels: Sequence[Sequence[float]], *, bandwidth: float = 0.05) -> Floats:
    """Return the annotators' histogram, `[n, 11]` float32, each grade spread over the bins by a Gaussian kernel.

    Args:
        labels: the single grades of each pair; at least one each.
        bandwidth: standard deviation of the kernel, in units of relevance.

    Raises:
        BadInput: a pair has no grades, or the bandwidth is not positive.
    """
    if bandwidth <= 0:
        raise BadInput(f"the bandwidth must be positive, not {bandwidth}")
    counts = np.array([len(grades) for grades in labels])
    if not counts.all():
        raise BadInput(f"pair {int(counts.argmin())} has no annotators' labels")
    flat = np.concatenate([np.asarray(grades, dtype=np.float64) for grades in labels])
    kernel = np.exp(-((flat[:, None] - BIN_VALUES[None, :]) ** 2) / (2 * bandwidth**2))
    kernel /= kernel.sum(axis=1, keepdims=True)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return _normalised(np.add.reduceat(kernel, starts, axis=0) / counts[:, None])


def _normalised(weights: npt.NDArray[np.float64]) -> Floats:
    rows = np.maximum(weights / weights.sum(axis=1, keepdims=True), _FLOOR)
    return (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
