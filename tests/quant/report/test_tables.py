"""The terminal shows verdicts first, and names are no markup."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from quant.report.tables import tables


def test_the_terminal_shows_verdicts_first_and_escapes_names(result):
    console = Console(width=240, file=StringIO())
    found = tables(result)
    for table in found:
        console.print(table)
    text = console.file.getvalue()
    assert len(found) == 3
    assert text.startswith("✓ int8: ship it. All 4 gates pass.")
    assert text.count("[/red]") >= 4
    assert "+0.0010 [-0.0030, +0.0050]" in text
    for failed in (failed for one in result.candidates for failed in one.failures):
        assert failed.gate in text
    assert len(tables(result.model_copy(update={"candidates": result.candidates[:1]}))) == 2
