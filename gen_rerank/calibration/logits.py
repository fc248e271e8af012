"""Logits become a `Distribution`: the one place where a card's readout values and temperature are applied.

Every backend, offline and in the server, ends here. Which rows were read, and at which position, is the scorers'.
"""

from __future__ import annotations

import numpy.typing as npt

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.card import Card


def distribution_of(logits: npt.ArrayLike, card: Card) -> Distribution:
    """Return what a checkpoint says of each pair.

    Args:
        logits: `[n, k]`, one column for each output of the card's readout, in its order.
        card: of the checkpoint, or of the base with an adapter's calibration.

    Raises:
        BadInput: NaN or infinite logits, or another number of columns than the readout has.

    Example:
        >>> card = Card(readout=Readout.classifier(), prompt=PromptSpec())  # doctest: +SKIP
        >>> distribution_of([[0.0] * 11], card).mean.tolist()  # doctest: +SKIP
        [0.5]
    """
    return Distribution.from_logits(logits, temperature=card.calibration.temperature, values=card.readout.values)
