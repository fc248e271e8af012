"""What is exported and imported again is the same, as far as a format can carry it; what it cannot is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from gen_rerank.bins import Distribution
from gen_rerank.data import values
from gen_rerank.data.exports import FORMATS, export_data
from gen_rerank.data.importing.gathering import collapsed
from gen_rerank.data.imports import ImportOptions, import_source
from gen_rerank.evaluation.scores import write_scores

MANY = settings(max_examples=15)
GRADES = st.floats(0, 1)
# With what a table, JSON or white space could be confused by.
letters = st.text(st.characters(codec="utf-8") | st.sampled_from(list("\",;\t|#=+-@'\n 1é")), min_size=1, max_size=10)
ids = letters.filter(lambda text: _is(values.identifier, text))
plain_ids = ids.filter(lambda text: len(text.split()) == 1)
texts = letters.filter(lambda text: _is(values.required_text, text) and collapsed(text) == text)
tags = st.lists(texts.filter(lambda text: "|" not in text), max_size=2, unique=True)
splits = st.sampled_from(["train", "validation", "test"])


def _is(read: Callable[[str], str], text: str) -> bool:
    try:
        return read(text) == text
    except values.BadValue:
        return False


@st.composite
def shops(draw, keys=ids, relevance=GRADES, labelled=True) -> Dataset:
    products = draw(st.lists(keys, min_size=1, max_size=3, unique=True))
    names = draw(st.lists(st.tuples(keys, texts), min_size=1, max_size=3, unique_by=(lambda n: n[0], lambda n: n[1])))
    queries = {key: Query(query_id=key, text=text, split=draw(splits), tags=draw(tags)) for key, text in names}
    pairs = st.sampled_from([(query_id, product_id) for query_id in queries for product_id in products])
    judgments = []
    for query_id, product_id in draw(st.lists(pairs, min_size=1, unique=True)):
        labels = tuple(draw(st.lists(relevance, max_size=3))) if labelled else ()
        worth = fmean(labels) if labels else draw(relevance)
        judgments.append(Judgment(query_id=query_id, product_id=product_id, relevance=worth, labels=labels))
    return Dataset({key: Product(product_id=key, title="A") for key in products}, queries, tuple(judgments))


def back(shop: Dataset, name: str, scale: str, *, queries: bool = False) -> Dataset:
    """Export a shop, and import it into a folder that has its products, and its queries where they are wanted."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        shop.save(place / "shop")
        exported = export_data(place / "shop", place / "out", name, scale=scale)
        assert not exported.refused
        assert not exported.changes
        Dataset(shop.products, shop.queries if queries else {}, ()).save(place / "again")
        report = import_source(place / "out", place / "again", name, ImportOptions(scale=scale), None)
        assert not report.refused
        return Dataset.load(place / "again")


def by_text(data: Dataset) -> dict[tuple[str, str], tuple[float, tuple[float, ...]]]:
    return {(data.queries[row.query_id].text, row.product_id): (row.relevance, row.labels) for row in data.judgments}


@MANY
@given(shops(), st.sampled_from(["0-1", "0-3", "5-1"]))
def test_a_table_carries_all(shop, scale):
    found = back(shop, "judgments", scale)
    assert found.judgments == shop.judgments
    judged = shop.by_query()
    assert list(found.queries.values()) == [shop.queries[key] for key in judged]


@MANY
@given(shops(), st.sampled_from(["0-3", "1-10"]))
def test_quepid_carries_texts_and_labels(shop, scale):
    assert by_text(back(shop, "quepid", scale)) == by_text(shop)
    assert back(shop, "quepid", scale, queries=True).judgments == shop.judgments


@MANY
@given(shops(labelled=False), st.sampled_from(["0-3", "1-10"]))
def test_opensearch_carries_texts_and_relevance(shop, scale):
    assert by_text(back(shop, "opensearch", scale)) == by_text(shop)
    found = back(shop, "opensearch", scale, queries=True)
    assert found.queries == shop.queries
    assert sorted(found.judgments, key=str) == sorted(shop.judgments, key=str)


@MANY
@given(shops(keys=plain_ids, relevance=st.integers(0, 100).map(lambda grade: grade / 100), labelled=False))
def test_trec_carries_ids_texts_and_whole_grades(shop):
    found = back(shop, "trec", "0-100")
    assert sorted(found.judgments, key=str) == sorted(shop.judgments, key=str)
    assert {key: row.text for key, row in found.queries.items()} == {
        key: shop.queries[key].text for key in shop.by_query()
    }


SHOP = Dataset(
    {key: Product(product_id=key, title=key) for key in ("p1", "p2")},
    {
        "q1": Query(query_id="q1", text="oak desk", split="test"),
        "q2": Query(query_id="q2", text="oak  desk", split="train"),
    },
    (
        Judgment(query_id="q1", product_id="p1", relevance=1, labels=(1, 1)),
        Judgment(query_id="q1", product_id="p2", relevance=0.835),
        Judgment(query_id="q2", product_id="p2", relevance=0.25, labels=(0, 1)),
    ),
)


@pytest.fixture
def shop(tmp_path) -> Path:
    SHOP.save(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def scores(tmp_path) -> Path:
    distribution = Distribution([[0.0] * 10 + [1.0], [1.0] + [0.0] * 10, [1 / 11] * 11])
    write_scores(tmp_path / "scores.jsonl", SHOP, distribution)
    return tmp_path / "scores.jsonl"


def test_ranx_has_objects_of_objects(tmp_path, shop, scores):
    report = export_data(shop, tmp_path / "out", "ranx", scores=scores)
    assert json.loads((tmp_path / "out" / "qrels.json").read_text()) == {"q1": {"p1": 100, "p2": 84}, "q2": {"p2": 25}}
    assert json.loads((tmp_path / "out" / "run.json").read_text()) == {"q1": {"p1": 1.0, "p2": 0.0}, "q2": {"p2": 0.5}}
    assert report.kept == {"judgments": 3, "scores": 3}
    assert report.found["labels"] == "of 2 judgments; ranx cannot carry them"
    assert {kind: change.count for kind, change in report.changes.items()} == {"grades rounded": 1}


def test_trec_has_a_run_where_scores_are_given(tmp_path, shop, scores):
    export_data(shop, tmp_path / "out", "trec", split="test", scores=scores)
    assert (tmp_path / "out" / "run.txt").read_text().splitlines() == [
        "q1 Q0 p1 1 1.0 gen_rerank",
        "q1 Q0 p2 2 0.0 gen_rerank",
    ]
    export_data(shop, tmp_path / "bare", "trec")
    assert sorted(path.name for path in (tmp_path / "bare").iterdir()) == ["qrels.txt", "topics.tsv"]


def test_quepids_columns_are_those_that_are_needed(tmp_path, shop):
    report = export_data(shop, tmp_path / "ratings.csv", "quepid")
    assert (tmp_path / "ratings.csv").read_text().splitlines() == [
        "query,docid,rating,rater 1,rater 2",
        "oak desk,p1,,3,3",
        "oak desk,p2,2.505,,",
    ]
    assert report.refused == {"query with the same text": 1}
    assert str(report.first_refused[0]).startswith("judgments:3: q2 × p2: another query with this text")
    assert report.kept == {"judgments": 2}
    assert not report.changes
    report = export_data(shop, tmp_path / "table.csv", "judgments")
    assert {kind: change.count for kind, change in report.changes.items()} == {
        "relevance that is not the mean of the labels": 1
    }


def test_opensearch_has_the_body_of_a_request(tmp_path, shop):
    export_data(shop, tmp_path / "desks.json", "opensearch", split="train")
    assert json.loads((tmp_path / "desks.json").read_text()) == {
        "name": "desks",
        "description": "1 ratings on the scale 0-3",
        "type": "IMPORT_JUDGMENT",
        "judgmentRatings": [{"query": "oak desk", "ratings": [{"docId": "p2", "rating": "0.75"}]}],
    }


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_written_over_what_is_there(tmp_path, shop, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(BadInput, match="already exists"):
        export_data(shop, tmp_path / "out", name)
    with pytest.raises(BadInput, match="already exists"):
        export_data(shop, tmp_path / "out" / "mine", name)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.parent != shop) == ["mine", "out", "shop"]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("csv", {}, "there is no format 'csv'; choose one of judgments, quepid"),
        ("trec", {"split": "dev"}, "there is no split 'dev'"),
        ("trec", {"split": "validation"}, "no query of the split 'validation' has a judgment"),
        (
            "quepid",
            {"scores": Path("s.jsonl")},
            "--scores becomes a run, and quepid has none; choose one of trec, ranx",
        ),
        ("trec", {"scores": Path("/nowhere/s.jsonl")}, "no such file"),
        ("trec", {"scale": "no=0,yes=1"}, "numbers are needed"),
    ],
)
def test_wrong_options_are_one_sentence(tmp_path, shop, name, options, said):
    with pytest.raises(BadInput, match=said):
        export_data(shop, tmp_path / "out", name, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_judgments_has_nothing_to_export(tmp_path):
    Dataset(SHOP.products, {}, ()).save(tmp_path / "catalog")
    with pytest.raises(BadInput, match=r"has no judgments\.jsonl, and there is nothing else to export"):
        export_data(tmp_path / "catalog", tmp_path / "out", "trec")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"query_id": "q1", "product_id": "p1"}', r"s\.jsonl:1: score is missing"),
        ('{"query_id": "q1", "product_id": "p1", "score": NaN}', r"s\.jsonl:1: "),
        ("[]", r"s\.jsonl:1: not a row of a scores file"),
        ('{"query_id": "q1", "product_id": "p1", "score": 1}\n' * 2, r"s\.jsonl:2: the pair q1 × p1 was already given"),
        ('{"query_id": "zz", "product_id": "p1", "score": 1}', "scores no query of the data"),
    ],
)
def test_scores_that_cannot_be_used(tmp_path, shop, line, said):
    (tmp_path / "s.jsonl").write_text(line)
    with pytest.raises(BadInput, match=said):
        export_data(shop, tmp_path / "out", "trec", scores=tmp_path / "s.jsonl")
    assert not (tmp_path / "out").exists()


def test_bad_rows_of_the_folder_are_told(tmp_path, shop):
    with (shop / "judgments.jsonl").open("a") as file:
        file.write("{\n")
    with pytest.raises(BadInput, match=r"judgments\.jsonl:4"):
        export_data(shop, tmp_path / "out", "trec")
    report = export_data(shop, tmp_path / "out", "trec", skip_bad_rows=True)
    assert (report.kept, report.refused) == ({"judgments": 3}, {"bad row": 1})
