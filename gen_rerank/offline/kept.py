"""The scores of an earlier run by what the model read, on disk: what was read before is not read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import BIN_COUNT, Floats
from gen_rerank.offline.shards import halves, key_halves, read_columns
from gen_rerank.offline.spread import Spread

_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<f4", (BIN_COUNT,))])
_KEY = np.dtype([("high", "<u8"), ("low", "<u8")])


def keep_scores(shards: Iterable[Path], rows: int, out: Path) -> None:
    """Write what the shards of an earlier run say of each content.

    Args:
        shards: Parquet files.
        rows: how many they have together.
        out: a folder that is not there yet.

    Raises:
        BadInput: a shard is damaged.
    """
    spread = Spread(out, _RECORD, rows)
    for shard in shards:
        table = read_columns(shard, ("content", "probabilities"))
        records = np.zeros(len(table), dtype=_RECORD)
        records["high"], records["low"] = key_halves(table["content"])
        values = table["probabilities"].combine_chunks().flatten()
        records["row"] = values.to_numpy(zero_copy_only=False).reshape(-1, BIN_COUNT)
        spread.add(records)
    spread.sort()


class KeptScores:
    """The distributions of contents.

    Args:
        folder: that `keep_scores` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._spread = Spread.open(folder, _RECORD)

    def fill(self, keys: Sequence[bytes], probabilities: Floats) -> npt.NDArray[np.bool_]:
        """Write the distributions of the keys that are known into `probabilities` `[n, 11]`, and return which they are.

        Args:
            keys: n of 16 bytes.
            probabilities: rows of unknown keys are left as they are.
        """
        known = np.zeros(len(keys), dtype=bool)
        for places, records in self._spread.find(*halves(b"".join(keys))):
            probabilities[places] = records["row"]
            known[places] = True
        return known

    def count(self, keys: Any) -> int:
        """Return how many keys of a column are known."""
        return sum(len(places) for places, _ in self._spread.find(*key_halves(keys)))

    def unused(self, columns: Iterable[Any], workplace: Path) -> int:
        """Return how many of these scores have a key that is in none of the columns.

        Args:
            columns: of keys.
            workplace: a folder that is not there yet.
        """
        asked = Spread(workplace, _KEY, 0, bits=self._spread.bits)
        for column in columns:
            records = np.zeros(len(column), dtype=_KEY)
            records["high"], records["low"] = key_halves(column)
            asked.add(records)
        both = zip(self._spread.files(), asked.files(), strict=True)
        return sum(int((~np.isin(kept["high"], now["high"])).sum()) for kept, now in both)
