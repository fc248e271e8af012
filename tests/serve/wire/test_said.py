from __future__ import annotations

import json
from typing import Any

import pytest

from serve.question import Refusal
from serve.wire.said import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Spoken, checked_objects, json_in, said, said_in_messages

LAMP = {"title": "Lamp"}


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def part(data: Any) -> dict[str, Any]:
    return {"type": "input_json", "data": data}


def message(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("oak desk", Spoken("oak desk")),
        ([text("oak"), text("desk")], Spoken("oak\ndesk")),
        ([text("Rate:"), part(LAMP)], Spoken("Rate:", (LAMP,))),
        ([part([LAMP, {"title": "Desk"}])], Spoken("", (LAMP, {"title": "Desk"}))),
        (LAMP, Spoken("", (LAMP,))),
        # Only an input is read as JSON, or a product without the words around it.
        ('{"title": "Lamp"}', Spoken('{"title": "Lamp"}')),
        ([{"type": "input_text", "text": "oak", "prompt_cache_breakpoint": {"mode": "explicit"}}], Spoken("oak")),
    ],
)
def test_parts(given: Any, found: Spoken) -> None:
    assert said(given, "input") == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([message("oak"), message([text("desk")])], Spoken("oak\ndesk")),
        ([message("Rate.", "system"), message("oak"), message("Be kind.", "developer")],
         Spoken("oak", (), "Rate.\nBe kind.")),
        ([message(" ", "system"), message("oak")], Spoken("oak")),
        ([{"type": "message", **message([part(LAMP)])}], Spoken("", (LAMP,))),
        ('{"product": "Lamp"}', Spoken("", ({"product": "Lamp"},))),
        ([message([text('{"product": "Lamp"}')])], Spoken("", ({"product": "Lamp"},))),
        ("{17 inch} rim", Spoken("{17 inch} rim")),
        ("[New] desk", Spoken("[New] desk")),
        # As LangChain sends messages of several roles.
        ([message(json.dumps([message("Rate.", "system"), message([{"type": "text", "text": "oak"}])]))],
         Spoken("oak", (), "Rate.")),
        ([message("Rate.", "developer"), message(json.dumps([message("Well.", "system"), message("oak")]))],
         Spoken("oak", (), "Rate.\nWell.")),
    ],
)  # fmt: skip
def test_messages(given: Any, found: Spoken) -> None:
    assert said_in_messages(given, "input") == found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([message("a", "assistant")], "input.0 has the role 'assistant'"),
        ([message("a", "tool")], "input.0 has the role 'tool'"),
        ([{"content": "a"}], "input.0 has the role None"),
        ([message("a") | {"tool_calls": [{}]}], "input.0 has tool calls"),
        ([{"type": "function_call", "name": "f"}], "input.0 is of the type 'function_call'"),
        ([{"type": "custom_tool_call_output", "output": "f"}], "no tool calls and outputs"),
        ([message([{"type": "input_image", "image_url": "data:"}])], "input.0.content.0 is an image (input_image)"),
        ([message([{"type": "input_file"}])], "input.0.content.0 is of the type 'input_file'"),
        ([message([text(5)])], "input.0.content.0.text is 5"),  # type: ignore[arg-type]
        ([message([part("a")])], "input.0.content.0.data is 'a'"),
        ([message(["a"])], "input.0.content is ['a']"),
        ([message(None)], "input.0.content is None"),
        ([message([part(LAMP)], "system")], "input.0.content has JSON; a system message is text"),
        ('{"product": "Lamp"', "input is not valid JSON"),
        ('[{"product": "Lamp"}, 5]', "input is a list of JSON values"),
        (json.dumps([message("a", "user"), message("b", "assistant")]), "input.1 has the role 'assistant'"),
    ],
)
def test_what_is_not_read_is_refused_by_name(given: Any, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        said_in_messages(given, "input")
    assert words in refused.value.sentence
    assert refused.value.status == 422


def nested(levels: int) -> Any:
    data: Any = {}
    for _ in range(levels - 1):
        data = {"a": data}
    return data


def test_limits_of_json() -> None:
    checked_objects(nested(MAX_DEPTH), "input")
    checked_objects({"a": [1] * (MAX_VALUES - 2)}, "input")
    checked_objects({"a": "x" * (MAX_BYTES - 8)}, "input")
    for data, words in (
        (nested(MAX_DEPTH + 1), "more than 32 levels deep"),
        ({"a": [1] * (MAX_VALUES - 1)}, "more than 10000 values"),
        ({"a": "x" * (MAX_BYTES - 7)}, "262145 bytes of JSON; the limit is 262144"),
    ):
        with pytest.raises(Refusal, match=words):
            checked_objects(data, "input")


def test_text_that_begins_as_json_does() -> None:
    assert json_in(' {"a": 1}\n', "input") == {"a": 1}
    assert json_in("{}", "input") == {}
    assert json_in('[{"a": 1}]', "input") == [{"a": 1}]
    assert json_in("[1]", "input") == "[1]"
