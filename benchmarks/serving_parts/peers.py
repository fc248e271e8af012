"""What our engine is compared with: the same decoder, asked for the same eleven logits, by three other libraries.

Each peer takes pairs and gives distributions, as our scorers do, and is set up as its users would set it up for speed:
bfloat16, all cores, batches of similar length, and never more of the vocabulary's logits than it needs. A test holds
all of them to our own scores: a comparison of programs that compute different numbers would say nothing. Nothing is
timed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM, Qwen3ForSequenceClassification

from gen_rerank.bins import Distribution
from gen_rerank.calibration.logits import distribution_of
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Pair, Product
from gen_rerank.scorers.engine_plan import EngineChoices, plan
from gen_rerank.scorers.transformers import length_batches
from gen_rerank.scorers.vllm import engine_arguments

# Two texts that stand nowhere else in a prompt.
QUERY, TITLE = "zzqq", "qqzz"


class TransformersPeer:
    """Transformers' causal model: padded on the left, logits of the last position only.

    Args:
        checkpoint: a decoder with the `bins` readout.
        batch_size: pairs of one forward pass.
        dtype: of the weights.
    """

    def __init__(self, checkpoint: Checkpoint, batch_size: int, dtype: torch.dtype = torch.bfloat16) -> None:
        """Load the weights."""
        self.checkpoint, self.batch_size = checkpoint, batch_size
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint.folder, dtype=dtype).eval()

    @torch.inference_mode()
    def score(self, pairs: Sequence[Pair]) -> Distribution:
        """Return one distribution a pair, in order."""
        encoded = self.checkpoint.prompt.encode(pairs)
        readout = self.checkpoint.card.readout
        logits = np.zeros((len(pairs), len(readout.token_ids)), dtype=np.float32)
        order = next(length_batches(list(map(len, encoded)), 2**62))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            longest = max(len(encoded[i]) for i in batch)
            padded = torch.tensor([[0] * (longest - len(encoded[i])) + encoded[i] for i in batch])
            mask = torch.tensor([[0] * (longest - len(encoded[i])) + [1] * len(encoded[i]) for i in batch])
            last = self.model(input_ids=padded, attention_mask=mask, use_cache=False, logits_to_keep=1).logits[:, -1]
            logits[batch] = last[:, list(readout.token_ids)].float().numpy()
        return distribution_of(logits, self.checkpoint.card)


class CrossEncoderPeer:
    """sentence-transformers' `CrossEncoder` with the decoder as a classifier of eleven labels.

    Args:
        checkpoint: what the classifier was made from.
        folder: of the classifier, by `export_classifier`.
        batch_size: pairs of one forward pass.
        dtype: of the weights.
    """

    def __init__(
        self, checkpoint: Checkpoint, folder: Path, batch_size: int, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        """Load the weights."""
        from sentence_transformers import CrossEncoder

        self.checkpoint, self.batch_size = checkpoint, batch_size
        self.model = CrossEncoder(
            str(folder), local_files_only=True, activation_fn=torch.nn.Identity(), model_kwargs={"dtype": dtype}
        )

    def score(self, pairs: Sequence[Pair]) -> Distribution:
        """Return one distribution a pair, in order; a product is its title."""
        texts = [(pair.query, pair.product.title) for pair in pairs]
        logits = self.model.predict(texts, batch_size=self.batch_size, show_progress_bar=False)
        return distribution_of(logits, self.checkpoint.card)


class GeneratePeer:
    """vLLM as a text generator: one token, and the log-probabilities of the eleven bin tokens.

    It has our settings for the machine, unless told otherwise; the engine runs beside this process until the block
    ends.

    Args:
        checkpoint: a decoder with the `bins` readout.
        choices: of these settings.
        more: further arguments of `vllm.LLM`; they win.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        choices: EngineChoices = EngineChoices(),  # noqa: B008 - frozen
        **more: Any,
    ) -> None:
        """Start the engine."""
        planned = plan(checkpoint, choices)
        from vllm import LLM, SamplingParams

        self.checkpoint = checkpoint
        arguments = engine_arguments(checkpoint, dtype=choices.dtype, **planned.arguments())
        arguments |= {"runner": "generate", "convert": "none", "hf_overrides": {}}
        self._llm: Any = LLM(**arguments | more)
        ids = list(checkpoint.card.readout.token_ids)
        self._params = SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=ids, detokenize=False)

    def score(self, pairs: Sequence[Pair]) -> Distribution:
        """Return one distribution a pair, in order: the log-probabilities of the bins, made to sum to one."""
        prompts = [{"prompt_token_ids": ids} for ids in self.checkpoint.prompt.encode(pairs)]
        card = self.checkpoint.card
        logits = []
        for output in self._llm.generate(prompts, self._params, use_tqdm=False):
            (found,) = output.outputs[0].logprobs
            logits.append([found[number].logprob for number in card.readout.token_ids])
        return distribution_of(logits, card)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the engine."""
        self._llm.llm_engine.engine_core.shutdown(timeout=30)


def export_classifier(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the decoder as a `Qwen3ForSequenceClassification`, whose head is the rows of the bin tokens.

    Its tokenizer turns (query, title) into the tokens of our prompt, so that a library which knows pairs of texts and
    no prompts reads the same tokens. It needs a tokenizer to which a word is the same wherever it stands, as ours is.
    """
    source = AutoModelForCausalLM.from_pretrained(checkpoint.folder, dtype="auto")
    config = source.config
    config.num_labels = len(checkpoint.card.readout.token_ids)
    model = Qwen3ForSequenceClassification(config).to(source.dtype)
    model.model.load_state_dict(source.model.state_dict())
    rows = source.get_output_embeddings().weight[list(checkpoint.card.readout.token_ids)]
    model.score.weight.data.copy_(rows)
    model.save_pretrained(folder)
    tokenizer = type(checkpoint.tokenizer).from_str(checkpoint.tokenizer.to_str())
    tokenizer.post_processor = pair_template(checkpoint)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = (checkpoint.folder / "tokenizer_config.json").read_text(encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(settings, encoding="utf-8")


def pair_template(checkpoint: Checkpoint) -> processors.TemplateProcessing:
    """Return what puts the fixed tokens of the checkpoint's prompt around the tokens of (query, title).

    The fixed parts are what is left of a rendered prompt between the one and the other.
    """
    ids = checkpoint.prompt.encode([Pair(QUERY, Product(product_id="0", title=TITLE))])[0]
    places = []
    for name, text in (("$A", QUERY), ("$B", TITLE)):
        found = checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
        (start,) = (i for i in range(len(ids)) if ids[i : i + len(found)] == found)
        places.append((start, start + len(found), name))
    pieces: list[str] = []
    special = []
    end = 0
    for start, stop, name in [*sorted(places), (len(ids), len(ids), "")]:
        if fixed := ids[end:start]:
            tokens = [checkpoint.tokenizer.id_to_token(number) for number in fixed]
            special.append({"id": f"fixed{start}", "ids": fixed, "tokens": tokens})
            pieces.append(f"fixed{start}")
        pieces += [name] if name else []
        end = stop
    return processors.TemplateProcessing(single="$A", pair=pieces, special_tokens=special)
