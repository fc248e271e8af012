"""The axis of the reports' drawings."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank.reporting.axis import Axis


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5))
def test_an_axis_holds_its_values_with_few_ticks_of_different_labels(values):
    axis = Axis.over(values)
    assert 2 <= len(axis.ticks) <= 8
    assert all(-1e-6 <= axis.place(value) <= 1 + 1e-6 for value in values)
    assert len({axis.label(tick) for tick in axis.ticks}) == len(axis.ticks)


def test_ticks_and_labels_by_hand():
    axis = Axis.over([0.13, 0.92])
    assert axis.ticks == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert axis.place(0.5) == 0.5
    assert [Axis.over([-0.2, 0.2]).label(tick, "+") for tick in (-0.1, -0.0, 0.1)] == ["-0.1", "0.0", "+0.1"]
