"""An answer as a table for people."""

from __future__ import annotations

from rich.console import Console

from gen_rerank.search.answers import answer_table, stages
from gen_rerank.search.search import Hit, SearchAnswer

from .conftest import products

BINS = (0.0,) * 10 + (1.0,)


def shown(*hits: Hit) -> str:
    console = Console(width=120, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(answer_table(SearchAnswer("oak [b]desk", hits, (), {}, 256)))
    return console.export_text()


def test_without_a_model_there_are_places_and_no_scores() -> None:
    one, two = products(a="Oak [red]desk\n", b="Lamp")
    text = shown(Hit(one, {"title": 1, "full": 2}), Hit(two, {"full": 1}))
    assert "oak [b]desk: 2 of 256 candidates" in text
    assert "Oak [red]desk" in text
    assert "Score" not in text
    assert "1, 2" in text
    assert "–, 1" in text
    assert "found: the place in the lists title, full" in text


def test_with_a_model_there_are_scores_tiers_and_bars() -> None:
    (one,) = products(a="Oak desk")
    text = shown(Hit(one, {"title": 1}, 0.91234, 0.05, "exact", BINS))
    assert "0.912" in text
    assert "0.050" in text
    assert "exact" in text
    assert "█" in text


def test_stages_are_milliseconds() -> None:
    assert stages(SearchAnswer("q", (), (), {"retrieve": 0.0018, "rerank": 1.25}, 0)) == (
        "retrieve 1.8 ms, rerank 1,250.0 ms"
    )
