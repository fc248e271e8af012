from __future__ import annotations

from typing import Any

import pytest

from gen_rerank import Pair, Product
from serve.question import Blank, Refusal
from serve.wire.documents import pairs, product


def test_a_string_is_a_title() -> None:
    assert product("Red desk", "documents.7", 7) == Product(product_id="7", title="Red desk")


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({"text": "Oak desk"}, {"title": "Oak desk"}),
        ({"text": "Solid.", "title": "Desk"}, {"title": "Solid."}),
        (
            {"text": "Solid.", "title": "Desk", "description": "Old.", "product_id": "p1"},
            {"title": "Solid.", "product_id": "p1"},
        ),
        ({"text": None, "title": "Desk", "id": 7}, {"title": "Desk"}),
        ({"title": "Desk", "product_id": "p1", "brand": None}, {"title": "Desk", "product_id": "p1"}),
        ({"text": "Oak desk", "id": "7", "tags": ["a"], "none": None}, {"title": "Oak desk"}),
        (
            {"text": "Sleeve", "price": "$9", "category": ["Bags"], "attributes": ["a"], "available": "in stock"},
            {"title": "Sleeve"},
        ),
        ({"page_content": "Desk", "metadata": {"title": "Page 7"}, "type": "Document"}, {"title": "Desk"}),
        ({"content": "Desk", "meta": {"page": 7}, "score": None}, {"title": "Desk"}),
        ({"content": [{"type": "text", "text": "Oak"}, {"text": "desk"}]}, {"title": "Oak\ndesk"}),
        ({"content": ["Oak", {"type": "text", "text": "desk"}]}, {"title": "Oak\ndesk"}),
        ({"text_resource": {"text": "Desk", "path": None}, "id_": "n1"}, {"title": "Desk"}),
        ({"text": "Desk", "product_id": ["p1"]}, {"title": "Desk"}),
        ({"node": {"text": "Desk", "id_": "n1"}, "score": 0.3}, {"title": "Desk"}),
        ({"title": "", "text": "Desk", "brand": " "}, {"title": "Desk"}),
        (
            {"title": "Desk", "brand": "B", "price": "3.5", "attributes": {"w": 2}},
            {"title": "Desk", "brand": "B", "price": 3.5, "attributes": {"w": "2"}},
        ),
    ],
)
def test_an_object_is_a_product(document: dict[str, Any], fields: dict[str, Any]) -> None:
    assert product(document, "documents.0") == Product(**{"product_id": "0"} | fields)


ROW = {
    "name": "Oak desk",
    "brand": "B",
    "colour": "brown",
    "width": 120.5,
    "new": True,
    "attributes": {"legs": "4"},
    "legs": "tapered",
    "text": "Solid.",
    "tags": ["a"],
    "gone": None,
}


@pytest.mark.parametrize(
    ("rank_fields", "fields"),
    [
        (["name"], {"title": "Oak desk"}),
        (["text"], {"title": "Solid."}),
        (["name", "text"], {"title": "Solid.", "attributes": {"name": "Oak desk"}}),
        (["colour", "brand"], {"title": "brown", "brand": "B"}),
        (["brand", "colour"], {"title": "B", "attributes": {"colour": "brown"}}),
        (
            ["name", "width", "new", "gone", "absent"],
            {"title": "Oak desk", "attributes": {"width": "120.5", "new": "true"}},
        ),
        (["name", "attributes", "colour"], {"title": "Oak desk", "attributes": {"legs": "4", "colour": "brown"}}),
        (["name", "attributes", "legs"], {"title": "Oak desk", "attributes": {"legs": "4, tapered"}}),
    ],
)
def test_rank_fields_choose_what_is_read(rank_fields: list[str], fields: dict[str, Any]) -> None:
    assert product(ROW, "documents.0", rank_fields=rank_fields) == Product(**{"product_id": "0"} | fields)


def test_a_text_that_is_named_beside_a_title_is_read_for_certain() -> None:
    """A description or an attribute may be left out by the checkpoint."""
    found = product({"title": "Page 7", "text": "Oak desk"}, "documents.0", rank_fields=["title", "text"])
    assert found.title == "Page 7 Oak desk"


def test_a_list_that_is_named_is_one_text() -> None:
    assert product(ROW, "documents.0", rank_fields=["name", "tags"]).attributes == {"tags": "a"}


def test_a_document_without_text_is_a_blank_where_that_was_asked_for() -> None:
    empty = ["", " ", "\u200b", {}, {"text": None}, {"title": ""}, {"text": " ", "id": 7}]
    assert pairs("desk", empty, empty_last=True) == [Blank()] * len(empty)
    assert pairs("desk", ["", "Lamp"], empty_last=True)[1] == Pair("desk", Product(product_id="1", title="Lamp"))
    with pytest.raises(Refusal, match=r"documents\.0 has no title"):
        pairs("desk", [{"brand": "B"}], empty_last=True)


def test_rank_fields_leave_strings_alone() -> None:
    assert product("Oak desk", "documents.0", rank_fields=["name"]).title == "Oak desk"


@pytest.mark.parametrize(
    ("document", "rank_fields", "words"),
    [
        ({"brand": "B"}, None, "documents.1 has no title"),
        ({}, None, "documents.1 has no text"),
        ({"title": "a", "colour": "red"}, None, "unknown field 'colour'"),
        ({"title": "a", "colour": "red"}, [], "or name the fields to read in rank_fields"),
        ({"title": ""}, None, "documents.1 has no text"),
        ({"name": " ", "colour": ""}, ["name", "colour"], "has no text in the fields that rank_fields names"),
        ({"title": ["a"]}, None, "documents.1.title: one text is needed, not a list"),
        ({"title": "a", "price": "cheap"}, None, "documents.1.price: a plain number such as 19.99 is needed"),
        ({"title": "a", "price": -1}, None, "documents.1.price: at least 0 is needed"),
        ({"title": "a", "price": 10**4000}, None, "documents.1.price"),
        ({"title": "a", "attributes": {"": "x"}}, None, "documents.1.attributes: the value 'x' has no name"),
        ({"title": "a", "attributes": ["x"]}, None, "documents.1.attributes: 'x' has no name"),
        (
            {"title": "a", "attributes": dict.fromkeys(map(str, range(1001)), "x")},
            None,
            "documents.1.attributes: more than 1,000 entries",
        ),
        (
            {"content": [{"type": "image_url", "image_url": {}}]},
            None,
            "documents.1.content.0 is of the type 'image_url'",
        ),
        ({"text": " ", "id": "7"}, None, "documents.1 has no text"),
        (" ", None, "documents.1 has no text"),
        ("\u200b\0", None, "documents.1 has no text"),
        (ROW, ["absent", "gone"], "documents.1 has no text in the fields that rank_fields names"),
        (ROW, ["attributes"], "documents.1 has no text in the fields that rank_fields names"),
    ],
)
def test_what_is_no_product_is_refused(document: Any, rank_fields: list[str] | None, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        product(document, "documents.1", 1, rank_fields)
    assert refused.value.status == 422
    assert words in refused.value.sentence
    assert "\n" not in refused.value.sentence


@pytest.mark.parametrize("key", ["k" * 10_000, "\n" * 10_000, "\u202e" * 10_000, "🙂" * 10_000])
def test_hostile_keys_stay_short(key: str) -> None:
    place = "requests.1023.documents.1023"
    deep = [[[[[[[[[["b"]]]]]]]]]]
    for document, rank_fields in (({"title": "a", key: "b"}, None), ({key: deep}, [key])):
        with pytest.raises(Refusal) as refused:
            product(document, place, rank_fields=rank_fields)
        assert len(refused.value.sentence) < 250
        assert "\n" not in refused.value.sentence
