"""What an import has met, and what became of the last one's products."""

from __future__ import annotations

from pathlib import Path

from gen_rerank.data.feeds.catalog import CatalogIndex
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.reading import write_rows
from gen_rerank.data.records import Product


def product(number: int, title: str = "Desk", **more: object) -> Product:
    return Product(product_id=str(number), title=title, **more)


def test_the_first_of_an_id_is_met_and_the_others_know_its_line() -> None:
    with CatalogIndex.opened() as index:
        assert index.meet(product(1), 2) is None
        assert index.meet(product(2), 3) is None
        assert index.meet(product(1, "Lamp"), 9) == 2


def test_what_was_added_changed_and_gone_is_told(tmp_path: Path) -> None:
    earlier, report = tmp_path / "products.jsonl", ImportReport("feed.csv", "feed")
    write_rows(earlier, [product(1), product(2, price=5), product(3), product(4)])
    with earlier.open("a", encoding="utf-8") as file:
        file.write("\nno JSON\n")
    with CatalogIndex.opened() as index:
        assert index.load_earlier(earlier) == 1
        for new in (product(1), product(2, price=4), product(5, "Sofa")):
            index.compare(new, report)
        index.report_gone(report)
    assert {kind: [str(one) for one in change.examples] for kind, change in report.compared.items()} == {
        "changed": ["2 price: 5.0 → 4.0"],
        "added": ["5: Sofa"],
        "gone": ["3: Desk → (nothing)", "4: Desk → (nothing)"],
    }


def test_without_an_earlier_import_nothing_is_compared() -> None:
    report = ImportReport("feed.csv", "feed")
    with CatalogIndex.opened() as index:
        index.compare(product(1), report)
        index.report_gone(report)
    assert report.compared == {}
