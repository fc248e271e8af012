"""What a person may choose."""

from __future__ import annotations

import pytest

from gen_rerank import BadInput
from serve.options import ServeOptions, named_adapter


def test_an_adapter_is_a_name_and_a_path() -> None:
    assert named_adapter("garden=runs/a=b") == ("garden", "runs/a=b")


@pytest.mark.parametrize("given", ["", "garden", "garden=", "=runs/garden", " = "])
def test_anything_else_is_refused(given: str) -> None:
    with pytest.raises(BadInput, match="give a name and a folder, as in --adapter garden=runs/garden"):
        named_adapter(given)


def test_limits_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(BadInput, match="--max-documents 1024 is more than --max-queued-pairs 64"):
        ServeOptions(max_queued_pairs=64)
    with pytest.raises(BadInput, match="at most 512 MiB"):
        ServeOptions(max_body_bytes=2**30)
