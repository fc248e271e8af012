"""The rows: no cell is blank, every dash has its reason, and ratios are with the same engine."""

from __future__ import annotations

from quant.comparison import Cost
from quant.report.rows import cost_table, flip_matrix, seconds
from tests.quant.report.conftest import NO_KERNEL, visits


def test_no_cell_of_cost_is_blank_and_every_dash_has_its_reason(result):
    table = cost_table(result)
    assert len(table.notes) == len(set(table.notes)) == 4
    for row in table.rows:
        for cell in row.cells:
            assert cell.text
            assert ("–" in (cell.text, cell.ratio)) == (1 <= cell.note <= len(table.notes))
    reference, int8, refused, *_ = table.rows
    assert [cell.text for cell in int8.cells] == ["410 MB", "20.5 s", "1,900", "33.7 ms", "42.1 ms", "0.0031"]
    assert [cell.ratio for cell in int8.cells] == ["0.82×", "1.00×", "1.58×", "0.63×", "0.63×", ""]
    assert reference.cells[0].extent == "490 MB – 520 MB"
    assert int8.cells[-1].extent == "largest 0.0412 of 256 pairs"
    assert {table.notes[cell.note - 1] for cell in refused.cells} == {NO_KERNEL}


def test_a_ratio_needs_the_reference_with_the_same_engine(result):
    reference = result.reference.model_copy(
        update={"cost": (Cost(engine="vllm", dtype="bfloat16", unmeasured=NO_KERNEL),)}
    )
    table = cost_table(result.model_copy(update={"reference": reference, "candidates": result.candidates[:1]}))
    cell = table.rows[1].cells[2]
    assert (cell.text, cell.ratio) == ("1,900", "–")
    assert table.notes[cell.note - 1] == f"No ratio: the reference was not measured with vllm: {NO_KERNEL}"


def test_visits_that_were_cut_short_say_so(result):
    given = [
        visit.model_copy(update={"pairs": pairs, "queries": 8})
        for visit, pairs in zip(visits(100, 10**9), (512, 256, 700), strict=True)
    ]
    cost = Cost(engine="vllm", dtype="bfloat16", visits=tuple(given), unmeasured="The fourth visit ran out of time.")
    row = cost_table(
        result.model_copy(update={"reference": result.reference.model_copy(update={"cost": (cost,)}), "candidates": ()})
    ).rows[0]
    assert row.visits == "3 visits: 256 pairs, 8 queries"
    assert row.note == 1


def test_the_matrix_of_flips(result):
    flips = flip_matrix(result, result.candidates[1].drift)
    assert flips.tiers == ("exact", "close", "irrelevant")
    assert flips.rows == ((None, 40, 0), (0, None, 30), (0, 3, None))
    assert flips.kept == 1200 - 73


def test_times_stay_in_seconds():
    assert [seconds(value) for value in (0.0312, 20.5, 125.4, 7_400)] == ["31.2 ms", "20.5 s", "125 s", "7,400 s"]
