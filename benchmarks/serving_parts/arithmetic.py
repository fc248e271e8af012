"""The operations that a request needs: those of a decoder's layers, for the tokens that no cache held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Pair


class PrefixCache:
    """What an engine need not compute again: whole blocks of tokens at the start of a prompt, as vLLM keeps them.

    Args:
        block: tokens of a block.

    Example:
        >>> cache = PrefixCache(block=2)
        >>> cache.held([1, 2, 3]), cache.held([1, 2, 4])
        (0, 2)
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self._seen: set[tuple[int, ...]] = set()

    def held(self, ids: Sequence[int]) -> int:
        """Return how many first tokens of a prompt are held, and keep the prompt; the last token is always computed."""
        ends = range(self.block, len(ids) + 1, self.block)
        prefixes = [tuple(ids[:end]) for end in ends]
        held = next((i for i, prefix in enumerate(prefixes) if prefix not in self._seen), len(prefixes))
        self._seen.update(prefixes)
        return min(held, (len(ids) - 1) // self.block) * self.block


@dataclass(frozen=True)
class Arithmetic:
    """The floating-point operations of a decoder's forward pass; embeddings, norms and readout are left out.

    Attributes:
        weights: of all matrices of all layers; each multiplies and adds once a token.
        width: layers times heads times their size; queries meet keys, and weights values, once a token before.
    """

    weights: int
    width: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> Self:
        """Read a Qwen3's configuration."""
        hidden, layers, head = config["hidden_size"], config["num_hidden_layers"], config["head_dim"]
        queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
        layer = hidden * (2 * queries + 2 * keys) + 3 * hidden * config["intermediate_size"]
        return cls(layers * layer, layers * queries)

    def flops(self, start: int, end: int) -> float:
        """Return the operations of the tokens from `start` to `end`, given those before."""
        looked_at = (end * (end + 1) - start * (start + 1)) // 2
        return 2 * self.weights * (end - start) + 4 * self.width * looked_at


def request_flops(checkpoint: Checkpoint, requests: Sequence[Sequence[Pair]], cache: PrefixCache | None) -> float:
    """Return the operations of a request, on average over those given, in order; no cache where a library has none."""
    arithmetic = Arithmetic.of(checkpoint.config)
    total = 0.0
    for pairs in requests:
        for ids in checkpoint.prompt.encode(pairs):
            total += arithmetic.flops(cache.held(ids) if cache else 0, len(ids))
    return total / len(requests)
