"""The messy feed: what is planted is what the import counts, at the places where it was planted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_rerank import BadInput, Product
from gen_rerank.data.feeds.importing import import_feed
from gen_rerank.data.reading import RowReader, rows_file
from messy_feed import FAULTS, MessyForm, comparison, large_feed, write_messy

ROWS = 2000


@pytest.mark.parametrize("form", MessyForm)
def test_the_report_counts_what_was_planted(tmp_path: Path, form: MessyForm) -> None:
    feed = tmp_path / f"feed.{form}"
    planted = write_messy(feed, ROWS, form, seed=3)
    report = import_feed(feed, tmp_path / "shop")
    assert [(kind, wanted) for kind, wanted, _ in comparison(planted, report)] == [
        (kind, counted) for kind, _, counted in comparison(planted, report)
    ]
    refused = {place for fault in FAULTS if fault.refused for place in planted.places[fault.name]}
    assert [row.line for row in report.first_refused] == [place + planted.first_line for place in sorted(refused)]
    lines = {place + planted.first_line for places in planted.places.values() for place in places}
    for change in report.changes.values():
        assert len(change.examples) == 3
        assert {int(example.place.split(":")[1].split()[0]) for example in change.examples} <= lines
    assert report.found["encoding"] == "UTF-8, with a byte order mark"
    assert report.found["pandas' index"].startswith("dropped: ")
    reader = RowReader(rows_file(tmp_path / "shop", "products"), Product)
    products = {row.product_id: row for row in reader.unique(lambda row: row.product_id)}
    assert reader.bad == []
    for fault in FAULTS:
        for place in planted.places[fault.name]:
            if fault.refused is None and fault.field:
                assert getattr(products[str(place + 1)], fault.field) == fault.right, (fault.name, place)


def test_the_same_seed_writes_the_same_bytes_and_few_rows_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_messy(tmp_path / name, ROWS, MessyForm.JSONL, seed=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_bytes().splitlines()[1])["id"] == 2
    with pytest.raises(BadInput, match="at least 2000"):
        write_messy(tmp_path / "c", 1999, MessyForm.CSV)


def test_the_large_feed_has_a_header_and_as_many_rows() -> None:
    rows = list(large_feed(30))
    assert len(rows) == 31
    assert {len(row) for row in rows} == {8}
