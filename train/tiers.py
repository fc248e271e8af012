"""The end of a run: temperature, map and tiers of what came out, found on validation queries that chose nothing of it.

How they are found, `gen_rerank.fitting` knows; here is which queries may say it. What the training measured is enough:
no model is opened and nothing is read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor
from transformers import TrainingArguments

from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.card import Card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.folds import deal, part
from gen_rerank.fitting.calibrating import write_calibration
from gen_rerank.fitting.fit import CalibrationFit, fit_calibration
from gen_rerank.fitting.tables import shown_tiers
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.tables import one_line
from train.measuring import ValidationSample


@dataclass(frozen=True)
class JudgedLogits:
    """What came out of a run says of judged queries.

    Attributes:
        judged: the queries.
        logits: `[judgments, 11]`, on which no calibration has acted.
        split: what the queries are, for the card.
        doubt: why nothing can be promised of them; empty where something can.
        remark: what else is to be known of them, a sentence.
    """

    judged: Dataset
    logits: Tensor
    split: str = "validation"
    doubt: str = ""
    remark: str = ""

    def without(self, sample: ValidationSample | None) -> JudgedLogits:
        """Return those of the other queries, where a sample of them chose the state that is published."""
        if sample is None:
            return self
        others = np.ones(len(self.judged.judgments), dtype=bool)
        others[sample.places] = False
        remark = (
            f"{sample.queries:,} of {sample.judged:,} validation queries chose the state that is published; the others "
            "calibrate it."
        )
        return JudgedLogits(
            part(self.judged, others), self.logits[torch.from_numpy(others)], self.split, self.doubt, remark
        )


def choosing_half(validation: Dataset, args: TrainingArguments) -> ValidationSample | None:
    """Return the half of the validation queries that chooses a state, where the recipe has one chosen; else None.

    The other half calibrates what was chosen: on the first one it looks better than it is. None too where one query is
    all there is.

    Args:
        validation: the judged queries.
        args: of the training.
    """
    if not args.load_best_model_at_end:
        return None
    folds = deal(validation, 2, args.seed)
    chosen = np.flatnonzero(folds == 0).tolist()
    if len(chosen) == len(folds):
        return None
    ids = [row.query_id for row in validation.judgments]
    return ValidationSample(chosen, len({ids[place] for place in chosen}), len(set(ids)))


def with_tiers(
    made: Checkpoint | Adapter, card: Card, said: JudgedLogits | None, folder: Path, name: str, console: Console
) -> Card:
    """Calibrate what came out of a run, write it into its folder, and return the card; one that has tiers keeps them.

    Args:
        made: what was written, opened.
        card: of it; of an adapter, its base's with its own calibration.
        said: None where there are no judged validation queries, and nothing is calibrated.
        folder: where it lies.
        name: of it, for people.
        console: where the tiers are shown.
    """
    if said is None or card.calibration.thresholds:
        return card
    fit = fit_calibration(
        said.judged,
        said.logits.numpy(),
        card.readout,
        card.calibration,
        model=made.fingerprint,
        split=said.split,
        doubt=said.doubt,
    )
    about, remarks = _about(name, said, fit), (said.remark,) if said.remark else ()
    figures: dict[str, Any] = {"about": about, **fit.to_json(), "remarks": list(remarks)}
    write_calibration(made, fit, folder, about, figures, remarks)
    for shown in (*shown_tiers(fit), *remarks):
        console.print(Text(shown) if isinstance(shown, str) else shown)
    return card.model_copy(update={"calibration": fit.calibration})


def _about(name: str, said: JudgedLogits, fit: CalibrationFit) -> str:
    source = fit.calibration.source
    assert source is not None
    return one_line(
        f"{name}: {said.split}, {counted(source.queries, 'query', 'queries')}, {counted(source.pairs, 'pair')}, as the "
        "training measured them"
    )
