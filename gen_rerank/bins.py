"""The idea of the project: relevance as a distribution over eleven bins.

A model answers a pair (query, product) with eleven logits, one for each *bin token* `<|rel_0|>` … `<|rel_10|>`, worth
0.0, 0.1 … 1.0. Their softmax is the relevance distribution; its mean is the score, its spread says how sure the
model is, and its upper tail answers "is it good enough to show?". `Distribution` is the value that travels through the
whole project. This module needs NumPy only: it knows nothing of models, prompts or data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gen_rerank.errors import BadInput

BIN_COUNT = 11
BIN_TOKENS: tuple[str, ...] = tuple(f"<|rel_{k}|>" for k in range(BIN_COUNT))
BIN_VALUES: npt.NDArray[np.float64] = np.linspace(0.0, 1.0, BIN_COUNT)
BIN_VALUES.flags.writeable = False

_SUM_TOLERANCE = 1e-3
_STEP = 1e-6

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Distribution:
    """Relevance distributions of a batch of pairs.

    Attributes:
        probabilities: `[n, 11]` float32, rows sum to 1. Read-only.

    Raises:
        BadInput: wrong shape, NaN or infinite entries, negative entries, or rows that do not sum to 1 (within 1e-3;
            what is within is normalised).

    Example:
        >>> d = Distribution(np.eye(11)[[10, 5]])
        >>> d.mean.tolist()
        [1.0, 0.5]
    """

    probabilities: Floats

    def __post_init__(self) -> None:
        """Check the rows and store them normalised, as float32."""
        given = np.asarray(self.probabilities, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != BIN_COUNT:
            raise BadInput(f"a distribution needs probabilities of shape [n, {BIN_COUNT}], not {list(given.shape)}")
        if not np.isfinite(given).all():
            raise BadInput(f"probabilities are not finite in row {_first_row(~np.isfinite(given))}")
        if (given < 0).any():
            raise BadInput(f"probabilities are negative in row {_first_row(given < 0)}")
        sums = given.sum(axis=1, keepdims=True)
        if (np.abs(sums - 1) > _SUM_TOLERANCE).any():
            row = _first_row(np.abs(sums - 1) > _SUM_TOLERANCE)
            raise BadInput(f"probabilities sum to {sums[row, 0]:.4g}, not 1, in row {row}")
        rows = (given / sums).astype(np.float32)
        rows.flags.writeable = False
        object.__setattr__(self, "probabilities", rows)

    @classmethod
    def from_logits(
        cls, logits: npt.ArrayLike, *, temperature: float = 1.0, values: Sequence[float] | None = None
    ) -> Distribution:
        """Return the softmax of logits.

        Args:
            logits: `[n, k]`, one column for each readout token, in float.
            temperature: divides the logits; above 1 flattens.
            values: the worth of each column, each one of 0.0, 0.1 … 1.0. By default the eleven bins in order; a yes/no
                model has two columns worth 0 and 1.

        Raises:
            BadInput: NaN or infinite logits, a wrong number of columns, a temperature that is not positive.

        Example:
            >>> Distribution.from_logits([[0.0, 0.0]], values=[0.0, 1.0]).mean.tolist()
            [0.5]
        """
        columns = bin_columns(BIN_VALUES.tolist() if values is None else values)
        given = np.asarray(logits, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != len(columns):
            raise BadInput(f"expected logits of shape [n, {len(columns)}], not {list(given.shape)}")
        if not np.isfinite(given).all():
            raise BadInput(f"logits are not finite in row {_first_row(~np.isfinite(given))}")
        if not (np.isfinite(temperature) and temperature > 0):
            raise BadInput(f"the temperature must be positive, not {temperature}")
        scaled = given / temperature
        weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        rows = np.zeros((len(given), BIN_COUNT))
        rows[:, columns] = weights / weights.sum(axis=1, keepdims=True)
        return cls(rows.astype(np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[Distribution]) -> Distribution:
        """Return the rows of all parts, in order."""
        return cls(np.concatenate([part.probabilities for part in parts] or [np.zeros((0, BIN_COUNT), np.float32)]))

    def __len__(self) -> int:
        """Return n."""
        return len(self.probabilities)

    def __getitem__(self, rows: slice | npt.NDArray[np.intp] | Sequence[int]) -> Distribution:
        """Return the chosen rows as a distribution."""
        return Distribution(self.probabilities[rows])

    @cached_property
    def mean(self) -> Floats:
        """The expected relevance, `[n]` in [0, 1]: the score."""
        return np.clip(self.probabilities @ BIN_VALUES, 0.0, 1.0).astype(np.float32)

    @cached_property
    def variance(self) -> Floats:
        """The variance, `[n]`, in squared units of relevance."""
        offsets = BIN_VALUES[None, :] - (self.probabilities @ BIN_VALUES)[:, None]
        return (self.probabilities * offsets**2).sum(axis=1).astype(np.float32)

    @cached_property
    def std(self) -> Floats:
        """The standard deviation, `[n]`, in units of relevance: how unsure the model is."""
        return np.sqrt(self.variance)

    @cached_property
    def entropy(self) -> Floats:
        """The entropy, `[n]`, in nats: 0 when sure, log 11 when all bins are alike."""
        p = self.probabilities.astype(np.float64)
        return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1).astype(np.float32) + np.float32(0)

    @cached_property
    def cumulative(self) -> Floats:
        """The distribution function at each bin, `[n, 11]`; the last column is 1."""
        rows = np.cumsum(self.probabilities, axis=1, dtype=np.float64)
        rows[:, -1] = 1.0
        return np.clip(rows, 0.0, 1.0).astype(np.float32)

    def quantile(self, level: float) -> Floats:
        """Return the smallest bin value whose cumulative probability reaches `level`, `[n]`.

        Raises:
            BadInput: `level` is not in [0, 1].
        """
        if not 0.0 <= level <= 1.0:
            raise BadInput(f"a quantile level is between 0 and 1, not {level}")
        reached = self.cumulative >= level - _STEP
        return BIN_VALUES[reached.argmax(axis=1)].astype(np.float32)

    def mass_at_least(self, threshold: float) -> Floats:
        """Return the probability that relevance is at or above `threshold`, `[n]`.

        Example:
            >>> round(float(Distribution(np.full((1, 11), 1 / 11)).mass_at_least(0.5)[0]), 3)
            0.545
        """
        columns = threshold - _STEP <= BIN_VALUES
        return np.clip(self.probabilities[:, columns].sum(axis=1), 0.0, 1.0).astype(np.float32)

    def levels(self, count: int) -> npt.NDArray[np.float64]:
        """Return the probabilities of `count` ordered levels, equally far apart, `[n, count]`, the lowest first.

        A bin between two levels gives each of them the more, the nearer it is. So all mass is kept, and the mean too:
        the mean of the levels' places, from 0, is `count - 1` times that of the bins.

        Raises:
            BadInput: `count` is below 2.

        Example:
            >>> Distribution(np.eye(11)[[5, 9]]).levels(3).round(2).tolist()
            [[0.0, 1.0, 0.0], [0.0, 0.2, 0.8]]
        """
        if count < 2:
            raise BadInput(f"relevance needs two levels or more, not {count}")
        places = BIN_VALUES[:, None] * (count - 1)
        shares = np.clip(1.0 - np.abs(places - np.arange(count)), 0.0, None)
        return np.clip(self.probabilities.astype(np.float64) @ shares, 0.0, 1.0)


def best_first(scores: npt.ArrayLike) -> list[int]:
    """Return the places of scores `[n]`, the highest first; equal ones stay in order.

    Example:
        >>> best_first([0.2, 0.9, 0.2, 0.5])
        [1, 3, 0, 2]
    """
    return np.argsort(-np.asarray(scores), kind="stable").tolist()


def bin_columns(values: Sequence[float]) -> list[int]:
    """Return the bin that each readout value belongs to.

    Raises:
        BadInput: a value is none of 0.0, 0.1 … 1.0, or one stands twice.
    """
    columns = [round(value * (BIN_COUNT - 1)) for value in values]
    for value, column in zip(values, columns, strict=True):
        if not 0 <= column < BIN_COUNT or abs(BIN_VALUES[column] - value) > _STEP:
            raise BadInput(f"a readout value must be one of 0.0, 0.1 … 1.0, not {value}")
    if len(set(columns)) != len(columns):
        raise BadInput(f"two readout tokens have the same value: {list(values)}")
    return columns


def _first_row(bad: npt.NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(bad.any(axis=1))[0])
