"""What the readout, sorting by length and bfloat16 are worth in the transformers backend, as ratios from one run.

The readout's peer builds the whole vocabulary's logits at every position, as a plain forward pass does. Shapes: a
decoder of 512 × 8 layers with Qwen3's vocabulary size, so that the vocabulary has its real share of the work; for the
number type one of 135 million parameters, 576 × 30 layers. The weights are random.

Run: python benchmarks/bench_scoring.py [--part readout|dtype] [--pairs 64]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from gen_rerank.bins import Distribution
from gen_rerank.scorers.transformers import DecoderNetwork, length_batches
from gen_rerank.system.machine import Machine

VOCABULARY = 151_936
SMALL_VOCABULARY = 49_152
# As wide as those of a trained model, so that a score is no coin in the middle.
LOGIT_SPREAD = 3.0


def pairs_per_second(score: Callable[[list[int]], None], batches: list[list[int]]) -> float:
    """Return the throughput over all batches, after a warm-up on the first."""
    score(batches[0])
    start = time.perf_counter()
    for batch in batches:
        score(batch)
    return sum(map(len, batches)) / (time.perf_counter() - start)


def readout_and_sorting(pairs: int) -> None:
    """Measure and print what eleven rows and sorting by length are worth."""
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=512, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
        head_dim=64, intermediate_size=1536, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    lengths = np.random.default_rng(0).integers(40, 256, pairs).tolist()
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
    in_order = [list(range(start, min(start + 8, pairs))) for start in range(0, pairs, 8)]
    ours = pairs_per_second(readout, by_length)
    unsorted = pairs_per_second(readout, in_order)
    peer = pairs_per_second(full, in_order)
    print(f"eleven rows, sorted by length   {ours:7.1f} pairs/s")
    print(f"eleven rows, file order         {unsorted:7.1f} pairs/s")
    print(f"full logits, file order         {peer:7.1f} pairs/s")
    print(f"eleven rows: {unsorted / peer:.2f}x; sorting: {ours / unsorted:.2f}x; together {ours / peer:.2f}x")


def number_types(pairs: int) -> None:
    """Measure and print what bfloat16 is worth, and how far it moves scores."""
    config = LlamaConfig(
        vocab_size=SMALL_VOCABULARY, hidden_size=576, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, intermediate_size=1536, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, SMALL_VOCABULARY, length) for length in rng.integers(40, 256, pairs)]
    rows = torch.randn(11, config.hidden_size) * LOGIT_SPREAD / config.hidden_size**0.5
    batches = list(length_batches([len(prompt) for prompt in prompts], 2048))
    speed, scores = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        network = DecoderNetwork(model.to(dtype).get_decoder(), rows.to(dtype))
        logits = torch.zeros(pairs, 11)

        @torch.inference_mode()
        def score(batch: list[int], network: DecoderNetwork = network, logits: torch.Tensor = logits) -> None:
            lengths = torch.tensor([len(prompts[i]) for i in batch])
            tokens = torch.zeros(len(batch), int(lengths.max()), dtype=torch.long)
            for row, i in enumerate(batch):
                tokens[row, : len(prompts[i])] = torch.from_numpy(prompts[i])
            logits[batch] = network.logits(tokens, lengths)

        speed[dtype] = pairs_per_second(score, batches)
        scores[dtype] = Distribution.from_logits(logits.numpy()).mean
        print(f"{str(dtype).removeprefix('torch.'):31} {speed[dtype]:7.2f} pairs/s")
    change = np.abs(scores[torch.bfloat16] - scores[torch.float32])
    native = "multiplies" if Machine.here().computes_bfloat16 else "emulates"
    print(f"this machine {native} bfloat16: {speed[torch.bfloat16] / speed[torch.float32]:.2f}x float32;")
    spread = scores[torch.float32].std()
    print(f"scores (spread {spread:.3f}) differ by {change.max():.4f} at most, {change.mean():.4f} on average")


PARTS = {"readout": readout_and_sorting, "dtype": number_types}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one of them; both by default")
    parser.add_argument("--pairs", type=int, default=64)
    asked = parser.parse_args()
    print(Machine.here())
    for name in [asked.part] if asked.part else PARTS:
        torch.manual_seed(0)
        PARTS[name](asked.pairs)


if __name__ == "__main__":
    main()
