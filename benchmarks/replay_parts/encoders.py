"""What a pair costs with an encoder preset at random weights, batched, in the engine that the server uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting.prompt import PromptSpec
from harness.models import NANO
from harness.timing import timed
from harness.traffic import RequestMaker, Settings, single_words

PUBLISHED_VOCABULARY = 50_368


@dataclass(frozen=True)
class EncoderCost:
    """What a pair costs with one encoder preset.

    Attributes:
        preset: its name.
        parameters: of the model.
        candidates: pairs of a request.
        latencies: seconds of each request.
    """

    preset: str
    parameters: int
    candidates: int
    latencies: tuple[float, ...]

    @property
    def milliseconds(self) -> float:
        """Of a pair, in the median request."""
        return 1000 * median(self.latencies) / self.candidates


def measure_encoder(preset: str, folder: Path, settings: Settings) -> EncoderCost:
    """Return what a pair costs with a preset at random weights, in the server's engine and its dtype.

    Raises:
        BadInput: there is no such preset.
    """
    from gen_rerank.scorers.vllm import VllmScorer

    parameters = make_encoder(preset, folder, settings)
    checkpoint = Checkpoint.open(folder)
    maker = RequestMaker(checkpoint.tokenizer, settings, seed=0)
    with VllmScorer(checkpoint) as scorer:
        scorer.score(maker.fresh())
        latencies = timed(scorer.score, iter(maker.fresh, None), settings)
    return EncoderCost(preset, parameters, settings.candidates, tuple(latencies))


def make_encoder(preset: str, folder: Path, settings: Settings) -> int:
    """Write a preset's ModernBERT with random weights and the published vocabulary's size, and return its parameters.

    Its tokenizer knows the words of this benchmark, each as one token.

    Raises:
        BadInput: there is no such preset.
    """
    import torch
    from transformers import ModernBertForSequenceClassification

    from train.encoder import EncoderRecipe
    from train.encoder_bases import SPECIAL, pair_tokenizer
    from train.tokenizer import word_tokenizer

    spec = PromptSpec(
        template="encoder",
        max_length=512,
        budgets={"title": settings.product_tokens, "query": settings.query_tokens},
    )
    words = single_words(read_tokenizer(NANO))
    tokenizer = pair_tokenizer(word_tokenizer(words, PUBLISHED_VOCABULARY, SPECIAL), spec.max_length)
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
    torch.manual_seed(0)
    config = EncoderRecipe.load(preset).shape.config(PUBLISHED_VOCABULARY, **special)
    model = ModernBertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Card(readout=Readout.classifier(), prompt=spec).save(folder)
    return sum(parameter.numel() for parameter in model.parameters())
