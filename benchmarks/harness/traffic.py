"""Made-up requests, cold or warm, whose texts have exactly the wanted number of tokens.

Who is asked, and how long that takes, is not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from gen_rerank.data.records import Pair, Product
from gen_rerank.scorers.engine_plan import EngineChoices

Shape = Literal["0.6b", "nano"]

WARM_UP_PAIRS = 16


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        shape: of the decoder.
        candidates: products of a request.
        product_tokens: of each product.
        query_tokens: of each query.
        requests: the most of a row.
        seconds: after these a row gets no further request, once it has had two.
        compiled: whether vLLM compiles the model; None leaves it to `gen_rerank.scorers.engine_plan`.
    """

    shape: Shape
    candidates: int = 64
    product_tokens: int = 200
    query_tokens: int = 24
    requests: int = 200
    seconds: float = 45.0
    compiled: bool | None = None

    @property
    def choices(self) -> EngineChoices:
        """What is not left to the plan of the engine's settings."""
        return EngineChoices(compiled=self.compiled)


class RequestMaker:
    """Made-up requests whose texts have exactly the wanted tokens: each of their words is one.

    Args:
        tokenizer: in which a word is the same token wherever it stands.
        settings: sizes.
        seed: decides everything.

    Example:
        >>> len(RequestMaker(tokenizer, Settings("nano"), seed=0).fresh())  # doctest: +SKIP
        64
    """

    def __init__(self, tokenizer: Tokenizer, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.words = single_words(tokenizer)
        self._random = np.random.default_rng(seed)
        self._numbers = count()

    def fresh(self, candidates: int | None = None) -> list[Pair]:
        """Return a request with a new query and new products."""
        number = self.settings.candidates if candidates is None else candidates
        return self.about([self.product() for _ in range(number)])

    def about(self, products: Sequence[Product]) -> list[Pair]:
        """Return a request with a new query and these products."""
        query = self.text(self.settings.query_tokens)
        return [Pair(query, product) for product in products]

    def product(self) -> Product:
        """Return a new product, all of whose words are its title."""
        return Product(product_id=str(next(self._numbers)), title=self.text(self.settings.product_tokens))

    def text(self, tokens: int) -> str:
        """Return so many words, each of any of the vocabulary's."""
        return " ".join(self._random.choice(self.words, tokens))


def single_words(tokenizer: Tokenizer) -> list[str]:
    """Return the words of a vocabulary that are one token by themselves, in the order of the alphabet."""
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)
    encoded = tokenizer.encode_batch(words, add_special_tokens=False)
    return [word for word, encoding in zip(words, encoded, strict=True) if len(encoding.ids) == 1]


class Requests:
    """Hands requests out and remembers them, from several threads too.

    Args:
        make: returns the next one.

    Attributes:
        made: all that were handed out.
    """

    def __init__(self, make: Callable[[], list[Pair]]) -> None:
        self._make, self._lock = make, threading.Lock()
        self.made: list[list[Pair]] = []

    def __iter__(self) -> Iterator[list[Pair]]:
        """Make requests without end."""
        while True:
            with self._lock:
                pairs = self._make()
                self.made.append(pairs)
            yield pairs
