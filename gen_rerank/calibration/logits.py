"""Logits become a `Distribution`: the one place where a card's readout values, temperature and map are applied.

Every backend, offline and in the server, ends here. Which rows were read, and at which position, is the scorers'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import BIN_COUNT, Distribution, bin_columns
from gen_rerank.calibration.score_map import mapped
from gen_rerank.checkpoints.card import Calibration, Card


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
    return calibrated(logits, card.readout.values, card.calibration)


def calibrated(logits: npt.ArrayLike, values: Sequence[float], calibration: Calibration) -> Distribution:
    """Return what a calibration makes of logits.

    Args:
        logits: `[n, k]`.
        values: `[k]`, what each column is worth.
        calibration: temperature, and the map where it has one.

    Raises:
        BadInput: NaN or infinite logits, or another number of columns.

    Example:
        >>> calibrated([[0.0, 0.0]], [0.0, 1.0], Calibration(temperature=2.0)).mean.tolist()
        [0.5]
    """
    plain = Distribution.from_logits(logits, temperature=calibration.temperature, values=values)
    if calibration.score_map is None:
        return plain
    scaled = np.asarray(logits, dtype=np.float64) / calibration.temperature
    rows = np.zeros((len(scaled), BIN_COUNT))
    rows[:, bin_columns(values)] = mapped(scaled, values, calibration.score_map)
    return Distribution(rows.astype(np.float32))
