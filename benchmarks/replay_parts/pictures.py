"""The pictures of a replay: its caches over time, and what load does to throughput and latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.figure import Figure

from harness.timing import percentiles
from replay_parts.playing import Cell


def draw_replay(first: Cell, folder: Path) -> None:
    """Write serving-replay.png: a replay over time."""
    usual = median(counts.seconds for counts in first.over_time)
    windows = [counts for counts in first.over_time if counts.seconds > usual / 2]  # the last one may be a moment
    times = np.cumsum([counts.seconds for counts in windows])
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    above.plot(times, [counts.pairs / counts.seconds for counts in windows])
    above.set(ylabel="pairs/s", ylim=(0, None), title=f"{first.clients} clients, {first.candidates} candidates")
    below.plot(times, [100 * counts.score_hits for counts in windows], label="pairs from the score cache")
    below.plot(times, [100 * counts.prefix_share for counts in windows], label="tokens from the prefix cache")
    below.set(xlabel="seconds since the start", ylabel="%", ylim=(0, 100))
    below.legend(frameon=False)
    figure.savefig(folder / "serving-replay.png", dpi=100)


def draw_load(cells: Sequence[Cell], folder: Path) -> None:
    """Write serving-load.png: the grid."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for candidates in sorted({cell.candidates for cell in cells}):
        row = [cell for cell in cells if cell.candidates == candidates]
        clients = [cell.clients for cell in row]
        left.plot(clients, [cell.pairs_per_second for cell in row], marker="o", label=f"{candidates:,} candidates")
        right.plot(clients, [percentiles(cell.latencies)[1] for cell in row], marker="o")
    left.set(xlabel="clients", ylabel="pairs/s", xscale="log", ylim=(0, None))
    left.legend(frameon=False, fontsize="small")
    right.set(xlabel="clients", ylabel="p95 of a request, s", xscale="log", yscale="log")
    for panel in (left, right):
        panel.set_xticks(sorted({cell.clients for cell in cells}))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.minorticks_off()
    figure.savefig(folder / "serving-load.png", dpi=100)
