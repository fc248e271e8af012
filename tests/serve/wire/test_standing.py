from __future__ import annotations

import json
from typing import Any

import pytest

from gen_rerank.data.records import Pair, Product
from serve.phrases import Phrase
from serve.question import Blank, Question, Refusal
from serve.wire import DECISIONS, parse

LAMP = {"title": "Lamp", "brand": "Lumo"}
KNOWN = "Is this snippet relevant to answer the given query: "


def body(given: Any, *instructions: Any, **options: Any) -> dict[str, Any]:
    questions = [{"type": "predicate", "instructions": each} for each in instructions]
    return {"input": given, "questions": questions} | options


def asked(given: Any, *instructions: Any, **options: Any) -> Question:
    request = parse(json.dumps(body(given, *instructions)).encode(), DECISIONS.request)
    return request.question(**options)


def part(data: Any) -> dict[str, Any]:
    return {"type": "input_json", "data": data}


def lamp(number: int = 0) -> Product:
    return Product(product_id=str(number), title="Lamp", brand="Lumo")


def titled(title: str, number: int = 0) -> Product:
    return Product(product_id=str(number), title=title)


@pytest.mark.parametrize(
    "product",
    [
        LAMP,
        [part(LAMP)],
        {"product": LAMP},
        {"document": LAMP},
        json.dumps(LAMP),
        json.dumps({"product": LAMP}),
        KNOWN + json.dumps(LAMP),
        [{"type": "input_text", "text": "How good is this product?"}, part(LAMP)],
    ],
)
@pytest.mark.parametrize("query", ["lamp", {"query": "lamp"}, '{"query": "lamp"}', {"query": "lamp", "product": None}])
def test_the_input_is_the_query_and_each_question_a_product(query: Any, product: Any) -> None:
    assert asked(query, product, "Oak desk").items == [Pair("lamp", lamp()), Pair("lamp", titled("Oak desk", 1))]


@pytest.mark.parametrize(
    "product",
    [{"product": LAMP}, {"document": LAMP}, json.dumps({"product": LAMP}),
     [{"role": "user", "content": [part({"product": LAMP})]}],
     [{"role": "user", "content": [part([{"product": LAMP}])]}]],
)  # fmt: skip
def test_the_input_is_a_product_and_each_question_a_query(product: Any) -> None:
    question = asked(product, "lamp", [{"type": "input_text", "text": "oak desk"}], {"query": "sofa"})
    assert [item.query for item in question.items] == ["lamp", "oak desk", "sofa"]  # type: ignore[union-attr]
    # One object, so that it is rendered once.
    assert len({id(item.product) for item in question.items}) == 1  # type: ignore[union-attr]
    assert question.items[0].product == lamp()  # type: ignore[union-attr]


def test_an_input_with_both_is_the_pair_and_questions_are_words() -> None:
    pair = Pair("lamp", lamp())
    question = asked({"query": "lamp", "product": LAMP}, "Is it relevant?", {"any": ["thing"]}, "")
    assert question.items == [pair, pair, pair]


def test_phrases_are_taken_off() -> None:
    phrases = (Phrase.of("Buy {product}?"), Phrase.of("Search: {query}"))
    question = asked("lamp", KNOWN + "Oak desk", "Buy Oak desk?", "Oak desk", phrases=phrases)
    assert [item.product.title for item in question.items] == ["Oak desk"] * 3  # type: ignore[union-attr]
    (item,) = asked({"product": LAMP}, "Search: lamp", phrases=phrases).items
    assert item == Pair("lamp", lamp())


def test_the_instruction_is_what_system_and_developer_messages_say() -> None:
    given = [{"role": "developer", "content": "Rate lamps."}, {"role": "user", "content": "lamp"}]
    assert asked(given, "Oak desk").instruction == "Rate lamps."
    assert asked("lamp", "Oak desk").instruction is None


@pytest.mark.parametrize(
    ("given", "instructions", "words"),
    [
        ("", "a", "input has no text"),
        ([], "a", "input has no text"),
        ([{"role": "system", "content": "Rate."}], "a", "input has no text"),
        ({"title": "Lamp"}, "a", "input is an object with neither query nor product"),
        ({"query": "a", "shop": 1}, "a", "input has 'shop' beside, which is not read"),
        ({"query": 5}, "a", "input.query is 5; give a text"),
        ({"query": " "}, "a", "input.query has no text"),
        ({"product": 5}, "a", "input.product is 5; a product is a text or an object"),
        ({"product": {"titel": "Lamp"}}, "a", "input.product has an unknown field 'titel'"),
        ({"product": "a", "document": "b"}, "a", "input has a product and a document"),
        ({"query": "a", "documents": {"d": "b"}}, "a", "jev-reranker's listwise mode"),
        ({"query": "a", "left": "b", "right": "c"}, "a", "jev-reranker's pairwise mode"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "lamp"}, part({"product": "a"})]}], "a",
         "input has text beside JSON"),
        ([{"role": "user", "content": [part({"product": "a"}), part({"query": "a"})]}], "a",
         "input has 2 objects of JSON"),
        ("lamp", "", "questions.0.instructions has no text"),
        ("lamp", KNOWN, "questions.0.instructions has no text"),
        ("lamp", {"titel": "a"}, "questions.0.instructions has an unknown field 'titel'"),
        ("lamp", {"product": 5}, "questions.0.instructions.product is 5"),
        ("lamp", [part(LAMP), part(LAMP)], "questions.0.instructions has 2 objects of JSON"),
        ("lamp", [{"type": "input_image", "image_url": "data:"}], "questions.0.instructions.0 is an image"),
        ({"product": LAMP}, LAMP, "questions.0.instructions is an object; here it is a query"),
        ({"product": LAMP}, " ", "questions.0.instructions has no text"),
        ({"product": LAMP}, {"query": 5}, "questions.0.instructions.query is 5"),
        ({"query": "a", "product": LAMP}, [{"type": "input_image", "image_url": "data:"}], "is an image"),
    ],
)  # fmt: skip
def test_what_could_mean_anything_is_refused(given: Any, instructions: Any, words: str, refused: Any) -> None:
    refusal = refused(DECISIONS, body(given, instructions))
    assert words in refusal.sentence
    assert refusal.status == 422


def test_how_many_questions() -> None:
    assert len(asked("lamp", *["Lamp"] * 400).items) == 400
    for count, options, words in (
        (0, {}, "questions is empty"),
        (401, {}, "questions has 401 entries; the limit is 400"),
        (3, {"max_documents": 2}, "questions has 3 entries; the limit is 2"),
    ):
        with pytest.raises(Refusal, match=words):
            asked("lamp", *["Lamp"] * count, **options)


def test_products_without_text_can_be_refused_one_by_one() -> None:
    assert asked("lamp", " ", "Lamp", empty_documents="last").items == [Blank(), Pair("lamp", titled("Lamp", 1))]
    assert asked({"product": " "}, "lamp", "sofa", empty_documents="last").items == [Blank(), Blank()]
    assert asked({"query": "lamp", "product": ""}, "a", empty_documents="last").items == [Blank()]


def test_no_item_depends_on_the_other_questions() -> None:
    given = ["Lamp", json.dumps(LAMP), KNOWN + "Oak desk", {"product": "Sofa"}]
    alone = [asked("lamp", each).items[0] for each in given]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        together = asked("lamp", *[given[i] for i in order]).items
        for item, i in zip(together, order, strict=True):
            product = item.product.model_copy(update={"product_id": "0"})  # type: ignore[union-attr]
            assert Pair("lamp", product) == alone[i]
