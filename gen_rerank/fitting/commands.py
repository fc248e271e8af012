"""`gen-rerank calibrate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gen_rerank.errors import BadInput
from gen_rerank.reporting.shell import (
    AdapterName,
    AsJson,
    BackendName,
    Data,
    DtypeName,
    Model,
    SkipBadRows,
    show_report,
    written,
)

app = typer.Typer()

_EXAMPLES = """Example: gen-rerank calibrate runs/model shop

gen-rerank calibrate runs/model shop --promise "exact: wrong <= 2%" --promise "close: missed <= 5%" --out runs/sure

gen-rerank calibrate runs/model shop --adapter runs/my-shop --set exact=0.85 close=0.5
"""


# `--set exact=0.85 close=0.5`: the second word arrives as an argument too many.
@app.command(epilog=_EXAMPLES, context_settings={"allow_extra_args": True})
def calibrate(
    context: typer.Context,
    model: Model,
    data: Data,
    promise: Annotated[
        list[str] | None,
        typer.Option("--promise", help='What a tier must keep, such as "exact: wrong <= 5%"; once for each tier.'),
    ] = None,
    by_hand: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="exact=SCORE close=SCORE", help="Thresholds by hand, instead of promises."),
    ] = None,
    adapter: AdapterName = None,
    out: Annotated[
        Path | None, written("--out", "Leave the folder as it is; a copy with the new card appears here.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="validation or train; never test.")] = "validation",
    slices: Annotated[bool, typer.Option("--slices", help="Show what tiers do for the queries of each tag.")] = False,
    backend: BackendName = "transformers",
    dtype: DtypeName = "auto",
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Find temperature, map and tiers on judged queries, and write them into the card of a model or of an adapter.

    Temperature and map are taken where they pay in RPS on queries that they were not fitted on. Thresholds keep what is
    promised of them with 90% confidence, over draws of queries; where so many queries cannot promise it, the nearest
    threshold is written and said to be unpromised. By default "exact: wrong <= 5%" (of the products shown as exact, the
    share with a relevance below 0.8) and "close: missed <= 10%" (of those with 0.5 or more, the share that falls below
    close). calibration.html and calibration.json lie beside the card.
    """
    if context.args and not by_hand:
        raise BadInput(
            f"{context.args[0]}: one model and one data folder are calibrated; write thresholds behind --set"
        )
    from gen_rerank.fitting.calibrating import CalibrationPlan
    from gen_rerank.fitting.calibrating import calibrate as run

    report = run(
        CalibrationPlan(
            model=model,
            data=data,
            split=split,
            backend=backend,
            dtype=dtype,
            adapter=adapter,
            promises=tuple(promise or ()),
            by_hand=_thresholds([*by_hand, *context.args]) if by_hand else None,
            out=out,
            slices=slices,
            skip_bad_rows=skip_bad_rows,
        )
    )
    show_report(report, as_json=as_json)


def _thresholds(given: Sequence[str]) -> dict[str, float]:
    """Return thresholds as they were written, such as `exact=0.85`.

    Raises:
        BadInput: one is no name with a number, or a name stands twice.
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError as error:
            raise BadInput(f"--set {text}: no threshold; write --set exact=0.85 close=0.5") from error
        if name in found:
            raise BadInput(f"--set: {name} stands twice; write --set exact=0.85 close=0.5")
        found[name] = number
    return found
