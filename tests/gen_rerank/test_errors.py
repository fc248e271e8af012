"""How an error of a library is quoted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.errors import first_line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("no kernel\nfor this layer"), "no kernel"),
        (ValueError("\n  too long \n"), "too long"),
        (RuntimeError(), "RuntimeError"),
        (TimeoutError(" \n"), "TimeoutError"),
        (KeyError("size"), "'size'"),
    ],
)
def test_the_first_line_or_the_kind(error: BaseException, expected: str) -> None:
    assert first_line(error) == expected


@given(st.text())
def test_it_is_one_line_that_says_something(text: str) -> None:
    assert len(first_line(RuntimeError(text)).splitlines()) == 1
