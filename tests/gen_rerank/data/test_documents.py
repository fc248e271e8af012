"""The documents of the frameworks themselves, where they are installed; Haystack's has the same fields here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import Document as LlamaDocument
from llama_index.core.schema import MediaResource, Node, NodeWithScore, TextNode

from gen_rerank.data.documents import NoText, product_of
from gen_rerank.errors import BadInput


@dataclass
class HaystackDocument:
    """The fields of Haystack 2's `Document`."""

    id: str = ""
    content: str | None = None
    blob: Any = None
    meta: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    embedding: list[float] | None = None


META = {"title": "Page 7", "price": "$9", "tags": ["a"]}


@pytest.mark.parametrize(
    "document",
    [
        LangChainDocument(page_content="Oak desk", metadata=META),
        LangChainDocument(id="d1", page_content="Oak desk"),
        TextNode(text="Oak desk", metadata=META),
        LlamaDocument(text="Oak desk", metadata=META),
        NodeWithScore(node=TextNode(text="Oak desk", metadata=META), score=0.3),
        NodeWithScore(node=LlamaDocument(text="Oak desk"), score=None),
        NodeWithScore(node=Node(text_resource=MediaResource(text="Oak desk")), score=0.3),
        HaystackDocument(id="d1", content="Oak desk", meta=META, score=0.1),
    ],
    ids=lambda document: type(document).__name__,
)
def test_a_document_of_a_framework_is_its_text(document: Any) -> None:
    product = product_of(document, "products.3", 3)
    assert (product.product_id, product.title, product.attributes) == ("3", "Oak desk", {})


@pytest.mark.parametrize("document", [HaystackDocument(), LangChainDocument(page_content=" "), TextNode(text="")])
def test_a_document_without_text_says_so(document: Any) -> None:
    with pytest.raises(NoText, match=r"^products\.3.* has no text$"):
        product_of(document, "products.3", 3)


@pytest.mark.parametrize("given", [None, 5, ["Oak desk"], b"Oak desk", HaystackDocument, float("nan")])
def test_what_is_no_document_is_refused(given: Any) -> None:
    with pytest.raises(BadInput, match=r"^products\.3 is .*; a title or an object"):
        product_of(given, "products.3", 3)


def test_an_id_is_kept_and_a_missing_one_is_the_place() -> None:
    assert product_of({"product_id": 7.0, "title": "Desk"}, "documents.1", 1).product_id == "7"
    assert product_of({"product_id": float("nan"), "title": "Desk"}, "documents.1", 1).product_id == "1"
    assert product_of({"product_id": "p7", "text": "Desk"}, "documents.1", 1).product_id == "p7"
    assert product_of({"product_id": "<br>", "title": "Desk"}, "documents.1", 1).product_id == "<br>"
    with pytest.raises(BadInput, match=r"^documents\.1\.product_id: one text is needed, not a list$"):
        product_of({"product_id": ["p7"], "title": "Desk"}, "documents.1", 1)
