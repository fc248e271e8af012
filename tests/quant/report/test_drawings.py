"""The drawings: who is in a plot and who is named beside it, labels that keep apart, and the front."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quant.report.drawings import front, pareto_plots, spread
from tests.quant.report.conftest import HOSTILE, NO_KERNEL, REFUSED, rows_of


def test_what_was_not_measured_is_named_under_the_plot(result):
    disk, speed = pareto_plots(result)
    assert disk.unmeasured == (("nvfp4", REFUSED),)
    assert dict(speed.unmeasured) == {
        HOSTILE: NO_KERNEL,
        "nvfp4": REFUSED,
        "nf4 (bitsandbytes)": "its throughput in vLLM was not measured in this run.",
    }
    for plot in (disk, speed):
        assert len(plot.points) + len(plot.unmeasured) == len(rows_of(result))


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.001, 0.3))
def test_labels_keep_their_order_and_their_distance(places, gap):
    moved = spread(places, gap)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in moved)
    ordered = [place for _, place in sorted(zip(places, moved, strict=True))]
    room = min(gap, 1 / max(len(places) - 1, 1))
    assert all(b - a >= room - 1e-9 for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False))
    assert ordered == sorted(ordered)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_holds_what_nobody_beats(points):
    kept = [point for point, is_front in zip(points, front(points), strict=True) if is_front]
    assert kept
    assert max(points) in kept
    for point in points:
        assert point in kept or any(a >= point[0] and b >= point[1] for a, b in kept)
