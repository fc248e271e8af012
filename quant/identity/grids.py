"""Grids: whether numbers lie on the points of a format of few bits, though they are stored in a wider one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# What bfloat16 rounding of a value and of its row's largest one can do to their ratio.
_ROUNDING = 2.0**-7
# That a row lies on a grid by chance is less probable than this.
_CHANCE = 1e-9


def grid_of(rows: Tensor) -> str | None:
    """Return the grid that all rows lie on, each scaled by its largest value, or None.

    Quantized and decoded again, a row has few distinct ratios to its largest value: k / 127 for 8-bit integers.
    Rounding to bfloat16 blurs them by a known amount, so each value that is near a grid point counts by how improbable
    that is for a value that knows of no grid.
    """
    values = rows.double()
    ratios = (values / values.abs().amax(dim=1, keepdim=True)).abs()
    fp8 = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double()
    grids = {
        "4-bit integers": [torch.arange(0, top + 1) / top for top in (7, 8)],
        "8-bit integers": [torch.arange(0, top + 1) / top for top in (127, 128)],
        "8-bit floats": [fp8[fp8.isfinite() & (fp8 >= 0)].unique() / 448],
    }
    for name, points in grids.items():
        if all(any(_lies_on(row, grid.double()) for grid in points) for row in ratios):
            return name
    return None


def _lies_on(ratios: Tensor, grid: Tensor) -> bool:
    """Return whether `ratios`, in [0, 1], lie on sorted `grid` points and are too many to do so by chance."""
    inner = ratios[(ratios > 0) & (ratios < 1)]
    above = torch.searchsorted(grid, inner).clamp(1, len(grid) - 1)
    low, high = grid[above - 1], grid[above]
    point = torch.where(inner - low < high - inner, low, high)
    tolerance = point * _ROUNDING
    chance = (2 * tolerance / (high - low)).clamp(max=1.0)
    near = (inner - point).abs() <= tolerance
    return bool(near.all()) and float(chance.log().sum()) < math.log(_CHANCE)
