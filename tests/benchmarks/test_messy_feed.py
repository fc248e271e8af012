"""The messy feed: what is planted is what the import counts, at the places where it was planted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gen_rerank import BadInput, Product
from gen_rerank.data.feeds.importing import import_feed
from gen_rerank.data.reading import RowReader, rows_file
from messy_feed import FAULTS, MessyForm, change_feed, comparison, large_feed, write_messy

ROWS = 2000


@pytest.mark.parametrize("form", MessyForm)
def test_the_report_counts_what_was_planted(tmp_path: Path, form: MessyForm) -> None:
    feed = tmp_path / f"feed.{form}"
    planted = write_messy(feed, ROWS, form, seed=3)
    report = import_feed(feed, tmp_path / "shop")
    assert [(kind, wanted) for kind, wanted, _ in comparison(planted, report.to_json())] == [
        (kind, counted) for kind, _, counted in comparison(planted, report.to_json())
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


def differing(planted, report) -> list[str]:
    return [kind for kind, wanted, counted in comparison(planted, report.to_json()) if wanted != counted]


def test_a_later_feed_is_compared_with_the_first(tmp_path: Path) -> None:
    """The counts of the second import are the planted ones too, and a wrong one would be seen."""
    feed, later = tmp_path / "feed.csv", tmp_path / "later.csv"
    planted = write_messy(feed, ROWS, MessyForm.CSV)
    changed = change_feed(feed, later, planted, added=7, changed=5, gone=3)
    assert changed.compared == {"added": 7, "changed": 5, "gone": 3}
    assert changed.rows == planted.rows + 7 - 3
    import_feed(feed, tmp_path / "shop")
    report = import_feed(later, tmp_path / "shop")
    assert differing(changed, report) == []
    assert differing(replace(changed, compared={"added": 8, "changed": 5, "gone": 3}), report) == [
        "since the last import: added"
    ]
    assert {"rows read", "products kept"} <= set(differing(planted, report))
    refused = {place for fault in FAULTS if fault.refused for place in changed.places[fault.name]}
    assert [row.line for row in report.first_refused] == [place + changed.first_line for place in sorted(refused)]
    with pytest.raises(BadInput, match="rows without a fault"):
        change_feed(feed, later, planted, added=0, changed=ROWS, gone=0)


def test_the_large_feed_has_a_header_and_as_many_rows() -> None:
    rows = list(large_feed(30))
    assert len(rows) == 31
    assert {len(row) for row in rows} == {8}
