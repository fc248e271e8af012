"""vLLM's shape of `POST /rerank` with `documents`: Jina's, but for what vLLM says by 0 and always returns."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serve.wire.documents import CountOrAll, DocumentTokensOrAll
from serve.wire.jina import JinaRequest


class VllmRequest(JinaRequest):
    """The body of `POST /rerank` with `documents`."""

    top_n: Annotated[
        CountOrAll | None, Field(description="How many results to return, the best ones; 0 or absent, all.")
    ] = None
    max_tokens_per_doc: DocumentTokensOrAll = None
    return_documents: Annotated[
        bool | None, Field(description="Repeat each document in its result, as vLLM always does.")
    ] = True
