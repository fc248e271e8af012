"""Names tell the compared systems apart."""

from __future__ import annotations

from quant.systems import distinct_names


def test_names_tell_folders_apart() -> None:
    assert distinct_names(["x/model", "y/int8"]) == ["model", "int8"]
    assert distinct_names(["x/model", "y/model", "y/fp8"]) == ["x/model", "y/model", "y/fp8"]
    assert distinct_names(["x/model", "x/model"]) == ["model", "model (2)"]
