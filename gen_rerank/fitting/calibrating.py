"""What the command `calibrate` does between parsing and printing: open, score, fit, write.

The card of the checkpoint, or of the adapter, is replaced whole; with `--out` a copy of the folder appears with the new
card, and what was read stays as it is. Beside the card lie `calibration.html` and `calibration.json`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import RenderableType

from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.card import CARD, Calibration
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset, judged_part
from gen_rerank.data.records import BadRow, Split
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import save_json
from gen_rerank.fitting.fit import CalibrationFit, fit_calibration, wanted_promises
from gen_rerank.fitting.pages import FIGURES, PAGE, calibration_page
from gen_rerank.fitting.tables import shown_fit
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.reporting.tables import one_line
from gen_rerank.scorers.opening import PreparedScorer, prepare_scorer
from gen_rerank.scorers.scoring import logits_of_pairs
from gen_rerank.system.publishing import (
    folder_appearing,
    opened_before_named,
    refuse_taken,
    require_makeable,
    require_room,
    write_text_whole,
)


@dataclass(frozen=True)
class CalibrationPlan:
    """What one run of `calibrate` does.

    Attributes:
        model: a folder or a hub name.
        data: a data set folder.
        split: of it, `validation` or `train`.
        backend: that computes.
        dtype: `auto`, `float32` or `bfloat16`.
        adapter: of the model, which gets the calibration.
        promises: as they were written.
        by_hand: both thresholds, set instead of promised.
        out: where a copy with the new card appears; None changes the card of what was given.
        slices: whether people see the figures of each tag.
        skip_bad_rows: leave bad rows of the data out.
    """

    model: str
    data: Path
    split: str = "validation"
    backend: str = "transformers"
    dtype: str = "auto"
    adapter: str | None = None
    promises: tuple[str, ...] = ()
    by_hand: Mapping[str, float] | None = None
    out: Path | None = None
    slices: bool = False
    skip_bad_rows: bool = False


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """What `calibrate` did.

    Attributes:
        plan: what was asked.
        fit: what was found.
        folder: where card, page and figures lie.
        scored_with: backend and number type.
        remarks: what to keep in mind of these queries.
        bad_rows: the rows of the data that were left out.
    """

    plan: CalibrationPlan
    fit: CalibrationFit
    folder: Path
    scored_with: str
    remarks: tuple[str, ...]
    bad_rows: tuple[BadRow, ...]

    @property
    def about(self) -> str:
        """What was calibrated on what, on one line."""
        source = self.fit.calibration.source
        assert source is not None
        on = "" if self.plan.adapter is None else f" with {self.plan.adapter}"
        return one_line(
            f"{self.plan.model}{on}: {self.plan.split} of {self.plan.data}, "
            f"{counted(source.queries, 'query', 'queries')}, {counted(source.pairs, 'pair')}, "
            f"scored with {self.scored_with}"
        )

    def shown(self) -> Iterator[RenderableType]:
        """Yield what people see."""
        yield self.about
        yield from shown_fit(self.fit, slices=self.plan.slices)
        yield from self.remarks
        yield one_line(f"written: {self.folder / CARD}, {PAGE}, {FIGURES}")

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        given = {"model": self.plan.model, "adapter": self.plan.adapter, "data": str(self.plan.data)}
        return {
            **given,
            "split": self.plan.split,
            "scored_with": self.scored_with,
            "folder": str(self.folder),
            **self.fit.to_json(),
            "remarks": list(self.remarks),
            "bad_rows": len(self.bad_rows),
        }


def calibrate(plan: CalibrationPlan) -> CalibrationReport:
    """Calibrate a checkpoint, or an adapter of it, on judged queries, and write what was found.

    All that can be refused is refused before anything is scored.

    Raises:
        BadInput: a promise or a threshold that is none, a split that must not be used or is empty, bad data, a refused
            checkpoint or adapter, or a place that cannot be written.

    Example:
        >>> calibrate(CalibrationPlan("runs/model", Path("shop"))).fit.calibration.thresholds  # doctest: +SKIP
        {'exact': 0.712, 'close': 0.455}
    """
    _check(plan)
    dataset = Dataset.load(plan.data, skip_bad_rows=plan.skip_bad_rows)
    judged = judged_part(dataset, plan.split, plan.data)
    prepared = prepare_scorer(plan.model, plan.backend, plan.adapter, plan.dtype)
    given = prepared.adapter or prepared.checkpoint
    _require_place(plan, given.folder)
    pairs = [judged.pair(row) for row in judged.judgments]
    with prepared.open() as scorer, WorkProgress(transient=True) as progress:
        logits = logits_of_pairs(scorer, pairs, progress)
    learned = _has_learned(prepared, dataset, plan.split)
    fit = fit_calibration(
        judged,
        logits,
        prepared.checkpoint.card.readout,
        given.card.calibration,
        promises=plan.promises,
        by_hand=plan.by_hand,
        model=given.fingerprint,
        split=plan.split,
        learned=learned,
    )
    remarks = tuple(_remarks(prepared, dataset, learned))
    report = CalibrationReport(plan, fit, plan.out or given.folder, str(prepared), remarks, dataset.bad_rows)
    if plan.out is None:
        _write(report, given, given.folder)
        return report
    with folder_appearing(plan.out) as made:
        old = shutil.ignore_patterns(PAGE, FIGURES)
        shutil.copytree(given.folder, made, copy_function=shutil.copyfile, ignore=old, dirs_exist_ok=True)
        _write(report, given, made)
        opened_before_named(
            lambda folder: (
                Checkpoint.open(folder) if prepared.adapter is None else Adapter.open(folder, prepared.checkpoint)
            ),
            made,
            plan.out,
        )
    return report


def recalibrated(given: Checkpoint | Adapter, calibration: Calibration) -> Any:
    """Return the card of a checkpoint or an adapter with another calibration."""
    return given.card.model_copy(update={"calibration": calibration})


def _check(plan: CalibrationPlan) -> None:
    """Refuse what needs no look at any file.

    Raises:
        BadInput: a split that must not be used, a promise or a threshold that is none, or both of them.
    """
    if plan.split not in get_args(Split):
        raise BadInput(f"there is no split {plan.split!r}; calibrate on validation or train")
    if plan.split == "test":
        raise BadInput("the test split has the last word and is never calibrated on; leave --split test out")
    wanted_promises(plan.promises, plan.by_hand)


def _require_place(plan: CalibrationPlan, folder: Path) -> None:
    """Require that the card can be written.

    Raises:
        BadInput: it cannot, it lies in the hub's cache, or the copy would lie in what is copied.
    """
    if plan.out is not None:
        require_room(plan.out)
        refuse_taken(plan.out)
        if plan.out.resolve().is_relative_to(folder.resolve()):
            raise BadInput(f"{plan.out}: lies in {folder}, of which it would be a copy; choose another place")
        return
    named = plan.adapter or plan.model
    if not Path(named).is_dir():
        raise BadInput(f"{named}: lies in the hub's cache, which is left alone; name a folder for a copy with --out")
    require_makeable(folder)


def _write(report: CalibrationReport, given: Checkpoint | Adapter, folder: Path) -> None:
    write_calibration(given, report.fit, folder, report.about, report.to_json(), report.remarks)


def write_calibration(
    given: Checkpoint | Adapter,
    fit: CalibrationFit,
    folder: Path,
    about: str,
    figures: Mapping[str, Any],
    remarks: Sequence[str],
) -> None:
    """Write page and figures, and then the card, so that no card says what no page explains.

    Args:
        given: what was calibrated.
        fit: what was found.
        folder: where it lies, or a copy of it.
        about: what was calibrated on what.
        figures: for `calibration.json`.
        remarks: what to keep in mind of the queries.
    """
    write_text_whole(folder / PAGE, calibration_page(about, fit, remarks))
    save_json(folder / FIGURES, figures)
    recalibrated(given, fit.calibration).save(folder)


def _has_learned(prepared: PreparedScorer, dataset: Dataset, split: str) -> bool:
    """Return whether the cards say that these queries were trained on; an adapter learns from validation too."""
    if prepared.adapter is not None and prepared.adapter.card.provenance.data == dataset.fingerprint:
        return True
    return split == "train" and prepared.checkpoint.card.provenance.data == dataset.fingerprint


def _remarks(prepared: PreparedScorer, dataset: Dataset, learned: bool) -> Iterator[str]:
    if learned:
        what = "adapter" if prepared.adapter is not None else "model"
        yield (
            f"The {what} was trained on these queries (its card names this data): all figures are too good, also those "
            "on held-out queries, and nothing is promised. Bring judged queries that it has not seen."
        )
    elif prepared.checkpoint.card.provenance.data == dataset.fingerprint:
        yield (
            "These queries also chose the checkpoint (its card names this data). Figures on held-out queries leave out "
            "what temperature, map and thresholds gain by knowing them, but not what that choice did."
        )
