"""One table says what a foreign value becomes, and every door is held to it: JSON Lines, Parquet, Python and HTTP.

docs/data.md shows the table; `python -P tests/test_value_doors.py` prints its rows.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Pair, Product
from gen_rerank.data.reading import RowReader, rows_file
from gen_rerank.offline.rows import PairRow, product_in_row
from gen_rerank.reranker import as_product
from serve.question import Refusal
from serve.wire import JINA, parse

DOCUMENT = Path(__file__).parents[1] / "docs/data.md"
NAN = float("nan")
ABSENT, REFUSED = "absent", "refused"
FIELDS = ("title", "brand", "attributes", "price", "available")


@dataclass(frozen=True)
class Case:
    """A value, and what it becomes in a field of each kind.

    Attributes:
        name: of the value, in the table.
        value: as Python has it.
        title: one text that is required; an id and a query of a file are the same.
        brand: an optional text; category, description and the values of attributes are the same.
        attributes: of the whole field.
        price: a number.
        available: true or false.
        json: whether JSON can write it.
        arrow: whether a Parquet column can hold it.
    """

    name: str
    value: Any
    title: str
    brand: str
    attributes: str = REFUSED
    price: str = REFUSED
    available: str = REFUSED
    json: bool = True
    arrow: bool = True


CASES = (
    Case("`null`, `None`", None, REFUSED, ABSENT, ABSENT, ABSENT, ABSENT),
    Case("`NaN`", NAN, REFUSED, ABSENT, ABSENT, ABSENT, ABSENT),
    Case("`Infinity`, `1e400`", math.inf, REFUSED, ABSENT, ABSENT, ABSENT, ABSENT),
    Case("empty text, white space", " \n", REFUSED, ABSENT, ABSENT, ABSENT, ABSENT),
    Case("only invisible characters", "\u200b\u00ad\ufeff", REFUSED, ABSENT, ABSENT, ABSENT, ABSENT),
    Case("only NUL", "\0", REFUSED, ABSENT, ABSENT, ABSENT, ABSENT),
    Case("only tags: `<br>`", "<br>", REFUSED, ABSENT, ABSENT, ABSENT, ABSENT),
    Case("text", "Oak desk", "Oak desk", "Oak desk"),
    Case("HTML: `<b>Lap</b>top &amp; bag`", "<b>Lap</b>top &amp; bag", "Laptop & bag", "Laptop & bag"),
    Case("`<5 mm`", "<5 mm", "<5 mm", "<5 mm"),
    Case("invisible characters in a word", "Lap\u00adtop", "Laptop", "Laptop"),
    Case("half an emoji", "Lamp \ud83d", "Lamp ?", "Lamp ?", arrow=False),
    Case("`true`", True, "true", "true", REFUSED, REFUSED, "true"),
    Case("`1`", 1, "1", "1", REFUSED, "1", "true"),
    Case("`1.0`", 1.0, "1", "1", REFUSED, "1", "true"),
    Case("`19.50`", 19.50, "19.5", "19.5", REFUSED, "19.5"),
    Case("`-1`", -1, "-1", "-1"),
    Case("a decimal `1.50`", Decimal("1.50"), "1.5", "1.5", REFUSED, "1.5", json=False),
    Case('text `"19.99"`', "19.99", "19.99", "19.99", REFUSED, "19.99"),
    Case('text `"19.99 USD"`', "19.99 USD", "19.99 USD", "19.99 USD"),
    Case('text `"1,299.00"`', "1,299.00", "1,299.00", "1,299.00"),
    Case('text `"yes"`, `"FALSE"`', "yes", "yes", "yes", REFUSED, REFUSED, "true"),
    Case('text `"in stock"`', "in stock", "in stock", "in stock"),
    Case("a date", date(2026, 11, 30), "2026-11-30", "2026-11-30", json=False),
    Case("a time stamp", datetime(2026, 11, 30, 9, 5), "2026-11-30T09:05:00", "2026-11-30T09:05:00", json=False),
    Case("bytes of UTF-8", b"Oak desk", "Oak desk", "Oak desk", json=False),
    Case("other bytes", b"\xff\x00", REFUSED, REFUSED, json=False),
    Case("an empty list", [], REFUSED, ABSENT, ABSENT),
    Case('a list `["S", null, "M"]`', ["S", None, "M"], REFUSED, "S, M"),
    Case('an object `{"w": 10, "h": null}`', {"w": 10, "h": None}, REFUSED, "w: 10", "w: 10"),
    Case(
        'records `[{"key": "w", "value": 10}]`, or with `name`',
        [{"key": "w", "value": 10}],
        REFUSED,
        "key: w, value: 10",
        "w: 10",
    ),
    Case('pairs `[["w", "10"]]`', [["w", "10"]], REFUSED, "w, 10", "w: 10"),
    Case(
        'JSON text `"{\\"w\\": 10}"`',
        '{"w": 10}',
        '{"w": 10}',
        '{"w": 10}',
        "w: 10",
    ),
)

Door = Callable[[str, Any], Product]


def row(field: str, value: Any) -> dict[str, Any]:
    return {"product_id": "p", "title": "x", field: value}


def read(folder: Path) -> Product:
    reader = RowReader(rows_file(folder, "products"), Product)
    found = list(reader.unique(lambda row: row.product_id))
    if reader.bad:
        raise BadInput(reader.bad[0].reason)
    return found[0]


def json_lines(field: str, value: Any) -> Product:
    with TemporaryDirectory() as folder:
        (Path(folder) / "products.jsonl").write_text(json.dumps(row(field, value)), encoding="utf-8")
        return read(Path(folder))


def compressed_json_lines(field: str, value: Any) -> Product:
    with TemporaryDirectory() as folder:
        with gzip.open(Path(folder) / "products.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(json.dumps(row(field, value)))
        return read(Path(folder))


def parquet(field: str, value: Any) -> Product:
    with TemporaryDirectory() as folder:
        columns = {name: pa.array([content]) for name, content in row(field, value).items()}
        pq.write_table(pa.table(columns), Path(folder) / "products.parquet")
        return read(Path(folder))


def pairs(field: str, value: Any) -> Product:
    with TemporaryDirectory() as folder:
        file, product = Path(folder) / "pairs.jsonl", row(field, value)
        pair = {"query_id": "q", "product_id": product["product_id"], "query": "desk", "product": product}
        file.write_text(json.dumps(pair), encoding="utf-8")
        reader = RowReader(file, PairRow)
        found = [product_in_row(each) for _, each in reader.valid()]
        if reader.bad:
            raise BadInput(reader.bad[0].reason)
        return found[0]


def python(field: str, value: Any) -> Product:
    return as_product(row(field, value))


def http(field: str, value: Any) -> Product:
    body = {"query": "desk", "documents": [row(field, value)]}
    item = parse(json.dumps(body).encode(), JINA.request).question().items[0]
    assert isinstance(item, Pair)
    return item.product


DOORS: dict[str, Door] = {
    "JSON Lines": json_lines,
    "gzip": compressed_json_lines,
    "Parquet": parquet,
    "pairs": pairs,
    "Python": python,
    "HTTP": http,
}
WRITES_JSON = ("JSON Lines", "gzip", "HTTP", "pairs")


def shown(product: Product, field: str) -> str:
    """What the table says of a field."""
    content = getattr(product, field)
    if content is None or content == {}:
        return ABSENT
    if field == "attributes":
        return ", ".join(f"{name}: {text}" for name, text in content.items())
    return str(content).lower() if field == "available" else f"{content:g}" if field == "price" else str(content)


def becomes(door: Door, field: str, value: Any) -> tuple[str, str]:
    """What a value becomes, and the reason where it is refused, without the place that the door names."""
    try:
        return shown(door(field, value), field), ""
    except (BadInput, Refusal) as error:
        return REFUSED, re.sub(rf"^(column '{field}'|((products|documents)\.0|product)(\.{field})?)", "", str(error))


def can_carry(name: str, case: Case) -> bool:
    return case.json if name in WRITES_JSON else case.arrow if name == "Parquet" else True


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_door_reads_a_value_as_the_table_says(case: Case, field: str) -> None:
    found = {name: becomes(door, field, case.value) for name, door in DOORS.items() if can_carry(name, case)}
    assert {what for what, _ in found.values()} == {getattr(case, field)}
    assert len({reason for _, reason in found.values()}) == 1, found


@pytest.mark.parametrize("given", [1, 1.0, "1", Decimal("1.0"), "\ufeff1 "])
def test_one_and_one_point_zero_are_one_id(given: Any) -> None:
    case = Case("", given, "", "", json=not isinstance(given, Decimal))
    for name, door in DOORS.items():
        if can_carry(name, case):
            assert door("product_id", given).product_id == "1"


def table_row(case: Case) -> str:
    doors = ", ".join(name for name in ("JSON Lines", "Parquet", "HTTP") if can_carry(name, case))
    cells = [getattr(case, field).replace("|", "\\|") for field in FIELDS]
    written = [cell if cell in (ABSENT, REFUSED) else f"`{cell}`" for cell in cells]
    return "| " + " | ".join([case.name, f"{doors}, Python" if doors else "Python", *written]) + " |"


def test_the_document_shows_the_table() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [line for line in map(table_row, CASES) if line not in lines] == []


TEXT = st.text(st.characters()) | st.sampled_from(
    ["<b>x</b>", "&amp;", "\u200b", "1.0", "5 USD", "{}", "[1]", '{"a": 1}']
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT | st.sampled_from(["key", "name", "value"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.sampled_from([*FIELDS, "description", "category"]), VALUES)
def test_the_same_value_gives_the_same_product_or_the_same_refusal_at_every_door(field: str, value: Any) -> None:
    expected = becomes(python, field, value)
    for door in (json_lines, http):
        assert becomes(door, field, value) == expected
    try:
        # Of numbers in one list a column makes one type, so that a reason may show 0.0 where there was 0.
        assert becomes(parquet, field, value)[0] == expected[0]
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return  # a column has one type, and cannot hold half a character


@given(st.lists(st.sampled_from([True, 2, 2.5, "x", None, NAN]), max_size=4), st.sampled_from(["labels", "tags"]))
def test_lists_leave_out_what_is_absent(entries: list[Any], field: str) -> None:
    from gen_rerank.data import values

    present = [entry for entry in entries if entry is not None and entry == entry]
    if field == "tags":
        assert list(values.texts(entries)) == [values.text(entry) for entry in present]
    elif all(not isinstance(entry, str) for entry in present):
        assert list(values.grades(entries)) == [float(entry) for entry in present]


if __name__ == "__main__":
    print(*map(table_row, CASES), sep="\n")  # noqa: T201
