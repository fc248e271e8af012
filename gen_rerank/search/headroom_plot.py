"""The headroom as a drawing: nDCG of each order over the number of candidates, and what is missing between them.

A file of its own, so that it can stand in a page, a document or a slide; the template is `templates/headroom.svg`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gen_rerank.evaluation.intervals import Interval
from gen_rerank.reporting.numbers import figure
from gen_rerank.reporting.pages import render
from gen_rerank.search.headroom import CONDENSED, FIRST, ORACLE, RANDOM, RERANKED, RETRIEVED, Headroom
from gen_rerank.search.recall import DEPTHS

# In units of the drawing: the plot's edges, and how far apart the names of two lines stay.
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 470.0, 64.0, 324.0
_APART = 17.0
_LONGEST = 24


@dataclass(frozen=True)
class DrawnPoint:
    """A mean with its interval, in units of the drawing."""

    x: float
    y: float
    low: float
    high: float
    title: str


@dataclass(frozen=True)
class DrawnOrder:
    """One order: its line, where its name stands, and what that is."""

    kind: str
    name: str
    points: tuple[DrawnPoint, ...]
    name_y: float


def headroom_svg(found: Headroom, name: str) -> str:
    """Return the drawing as SVG.

    Args:
        found: what was measured.
        name: of the model.
    """
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    drawn = (
        ("oracle", ORACLE, "perfect reranker"),
        ("condensed", CONDENSED[RERANKED], f"{short}, judged only"),
        ("reranked", RERANKED, short),
        ("retrieved", RETRIEVED, "as retrieved"),
        ("random", RANDOM, "random order"),
    )
    intervals = {kind: [found.interval(row, depth) for depth in DEPTHS] for kind, row, _ in drawn}
    orders: dict[str, DrawnOrder] = {}
    free = -math.inf
    # Names stand beside the last points, from the top, none on another.
    for kind, _, title in sorted(drawn, key=lambda one: -intervals[one[0]][-1].mean):
        free = max(_y(intervals[kind][-1].mean), free)
        label = f"{title} {figure(intervals[kind][-1].mean)}"
        orders[kind] = DrawnOrder(kind, label, _points(title, intervals[kind]), free)
        free += _APART
    shapes = {
        "first": FIRST,
        "queries": len(found.query_ids),
        "depths": [(_x(place), depth) for place, depth in enumerate(DEPTHS)],
        "ticks": [(_y(tick), figure(tick, ".1f")) for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)],
        "orders": list(orders.values()),
        "oracle": orders["oracle"].points,
        "model": orders["reranked"].points,
        "edges": (_LEFT, _RIGHT, _TOP, _BOTTOM),
    }
    return render("gen_rerank.search", "headroom.svg", shapes, figure)


def _points(name: str, intervals: list[Interval]) -> tuple[DrawnPoint, ...]:
    return tuple(
        DrawnPoint(
            _x(place),
            _y(one.mean),
            _y(one.low),
            _y(one.high),
            f"{name}, {depth} candidates: {one}",
        )
        for place, (depth, one) in enumerate(zip(DEPTHS, intervals, strict=True))
    )


def _x(place: int) -> float:
    """Return where a depth stands: each is four times the one before, and as far from it."""
    inset = 24.0
    return _LEFT + inset + (_RIGHT - _LEFT - 2 * inset) * place / (len(DEPTHS) - 1)


def _y(value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value
