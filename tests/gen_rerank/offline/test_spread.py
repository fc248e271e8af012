"""Records spread over files: all are found again, whatever the number of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gen_rerank.offline.spread import Spread

KIND = np.dtype([("high", "<u8"), ("low", "<u8"), ("what", "<i4")])


@pytest.mark.parametrize("bits", [0, 3])
def test_what_was_added_is_found(bits: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    records = np.zeros(500, dtype=KIND)
    records["high"], records["low"] = random.integers(0, 2**64, (2, 500), dtype=np.uint64)
    records["what"] = np.arange(500)
    spread = Spread(tmp_path / "s", KIND, 0, bits=bits)
    for part in np.array_split(records, 7):
        spread.add(part)
    spread.sort()
    opened = Spread.open(tmp_path / "s", KIND)
    assert opened.bits == bits
    assert sum(len(each) for each in opened.files()) == 500
    asked = np.concatenate([records[::3], np.zeros(2, KIND)])
    low = asked["low"].copy()
    low[0] += np.uint64(1)  # the first half is known, the second is not
    found = {int(place): int(one["what"]) for places, some in opened.find(asked["high"], low) for place, one in
             zip(places, some, strict=True)}  # fmt: skip
    assert found == {place: 3 * place for place in range(1, len(records[::3]))}


def test_equal_keys_stay_in_order(tmp_path: Path) -> None:
    records = np.array([(5, 1, 10), (5, 0, 11), (5, 1, 12), (4, 9, 13)], dtype=KIND)
    spread = Spread(tmp_path / "s", KIND, 4)
    spread.add(records)
    spread.sort()
    assert [each["what"].tolist() for each in spread.files()] == [[13, 11, 10, 12]]


def test_the_number_of_files_follows_the_records(tmp_path: Path) -> None:
    assert Spread(tmp_path / "a", KIND, 1).bits == 0
    assert Spread(tmp_path / "b", KIND, 2**20).bits == 2
