"""What the readout and sorting by length are worth in the transformers backend: pairs a second, as ratios from one run.

The peer builds the whole vocabulary's logits at every position, as a plain forward pass does. Shapes: a decoder of
512 × 8 layers with Qwen3's vocabulary size, random weights, so that the vocabulary has its real share of the work.

Run: python benchmarks/bench_scoring.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from gen_rerank.scorers.transformers import length_batches

PAIRS = 64
VOCABULARY = 151_936


def pairs_per_second(score: Callable[[list[int]], None], batches: list[list[int]]) -> float:
    """Return the throughput over all batches, after a warm-up on the first."""
    score(batches[0])
    start = time.perf_counter()
    for batch in batches:
        score(batch)
    return sum(map(len, batches)) / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=512, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
        head_dim=64, intermediate_size=1536, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    lengths = np.random.default_rng(0).integers(40, 256, PAIRS).tolist()
    rows = model.get_output_embeddings().weight[:11]

    def tokens(batch: list[int]) -> torch.Tensor:
        return torch.randint(0, VOCABULARY, (len(batch), max(lengths[i] for i in batch)))

    @torch.inference_mode()
    def readout(batch: list[int]) -> None:
        hidden = model.get_decoder()(input_ids=tokens(batch), use_cache=False).last_hidden_state
        hidden[torch.arange(len(batch)), [lengths[i] - 1 for i in batch]] @ rows.T

    @torch.inference_mode()
    def full(batch: list[int]) -> None:
        logits = model(input_ids=tokens(batch), use_cache=False).logits
        logits[torch.arange(len(batch)), [lengths[i] - 1 for i in batch], :11]

    by_length = list(length_batches(lengths, 2048))
    in_order = [list(range(start, min(start + 8, PAIRS))) for start in range(0, PAIRS, 8)]
    ours = pairs_per_second(readout, by_length)
    unsorted = pairs_per_second(readout, in_order)
    peer = pairs_per_second(full, in_order)
    print(f"eleven rows, sorted by length   {ours:7.1f} pairs/s")
    print(f"eleven rows, file order         {unsorted:7.1f} pairs/s")
    print(f"full logits, file order         {peer:7.1f} pairs/s")
    print(f"eleven rows: {unsorted / peer:.2f}x; sorting: {ours / unsorted:.2f}x; together {ours / peer:.2f}x")


if __name__ == "__main__":
    main()
