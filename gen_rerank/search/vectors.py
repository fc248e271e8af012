"""A third list: the products nearest to a query by a sentence-transformers model, found exactly among all vectors.

Each change of the index adds two files, `00001.keys.npy` and `00001.vectors.npy`; of a product that stands in several
the last one counts, and one that the index does not hold any more is not found in it. The files are mapped and not
read, so that an index opens at once. sentence-transformers is imported when the first text is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """The vectors of an index, as its folder holds them.

    Args:
        folder: with the files; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts = [
            (np.load(keys), np.load(_beside(keys), mmap_mode="r")) for keys in sorted(folder.glob("*.keys.npy"))
        ]

    def add(self, keys: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        """Write some more; a reader sees them when it opens the folder again.

        Args:
            keys: of the products, `[n]`.
            vectors: `[n, dimensions]`, of length 1.
        """
        self.folder.mkdir(exist_ok=True)
        name = f"{len(list(self.folder.glob('*.keys.npy'))) + 1:05d}"
        file = self.folder / f"{name}.keys.npy"
        np.save(_beside(file), vectors)
        partial = self.folder / f".{name}.npy"
        np.save(partial, np.asarray(keys, dtype=np.int64))
        partial.replace(file)  # the keys come last: vectors without keys are not read

    def nearest(self, vector: npt.NDArray[np.float32], limit: int) -> list[int]:
        """Return the keys of the products with the largest cosine, best first, each once.

        Args:
            vector: of the query, `[dimensions]`, of length 1.
            limit: how many at most.
        """
        if not self._parts:
            return []
        keys = np.concatenate([part for part, _ in self._parts])
        cosines = np.concatenate([_cosines(part, vector) for _, part in self._parts])
        _, last = np.unique(keys[::-1], return_index=True)
        current = len(keys) - 1 - last
        found = current[np.lexsort((keys[current], -cosines[current]))[:limit]]
        return [int(key) for key in keys[found]]


def _cosines(part: npt.NDArray[np.float32], vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the cosine of each row, some rows at a time, so that a mapped file is never whole in memory."""
    return np.concatenate([part[first : first + _AT_ONCE] @ vector for first in range(0, len(part), _AT_ONCE)])


def _beside(keys: Path) -> Path:
    return keys.with_name(keys.name.replace(".keys.", ".vectors."))
