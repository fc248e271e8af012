"""vLLM's shape of `POST /rerank` with `documents`: Jina's, but for what vLLM says by 0 and always returns.

A query may also be an object of content parts, and one document may stand for the list.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from serve.wire.documents import CountOrAll, Document, DocumentList, DocumentTokensOrAll, QueryText
from serve.wire.jina import JinaRequest


def text_of_parts(given: Any) -> Any:
    r"""Return the text of content parts, `{"content": [{"type": "text", "text": …}, …]}`, one part a line.

    What is anything else stays, for the field's own type to judge.

    Example:
        >>> text_of_parts({"content": [{"type": "text", "text": "oak"}, {"type": "text", "text": "desk"}]})
        'oak\ndesk'
    """
    parts = given.get("content") if isinstance(given, dict) else None
    if not isinstance(parts, list) or not all(map(_is_text_part, parts)):
        return given
    return "\n".join(part["text"] for part in parts)


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str)


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str | dict) else given


class VllmRequest(JinaRequest):
    """The body of `POST /rerank` with `documents`."""

    query: Annotated[QueryText, BeforeValidator(text_of_parts, json_schema_input_type=str | dict[str, Any])]
    documents: Annotated[DocumentList, BeforeValidator(_as_list, json_schema_input_type=Document | list[Document])]
    top_n: Annotated[
        CountOrAll | None, Field(description="How many results to return, the best ones; 0 or absent, all.")
    ] = None
    max_tokens_per_doc: DocumentTokensOrAll = None
    return_documents: Annotated[
        bool | None, Field(description="Repeat each document in its result, as vLLM always does.")
    ] = True
