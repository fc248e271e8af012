from __future__ import annotations

from typing import Any

import pytest

from gen_rerank import Product
from serve.question import Refusal
from serve.wire.documents import product


def test_a_string_is_a_title() -> None:
    assert product("Red desk", "documents.7", 7) == Product(product_id="7", title="Red desk")


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({"text": "Oak desk"}, {"title": "Oak desk"}),
        ({"text": "Solid.", "title": "Desk"}, {"title": "Desk", "description": "Solid."}),
        (
            {"text": "Solid.", "title": "Desk", "description": "Old."},
            {"title": "Desk", "description": "Old.", "attributes": {"text": "Solid."}},
        ),
        ({"title": "Desk", "product_id": "p1", "brand": None}, {"title": "Desk", "product_id": "p1"}),
        ({"text": "Oak desk", "id": "7", "tags": ["a"], "none": None}, {"title": "Oak desk"}),
        (
            {"text": "Solid.", "title": "Desk", "brand": "B", "id": 7},
            {"title": "Desk", "description": "Solid.", "brand": "B"},
        ),
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
    ],
)
def test_rank_fields_choose_what_is_read(rank_fields: list[str], fields: dict[str, Any]) -> None:
    assert product(ROW, "documents.0", rank_fields=rank_fields) == Product(**{"product_id": "0"} | fields)


def test_rank_fields_leave_strings_alone() -> None:
    assert product("Oak desk", "documents.0", rank_fields=["name"]).title == "Oak desk"


@pytest.mark.parametrize(
    ("document", "rank_fields", "words"),
    [
        ({"brand": "B"}, None, "documents.1 has no title"),
        ({}, None, "documents.1 has no title"),
        ({"title": "a", "colour": "red"}, None, "unknown field 'colour'"),
        ({"title": "a", "colour": "red"}, [], "or name the fields to read in rank_fields"),
        ({"title": ""}, None, "documents.1 has no title"),
        ({"name": " ", "colour": ""}, ["name", "colour"], "documents.1 has none of the fields that rank_fields names"),
        ({"title": ["a"]}, None, "documents.1.title"),
        ({"title": "a", "price": "cheap"}, None, "documents.1.price: input should be a valid number"),
        ({"title": "a", "price": -1}, None, "documents.1.price"),
        ({"title": "a", "price": 10**4000}, None, "documents.1.price"),
        ({"title": "a", "price": float("inf")}, None, "documents.1 has a number that is too large"),
        ({"title": "a", "attributes": {"x": [{"y": float("inf")}]}}, None, "too large"),
        ({"title": "a", "attributes": {"x\ny": None}}, None, "documents.1.attributes: input should be a valid string"),
        ({"title": "a", "attributes": []}, None, "documents.1.attributes"),
        ({"text": ["a"]}, None, "the field 'text' is not a string"),
        ({"text": " ", "id": "7"}, None, "documents.1 has no title"),
        ({"text": "a", "id": float("inf")}, None, "documents.1 has a number that is too large"),
        (" ", None, "documents.1 has no text"),
        (ROW, ["absent", "gone"], "documents.1 has none of the fields that rank_fields names"),
        (ROW, ["attributes"], "documents.1 has no text in the fields that rank_fields names"),
        (ROW, ["name", "tags"], "the field 'tags' is not a string"),
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
    for document, rank_fields in (({"title": "a", key: "b"}, None), ({key: ["b"]}, [key])):
        with pytest.raises(Refusal) as refused:
            product(document, place, rank_fields=rank_fields)
        assert len(refused.value.sentence) < 250
        assert "\n" not in refused.value.sentence
