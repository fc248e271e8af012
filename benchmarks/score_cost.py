"""What so many pairs take and cost on named machines: arithmetic from a measured pace, for `gen-rerank score`.

On CPUs a pace that was measured on some cores is multiplied: workers share nothing, so a machine of 64 cores does what
32 of two cores do, if its cores are like those. On GPUs nothing was measured: there it is two operations a parameter
and token, and a share of the peak. Prices are examples of a list; give your own.

Run: python benchmarks/score_cost.py --pace 600 --cores 2 --parameters 440e6 --tokens 224
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from gen_rerank.reporting.numbers import duration
from harness.command import run
from harness.tables import FigureTable
from harness.this_run import ThisRun

HEADER = ("machine", "pairs/s", "one machine", "ten machines", "dollars")
# Of a GPU's peak in bfloat16, for prompts of some hundred tokens in large batches.
SHARE_OF_PEAK = 0.4


@dataclass(frozen=True)
class Rented:
    """A machine that one can rent.

    Attributes:
        name: as its lender calls it, and what it is.
        dollars: an hour: an example, about what was asked on demand in 2025; not looked up.
        cores: where it has no GPU.
        teraflops: of its GPU, in bfloat16, dense.
    """

    name: str
    dollars: float
    cores: int = 0
    teraflops: float = 0.0


MACHINES = (
    Rented("c7a.16xlarge (AWS, 64 cores of AMD EPYC 9R14)", 3.28, cores=64),
    Rented("g6.xlarge (AWS, one L4)", 0.80, teraflops=121.0),
    Rented("p5.48xlarge, an eighth of it (AWS, one H100)", 6.88, teraflops=989.0),
)


def pace_of(machine: Rented, pace: float, cores: int, parameters: float, tokens: float) -> float:
    """Return the pairs a second of a machine.

    Args:
        machine: which.
        pace: pairs a second that were measured.
        cores: on so many.
        parameters: that compute, of the model.
        tokens: of a pair.

    Example:
        >>> pace_of(Rented("x", 1.0, cores=64), 600, 2, 0, 0)
        19200.0
        >>> pace_of(Rented("y", 1.0, teraflops=100.0), 0, 1, 5e8, 200)
        200.0
    """
    if machine.cores:
        return pace * machine.cores / cores
    return machine.teraflops * 1e12 * SHARE_OF_PEAK / (2 * parameters * tokens)


def row(machine: Rented, pairs: float, pace: float) -> list[str]:
    """Return the cells of a machine, under `HEADER`."""
    seconds = pairs / pace
    dollars = seconds / 3600 * machine.dollars
    return [machine.name, f"{pace:,.0f}", duration(seconds), duration(seconds / 10), f"{dollars:,.0f}"]


def main(
    pace: Annotated[float, typer.Option(min=0.001, help="Pairs a second that were measured.")],
    parameters: Annotated[float, typer.Option(min=1, help="Parameters of the model that compute.")],
    tokens: Annotated[float, typer.Option(min=1, help="Tokens of a pair, on average.")],
    cores: Annotated[int, typer.Option(min=1, help="On so many cores was the pace measured.")] = 2,
    pairs: Annotated[float, typer.Option(min=1, help="How many pairs are to be scored.")] = 1e8,
) -> None:
    """Print a table, a row for each machine."""
    rows = [row(one, pairs, pace_of(one, pace, cores, parameters, tokens)) for one in MACHINES]
    caption = (
        f"`{ThisRun.now(()).command}`: {pairs:,.0f} pairs; CPUs from {pace:,.4g} pairs/s on {cores} cores, GPUs from "
        f"{SHARE_OF_PEAK:.0%} of the peak in bfloat16; prices are examples. Nothing in this table was measured there."
    )
    print(FigureTable("Cost", HEADER, rows, caption).document())


if __name__ == "__main__":
    run(main)
