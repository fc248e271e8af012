"""Which correction of the scores pays: none, a temperature, or a temperature and a map; by cross-validation.

Each is fitted on four folds of queries and measured on the fifth. A step is taken where it saves RPS on queries that
had no part in it, beyond chance, and does not lead the score away from relevance, beyond chance, as a temperature may:
it moves means towards the middle. What is well calibrated already stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from gen_rerank.bins import Distribution
from gen_rerank.calibration.score_map import fit_score_map, fit_venn_abers_map
from gen_rerank.calibration.temperature import fit_temperature
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.evaluation.intervals import Interval, paired
from gen_rerank.fitting.judged_pairs import JudgedPairs

Step = Literal["as they were", "with a temperature", "with a temperature and a map"]
STEPS: tuple[Step, ...] = get_args(Step)

# Below this, a map is drawn to the middle by how little one pair more would have to say to move it.
FEW_PAIRS = 1000


@dataclass(frozen=True)
class StepTrial:
    """A step against the one that was taken before it, on queries that had no part in either.

    Attributes:
        step: that was tried.
        against: the one before it.
        rps: what it changes in RPS; below 0 is better.
        mse: what it changes in the squared error of the score; below 0 is better.
    """

    step: Step
    against: Step
    rps: Interval
    mse: Interval

    @property
    def pays(self) -> bool:
        """Whether it is taken."""
        return self.rps.high < 0 and not self.mse.low > 0 and not self.rps.few

    @property
    def sentence(self) -> str:
        """What people read of it."""
        changes = f"RPS {self.rps.shown('+.4f')}, squared error of the score {self.mse.shown('+.4f')}"
        taken = "taken" if self.pays else "not taken"
        return f"{self.step}, against the scores {self.against}: {changes}: {taken}"


@dataclass(frozen=True, eq=False)
class StepChoice:
    """The step that was taken, and what spoke for it.

    Attributes:
        step: the last one that paid.
        calibration: temperature and map, fitted on all queries.
        by_fold: the same fitted without each fold, by its number; empty where there is one fold only.
        held_out: what it makes of each pair when it was fitted without it; None where there is one fold only.
        trials: of each step but the first, in order; empty where there is one fold only.
    """

    step: Step
    calibration: Calibration
    by_fold: dict[int, Calibration]
    held_out: Distribution | None
    trials: tuple[StepTrial, ...]


def choose_step(pairs: JudgedPairs, before: Calibration) -> StepChoice:
    """Fit each step without each fold, and take those that pay.

    Args:
        pairs: of any number of queries; of fewer than five nothing is taken.
        before: the card's calibration as it was; of it temperature and map are read.
    """
    old = Calibration(temperature=before.temperature, score_map=before.score_map)
    folds = np.unique(pairs.folds).tolist()
    if len(folds) == 1:
        return StepChoice("as they were", old, {}, None, ())
    fitted = {step: {fold: fit_step(step, pairs.chosen(pairs.folds != fold), old) for fold in folds} for step in STEPS}
    held_out = {step: read_by_fold(pairs, found) for step, found in fitted.items()}
    rps = {step: pairs.rps(found) for step, found in held_out.items()}
    mse = {step: pairs.query_means((found.mean - pairs.relevance) ** 2) for step, found in held_out.items()}
    taken: Step = STEPS[0]
    trials = []
    for step in STEPS[1:]:
        trials.append(StepTrial(step, taken, paired(rps[step], rps[taken]), paired(mse[step], mse[taken])))
        if trials[-1].pays:
            taken = step
    return StepChoice(taken, fit_step(taken, pairs, old), fitted[taken], held_out[taken], tuple(trials))


def fit_step(step: Step, pairs: JudgedPairs, before: Calibration) -> Calibration:
    """Return temperature and map of a step, fitted on pairs; the first step changes nothing."""
    if step == "as they were":
        return before
    plain = Calibration(temperature=fit_temperature(pairs.logits, pairs.targets))
    if step == "with a temperature":
        return plain
    fit_map = fit_venn_abers_map if len(pairs.relevance) < FEW_PAIRS else fit_score_map
    found = fit_map(pairs.read(plain).mean, pairs.relevance, pairs.weights)
    return plain.model_copy(update={"score_map": found})


def read_by_fold(pairs: JudgedPairs, fitted: dict[int, Calibration]) -> Distribution:
    """Return what each fold's calibration makes of its own pairs, in the order of the pairs."""
    rows = np.zeros((len(pairs.folds), 11), dtype=np.float32)
    for fold, calibration in fitted.items():
        held = pairs.folds == fold
        rows[held] = pairs.chosen(held).read(calibration).probabilities
    return Distribution(rows)
