"""Data sets: every wrong row is named by file, line and reason; what is saved comes back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from gen_rerank.data.dataset import judged_split
from gen_rerank.data.records import product_text

PRODUCTS = [
    {"product_id": "a", "title": "Oak desk"},
    {"product_id": "b", "title": "Lamp", "attributes": {"colour": "red"}},
]
QUERIES = [
    {"query_id": "q", "text": "desk", "split": "train"},
    {"query_id": "r", "text": "lamp", "split": "test", "tags": ["typo"]},
]
JUDGMENTS = [
    {"query_id": "q", "product_id": "a", "relevance": 1.0, "labels": [1.0, 0.9]},
    {"query_id": "r", "product_id": "b", "relevance": 0.5},
]


def write(folder: Path, products=PRODUCTS, queries=QUERIES, judgments=JUDGMENTS) -> Path:
    for name, rows in (("products", products), ("queries", queries), ("judgments", judgments)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


def test_loads(tmp_path):
    data = Dataset.load(write(tmp_path))
    assert list(data.products) == ["a", "b"]
    assert data.products["b"].attributes == {"colour": "red"}
    assert data.judgments[0].labels == (1.0, 0.9)
    assert data.queries["r"].tags == ("typo",)
    pair = data.pair(data.judgments[1])
    assert (pair.query, pair.product.title) == ("lamp", "Lamp")


def test_judged_products_alone(tmp_path):
    more = [*PRODUCTS, {"product_id": "c", "title": "Sofa"}]
    data = Dataset.load(write(tmp_path, more, judgments=JUDGMENTS[:1]), judged_only=True)
    assert list(data.products) == ["a"]
    assert len(Dataset.load(tmp_path).products) == 3
    write(tmp_path, [*more, more[-1]])
    with pytest.raises(BadInput, match=r"products.jsonl:4: c was already given in line 3"):
        Dataset.load(tmp_path, judged_only=True)
    write(tmp_path, more[2:])
    with pytest.raises(BadInput, match=r"judgments.jsonl:1: product_id 'a' is not in products.jsonl"):
        Dataset.load(tmp_path, judged_only=True)
    (tmp_path / "judgments.jsonl").unlink()
    assert list(Dataset.load(tmp_path, judged_only=True).products) == ["c"]


def test_several_splits(tmp_path):
    data = Dataset.load(write(tmp_path))
    assert list(data.of("train", "test").queries) == ["q", "r"]
    assert data.of("validation", "test").judgments == data.judgments[1:]


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("products", "{not json", "not valid JSON"),
        ("products", "[1, 2]", "not a JSON object"),
        ("products", {"product_id": "c"}, "column 'title' is missing"),
        ("products", {"title": "c"}, "column 'product_id' is missing"),
        ("products", {"product_id": "c", "title": "  "}, "column 'title'"),
        ("products", {"product_id": "", "title": "c"}, "column 'product_id'"),
        ("products", {"product_id": "c", "title": "c", "descripton": "x"}, "unknown column 'descripton'"),
        ("products", {"product_id": "c", "title": "c", "price": -1}, "column 'price'"),
        ("products", {"product_id": "c", "title": "c", "price": "19.99 USD"}, "column 'price'.*words or a currency"),
        ("products", {"product_id": "c", "title": "c", "price": "1,299.00"}, "column 'price'.*a comma or a space"),
        ("products", {"product_id": "c", "title": "c", "available": "in stock"}, "column 'available': true or false"),
        ("products", '{"product_id": "c", "title": NaN}', "column 'title' has no text"),
        (
            "products",
            {"product_id": "c", "title": "c", "attributes": ["red"]},
            "column 'attributes': 'red' has no name",
        ),
        ("products", {"product_id": "c", "title": "c", "__index_level_0__": 2}, "unknown column.*pandas' index"),
        ("products", "7", "not a JSON object"),
        ("products", {"product_id": "a", "title": "again"}, "a was already given in line 1"),
        ("queries", {"query_id": "s", "text": "x", "split": "dev"}, "column 'split'"),
        ("queries", {"query_id": "s", "text": "", "split": "test"}, "column 'text'"),
        ("queries", {"query_id": "s", "text": "\0", "split": "test"}, "column 'text' has no text"),
        ("queries", {"query_id": "s", "text": "x", "split": "test", "tags": "gift"}, "column 'tags': a list is needed"),
        ("queries", {"query_id": "q", "text": "x", "split": "test"}, "q was already given in line 1"),
        ("judgments", {"query_id": "q", "product_id": "b", "relevance": 1.2}, "column 'relevance'.*1.2"),
        ("judgments", {"query_id": "q", "product_id": "b", "relevance": -0.1}, "column 'relevance'"),
        ("judgments", '{"query_id": "q", "product_id": "b", "relevance": NaN}', "column 'relevance'"),
        ("judgments", {"query_id": "q", "product_id": "b", "relevance": 1, "labels": [0.5, 2]}, "column 'labels'"),
        (
            "judgments",
            {"query_id": "q", "product_id": "zz", "relevance": 1},
            "product_id 'zz' is not in products.jsonl",
        ),
        ("judgments", {"query_id": "zz", "product_id": "a", "relevance": 1}, "query_id 'zz' is not in queries.jsonl"),
        ("judgments", {"query_id": "q", "product_id": "a", "relevance": 0.5}, "q × a was already given in line 1"),
    ],
)
def test_a_bad_row_is_named_and_can_be_skipped(tmp_path, kind, row, reason):
    good = {"products": PRODUCTS, "queries": QUERIES, "judgments": JUDGMENTS}
    write(tmp_path, **{**good, kind: [*good[kind], row]})
    with pytest.raises(BadInput, match=rf"{kind}\.jsonl:3: {reason}"):
        Dataset.load(tmp_path)
    data = Dataset.load(tmp_path, skip_bad_rows=True)
    assert len(data.bad_rows) == 1
    assert (data.bad_rows[0].file, data.bad_rows[0].line) == (str(tmp_path / f"{kind}.jsonl"), 3)
    assert (len(data.products), len(data.queries), len(data.judgments)) == (2, 2, 2)


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (
            "judgments",
            {"query_id": "q", "product_id": "a", "relevance": 0.2},
            "q × a was already given in line 1, with another relevance (1.0, here 0.2);",
        ),
        (
            "judgments",
            {"query_id": "q", "product_id": "a", "relevance": 1.0},
            "q × a was already given in line 1, with another label ([1.0, 0.9], here []);",
        ),
        ("judgments", JUDGMENTS[0], "q × a was already given in line 1;"),
        ("products", {"product_id": "a", "title": "Elm desk"}, 'another title ("Oak desk", here "Elm desk");'),
    ],
)
def test_a_repeated_row_says_whether_it_disagrees_with_the_first(tmp_path, kind, row, reason):
    good = {"products": PRODUCTS, "queries": QUERIES, "judgments": JUDGMENTS}
    write(tmp_path, **{**good, kind: [*good[kind], row]})
    with pytest.raises(BadInput, match=re.escape(reason)):
        Dataset.load(tmp_path)


def test_bytes_that_are_not_utf8(tmp_path):
    write(tmp_path)
    with (tmp_path / "products.jsonl").open("ab") as file:
        file.write(b'{"product_id": "c", "title": "\xff\xfe"}\n')
    with pytest.raises(BadInput, match=r"products\.jsonl:3"):
        Dataset.load(tmp_path)


def test_many_bad_rows_are_counted(tmp_path):
    write(tmp_path, products=[*PRODUCTS, "{", "{"], judgments=[*JUDGMENTS, "nonsense"])
    with pytest.raises(BadInput, match=r"products\.jsonl:3.*and 2 more"):
        Dataset.load(tmp_path)
    bad = Dataset.load(tmp_path, skip_bad_rows=True).bad_rows
    assert [(Path(row.file).name, row.line) for row in bad] == [
        ("products.jsonl", 3),
        ("products.jsonl", 4),
        ("judgments.jsonl", 3),
    ]


def test_blank_lines_count_as_lines_but_not_as_rows(tmp_path):
    write(tmp_path, products=["", *PRODUCTS, "  ", "{"])
    with pytest.raises(BadInput, match=r"products\.jsonl:5"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize("name", ["products", "queries", "judgments"])
@pytest.mark.parametrize("skip", [False, True])
def test_empty_and_missing_files(tmp_path, name, skip):
    write(tmp_path, **{name: []})
    with pytest.raises(
        BadInput,
        match=rf"{name}\.jsonl: no usable rows" if name == "judgments" or not skip else "no usable rows|is not in",
    ):
        Dataset.load(tmp_path, skip_bad_rows=True)
    (tmp_path / f"{name}.jsonl").unlink()
    if name == "judgments":
        assert Dataset.load(tmp_path, skip_bad_rows=skip).judgments == ()
        return
    with pytest.raises(BadInput, match=rf"neither {name}\.jsonl nor {name}\.parquet"):
        Dataset.load(tmp_path, skip_bad_rows=skip)


def test_a_catalog_alone_and_with_queries_is_a_data_set(tmp_path):
    write(tmp_path)
    (tmp_path / "judgments.jsonl").unlink()
    asked = Dataset.load(tmp_path)
    assert (len(asked.products), len(asked.queries), asked.judgments) == (2, 2, ())
    (tmp_path / "queries.jsonl").unlink()
    catalog = Dataset.load(tmp_path)
    assert (catalog.products, catalog.queries, catalog.judgments) == (asked.products, {}, ())
    assert catalog.of("test").products == catalog.products
    assert len({catalog.fingerprint, asked.fingerprint}) == 2


@pytest.mark.parametrize("form", ["judgments.csv", "queries.xlsx"])
def test_rows_in_a_form_that_is_not_read_are_not_taken_for_none(tmp_path, form):
    write(tmp_path)
    (tmp_path / "judgments.jsonl").unlink()
    (tmp_path / "queries.jsonl").unlink()
    (tmp_path / form).write_text("query,product,grade\n")
    with pytest.raises(BadInput, match=f"{form} is of another form"):
        Dataset.load(tmp_path)


def test_what_needs_judgments_says_that_there_are_none(tmp_path):
    write(tmp_path)
    (tmp_path / "judgments.jsonl").unlink()
    with pytest.raises(BadInput, match=r"has no judgments\.jsonl, and judged queries are needed here"):
        judged_split(tmp_path, "test")


def test_a_data_set_without_judgments_is_saved_without_their_file(tmp_path, tiny_shop):
    tiny_shop.save(tmp_path)
    catalog = Dataset(tiny_shop.products, {}, ())
    catalog.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["products.jsonl"]
    assert Dataset.load(tmp_path) == catalog


@pytest.mark.parametrize("name", ["products", "queries"])
def test_an_empty_file_is_blamed_itself(tmp_path, name):
    write(tmp_path, **{name: ["", " "]})
    with pytest.raises(BadInput, match=rf"{name}\.jsonl: no usable rows"):
        Dataset.load(tmp_path)


def test_what_cannot_be_saved_is_said_of_the_folder_that_was_named(tmp_path, tiny_shop):
    with pytest.raises(BadInput, match=rf"{tmp_path}/new: nothing was written.*{tmp_path}/new: neither queries"):
        Dataset(tiny_shop.products, {}, tiny_shop.judgments).save(tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        tiny_shop.save(tmp_path / "file")


def test_missing_folder(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        Dataset.load(tmp_path / "nowhere")


def test_numbers_as_identifiers_are_read_as_text(tmp_path):
    data = Dataset.load(
        write(
            tmp_path, [{"product_id": 7, "title": "x"}], QUERIES, [{"query_id": "q", "product_id": 7, "relevance": 1}]
        )
    )
    assert list(data.products) == ["7"]


def test_save_and_load_round_trip(tmp_path, tiny_shop):
    tiny_shop.save(tmp_path / "new" / "folder")
    again = Dataset.load(tmp_path / "new" / "folder")
    assert again == tiny_shop
    assert again.fingerprint == tiny_shop.fingerprint


def test_saving_replaces_the_rows_and_nothing_else(tmp_path, tiny_shop):
    (tmp_path / "notes.txt").write_text("mine")
    tiny_shop.save(tmp_path)
    tiny_shop.of("test").save(tmp_path)
    assert Dataset.load(tmp_path).fingerprint == tiny_shop.of("test").fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "judgments.jsonl",
        "notes.txt",
        "products.jsonl",
        "queries.jsonl",
    ]


def test_what_does_not_open_is_not_saved(tmp_path, tiny_shop):
    tiny_shop.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    lost = dict(list(tiny_shop.products.items())[1:])
    with pytest.raises(BadInput, match="is not in products"):
        Dataset(lost, tiny_shop.queries, tiny_shop.judgments).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_rows_are_not_saved_beside_another_form_of_them(tmp_path, tiny_shop):
    (tmp_path / "queries.parquet").write_bytes(b"")
    with pytest.raises(BadInput, match=r"holds queries\.parquet; choose another folder"):
        tiny_shop.save(tmp_path)


def test_parquet_round_trip(tmp_path, tiny_shop):
    columns = {
        "products": [
            row.model_dump() | {"attributes": list(row.attributes.items())} for row in tiny_shop.products.values()
        ],
        "queries": [row.model_dump() for row in tiny_shop.queries.values()],
        "judgments": [row.model_dump() for row in tiny_shop.judgments],
    }
    mapped = pa.field("attributes", pa.map_(pa.string(), pa.string()))
    for name, rows in columns.items():
        table = pa.Table.from_pylist([{k: v for k, v in row.items() if k != "attributes"} for row in rows])
        if name == "products":
            table = table.append_column(mapped, pa.array([row["attributes"] for row in rows], type=mapped.type))
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert Dataset.load(tmp_path).fingerprint == tiny_shop.fingerprint


def test_parquet_struct_attributes_drop_what_is_absent(tmp_path):
    write(tmp_path)
    (tmp_path / "products.jsonl").unlink()
    rows = [
        {"product_id": "a", "title": "x", "attributes": {"colour": "red"}},
        {"product_id": "b", "title": "y", "attributes": {"size": "9"}},
    ]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([
        ("product_id", pa.string()),
        ("title", pa.string()),
        ("attributes", pa.struct([("colour", pa.string()), ("size", pa.string())])),
    ])), tmp_path / "products.parquet")  # fmt: skip
    data = Dataset.load(tmp_path)
    assert [row.attributes for row in data.products.values()] == [{"colour": "red"}, {"size": "9"}]


def test_broken_parquet(tmp_path):
    write(tmp_path)
    (tmp_path / "products.jsonl").unlink()
    (tmp_path / "products.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(BadInput, match=r"products\.parquet: not a readable Parquet file"):
        Dataset.load(tmp_path)


def test_bad_parquet_row_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "judgments.jsonl").unlink()
    rows = [
        {"query_id": "q", "product_id": "a", "relevance": 1.0},
        {"query_id": "r", "product_id": "b", "relevance": float("nan")},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "judgments.parquet")
    with pytest.raises(BadInput, match=r"judgments\.parquet:2: column 'relevance'"):
        Dataset.load(tmp_path)


def test_fingerprint_is_that_of_the_content(tmp_path):
    first = Dataset.load(write(tmp_path))
    assert first.fingerprint == Dataset.load(tmp_path).fingerprint == "7b569e0d2412f20e"
    write(tmp_path, products=[{"product_id": "a", "title": "Oak desks"}, PRODUCTS[1]])
    assert Dataset.load(tmp_path).fingerprint != first.fingerprint


def test_splits_and_groups(tiny_shop):
    parts = [tiny_shop.of(split) for split in ("train", "validation", "test")]
    assert sum(len(part.judgments) for part in parts) == len(tiny_shop.judgments)
    assert not set(parts[0].queries) & set(parts[2].queries)
    groups = parts[2].by_query()
    assert list(groups) == list(parts[2].queries)
    assert all(row.query_id == query_id for query_id, rows in groups.items() for row in rows)


def test_records_are_immutable():
    product = Product(product_id="a", title="Oak desk")
    with pytest.raises(ValidationError):
        product.title = "other"


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip()) and "\0" not in text
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    title=words,
    attributes=st.dictionaries(words, words, max_size=3),
    price=st.none() | st.floats(0, 1e6),
    relevance=st.floats(0, 1),
)
def test_any_text_survives_the_round_trip(tmp_path, title, attributes, price, relevance):
    product = Product.model_construct(product_id="p", title=title, attributes=attributes, price=price)
    try:
        product = Product.model_validate(product.model_dump())
    except ValidationError:
        return  # white space to Python is not always white space to the title's pattern
    data = Dataset(
        {"p": product},
        {"q": Query(query_id="q", text="x", split="test")},
        (Judgment(query_id="q", product_id="p", relevance=relevance),),
    )
    data.save(tmp_path)
    assert Dataset.load(tmp_path) == data


def test_a_product_says_title_brand_category_attributes_and_description():
    product = Product(
        product_id="p",
        title="Oak desk",
        brand="Lindvik",
        category="Home",
        attributes={"width": "120 cm"},
        description="For work.",
    )
    assert product_text(product) == "Oak desk Lindvik Home width 120 cm For work."
    assert product_text(Product(product_id="p", title="Oak desk")) == "Oak desk"


def test_an_empty_split_is_told_with_those_that_there_are(tiny_shop, tmp_path):
    rows = tuple(row for row in tiny_shop.judgments if tiny_shop.queries[row.query_id].split != "test")
    Dataset(tiny_shop.products, tiny_shop.queries, rows).save(tmp_path)
    said = "no query of the split 'test' has a judgment; judged queries: train has 12, validation has 4"
    with pytest.raises(BadInput, match=said):
        judged_split(tmp_path, "test")
