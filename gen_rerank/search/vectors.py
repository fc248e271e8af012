"""A third list: the products nearest to a query by a sentence-transformers model, found exactly among all vectors.

A vector has a row, and a product of the index says which row is its: so what a change adds counts from its commit on,
and a row that no product names any more is not found. Rows are only added, some in each file; the number in a file's
name is that of its first row. The files are mapped and not read, so that an index opens at once. sentence-transformers
is imported when the first text is encoded.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen_rerank.checkpoints.folders import is_hub_name
from gen_rerank.errors import BadInput, first_line

_AT_ONCE = 65_536  # rows of one product of matrices


class TextEncoder:
    """A sentence-transformers model, which is loaded when the first text comes.

    Example:
        >>> TextEncoder("sentence-transformers/all-MiniLM-L6-v2").encode(["oak desk"]).shape  # doctest: +SKIP
        (1, 384)
    """

    def __init__(self, name: str) -> None:
        """Take the name; nothing is loaded yet."""
        self.name = name

    @cached_property
    def _model(self) -> Any:
        folder = Path(self.name)
        if folder.is_dir():
            if not any((folder / file).is_file() for file in ("modules.json", "config.json")):
                raise BadInput(f"{folder}: holds no sentence-transformers model (it has no modules.json)")
        elif not is_hub_name(self.name):
            raise BadInput(f"{self.name}: no such folder; vectors need a sentence-transformers model")
        from sentence_transformers import SentenceTransformer

        try:
            return SentenceTransformer(self.name)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"{self.name}: no sentence-transformers model can be loaded ({first_line(error)})"
            ) from error

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return a vector of length 1 for each text, `[n, dimensions]` float32.

        Raises:
            BadInput: there is no such model.
        """
        made = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(made, dtype=np.float32)


class Vectors:
    """The vectors of an index, as its folder holds them now.

    Args:
        folder: with the files; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts = [np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return sum(map(len, self._parts))

    def add(self, vectors: npt.NDArray[np.float32]) -> int:
        """Write some more and return the row of the first; a file appears whole or not at all.

        Args:
            vectors: `[n, dimensions]`, of length 1.
        """
        first = len(self)
        self.folder.mkdir(exist_ok=True)
        content = io.BytesIO()
        np.save(content, vectors)
        partial, file = self.folder / ".partial", self.folder / f"{first:012d}.npy"
        partial.write_bytes(content.getbuffer())
        partial.replace(file)
        self._parts.append(np.load(file, mmap_mode="r"))
        return first

    def at(self, rows: Sequence[int]) -> npt.NDArray[np.float32] | None:
        """Return the vectors of some rows, `[n, dimensions]`; None where a row is not there.

        Args:
            rows: in the order that is wanted.
        """
        found = []
        for row in rows:
            first = 0
            for part in self._parts:
                if row < first + len(part):
                    found.append(np.asarray(part[row - first]))
                    break
                first += len(part)
        return np.stack(found) if found and len(found) == len(rows) else None

    def nearest(self, vector: npt.NDArray[np.float32]) -> list[int]:
        """Return all rows, those with the largest cosine first, of equals the one that was written first.

        Args:
            vector: of the query, `[dimensions]`, of length 1.

        Raises:
            BadInput: the model gives vectors of another length than it did when they were written.
        """
        if not self._parts:
            return []
        here = self._parts[0].shape[1]
        if here != len(vector):
            raise BadInput(
                f"{self.folder}: has vectors of {here} numbers, the model gives {len(vector)} now; "
                "index the products again: gen-rerank index DATA --out INDEX --vectors MODEL"
            )
        cosines = np.concatenate([_cosines(part, vector) for part in self._parts])
        rows: list[int] = np.argsort(-cosines, kind="stable").tolist()
        return rows


def _cosines(part: npt.NDArray[np.float32], vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the cosine of each row, some rows at a time, so that a mapped file is never whole in memory."""
    return np.concatenate([part[first : first + _AT_ONCE] @ vector for first in range(0, len(part), _AT_ONCE)])
