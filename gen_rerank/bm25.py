"""BM25 over texts: the source of hard negatives and the floor that every reranker has to beat.

A thin, deterministic layer on `bm25s`: lower case, English stop words out, Snowball stems, ties in corpus order.
It knows nothing of products, models or judgments. `bm25s` is imported when it is used: it loads numba, and vLLM's
workers, which read the main module of a script again, do not start where numba is loaded (0.32).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import Stemmer
from numpy.typing import NDArray

_WORD = r"(?u)\b\w+\b"  # single characters count: "size 9", "Pixora 8"


class BM25:
    """A searchable list of texts.

    Example:
        >>> index = BM25(["black leather sofa", "cover for a sofa", "steel kettle"])
        >>> index.top("leather sofas", 2).tolist()
        [0, 1]
    """

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self.size = len(texts)
        self._stemmer = Stemmer.Stemmer("english")
        self._index = bm25s.BM25()
        # Ids, not strings: given strings, bm25s numbers its vocabulary in the order of a set.
        self._index.index(self._tokens(texts, return_ids=True), show_progress=False)

    def scores(self, query: str) -> NDArray[np.float32]:
        """Return the BM25 score of every text; all zero where no word of the query is known."""
        (tokens,) = self._tokens([query], return_ids=False)
        known = self._index.get_tokens_ids(tokens) if tokens else []
        if not known:
            return np.zeros(self.size, dtype=np.float32)
        return np.asarray(self._index.get_scores_from_ids(known), dtype=np.float32)

    def top(self, query: str, k: int) -> NDArray[np.intp]:
        """Return the positions of the `k` best texts, best first; of equals, the earlier one first."""
        return np.argsort(-self.scores(query), kind="stable")[:k]

    def _tokens(self, texts: Sequence[str], *, return_ids: bool) -> Any:
        import bm25s

        return bm25s.tokenize(
            list(texts),
            stopwords="en",
            stemmer=self._stemmer,
            token_pattern=_WORD,
            return_ids=return_ids,
            show_progress=False,
        )
