"""What is required of a written checkpoint before anybody may serve it: the rest is untouched, the scores still differ.

Both are proved on the files, whatever wrote them. How much quality a scheme costs is `quant.compare`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.schemes import Scheme
from gen_rerank.checkpoints.weights import Weights, reads_out
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Pair, Product
from gen_rerank.errors import BadInput
from gen_rerank.scorers.scorer import Scorer
from quant.drift import stuck
from quant.example_pairs import draw_pairs
from quant.llm_compressor import REST
from quant.recipes import smoothed_norms

# Where a decoder's output matrix is stored, unless it is the embedding.
_LM_HEAD = "lm_head.weight"
# How far the product of a smoothed norm and an int8 layer that reads it may be from the parent's: several times what
# rounding to 8 bits costs, and far less than a norm that is divided twice, or a layer that is not multiplied.
_SMOOTHED_ERROR = 0.1
_CHECKED_PAIRS = 32
# Scores spread over less than this share of the parent's spread are one and the same score.
_COLLAPSED_SPREAD = 0.01
# A parent whose own scores differ by less than this (it is constant) proves nothing.
_CONSTANT_SPREAD = 1e-6


def check_weights(parent: Checkpoint, scheme: Scheme, folder: Path) -> None:
    """Compare the written weights with the parent's: only linear layers may differ, and those must be quantized.

    Norms that the scheme smooths may differ too, as far as the layers that read them make up for it.

    Raises:
        BadInput: a tensor is lost or differs, nothing was quantized, or tied matrices are no longer one.
    """
    before, after = Weights.open(parent.folder), Weights.open(folder)
    if not after.scaled or any(map(reads_out, after.scaled)):
        raise BadInput(f"{parent.folder}: {scheme.name} quantized the readout, or nothing at all; nothing was written")
    tied = bool(parent.config.get("tie_word_embeddings"))
    if bool(after.config.get("tie_word_embeddings")) != tied or (tied and _LM_HEAD in after.files):
        raise BadInput(
            f"{parent.folder}: {scheme.name} split the matrix that embeddings and readout share; nothing was written"
        )
    smoothed = smoothed_norms(before.modules, (scheme,))
    for name in before.files.keys() - {f"{module}.weight" for module in {*after.scaled, *smoothed.values()}}:
        if tied and name == _LM_HEAD:
            continue  # some parents store the shared matrix twice
        if name not in after.files or not torch.equal(before.tensor(name).to(REST), after.tensor(name)):
            raise BadInput(f"{parent.folder}: {name} did not come through {scheme.name} unchanged; nothing was written")
    for layer, norm in smoothed.items():
        was, product = (weights.weight(layer) * weights.weight(norm) for weights in (before, after))
        error = float((product - was).norm() / was.norm())
        if not error < _SMOOTHED_ERROR:
            raise BadInput(
                f"{parent.folder}: {scheme.name} changed the product of {norm} and {layer} by {error:.0%}; "
                "nothing was written"
            )


def checked_pairs(data: Dataset | None, seed: int) -> list[Pair]:
    """Return the pairs on which the scores of parent and copy are compared: a few of a data set, or our own."""
    if data is not None:
        return draw_pairs(data, _CHECKED_PAIRS, seed)
    queries = ("oak desk", "waterproof hiking boots", "usb-c charger 65w")
    titles = ("Oak writing desk", "Leather hiking boots", "65 W USB-C charger", "Linen blanket")
    return [Pair(query, Product(product_id=title, title=title)) for query in queries for title in titles]


def check_scores(scheme: Scheme, expected: Distribution, scorer: Scorer, pairs: Sequence[Pair]) -> None:
    """Score the copy and compare.

    Args:
        scheme: of the copy.
        expected: what the parent answers.
        scorer: of the copy.
        pairs: that the parent was asked about.

    Raises:
        BadInput: scores that are not finite, that are all the same where the parent's differ, or that are stuck at 0,
            0.5 and 1 where the parent's are not.
    """
    try:
        scores = scorer.score(pairs).mean
    except BadInput as error:
        raise BadInput(
            f"the {scheme.name} checkpoint gives no finite scores ({error}); nothing was written, choose another scheme"
        ) from error
    parent = expected.mean
    if np.ptp(parent) > _CONSTANT_SPREAD and np.ptp(scores) < _COLLAPSED_SPREAD * np.ptp(parent):
        raise BadInput(
            f"the {scheme.name} checkpoint gives every pair the score {scores[0]:.3g}, where the parent's go from "
            f"{parent.min():.3g} to {parent.max():.3g}; nothing was written, choose another scheme"
        )
    if stuck(scores).all() and not stuck(parent).all():
        raise BadInput(
            f"the {scheme.name} checkpoint's scores are stuck at {sorted(set(scores.round(3).tolist()))}; "
            "nothing was written, choose another scheme"
        )
