"""The shapes of drawings that pages share: curves and measured points on two axes.

`templates/plots.html` draws them as inline SVG, and reliability diagrams too. What is drawn is the pages' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gen_rerank.reporting.axis import Axis

Point = tuple[float, float]


class Line(NamedTuple):
    """A curve and what it is called."""

    name: str
    points: tuple[Point, ...]


class Mark(NamedTuple):
    """A measured point: its place, its standard error, and its share of the pairs of the largest mark."""

    x: float
    y: float
    error: float
    weight: float
    title: str


@dataclass(frozen=True)
class Chart:
    """Curves and marks on two axes; the template draws it."""

    title: str
    x: Axis
    y: Axis
    x_name: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
