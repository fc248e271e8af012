"""Systems beside each other: who is compared with whom, what is saved, what is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from gen_rerank.evaluation.evaluation import HEADLINE, QUERY_MEASURES, Evaluation, evaluate
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.evaluation.side_by_side import SideBySide
from gen_rerank.evaluation.significance import holm, paired_p
from gen_rerank.evaluation.verdicts import Verdict, signed_interval

HELD = Verdict(gate="g", passed=True, measured="0.9", limit="0.8", meaning="…")


@pytest.fixture(scope="module")
def floors(judged) -> tuple[Evaluation, ...]:
    return tuple(evaluate_floors(judged))


@pytest.fixture(scope="module")
def model(judged, noisy) -> Evaluation:
    return replace(evaluate("nano", judged, noisy), scored_with="transformers in float32")


@pytest.fixture(scope="module")
def other(judged, noisy) -> Evaluation:
    return evaluate("small [x]", judged, noisy[::-1])


def shown(found: SideBySide, width: int = 130) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    for part in found.shown():
        console.print(part)
    return console.export_text()


def named(model: Evaluation, *names: str) -> tuple[Evaluation, ...]:
    return tuple(replace(model, name=name) for name in names)


def test_few_are_all_compared_and_many_with_the_first(floors, model) -> None:
    def pairs(*names: str, baseline: bool = False) -> list[tuple[str, str]]:
        before = replace(model, name="baseline") if baseline else None
        return SideBySide(floors, before, named(model, *names)).comparisons

    assert pairs("A") == []
    assert pairs("A", "B") == [("B", "A")]
    assert pairs("A", "B", "C") == [("B", "A"), ("C", "A"), ("C", "B")]
    assert pairs("A", "B", "C", "D") == [("B", "A"), ("C", "A"), ("D", "A")]
    assert pairs("A", baseline=True) == [("A", "baseline")]
    before = [("A", "baseline"), ("B", "baseline"), ("C", "baseline")]
    assert pairs("A", "B", "C", baseline=True) == [*before, ("B", "A"), ("C", "A"), ("C", "B")]
    assert pairs("A", "B", "C", "D", baseline=True) == [*before, ("D", "baseline")]


def test_p_values_are_corrected_over_the_comparisons_of_a_measure(floors, model, other) -> None:
    third = replace(model, name="third", per_query={**floors[0].per_query})
    found = SideBySide(floors, None, (model, other, third)).differences
    rows = found[HEADLINE]
    values = {one.name: one.per_query[HEADLINE] for one in (model, other, third)}
    expected = [paired_p(values[a], values[b]) for a, b in rows]
    assert [row.p for row in rows.values()] == expected
    assert [row.holm for row in rows.values()] == holm(expected)
    assert list(found) == list(QUERY_MEASURES)
    assert list(found["RPS"]) == [(other.name, model.name)]  # the third has none


def test_one_model_is_saved_as_it_always_was(floors, model, tmp_path) -> None:
    assert SideBySide(floors, None, (model,)).to_json() == model.to_json()
    gated = SideBySide(floors, replace(model, name="baseline"), (model,), (HELD,))
    (tmp_path / "e.json").write_text(json.dumps(gated.to_json()))
    again = Evaluation.load(tmp_path / "e.json")
    assert again.scored_with == model.scored_with
    assert gated.to_json()["gates"] == [HELD.model_dump()]
    assert gated.to_json()["differences"][0]["second"] == "baseline"
    # What was read again does not differ from itself, not even by rounding.
    same = SideBySide(floors, replace(again, name="baseline"), (model,)).differences
    assert {row.interval.to_json() == [0, 0, 0] and row.p == 1 for rows in same.values() for row in rows.values()} == {
        True
    }


def test_several_are_saved_with_all_that_was_found(floors, model, other) -> None:
    saved = SideBySide(floors, None, (model, other), (HELD,)).to_json()
    assert json.loads(json.dumps(saved, allow_nan=False)) == saved
    assert saved["models"] == ["nano", "small [x]"]
    assert [row["name"] for row in saved["evaluations"]] == ["random", "bm25", "nano", "small [x]"]
    assert [row["measure"] for row in saved["differences"]] == list(QUERY_MEASURES)
    assert saved["differences"][0].keys() == {"measure", "first", "second", "interval", "queries", "p", "holm"}
    assert saved["gates"][0]["passed"] is True


def test_what_is_shown(floors, model, other) -> None:
    one = shown(SideBySide(floors, None, (model,)))
    assert "nano - bm25" in one
    assert "Reliability of nano" in one
    assert "Gates" not in one
    two = shown(SideBySide(floors, None, (model, other), (HELD,)))
    assert "small [x] - nano" in two  # names are text, not markup
    assert "one comparison a measure" in two
    assert "Gates" in two
    assert "nano - bm25" not in two
    three = shown(SideBySide(floors, None, (*named(model, "A", "B"), other)))
    assert "by Holm over the 3 comparisons of a measure" in three
    assert "--out writes the intervals" in three
    assert max(map(len, (one + two + three).splitlines())) <= 130


@pytest.mark.parametrize("width", [60, 80, 130])
def test_no_figure_and_no_heading_is_cut(floors, model, other, width) -> None:
    long = replace(model, name="a-model-with-a-long-name-" * 4)
    found = SideBySide(floors, None, (long, other, replace(model, name=":tv: [bold]")), (HELD,))
    text = shown(found, width)
    assert "…" not in text.replace(HELD.meaning, "")
    assert max(map(len, text.splitlines())) <= width
    for one in found.systems.values():
        for measure, interval in {**one.ranking, **one.calibrated}.items():
            assert str(interval) in text
            assert f" {measure} " in text
    for rows in found.differences.values():
        assert all(signed_interval(row.interval) in text for row in rows.values())
    assert ":tv: [bold]" in text


def test_a_gate_that_is_not_judged_does_not_pass(floors, model) -> None:
    assert SideBySide(floors, None, (model,)).passed
    for passed, expected in ((True, True), (False, False), (None, False)):
        verdicts = (HELD, HELD.model_copy(update={"passed": passed}))
        assert SideBySide(floors, None, (model,), verdicts).passed is expected


def test_queries_without_tags_have_no_table_of_slices(floors, model) -> None:
    assert "by slice" in shown(SideBySide(floors, None, (model,)))
    bare = tuple(replace(one, slices={}) for one in (*floors, model))
    assert "by slice" not in shown(SideBySide(bare[:-1], None, bare[-1:]))
