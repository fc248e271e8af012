"""Every format is read by its own reader, and an option that a format does not have is not passed over."""

from __future__ import annotations

import pytest

from gen_rerank import BadInput, Dataset
from gen_rerank.data.imports import FORMATS, ImportOptions, import_source, read_columns

VOTES = "query,product,grade,title\ndesk,p1,3,Oak desk\n"


def test_the_formats_are_those_of_the_documents():
    assert FORMATS == (
        "feed", "judgments", "trec", "quepid", "opensearch", "pairs",
        "amazebay-catalog", "esci", "amazebay-relevance", "eress", "wands", "homedepot", "crowdflower", "chorus",
    )  # fmt: skip


def test_a_feed_and_then_its_judgments(tmp_path):
    (tmp_path / "feed.csv").write_text("sku;name;vendor\np1;Oak desk;Lind\np2;Lamp;Lux\n")
    (tmp_path / "votes.csv").write_text("query,product,grade\ndesk,p1,3\ndesk,p2,0\ndesk,p3,1\n")
    shop = tmp_path / "shop"
    import_source(tmp_path / "feed.csv", shop, "feed", ImportOptions(), None)
    assert Dataset.load(shop).judgments == ()
    report = import_source(tmp_path / "votes.csv", shop, "judgments", ImportOptions(scale="0-3"), None)
    assert report.refused == {"unknown product": 1}
    data = Dataset.load(shop)
    assert (data.products["p1"].brand, [row.relevance for row in data.judgments]) == ("Lind", [1.0, 0.0])
    assert import_source(tmp_path / "feed.csv", shop, "feed", ImportOptions(), None).kept["products"] == 2
    assert Dataset.load(shop) == data


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("csv", ImportOptions(), "there is no format 'csv'; choose one of feed, judgments"),
        ("feed", ImportOptions(scale="0-3"), "--scale says nothing about the format feed"),
        ("judgments", ImportOptions(locale="de"), "--locale says nothing about the format judgments"),
        ("wands", ImportOptions(columns="a=b"), "--map says nothing about the format wands"),
        ("amazebay-catalog", ImportOptions(seed=0), "--seed says nothing about the format amazebay-catalog"),
        ("judgments", ImportOptions(scale="3"), "--scale 3: no scale"),
        ("judgments", ImportOptions(scale="0-3", split="1"), "--split 1: three shares"),
        ("judgments", ImportOptions(scale="0-3", needs="yes"), "--needs yes: say beside or tags"),
        ("judgments", ImportOptions(scale="0-3", columns="title"), "--map title: write what a column holds"),
        ("judgments", ImportOptions(scale="0-3", columns="a=b,a=c"), "each once"),
    ],
)
def test_wrong_options_are_one_sentence(tmp_path, name, options, said):
    (tmp_path / "votes.csv").write_text(VOTES)
    with pytest.raises(BadInput, match=said):
        import_source(tmp_path / "votes.csv", tmp_path / "shop", name, options, None)
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_a_source_that_is_missing(tmp_path, name):
    with pytest.raises(BadInput, match="no such file or folder"):
        import_source(tmp_path / "nowhere", tmp_path / "shop", name, ImportOptions(), None)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("content", [b"", b"\0\1\2\xff" * 9, b"{", b"[1, 2]", b"<a>", b"PAR1", b"\x1f\x8b\x08"])
def test_nonsense_is_one_sentence_and_nothing_is_written(tmp_path, name, content):
    (tmp_path / "source").write_bytes(content)
    with pytest.raises(BadInput):
        import_source(tmp_path / "source", tmp_path / "out" / "shop", name, ImportOptions(), None)
    assert not (tmp_path / "out" / "shop").exists()


def test_columns_as_people_write_them():
    assert read_columns(" grade = Note (0-3) , query=Suche") == {"grade": "Note (0-3)", "query": "Suche"}
    assert read_columns(None) == {}
