"""The drawing is XML, shows every figure, and no name on another."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from gen_rerank.search.headroom import RankedQuery, headroom
from gen_rerank.search.headroom_plot import headroom_svg

SVG = "{http://www.w3.org/2000/svg}"
NAME = 'a <b> & "c"'


@pytest.fixture
def drawn() -> ElementTree.Element:
    relevance = np.array([0.0, 0.5, 1.0])
    found = headroom([RankedQuery("q", np.array([1.0, 0.5, 0.9]), relevance, np.array([0.0, 0.9, 0.5]))])
    return ElementTree.fromstring(headroom_svg(found, NAME))


def line(drawn: ElementTree.Element, kind: str) -> list[tuple[float, float]]:
    (one,) = (found for found in drawn.iter(f"{SVG}polyline") if found.get("class") == kind)
    return [tuple(map(float, point.split(","))) for point in one.get("points", "").split()]


def test_better_orders_lie_higher(drawn) -> None:
    heights = [line(drawn, kind)[-1][1] for kind in ("oracle", "reranked", "retrieved")]
    assert heights == sorted(heights)
    assert len(set(heights)) == 3
    for kind in ("oracle", "condensed", "reranked", "retrieved", "random"):
        places = [x for x, _ in line(drawn, kind)]
        assert len(places) == 3
        assert places[1] - places[0] == pytest.approx(places[2] - places[1])


def test_every_point_says_its_figures(drawn) -> None:
    said = [title.text for title in drawn.iter(f"{SVG}title")]
    for depth in (16, 64, 256):
        assert any(text.startswith(f"{NAME}, {depth} candidates: 0.") for text in said)
    assert len([text for text in said if "candidates: " in text]) == 15


def test_names_stand_apart(drawn) -> None:
    """Two of the orders are worth the same here."""
    names = [text for text in drawn.iter(f"{SVG}text") if text.get("class") == "name"]
    assert [text.text.rpartition(" ")[0] for text in names][:1] == ["perfect reranker"]
    heights = [float(text.get("y", "")) for text in names]
    assert len(heights) == 5
    assert all(below - above >= 16.9 for above, below in pairwise(heights))


def test_a_long_name_is_cut() -> None:
    found = headroom([RankedQuery("q", np.array([1.0]), np.array([1.0]), np.array([0.5]))])
    assert "x" * 23 + "… 1.000" in headroom_svg(found, "x" * 90)
