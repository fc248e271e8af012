"""Ids that became fractions are whole again; every other one stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.data.importing.whole_ids import whole_id


@given(st.integers(min_value=0))
def test_a_whole_number_has_one_id(number):
    assert whole_id(f"{number}.0") == whole_id(str(number)) == str(number)


@pytest.mark.parametrize("identifier", ["1.5", "1.00", "v1.0", "-1.0", "1.0.0", "", ".0", "١.0", "007"])
def test_others_stay(identifier):
    assert whole_id(identifier) == identifier
