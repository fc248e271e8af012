"""The table of schemes: names, presets that exist, and where each runs."""

from __future__ import annotations

import pytest
from compressed_tensors.quantization.quant_scheme import PRESET_SCHEMES

from gen_rerank import BadInput
from gen_rerank.checkpoints.schemes import SCHEMES, scheme_info

NAMES = ("int8", "int8-smoothquant", "w4a16-gptq", "fp8", "fp8-block", "nvfp4", "mxfp4", "mxfp4a16")


def test_the_names_are_unique_and_found() -> None:
    assert tuple(scheme.name for scheme in SCHEMES) == NAMES
    assert [scheme_info(name).name for name in NAMES] == list(NAMES)
    assert {scheme.preset for scheme in SCHEMES} <= PRESET_SCHEMES.keys()


@pytest.mark.parametrize("name", ["int4", "", "W8A8", "INT8"])
def test_an_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name!r}; choose one of int8, int8-smoothquant, .*, mxfp4a16$"):
        scheme_info(name)


def test_each_says_where_it_runs() -> None:
    assert scheme_info("int8").runs_on == "CPU: native and fast; Hopper: native; Blackwell: no kernel, use fp8"
    assert all(scheme.cpu and scheme.hopper and scheme.blackwell and scheme.explanation for scheme in SCHEMES)
