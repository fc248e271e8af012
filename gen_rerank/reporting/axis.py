"""The axis of a drawing: round ticks around the values, and where a value lies between them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_LARGEST = 1e100
_TICKS = 5


@dataclass(frozen=True)
class Axis:
    """A range of values that begins and ends at a tick.

    Example:
        >>> Axis.over([0.13, 0.92]).ticks
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """

    ticks: tuple[float, ...]
    decimals: int

    @classmethod
    def over(cls, values: Iterable[float]) -> Axis:
        """Return the axis that holds all values, with steps of 1, 2 or 5 times a power of ten."""
        # What is beyond any loss is drawn at the edge, so that the arithmetic below stays finite.
        given = [min(max(value, -_LARGEST), _LARGEST) for value in values]
        low, high = min(given), max(given)
        if high - low <= max(1e-9 * max(abs(low), abs(high)), 1 / _LARGEST):
            margin = abs(low) / 10 if abs(low) > 1 / _LARGEST else 1.0
            low, high = low - margin, high + margin
        power = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
        step = next(power * m for m in (1, 2, 5, 10) if (high - low) / (power * m) <= _TICKS)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return cls(tuple(round(k * step, decimals) for k in range(first, last + 1)), decimals)

    def place(self, value: float) -> float:
        """Return where `value` lies, from 0 at the first tick to 1 at the last."""
        return (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])

    def label(self, tick: float, sign: str = "") -> str:
        """Return the text of a tick, as precise as the steps need; `+` as the sign marks what is above 0 too."""
        return f"{round(tick, self.decimals) + 0.0:{sign if tick else ''},.{self.decimals}f}"
