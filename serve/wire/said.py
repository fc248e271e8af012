"""What a client said: text, parts of text and JSON, or messages become texts, objects and an instruction.

These are the ways in which OpenAI's Decisions API takes an input and a question. What is not read (images, tool calls,
what an assistant said) is refused by name: an answer that leaves it out would look like one that heeds it. What the
texts and objects mean is `standing`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import to_json

from gen_rerank.data.cleaning import mend
from gen_rerank.data.json_text import NotJson, read_json
from gen_rerank.data.values import shown
from serve.question import Refusal

# The API's own limits on JSON.
MAX_DEPTH = 32
MAX_VALUES = 10_000
MAX_BYTES = 256 * 2**10

Objects = Annotated[list[dict[str, Any]], Field(fail_fast=True)]

_TEXTS = ("input_text", "text")
_TOLD = ("system", "developer")
# JSON begins like this; "{17 inch} rim" and "[New] desk" are titles.
_OBJECT = re.compile(r'\{\s*["}]')
_LIST = re.compile(r'\[\s*\{\s*["}]')


@dataclass(frozen=True)
class Spoken:
    """What was said.

    Attributes:
        text: of all parts, one a line.
        objects: of all parts.
        instruction: what system and developer messages say, one a line; None where they say nothing.
    """

    text: str
    objects: tuple[dict[str, Any], ...] = ()
    instruction: str | None = None


def said(given: str | dict[str, Any] | list[dict[str, Any]], place: str) -> Spoken:
    """Return what a text, an object, or a list of parts says.

    Args:
        given: an object is JSON by itself; parts are those of a message.
        place: where it stands in the body, for the sentence.

    Raises:
        Refusal: a part is none that is read, or JSON is over a limit.

    Example:
        >>> said([{"type": "input_text", "text": "Rate:"}, {"type": "input_json", "data": {"title": "Desk"}}], "input")
        Spoken(text='Rate:', objects=({'title': 'Desk'},), instruction=None)
    """
    if isinstance(given, str):
        return Spoken(given)
    if isinstance(given, dict):
        return Spoken("", checked_objects(given, place))
    return _joined(_part(part, f"{place}.{i}") for i, part in enumerate(given))


def said_in_messages(given: str | dict[str, Any] | list[dict[str, Any]], place: str) -> Spoken:
    """Return what an input says: as `said`, but that a list holds messages, and that text may be JSON.

    LangChain sends objects, and messages of several roles, as JSON text.

    Raises:
        Refusal: as `said`; a message is a tool's or an assistant's; text that begins as JSON is none.

    Example:
        >>> said_in_messages([{"role": "system", "content": "Rate."}, {"role": "user", "content": "desk"}], "input")
        Spoken(text='desk', objects=(), instruction='Rate.')
    """
    found = _messages(given, place) if isinstance(given, list) else said(given, place)
    written = json_in(found.text, place)
    if isinstance(written, str):
        return found
    if isinstance(written, list) and all("role" in each for each in written):
        inside = said_in_messages(written, place)
        return _joined([Spoken("", found.objects, found.instruction), inside])
    return Spoken("", (*found.objects, *checked_objects(written, place)), found.instruction)


def json_in(text: str, place: str) -> str | dict[str, Any] | list[dict[str, Any]]:
    """Return the JSON that a text is, where it begins as an object or a list of objects does; else the text.

    Raises:
        Refusal: it begins so and is no JSON.

    Example:
        >>> json_in('{"title": "Desk"}', "input"), json_in("{17 inch} rim", "input")
        ({'title': 'Desk'}, '{17 inch} rim')
    """
    stripped = text.strip()
    if not (_OBJECT.match(stripped) or _LIST.match(stripped)):
        return text
    try:
        written: Any = read_json(mend(stripped).encode())
    except NotJson as error:
        raise Refusal(422, f"{place} is {error}") from error
    if isinstance(written, list) and not all(isinstance(each, dict) for each in written):
        raise Refusal(422, f"{place} is a list of JSON values; only objects are read")
    found: dict[str, Any] | list[dict[str, Any]] = written
    return found


def checked_objects(data: Any, place: str) -> tuple[dict[str, Any], ...]:
    """Return the objects that JSON holds, one or a list, within the limits on depth, values and bytes.

    Raises:
        Refusal: it is neither, or over a limit.
    """
    objects = data if isinstance(data, list) else [data]
    if not all(isinstance(each, dict) for each in objects):
        raise Refusal(422, f"{place} is {shown(data)}; JSON is an object or a list of objects")
    values, level, depth = 0, [data], 0
    while level:
        values += len(level)
        containers = [each for each in level if isinstance(each, dict | list)]
        depth += bool(containers)
        if values > MAX_VALUES:
            raise Refusal(422, f"{place} has more than {MAX_VALUES} values of JSON")
        if depth > MAX_DEPTH:
            raise Refusal(422, f"{place} has JSON inside JSON more than {MAX_DEPTH} levels deep")
        level = [value for each in containers for value in (each.values() if isinstance(each, dict) else each)]
    size = len(to_json(data))
    if size > MAX_BYTES:
        raise Refusal(422, f"{place} has {size} bytes of JSON; the limit is {MAX_BYTES}")
    return tuple(objects)


def _messages(given: Sequence[Any], place: str) -> Spoken:
    return _joined(_message(message, f"{place}.{i}") for i, message in enumerate(given))


def _message(message: dict[str, Any], place: str) -> Spoken:
    kind = message.get("type", "message")
    if kind != "message":
        raise Refusal(422, f"{place} is of the type {shown(kind)}; only messages are read, no tool calls and outputs")
    role, content = message.get("role"), message.get("content")
    if role not in ("user", *_TOLD):
        raise Refusal(422, f"{place} has the role {shown(role)}; only user, system and developer messages are read")
    if message.get("tool_calls"):
        raise Refusal(422, f"{place} has tool calls, which are not read")
    if not isinstance(content, str) and not (isinstance(content, list) and all(map(_is_object, content))):
        raise Refusal(422, f"{place}.content is {shown(content)}; give a text or a list of parts")
    found = said(content, f"{place}.content")
    if role == "user":
        return found
    if found.objects:
        raise Refusal(422, f"{place}.content has JSON; a {role} message is text")
    return Spoken("", (), found.text.strip() or None)


def _part(part: dict[str, Any], place: str) -> Spoken:
    kind = part.get("type")
    if kind in _TEXTS:
        text = part.get("text")
        if not isinstance(text, str):
            raise Refusal(422, f"{place}.text is {shown(text)}; give a text")
        return Spoken(text)
    if kind == "input_json":
        return Spoken("", checked_objects(part.get("data"), f"{place}.data"))
    if kind == "input_image":
        raise Refusal(422, f"{place} is an image (input_image), which is not read; give input_text or input_json")
    raise Refusal(422, f"{place} is of the type {shown(kind)}; only input_text and input_json are read")


def _joined(parts: Iterable[Spoken]) -> Spoken:
    found = list(parts)
    told = [each.instruction for each in found if each.instruction]
    return Spoken(
        "\n".join(each.text for each in found if each.text),
        tuple(each for part in found for each in part.objects),
        "\n".join(told) or None,
    )


def _is_object(part: Any) -> bool:
    return isinstance(part, dict)
