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


ORIGINS = ("*", "https://shop.example", "http://localhost:3000", "http://127.0.0.1:80", "http://[::1]:8080")


def test_an_origin_is_what_a_browser_sends() -> None:
    assert ServeOptions(cors_origins=ORIGINS).cors_origins == ORIGINS


@pytest.mark.parametrize(
    "given",
    ["", "shop.example", "https://shop.example/", "https://Shop.example", "https://a.example/page", "http://*.a"],
)
def test_what_no_browser_sends_is_refused(given: str) -> None:
    """It would never be found, and nobody would know why."""
    with pytest.raises(BadInput, match=r"as in https://shop.example or http://localhost:3000; or \* for all"):
        ServeOptions(cors_origins=("*", given))
