"""The import of a feed, from file to folder: every form, twice, killed, without room."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from gen_rerank import Product
from gen_rerank.data.feeds.importing import FeedOptions, import_feed
from gen_rerank.data.feeds.rows import FORMULA
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.imports import ImportOptions, import_source
from gen_rerank.data.reading import RowReader, rows_file
from gen_rerank.errors import BadInput

ROOT = Path(__file__).parents[4]
ROWS = [
    {"id": i, "title": f"Öak desk {i}", "brand": "Müller", "price": f"{i},99 €", "availability": "in stock"}
    for i in range(1, 6)
]
RIGHT = [
    Product(
        product_id=i,
        title=f"Öak desk {i}",
        brand="Müller",
        price=i + 0.99,
        available=True,
        attributes={"currency": "EUR"},
    )
    for i in range(1, 6)
]


def products_of(out: Path) -> list[Product]:
    reader = RowReader(rows_file(out, "products"), Product)
    rows = list(reader.unique(lambda row: row.product_id))
    assert reader.bad == []
    return rows


def imported(folder: Path, raw: bytes, **options: Any) -> tuple[ImportReport, list[Product]]:
    feed = folder / "feed.dat"
    feed.write_bytes(raw)
    report = import_feed(feed, folder / "shop", FeedOptions(**options))
    return report, products_of(folder / "shop")


def as_parquet(index: bool) -> bytes:
    file = io.BytesIO()
    pd.DataFrame(ROWS).set_index(pd.Index(range(9, 14))).to_parquet(file, index=index)
    return file.getvalue()


def as_workbook() -> bytes:
    file = io.BytesIO()
    pd.DataFrame(ROWS).to_excel(file)
    return file.getvalue()


def as_merchant_xml() -> bytes:
    items = "".join(
        f"<item><g:id>{row['id']}</g:id><title>{row['title']}</title><g:brand>{row['brand']}</g:brand>"
        f"<g:price>{row['price']}</g:price><g:availability>in_stock</g:availability></item>"
        for row in ROWS
    )
    return f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{items}</channel></rss>'.encode()


FORMS = {
    "csv": pd.DataFrame(ROWS).to_csv().encode(),
    "csv of a spreadsheet": pd.DataFrame(ROWS).to_csv(sep=";", index=False).encode("cp1252"),
    "tsv": pd.DataFrame(ROWS).to_csv(sep="\t", index=False).encode("utf-16"),
    "json": json.dumps(ROWS, indent=1).encode(),
    "json lines": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode("utf-8-sig"),
    "parquet": as_parquet(False),
    "parquet with an index": as_parquet(True),
    "xlsx": as_workbook(),
    "merchant xml": as_merchant_xml(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_every_form_gives_the_same_products(tmp_path: Path, form: str, pack: Any) -> None:
    report, found = imported(tmp_path, pack(FORMS[form]))
    assert found == RIGHT
    assert report.read == {"rows": 5}
    assert report.kept == {"products": 5}
    assert report.refused == {}
    assert report.found["decimal sign"] == "a decimal comma, in 5 of 5 prices that show one (of the first 1,000 rows)"
    assert report.found["columns"] == (
        f"product_id ← {'g:' if 'xml' in form else ''}id, title ← title, "
        + ("brand ← g:brand, price ← g:price, available ← g:availability" if "xml" in form
           else "brand ← brand, price ← price, available ← availability")
    )  # fmt: skip


def test_shopify(tmp_path: Path) -> None:
    report, (shirt, mug) = imported(
        tmp_path,
        b"Handle,Title,Vendor,Type,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Tracker,"
        b"Variant Inventory Qty,Variant Inventory Policy,Variant Price,Published,Status\n"
        b"shirt,Shirt,Acme,Shirts,Size,S,S1,shopify,0,deny,19.99,true,active\n"
        b"shirt,,,,,M,S2,shopify,3,deny,17.99,,\n"
        b"shirt,,,,,,,,,,,,\n"
        b"mug,Mug,Acme,Mugs,Title,Default Title,M1,shopify,0,deny,9.00,true,active\n",
    )
    assert shirt == Product(
        product_id="shirt", title="Shirt", brand="Acme", category="Shirts", price=17.99, available=True,
        attributes={"Size": "S, M"},
    )  # fmt: skip
    assert mug == Product(
        product_id="mug", title="Mug", brand="Acme", category="Mugs", price=9.0, available=False
    )  # fmt: skip
    assert report.read == {"rows": 4}
    assert report.found["form"] == "table, Shopify's export of products"


def test_repeated_and_refused_rows_are_named_by_line(tmp_path: Path) -> None:
    report, found = imported(tmp_path, b'id,title\n1,Desk\n1.0,Lamp\n2,\n3,"So\nfa"\n,x\n4,a,b\n')
    assert [product.title for product in found] == ["Desk", "So\nfa"]
    assert report.read["rows"] == report.kept["products"] + sum(report.refused.values()) == 6
    assert [(row.line, row.kind, row.reason) for row in report.first_refused] == [
        (3, "repeated id", "1 was already given in line 2, which is kept"),
        (4, "no title", "column 'title' has no text"),
        (7, "no product_id", "column 'id' has no text"),
        (8, "too many cells", "3 cells where the header has 2; is a delimiter not quoted?"),
    ]
    assert report.changes == {}  # of rows that were kept


def test_people_say_columns_locale_and_encoding(tmp_path: Path) -> None:
    report, (product,) = imported(
        tmp_path,
        "Nr|Wort|Kosten|Gewicht\n7|łóżko|1.299|5 kg\n".encode("iso8859-2"),
        columns={"product_id": "Nr", "title": "wort", "price": "Kosten"},
        keep_rest=True,
        locale="pl",
        encoding="latin2",
    )
    assert product == Product(product_id="7", title="łóżko", price=1299.0, attributes={"Gewicht": "5 kg"})
    assert report.found == {
        "form": "table",
        "encoding": "iso8859-2, as it was named",
        "delimiter": "bar",
        "columns": "product_id ← Nr, title ← Wort, price ← Kosten",
        "decimal sign": "a decimal comma, by --locale pl",
        "columns kept as attributes": "Gewicht",
    }


def test_columns_that_are_not_kept_are_counted_and_named(tmp_path: Path) -> None:
    report, _ = imported(tmp_path, b",id,title,note,stamp\n0,1,Desk,x,\n1,2,Lamp,,\n")
    assert report.found["columns not kept"] == "note (in 1 row); --keep-rest makes attributes of them"
    assert report.found["pandas' index"] == "dropped: the first column, which has no name"


def test_a_second_import_says_what_changed_and_leaves_the_rest_of_the_folder(tmp_path: Path) -> None:
    imported(tmp_path, b"id,title,price\n1,Desk,5\n2,Lamp,6\n3,Sofa,7\n")
    (tmp_path / "shop" / "queries.jsonl").write_text("{}\n", encoding="utf-8")
    report, found = imported(tmp_path, b"id,title,price\n3,Sofa,8\n1,Desk,5\n4,Chair,1\n")
    assert [product.product_id for product in found] == ["3", "1", "4"]
    assert {kind: change.count for kind, change in report.compared.items()} == {"changed": 1, "added": 1, "gone": 1}
    assert report.compared["changed"].examples[0].place == "3 price"
    assert sorted(path.name for path in (tmp_path / "shop").iterdir()) == ["products.jsonl", "queries.jsonl"]
    again, _ = imported(tmp_path, b"id,title,price\n3,Sofa,8\n1,Desk,5\n4,Chair,1\n")
    assert again.compared == {}


@pytest.mark.parametrize(
    ("raw", "options", "words"),
    [
        (b"id,title\n", {}, "has no rows"),
        (
            b"id,title\n1,\n",
            {},
            r"none of its 1 rows gives a product, so nothing was written; the first: feed\.dat:2: ",
        ),
        (b"a,b\n1,2\n", {}, "no column is known for product_id"),
        (b"1,Desk\n2,Lamp\n", {}, "no column is known for product_id; there are 1, Desk"),
        (b"[]", {}, "has no rows"),
        (b"[1, 2]", {}, "none of its first rows can be read; item 1: not a JSON object"),
        (b'[{"id": 1, "title": "Desk"}, {', {}, "the array is not valid JSON"),
        (b"id,title\n1,Desk\n", {"locale": "xx"}, "--locale xx: not known"),
        (b"id,title\n1,Desk\n", {"columns": {"title": "Name"}}, "has no column 'Name'"),
        (b"", {}, "is empty"),
    ],
)
def test_a_feed_that_cannot_be_used_leaves_nothing(
    tmp_path: Path, raw: bytes, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        imported(tmp_path, raw, **options)
    assert not (tmp_path / "shop").exists()


def test_a_feed_that_cannot_be_used_leaves_the_products_that_lie_there(tmp_path: Path) -> None:
    imported(tmp_path, b"id,title\n1,Desk\n")
    with pytest.raises(BadInput):
        imported(tmp_path, b"[{}, {]")
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["products.jsonl"]
    assert products_of(tmp_path / "shop") == [Product(product_id="1", title="Desk")]


def test_products_in_another_form_are_not_put_beside(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "products.parquet").touch()
    with pytest.raises(BadInput, match=r"holds products\.parquet"):
        imported(tmp_path, b"id,title\n1,Desk\n")


def test_a_file_in_the_place_of_the_folder_is_said_before_the_feed_is_read(tmp_path: Path) -> None:
    (tmp_path / "shop").touch()
    with pytest.raises(BadInput, match="shop: cannot be written"):
        import_feed(tmp_path / "missing.csv", tmp_path / "shop")


def started(folder: Path, **more: Any) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from pathlib import Path; from gen_rerank.data.feeds.importing import import_feed\n"
        "import_feed(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(folder / "large.csv"), str(folder / "shop")]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, **more
    )


def write_large(folder: Path) -> None:
    lines = "".join(f"{i},Desk {i}\n" for i in range(20_000))
    (folder / "large.csv").write_text(f"id,title\n{lines}", encoding="utf-8")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=["killed", "stopped", "ended"])
def test_an_import_that_is_ended_halfway_leaves_what_lay_there(tmp_path: Path, sent: signal.Signals) -> None:
    imported(tmp_path, b"id,title\n1,Desk\n")
    write_large(tmp_path)
    partial = tmp_path / "shop" / ".products.jsonl.partial"
    with started(tmp_path) as process:
        while not (partial.exists() and partial.stat().st_size > 10_000):
            assert process.poll() is None, "it ended before it was ended"
            time.sleep(0.01)
        with pytest.raises(BadInput, match="another import is writing to it"):
            imported(tmp_path, b"id,title\n2,Lamp\n")
        process.send_signal(sent)
        process.communicate(timeout=60)
    assert products_of(tmp_path / "shop") == [Product(product_id="1", title="Desk")]
    assert partial.exists() == (sent == signal.SIGKILL)
    _, found = imported(tmp_path, b"id,title\n2,Lamp\n")
    assert [product.product_id for product in found] == ["2"]
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["products.jsonl"]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["stopped", "ended"])
def test_a_command_that_is_ended_leaves_no_folder(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    write_large(tmp_path)
    command = [sys.executable, "-m", "gen_rerank", "import", "large.csv", "new/shop", "--format", "feed"]
    partial = tmp_path / "new" / "shop" / ".products.jsonl.partial"
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE
    ) as process:
        while not partial.exists():
            assert process.poll() is None, "it ended before it was ended"
            time.sleep(0.01)
        process.send_signal(sent)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert told == (b"error: interrupted; new/shop is as it was\n" if sent == signal.SIGINT else b"")
    assert [path.name for path in tmp_path.iterdir()] == ["large.csv"]


def test_an_import_in_another_thread_heeds_no_signals(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        _, found = pool.submit(imported, tmp_path, b"id,title\n1,Desk\n").result()
    assert found == [Product(product_id="1", title="Desk")]


def test_a_disk_without_room_leaves_nothing(tmp_path: Path) -> None:
    write_large(tmp_path)
    limit = 200_000
    with started(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"File too large" in told or b"temporary file of ids cannot be written" in told
    assert not (tmp_path / "shop").exists()


def test_a_formula_without_a_value_is_counted_or_the_reason(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["id", "title", "brand"], [1, "Desk", "=A2"], [2, "=A3", None]):
        book.active.append(row)
    book.save(tmp_path / "feed.xlsx")
    report = import_feed(tmp_path / "feed.xlsx", tmp_path / "shop")
    assert report.changes[FORMULA].count == 1
    (refused,) = report.first_refused
    assert refused.reason.startswith("column 'title' has a formula without a value: open and save the file")


def test_a_field_that_first_comes_after_the_head_is_read_and_said(tmp_path: Path) -> None:
    rows = [{"id": i, "title": f"Desk {i}"} for i in range(1000)]
    rows += [{"id": 1000, "title": "Lamp", "brand": "Lux", "sku": "7"}]
    report, found = imported(tmp_path, json.dumps(rows).encode())
    assert (found[0].brand, found[-1].brand) == (None, "Lux")
    assert report.found["columns that first come after 1,000 rows"] == "brand ← brand"
    assert report.found["columns"] == "product_id ← id, title ← title"


def test_names_of_columns_that_are_random_bytes_leave_the_report_short(tmp_path: Path) -> None:
    draw = random.Random(0)
    names = ["".join(chr(draw.randrange(1, 0x3000)) for _ in range(300)) for _ in range(500)]
    rows = [{"id": 1, "title": "Desk", "color" + "\x07" * 100: "red"} | dict.fromkeys(names, "x")]
    for options in ({}, {"keep_rest": True}):
        report, _ = imported(tmp_path, json.dumps(rows).encode(), **options)
        assert max(map(len, report.found.values())) < 2000
        assert any(" more" in said for said in report.found.values())
    with pytest.raises(BadInput, match=r" and 4\d\d more; name one by --map") as refused:
        imported(tmp_path, json.dumps([dict.fromkeys(names, "x")]).encode())
    assert len(str(refused.value)) < 2000
    with pytest.raises(BadInput, match=r" and 4\d\d more") as refused:
        import_source(tmp_path / "feed.dat", tmp_path / "judged", "judgments", ImportOptions(scale="0-3"), None)
    assert len(str(refused.value)) < 2000


def test_only_an_id_that_changes_is_counted(tmp_path: Path) -> None:
    report, found = imported(tmp_path, b'[{"id": 5.5, "title": "Desk"}, {"id": 6.0, "title": "Lamp"}]')
    assert [product.product_id for product in found] == ["5.5", "6"]
    assert report.changes["id written as a whole number"].count == 1
