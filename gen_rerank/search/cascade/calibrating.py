"""What the command `calibrate-cascade` does between parsing and printing: open, score, walk, write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import RenderableType

from gen_rerank.bins import Distribution
from gen_rerank.calibration.tiers import has_tiers
from gen_rerank.checkpoints.card import CalibrationSource
from gen_rerank.data.dataset import Dataset, judged_part
from gen_rerank.data.reading import rows_places
from gen_rerank.data.records import BadRow, Split
from gen_rerank.errors import BadInput
from gen_rerank.fitting.fit import LEARNED
from gen_rerank.reporting.numbers import counted, figure
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.reporting.tables import WideTable, one_line
from gen_rerank.scorers.opening import PreparedScorer, prepare_scorer
from gen_rerank.scorers.scoring import score_pairs
from gen_rerank.search.cascade.card import CASCADE, PLACES, CascadeCard, identity
from gen_rerank.search.cascade.fit import AT_MOST, STEPS, BoundsChoice, choose_bounds, lost_at_most
from gen_rerank.search.cascade.judged import CascadeLosses, TwoReadings
from gen_rerank.search.cascade.reading import BATCH, ReadingBudget
from gen_rerank.system.publishing import require_apart, require_writable_file


@dataclass(frozen=True)
class CascadePlan:
    """What one run of `calibrate-cascade` does.

    Attributes:
        encoder: a folder or a hub name; it reads everything.
        decoder: the same; it reads what is undecided.
        data: a data set folder.
        split: of it, `validation` or `train`.
        places: k of the promise.
        at_most: how much nDCG@k may be lost.
        pairs: the most that the decoder reads for a query; None is no limit.
        batch: how many it reads at a time.
        backend: that computes the decoder.
        encoder_backend: that computes the encoder: `transformers` or `openvino`.
        dtype: of both: `auto`, `float32` or `bfloat16`.
        adapter: of the decoder.
        out: where the card goes; None for `cascade.json` in the encoder's folder.
        skip_bad_rows: leave bad rows of the data out.
    """

    encoder: str
    decoder: str
    data: Path
    split: str = "validation"
    places: int = PLACES
    at_most: float = AT_MOST
    pairs: int | None = None
    batch: int = BATCH
    backend: str = "transformers"
    encoder_backend: str = "transformers"
    dtype: str = "auto"
    adapter: str | None = None
    out: Path | None = None
    skip_bad_rows: bool = False


@dataclass(frozen=True, eq=False)
class CascadeReport:
    """What `calibrate-cascade` did.

    Attributes:
        plan: what was asked.
        card: what was written.
        file: where.
        choice: the bounds, and what is promised.
        losses: of all bounds that were tried.
        readings: of the judged queries.
        remarks: what to keep in mind of these queries.
        bad_rows: the rows of the data that were left out.
    """

    plan: CascadePlan
    card: CascadeCard
    file: Path
    choice: BoundsChoice
    losses: CascadeLosses
    readings: TwoReadings
    remarks: tuple[str, ...]
    bad_rows: tuple[BadRow, ...]

    def shown(self) -> Iterator[RenderableType]:
        """Yield what people see."""
        source = self.card.source
        assert source is not None
        of_what = f"{counted(source.queries, 'query', 'queries')}, {counted(source.pairs, 'pair')}"
        yield one_line(
            f"{self.plan.encoder}, then {self.plan.decoder}: {self.plan.split} of {self.plan.data}, {of_what}"
        )
        yield self.table()
        yield from self.sentences()
        yield from self.remarks
        yield one_line(f"written: {self.file}")

    def table(self) -> WideTable:
        """Return what each of the bounds reads and loses."""
        table = WideTable(
            "",
            "Low: the chance to be among the first above which a product is read; high: up to which one is read that "
            "would be shown. Read: the mean share of a query's products that the decoder reads. Lost: "
            f"nDCG@{self.plan.places} below the decoder's own ranking of everything; at most: with 90% confidence, of "
            "these bounds alone",
            "low, high",
            ("Read", "Lost", "At most", ""),
        )
        defined = self.losses.lost[:, ~_undefined(self.losses)]
        for step, (bounds, lost, share) in enumerate(zip(self.losses.bounds, defined, self.losses.share, strict=True)):
            known = len(lost) > 0
            cells = [
                figure(float(share.mean()), ".1%"),
                figure(float(lost.mean()) if known else None, "+.4f"),
                figure(lost_at_most(lost) if known else None, "+.4f"),
                "chosen" if step == self.choice.step else "",
            ]
            table.add_row(f"{bounds.low:g}, {bounds.high:g}", cells)
        return table

    def sentences(self) -> Iterator[str]:
        """Yield what is promised, and what is not, in words."""
        loss = self.choice.loss
        read = figure(float(self.choice.share.mean()), ".0%")
        low, high = self.choice.bounds.low, self.choice.bounds.high
        bounds = f"low={low:g}, high={high:g}, where the decoder reads {read} of the products"
        if loss.kept:
            of_how_many = counted(loss.queries, "query", "queries")
            yield f"{loss.promise}, promised with 90% confidence ({of_how_many}): {bounds}"
        else:
            yield f"{loss.promise}, not promised: {loss.reason}; nearest: {bounds}"
        if self.choice.step == 0:
            yield "No looser bounds keep it: the cascade saves nothing here."
        for one in self.choice.tiers.values():
            seen = f"seen {figure(one.observed, '.1%')}, at most {figure(one.bound, '.1%')}"
            yield f"{one.promise}, in the cascade's answers: {'promised' if one.kept else 'not promised'} ({seen})"

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        defined = self.losses.lost[:, ~_undefined(self.losses)]
        means = [float(row.mean()) if len(row) else None for row in defined]
        return {
            "encoder": self.plan.encoder,
            "decoder": self.plan.decoder,
            "adapter": self.plan.adapter,
            "data": str(self.plan.data),
            "split": self.plan.split,
            "file": str(self.file),
            "card": self.card.model_dump(mode="json", exclude_none=True),
            "steps": [
                {"low": one.low, "high": one.high, "read": float(share.mean()), "lost": lost}
                for one, share, lost in zip(self.losses.bounds, self.losses.share, means, strict=True)
            ],
            "remarks": list(self.remarks),
            "bad_rows": len(self.bad_rows),
        }


def _undefined(losses: CascadeLosses) -> Any:
    return (losses.lost != losses.lost).any(axis=0)


def calibrate_cascade(plan: CascadePlan) -> CascadeReport:
    """Find the bounds of a cascade on judged queries, and write them.

    All that can be refused is refused before anything is scored.

    Raises:
        BadInput: a limit, a split or a place that is none, bad data, a refused checkpoint or adapter, or a model
            without calibration.

    Example:
        >>> plan = CascadePlan("runs/encoder", "runs/model", Path("shop"))  # doctest: +SKIP
        >>> calibrate_cascade(plan).card.low  # doctest: +SKIP
        0.05
    """
    _check(plan)
    dataset = Dataset.load(plan.data, skip_bad_rows=plan.skip_bad_rows)
    judged = judged_part(dataset, plan.split, plan.data)
    encoder, decoder = prepared_models(
        plan.encoder,
        plan.decoder,
        backend=plan.backend,
        encoder_backend=plan.encoder_backend,
        dtype=plan.dtype,
        adapter=plan.adapter,
        data=plan.data,
    )
    file = _place(plan, encoder)
    readings = TwoReadings.of(judged, _scored(encoder, judged, "encoder"), _scored(decoder, judged, "decoder"))
    budget = ReadingBudget(plan.pairs)
    with WorkProgress(transient=True) as progress:
        task = progress.add_task("walking over bounds", total=len(STEPS))
        losses = CascadeLosses.of(
            readings, plan.places, STEPS, budget=budget, batch=plan.batch, advance=lambda: progress.advance(task)
        )
    learned = any(_has_learned(one, dataset, plan.split) for one in (encoder, decoder))
    choice = choose_bounds(
        readings,
        losses,
        plan.places,
        plan.at_most,
        decoder.calibration,
        doubt=LEARNED if learned else "",
    )
    source = CalibrationSource(
        data=judged.fingerprint, split=plan.split, queries=len(readings.products), pairs=len(readings.relevance)
    )
    card = CascadeCard(
        encoder=identity(encoder),
        decoder=identity(decoder),
        places=plan.places,
        low=choice.bounds.low,
        high=choice.bounds.high,
        batch=plan.batch,
        pairs=plan.pairs,
        loss=choice.loss,
        tiers={str(tier): one for tier, one in choice.tiers.items()},
        read=round(float(choice.share.mean()), 6),
        source=source,
    )
    remarks = tuple(_remarks(plan, encoder, decoder, judged))
    file.parent.mkdir(parents=True, exist_ok=True)
    card.save(file)
    return CascadeReport(plan, card, file, choice, losses, readings, remarks, dataset.bad_rows)


def prepared_models(
    encoder: str,
    decoder: str,
    *,
    backend: str = "transformers",
    encoder_backend: str = "transformers",
    dtype: str = "auto",
    adapter: str | None = None,
    data: str | Path = "DATA",
) -> tuple[PreparedScorer, PreparedScorer]:
    """Return both models of a cascade, checked; no weights are loaded yet.

    Args:
        encoder: reads everything.
        decoder: reads what is undecided.
        backend: of the decoder.
        encoder_backend: of the encoder.
        dtype: of both.
        adapter: of the decoder.
        data: judged queries, for the command in the sentence.

    Raises:
        BadInput: one is refused, both are one model, or one has no calibration; the sentence has the command to run.
    """
    first = prepare_scorer(encoder, encoder_backend, None, dtype)
    second = prepare_scorer(decoder, backend, adapter, dtype)
    for one, words in ((first, encoder), (second, f"{decoder}{'' if adapter is None else f' --adapter {adapter}'}")):
        if not has_tiers(one.calibration.thresholds):
            raise BadInput(
                f"{words}: is not calibrated, and a cascade compares the scores of two models; "
                f"run gen-rerank calibrate {words} {data}"
            )
    if identity(first) == identity(second):
        raise BadInput(f"{encoder} and {decoder} are one model; a cascade needs a fast one and a better one")
    return first, second


def _check(plan: CascadePlan) -> None:
    """Refuse what needs no look at any file.

    Raises:
        BadInput: a split that must not be used, or a number that is none.
    """
    if plan.split not in get_args(Split):
        raise BadInput(f"there is no split {plan.split!r}; calibrate on validation or train")
    if plan.split == "test":
        raise BadInput("the test split has the last word and is never calibrated on; leave --split test out")
    if not 0 < plan.at_most < 1:
        raise BadInput(f"--at-most {plan.at_most:g}: what nDCG may lose lies between 0 and 1, such as {AT_MOST:g}")
    ReadingBudget(plan.pairs)


def _place(plan: CascadePlan, encoder: PreparedScorer) -> Path:
    """Return the file for the card.

    Raises:
        BadInput: it cannot be written, it is a file that is read, or the encoder lies in the hub's cache.
    """
    if plan.out is None and not Path(plan.encoder).is_dir():
        raise BadInput(f"{plan.encoder}: lies in the hub's cache, which is left alone; name a file with --out")
    file = plan.out or encoder.checkpoint.folder / CASCADE
    read = [("the data", place) for place in rows_places(plan.data)]
    if file.name != CASCADE:  # an older one may go
        models = (plan.encoder, plan.decoder, plan.adapter)
        read += [(f"the model {one}", Path(one)) for one in models if one is not None]
    require_apart(file, read)
    require_writable_file(file)
    return file


def _scored(prepared: PreparedScorer, judged: Dataset, name: str) -> Distribution:
    pairs = [judged.pair(row) for row in judged.judgments]
    with prepared.open() as scorer, WorkProgress(transient=True) as progress:
        return score_pairs(scorer, pairs, progress, name)


def _has_learned(prepared: PreparedScorer, dataset: Dataset, split: str) -> bool:
    """Return whether the cards say that these queries were trained on; an adapter learns from validation too."""
    if prepared.adapter is not None and prepared.adapter.card.provenance.data == dataset.fingerprint:
        return True
    return split == "train" and prepared.checkpoint.card.provenance.data == dataset.fingerprint


def _remarks(plan: CascadePlan, encoder: PreparedScorer, decoder: PreparedScorer, judged: Dataset) -> Iterator[str]:
    for name, one in ((plan.encoder, encoder), (plan.adapter or plan.decoder, decoder)):
        source = one.calibration.source
        if source is not None and source.data == judged.fingerprint:
            yield one_line(f"{name} was calibrated on these queries too, so its scores fit them better than others.")
