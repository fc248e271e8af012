"""Rows that were rounded to a grid are told from rows that were not, also after bfloat16 has blurred them."""

from __future__ import annotations

import pytest
import torch

from quant.identity.grids import grid_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grids_are_told_from_numbers(dtype: torch.dtype) -> None:
    for seed in range(10):
        rows = torch.randn(11, 64, generator=torch.Generator().manual_seed(seed))
        largest = rows.abs().amax(dim=1, keepdim=True)
        assert grid_of(rows.to(dtype)) is None
        for name, step in (("8-bit integers", 127), ("4-bit integers", 7)):
            assert grid_of(((rows / largest * step).round() * largest / step).to(dtype)) == name
        fp8 = (rows / largest * 448).to(torch.float8_e4m3fn).float() * largest / 448
        assert grid_of(fp8.to(dtype)) == "8-bit floats"
