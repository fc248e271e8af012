"""Records with keys of 16 bytes, more than memory holds: spread over files by the first bits of the key, each sorted.

Whoever makes them adds in any order and sorts once. A file at a time is in memory. What a record holds besides its key
is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.intp]
Records = npt.NDArray[Any]

# Records of a file, about; a key is a hash, so that the files are about alike.
_AT_ONCE = 2**18
_MOST_BITS = 10
# Beside the records of a sorted file, its first halves alone: a search reads a few pages of them.
_RECORDS, _HIGH = ".records", ".high"


class Spread:
    """Records of one kind, in a folder.

    Args:
        folder: is made.
        kind: has the fields `high` and `low`, the two halves of the key.
        expected: how many records will be added, about.
        bits: of the keys that decide the file; by default as many as `expected` asks for.

    Example:
        >>> spread = Spread(Path("kept"), kind, expected=10**8)  # doctest: +SKIP
        >>> spread.add(records)  # doctest: +SKIP
        >>> spread.sort()  # doctest: +SKIP
    """

    def __init__(self, folder: Path, kind: np.dtype[Any], expected: int, *, bits: int | None = None) -> None:
        folder.mkdir()
        enough = min(_MOST_BITS, max(0, math.ceil(math.log2(max(1, expected) / _AT_ONCE))))
        self.bits = enough if bits is None else bits
        self._kind = kind
        self._files = [folder / f"{number:04}{_RECORDS}" for number in range(2**self.bits)]
        for file in self._files:
            file.touch()

    @classmethod
    def open(cls, folder: Path, kind: np.dtype[Any]) -> Spread:
        """Open records that were sorted."""
        opened = cls.__new__(cls)
        opened._kind = kind
        opened._files = sorted(folder.glob(f"*{_RECORDS}"))
        opened.bits = round(math.log2(len(opened._files)))
        return opened

    def add(self, records: Records) -> None:
        """Add records in any order."""
        numbers = self._numbers(records["high"])
        for number in np.unique(numbers):
            with self._files[number].open("ab") as file:
                file.write(records[numbers == number].tobytes())

    def sort(self) -> None:
        """Sort all files by their keys; of equal keys, what was added first comes first."""
        for file in self._files:
            records = np.fromfile(file, dtype=self._kind)
            records = records[np.lexsort((records["low"], records["high"]))]
            records.tofile(file)
            np.ascontiguousarray(records["high"]).tofile(file.with_suffix(_HIGH))

    def files(self) -> Iterator[Records]:
        """Yield the records of each file: all whose keys begin alike, in order where they were sorted."""
        for file in self._files:
            yield np.fromfile(file, dtype=self._kind)

    def find(self, high: Keys, low: Keys) -> Iterator[tuple[Places, Records]]:
        """Yield the places of keys that are there, with their records.

        Args:
            high: the first halves of the keys, `[n]`.
            low: the second halves.
        """
        numbers = self._numbers(high)
        for number in np.unique(numbers):
            if not self._files[number].stat().st_size:
                continue
            records = np.memmap(self._files[number], dtype=self._kind, mode="r")
            firsts = np.memmap(self._files[number].with_suffix(_HIGH), dtype="<u8", mode="r")
            asked = np.flatnonzero(numbers == number)
            where = np.minimum(np.searchsorted(firsts, high[asked]), len(firsts) - 1)
            found = records[where]
            # Of two keys whose first halves are equal one is not found, and what it stands for is done again.
            same = (found["high"] == high[asked]) & (found["low"] == low[asked])
            yield asked[same], found[same]

    def _numbers(self, high: Keys) -> Places:
        if not self.bits:
            return np.zeros(len(high), dtype=np.intp)
        return (high >> np.uint64(64 - self.bits)).astype(np.intp)
