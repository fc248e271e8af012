"""Cross-fitting: every judged query is predicted by trainings that have not seen it, and they decide.

K folds of whole queries; for each a training on the rest, which predicts the fold whenever it is measured. From these
predictions come how long to train, the temperature, and an honest comparison with the base: of each fold both are what
the *other* folds choose, so that no query has a say in what it is measured by (Chernozhukov et al. 2018,
"Double/debiased machine learning for treatment and structural parameters", The Econometrics Journal 21). What is
trained in a fold is `adapter`'s, how strong it may be and whether it is good enough `acceptance`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from peft import PeftModel
from peft.helpers import rescale_adapter_scale
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from gen_rerank.bins import Distribution, Floats
from gen_rerank.calibration.temperature import fit_temperature
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.folds import Places, part
from gen_rerank.evaluation import metrics
from gen_rerank.evaluation.metrics import Doubles
from train.pair_trainer import validation_metrics
from train.saved_states import CanGoOn, fold_file

logger = logging.getLogger(__name__)

# By which an adapter's matrices may be multiplied, the weakest first. Between the base (0) and what was trained (1) lie
# models that keep more of what the base knows (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv
# 2109.01903).
STRENGTHS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class AdapterPlan:
    """How an adapter is trained and written.

    Attributes:
        measurements: after how many its training ends.
        strength: of `STRENGTHS`.
        temperature: by which its logits are divided to come closest to the targets.
    """

    measurements: int
    strength: float
    temperature: float


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What trainings said of the judged pairs of queries that they had not seen.

    Attributes:
        judged: the queries, with their judgments.
        folds: of each judgment, `[judgments]`.
        base: what the base says, `[judgments, 11]` float32.
        logits: what the trainings said, `[measurements, strengths, judgments, 11]` float32.
        wanted: the targets, `[judgments, 11]`.
    """

    judged: Dataset
    folds: Places
    base: Tensor
    logits: Tensor
    wanted: Floats

    @cached_property
    def rps(self) -> Doubles:
        """RPS of each query, `[measurements, strengths, queries]`: the mean of its pairs."""
        labels = [row.labels or (row.relevance,) for row in self.judged.judgments]
        places = np.unique([row.query_id for row in self.judged.judgments], return_inverse=True)[1]
        said = (Distribution.from_logits(logits.numpy()) for logits in self.logits.flatten(0, 1))
        pairs = (metrics.ranked_probability_score(one, labels) for one in said)
        found = np.stack([np.bincount(places, one) / np.bincount(places) for one in pairs])
        return found.reshape(*self.logits.shape[:2], -1)

    def choice(self, strength: float) -> AdapterPlan:
        """Return how an adapter of this strength is trained: what all queries choose."""
        best = self._best(strength, np.ones(len(self.folds), dtype=bool))
        temperature = fit_temperature(self._at(strength)[best], self.wanted)
        return AdapterPlan(best + 1, strength, temperature)

    def chosen(self, plan: AdapterPlan) -> Tensor:
        """Return logits `[judgments, 11]` after the measurement and at the strength of a plan, at no temperature."""
        return self._at(plan.strength)[plan.measurements - 1]

    def adapted(self, strength: float) -> Tensor:
        """Return logits `[judgments, 11]`: of each fold at the measurement and temperature that the others choose."""
        return self._by_others(lambda others: self._at(strength)[self._best(strength, others)])

    def rival(self) -> Tensor:
        """Return the base's logits `[judgments, 11]`, those of each fold at the temperature that the others choose."""
        return self._by_others(lambda others: self.base)

    def curve(self, strength: float) -> list[dict[str, float]]:
        """Return the headline measure and RPS after each measurement, by their names in lower case."""
        said = (Distribution.from_logits(logits.numpy()) for logits in self._at(strength))
        return [validation_metrics(self.judged, one) for one in said]

    def _at(self, strength: float) -> Tensor:
        return self.logits[:, STRENGTHS.index(strength)]

    def _best(self, strength: float, chosen: npt.NDArray[np.bool_]) -> int:
        """Return the measurement that the queries of some judgments choose by RPS, counted from 0."""
        ids = np.array([row.query_id for row in self.judged.judgments])
        inside = np.isin(np.unique(ids), ids[chosen])
        return within_one_error(self.rps[:, STRENGTHS.index(strength)][:, inside])

    def _by_others(self, said: Callable[[npt.NDArray[np.bool_]], Tensor]) -> Tensor:
        found = torch.empty_like(self.base)
        for fold in np.unique(self.folds):
            held = self.folds == fold
            logits = said(~held)
            found[held] = logits[held] / fit_temperature(logits[~held], self.wanted[~held])
        return found


def within_one_error(costs: Doubles) -> int:
    """Return the first row, the simplest one, whose mean is at most one standard error above the lowest mean.

    By Breiman, Friedman, Olshen & Stone 1984, "Classification and Regression Trees", section 3.4.3: what lies within
    the error of the best is as good as that, and what has moved less from where it began does better on other queries.

    Args:
        costs: `[candidates, queries]`, from the simplest candidate on; two queries at least.

    Example:
        >>> within_one_error(np.array([[0.9, 0.7], [0.5, 0.3], [0.4, 0.2]]))
        1
    """
    means = costs.mean(axis=1)
    best = means.argmin()
    error = costs[best].std(ddof=1) / np.sqrt(costs.shape[1])
    return int((means <= means[best] + error).argmax())


def cross_fit(
    judged: Dataset,
    folds: Places,
    run: Path,
    train_fold: Callable[[Dataset, Dataset, int | None], Tensor],
) -> Tensor:
    """Train and predict fold by fold; what is finished is kept in the run's folder, and not done again.

    A measurement counts where every fold reached it, so that no fold is longer than the shortest before it.

    Args:
        judged: the queries.
        folds: of each judgment.
        run: the run's folder.
        train_fold: trains on the first data set and returns the logits `[measurements, strengths, judgments, 11]` of
            the second, after at most so many measurements.

    Returns:
        logits `[measurements, strengths, judgments, 11]`.

    Raises:
        CanGoOn: what a fold said could not be written.
    """
    count = int(folds.max()) + 1
    said: list[Tensor] = []
    for fold in range(count):
        held, file = folds == fold, fold_file(run, fold)
        logits = _kept(file)
        if logits is None:
            logger.info("fold %d of %d", fold + 1, count)
            logits = train_fold(part(judged, ~held), part(judged, held), len(said[-1]) if said else None)
            _keep(file, logits)
        said.append(logits)
        said = [one[: len(logits)] for one in said]
    measurements, strengths, _, bins = said[0].shape
    pooled = torch.zeros(measurements, strengths, len(folds), bins)
    for fold, logits in enumerate(said):
        pooled[:, :, folds == fold] = logits
    return pooled


class HeldOutLogits(TrainerCallback):
    """Keeps what a fold's training says of its held-out queries at each strength, and ends it in time.

    Args:
        trainer: of a LoRA.
        most: measurements; None sets no limit.
    """

    def __init__(self, trainer: Any, most: int | None) -> None:
        """Begin with none."""
        self.trainer = trainer
        self.most = most
        self.logits: list[Tensor] = []

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep the logits of this measurement, `[strengths, judgments, 11]`."""
        at_strengths = []
        for strength in STRENGTHS:
            with rescale_adapter_scale(self.trainer.model, strength):
                at_strengths.append(self.trainer.validation_logits()[0])
        self.logits.append(torch.stack(at_strengths))
        if self.most is not None and len(self.logits) >= self.most:
            control.should_training_stop = True


class StopAfter(TrainerCallback):
    """Ends a training of all queries where its folds were best, on their schedule; nothing is held out to measure.

    The last state is not saved: one that is resumed there would go on for another epoch.

    Args:
        measurements: how many the folds made until then.
    """

    def __init__(self, measurements: int) -> None:
        """Keep when to stop."""
        self.measurements = measurements

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop after so many epochs, where the folds were measured at their end."""
        done = args.eval_strategy == "epoch" and round(state.epoch or 0.0) >= self.measurements
        self._go_on_or_stop(control, done)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop after so many steps, where the folds were measured every few of them."""
        done = args.eval_strategy == "steps" and state.global_step >= self.measurements * state.eval_steps
        self._go_on_or_stop(control, done)

    def _go_on_or_stop(self, control: TrainerControl, done: bool) -> None:
        control.should_evaluate = False
        if done:
            control.should_training_stop = True
            control.should_save = False


def weaken(model: PeftModel, strength: float) -> None:
    """Multiply what a LoRA adds to its base."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LoraLayer):
                for matrix in module.lora_B.values():
                    matrix.weight *= strength


def _kept(file: Path) -> Tensor | None:
    if not file.is_file():
        return None
    try:
        return load_file(file)["logits"]
    except SafetensorError as error:
        logger.warning("%s is not whole (%s): that fold is trained again", file, error)
        return None


def _keep(file: Path, logits: Tensor) -> None:
    """Write what a fold said on the first process; the others wait for it.

    Raises:
        CanGoOn: it could not be written.
    """
    processes = PartialState()
    partial = file.with_name(f".{file.name}.partial")
    if processes.is_main_process:
        try:
            save_file({"logits": logits.contiguous()}, partial)
            partial.replace(file)
        except (OSError, SafetensorError) as error:
            raise CanGoOn(
                f"{file}: what a fold said could not be saved ({' '.join(str(error).split())[:200]}); make room and go "
                "on with --resume"
            ) from error
    processes.wait_for_everyone()
