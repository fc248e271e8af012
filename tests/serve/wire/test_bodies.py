from __future__ import annotations

import time

import pytest

from serve.question import Refusal
from serve.wire import BATCH, COMPLETIONS, SCORE, TEI, Dialect, parse, read_json, validated
from serve.wire.bodies import check_size
from serve.wire.jina import JinaRequest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 10_000,
        b'{"top_n": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_not_json_is_400(body: bytes) -> None:
    for read in (read_json, lambda body: parse(body, JinaRequest)):
        with pytest.raises(Refusal, match="not valid JSON") as refused:
            read(body)
        assert refused.value.status == 400


def test_half_an_emoji_is_mended() -> None:
    assert read_json(b'{"query": "Lamp \\ud83d"}') == {"query": "Lamp ?"}


def test_a_byte_order_mark_is_skipped_and_utf_16_is_named() -> None:
    assert read_json(b'\xef\xbb\xbf{"top_n": 3}') == {"top_n": 3}
    for body, name in (('{"top_n": 3}'.encode("utf-16"), "UTF-16"), (b'{"query": "caf\xe9"}', "not UTF-8")):
        with pytest.raises(Refusal, match=f"the body is {name}; write it as UTF-8") as refused:
            read_json(body)
        assert refused.value.status == 400


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e400"])
def test_what_is_no_number_is_no_number_of_results(number: bytes) -> None:
    with pytest.raises(Refusal, match="top_n") as refused:
        parse(b'{"query": "desk", "documents": ["Desk"], "top_n": ' + number + b"}", JinaRequest)
    assert refused.value.status == 422


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"query"'])
def test_a_body_that_is_no_object_is_422(body: bytes) -> None:
    content = read_json(body)
    with pytest.raises(Refusal, match="not a JSON object") as refused:
        validated(content, JinaRequest)
    assert refused.value.status == 422


def test_a_body_is_what_its_content_says() -> None:
    """Numbers that came as texts are numbers, as in forms; a text is never made of a number."""
    content = read_json(b'{"query": "q", "documents": ["a", {"title": 1e2}], "top_n": "2", "min_score": 1}')
    assert content == {"query": "q", "documents": ["a", {"title": 100.0}], "top_n": "2", "min_score": 1}
    request = validated(content, JinaRequest)
    assert (request.top_n, request.min_score, request.documents) == (2, 1.0, ["a", {"title": 100.0}])
    with pytest.raises(Refusal, match=r"^query: input should be a valid string, but it is 3$"):
        validated(content | {"query": 3}, JinaRequest)
    with pytest.raises(Refusal, match="top_n"):
        validated(content | {"top_n": 1.5}, JinaRequest)


def test_missing_fields_are_named() -> None:
    with pytest.raises(Refusal, match=r"^documents is missing$"):
        parse(b'{"query": "a"}', JinaRequest)
    with pytest.raises(Refusal, match=r"^requests\.1\.query is missing$"):
        parse(b'{"requests": [{"query": "a"}, {}], "documents": ["a"]}', BATCH.request)


@pytest.mark.parametrize(
    ("dialect", "body", "sentence"),
    [
        (SCORE, b'{"text_1": 3, "text_2": "a"}', "text_1 is neither a string nor a list of strings"),
        (
            SCORE,
            b'{"queries": "a", "items": 3}',
            "items is neither a string nor an object nor a list of documents",
        ),
        (COMPLETIONS, b'{"prompt": [[1, 2]]}', "prompt is neither a string nor a list of strings"),
        (
            BATCH,
            b'{"requests": [{"query": "a", "documents": ["a", 3]}]}',
            "requests.0.documents.1 is neither a string nor an object",
        ),
        (TEI, b'{"query": "a", "texts": ["a", {}]}', "texts.1: input should be a valid string, but it is {}"),
    ],
)
def test_a_value_of_a_wrong_kind_is_told_what_it_may_be(dialect: Dialect, body: bytes, sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(body, dialect.request)
    assert refused.value.sentence == sentence


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "q", "documents": [' + b"1," * 1_000_000 + b"1]}",
        b'{"query": "q", "documents": [' + b'"a",' * 1_000_000 + b'"a"]}',
        b'{"query": "q", "documents": ["a"], "return_quantiles": [' + b"7," * 1_000_000 + b"7]}",
        b'{"query": "q", "documents": ["a"], "rank_fields": [' + b"7," * 1_000_000 + b"7]}",
        b'{"query": "q", "documents": [{"title": "a", "attributes": {'
        + b",".join(b'"%d":7' % i for i in range(100_000))
        + b"}}]}",
    ],
)
def test_a_million_faults_are_refused_as_fast_as_one(body: bytes) -> None:
    start = time.thread_time()
    with pytest.raises(Refusal):
        parse(body, JinaRequest).question()
    assert time.thread_time() - start < 2


def test_what_is_over_a_limit_is_refused_with_the_status_that_is_asked_for() -> None:
    check_size("texts", 3, 3, "entries")
    for more, status in (({}, 422), ({"status": 413}, 413)):
        with pytest.raises(Refusal, match=r"^texts has 4 entries; the limit is 3$") as refused:
            check_size("texts", 4, 3, "entries", **more)
        assert refused.value.status == status
